"""What lies beside the pixels in a JPEG, PNG or WebP file, found by walking its structure.

It follows lengths, never searches pixels, and bounds what it collects. It reads no value: XMP, Exif
and texts are given as they are. A structure that ends early gives what was found until there, since
the decoder is the one to say that a file is broken.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledger_client.errors import Uninspectable

if TYPE_CHECKING:
    from collections.abc import Iterator

JPEG, PNG, WEBP = "image/jpeg", "image/png", "image/webp"
TEXT_BYTES_MAX, INFLATED_BYTES_MAX, PARTS_MAX = 1_000_000, 4_000_000, 10_000
_XMP_HEADS = (b"http://ns.adobe.com/xap/1.0/\0", b"XMP\0")
_EXTENSION_HEAD = b"http://ns.adobe.com/xmp/extension/\0"
_EXTENSION_FIXED = len(_EXTENSION_HEAD) + 32 + 8  # a digest, the whole length, this offset
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_XMP_KEYWORDS = {"XML:com.adobe.xmp", "XMP"}
_EOI, _SOS, _COM = 0xD9, 0xDA, 0xFE
_APP0, _APP1, _APP11, _APP15 = 0xE0, 0xE1, 0xEB, 0xEF


@dataclass
class Embedded:
    """The parts that may declare something, by kind. A text has its keyword, or the empty one."""

    xmp: list[bytes] = field(default_factory=list)
    exif: list[bytes] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    segments: list[bytes] = field(default_factory=list)
    has_c2pa: bool = False


def find_mime(head: bytes) -> str | None:
    """Tell an image's type by its first bytes, or None. *Shape*: at least the first 12 bytes."""
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(_PNG_HEAD):
        return PNG
    return WEBP if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


def find_embedded(raw: bytes, mime: str) -> Embedded:
    """Collect what lies beside the pixels. *Raises*: Uninspectable beyond its bounds."""
    found = Embedded()
    _WALKS[mime](raw, found)
    return found


def _walk_jpeg(raw: bytes, found: Embedded) -> None:
    extension: list[tuple[int, bytes]] = []
    for marker, payload in _list_segments(raw):
        if marker == _APP11 and payload[:2] == b"JP":  # JPEG's own universal box
            found.has_c2pa = found.has_c2pa or b"c2pa" in payload
        elif marker == _APP1 and payload.startswith(b"Exif\0\0"):
            found.exif.append(payload[6:])
        elif marker == _APP1 and payload.startswith(_EXTENSION_HEAD):
            offset = int.from_bytes(payload[_EXTENSION_FIXED - 4 : _EXTENSION_FIXED])
            extension.append((offset, payload[_EXTENSION_FIXED:]))
        elif marker == _APP1 and payload.startswith(_XMP_HEADS):
            found.xmp.append(payload[payload.index(b"\0") + 1 :])
        elif b"AIGC" in payload or b"ContentProducer" in payload:
            found.segments.append(payload)
    if extension:
        found.xmp.append(b"".join(part for _, part in sorted(extension)))


def _list_segments(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Walk the segments before the first scan that applications may write."""
    at, parts = 2, 0
    while at + 4 <= len(raw) and raw[at] == 0xFF:  # noqa: PLR2004 - what every marker begins with
        marker = raw[at + 1]
        if marker == 0xFF:  # noqa: PLR2004 - fill
            at += 1
            continue
        length = int.from_bytes(raw[at + 2 : at + 4])
        if marker in {_SOS, _EOI} or length < 2:  # noqa: PLR2004 - its own two bytes
            return
        parts = _count(parts)
        if marker == _COM or _APP0 <= marker <= _APP15:
            yield marker, raw[at + 4 : at + 2 + length]
        at += 2 + length


def _walk_png(raw: bytes, found: Embedded) -> None:
    at, parts, inflated = len(_PNG_HEAD), 0, 0
    while at + 12 <= len(raw):
        length, kind = int.from_bytes(raw[at : at + 4]), raw[at + 4 : at + 8]
        body = raw[at + 8 : at + 8 + length] if kind != b"IDAT" else b""
        at, parts = at + 12 + length, _count(parts)
        if kind == b"IEND":
            return
        if kind == b"eXIf":
            found.exif.append(body)
        elif kind == b"caBX":
            found.has_c2pa = True
        elif kind in {b"tEXt", b"zTXt", b"iTXt"}:
            keyword, text, cost = _read_text(kind, body)
            inflated += cost
            if inflated > INFLATED_BYTES_MAX:
                raise _refuse_weight()
            if keyword in _XMP_KEYWORDS:
                found.xmp.append(text)
            else:
                encoding = "utf-8" if kind == b"iTXt" or b"AIGC" in text else "latin-1"
                found.texts.append((keyword, text.decode(encoding, "replace")))


def _read_text(kind: bytes, body: bytes) -> tuple[str, bytes, int]:
    """Give the keyword and the bytes of a text chunk, and how many were inflated for it."""
    keyword, _, rest = body.partition(b"\0")
    is_deflated = kind == b"zTXt" or (kind == b"iTXt" and rest[:1] == b"\1")
    if kind == b"zTXt":
        rest = rest[1:]
    elif kind == b"iTXt":
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    text = _inflate(rest) if is_deflated else rest
    return keyword.decode("latin-1"), text, len(text) if is_deflated else 0


def _inflate(deflated: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(deflated, TEXT_BYTES_MAX)
    except zlib.error:
        return b""
    if stream.unconsumed_tail:
        raise _refuse_weight()
    return text


def _walk_webp(raw: bytes, found: Embedded) -> None:
    at, parts = 12, 0
    while at + 8 <= len(raw):
        kind, length = raw[at : at + 4], int.from_bytes(raw[at + 4 : at + 8], "little")
        body = raw[at + 8 : at + 8 + length] if kind in {b"EXIF", b"XMP "} else b""
        at, parts = at + 8 + length + length % 2, _count(parts)
        if kind == b"EXIF":
            found.exif.append(body.removeprefix(b"Exif\0\0"))
        elif kind == b"XMP ":
            found.xmp.append(body)
        elif kind == b"C2PA":
            found.has_c2pa = True


def _count(parts: int) -> int:
    if parts >= PARTS_MAX:
        raise Uninspectable("too-much-metadata", f"A file has at most {PARTS_MAX} parts.")
    return parts + 1


def _refuse_weight() -> Uninspectable:
    return Uninspectable(
        "too-much-metadata", f"A compressed text inflates to at most {TEXT_BYTES_MAX} bytes."
    )


_WALKS = {JPEG: _walk_jpeg, PNG: _walk_png, WEBP: _walk_webp}
