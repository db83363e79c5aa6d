"""What an MP4 or QuickTime file says beside its frames, found by walking its boxes.

It reads the box `moov` alone, and of it the metadata of the film: keys of QuickTime and of iTunes,
wherever programs put them. It knows ISO/IEC 14496-12 as far as that needs; frames are video.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from ledger_client.errors import Uninspectable
from ledger_client.evidence.container import Embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

MP4, QUICKTIME = "video/mp4", "video/quicktime"
MOOV_BYTES_MAX, BOXES_MAX = 32_000_000, 20_000
_XMP_ID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_C2PA_ID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_STILLS = {b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis"}
_QUICKTIME_FIRST = {b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_FOLDERS = {b"udta", b"meta", b"ilst"}
_Path = tuple[bytes, ...]


def find_video_mime(head: bytes) -> str | None:
    """Tell a video's type by its first bytes, or None. *Shape*: at least the first 12 bytes."""
    kind, brand = head[4:8], head[8:12]
    if kind == b"ftyp":
        if brand in _STILLS:
            return None
        return QUICKTIME if brand == b"qt  " else MP4
    return QUICKTIME if kind in _QUICKTIME_FIRST else None


def find_video_embedded(file: BinaryIO) -> Embedded:
    """Collect what the file says beside its frames. *Raises*: Uninspectable beyond its bounds."""
    found = Embedded()
    end = file.seek(0, 2)
    at, boxes = 0, 0
    while at + 8 <= end and boxes < BOXES_MAX:
        file.seek(at)
        head = file.read(32)
        length, kind = int.from_bytes(head[:4]), head[4:8]
        start = 16 if length == 1 else 8
        length = int.from_bytes(head[8:16]) if length == 1 else length or end - at
        if length < start:
            return found
        body_at, body_length = at + start, min(length, end - at) - start
        if kind == b"uuid":
            found.has_c2pa = found.has_c2pa or head[start : start + 16] == _C2PA_ID
        if kind == b"moov" or (kind == b"uuid" and head[start : start + 16] == _XMP_ID):
            body = _read_body(file, body_at, body_length)
            if kind == b"moov":
                _walk_film(body, found)
            else:
                found.xmp.append(body[16:])
        at, boxes = at + length, boxes + 1
    return found


def _read_body(file: BinaryIO, at: int, length: int) -> bytes:
    if length > MOOV_BYTES_MAX:
        raise Uninspectable(
            "too-much-metadata", f"A film's description has at most {MOOV_BYTES_MAX} bytes."
        )
    file.seek(at)
    return file.read(length)


def _walk_film(moov: bytes, found: Embedded) -> None:
    """Collect the texts of a film: `udta.meta`, `meta`, and boxes right under `udta`."""
    keys: list[str] = []
    left = BOXES_MAX
    waiting: list[tuple[_Path, bytes]] = [((), moov)]
    while waiting:
        path, body = waiting.pop()
        for kind, inner in _list_boxes(body):
            left -= 1
            if left < 0:
                raise Uninspectable("too-much-metadata", f"A film has at most {BOXES_MAX} boxes.")
            here = (*path, kind)
            if kind in _FOLDERS and len(path) < len(_FOLDERS):
                waiting.append((here, _skip_version(inner) if kind == b"meta" else inner))
            elif kind == b"keys":
                keys.extend(_read_keys(inner))
            elif path[-1:] == (b"ilst",):
                found.texts.append(_read_item(kind, inner))
            elif kind == b"XMP_":
                found.xmp.append(inner)
            elif path == (b"udta",):
                found.texts.append((kind.decode("latin-1"), _read_sized(inner)))
    found.texts = [(_name(keyword, keys), text) for keyword, text in found.texts]


def _list_boxes(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(body):
        length, kind = int.from_bytes(body[at : at + 4]), body[at + 4 : at + 8]
        if length < 8:  # noqa: PLR2004 - its own length and kind
            return
        yield kind, body[at + 8 : at + length]
        at += length


def _skip_version(meta: bytes) -> bytes:
    """Give the boxes of a `meta`, which in MP4 begins with a version and in QuickTime doesn't."""
    return meta if meta[4:8] == b"hdlr" else meta[4:]


def _read_keys(keys: bytes) -> list[str]:
    """Give the names of `ilst` items by their numbers, the first of them being 1."""
    return [name.decode("utf-8", "replace") for _, name in _list_boxes(keys[8:])]


def _name(keyword: str, keys: list[str]) -> str:
    """Give the name of an item that is one by number."""
    number = int.from_bytes(keyword.encode("latin-1", "replace")[:4])
    return keys[number - 1] if len(keyword) == 4 and 0 < number <= len(keys) else keyword  # noqa: PLR2004


def _read_item(kind: bytes, item: bytes) -> tuple[str, str]:
    """Give an item's key and text. *Shape*: `----` names itself in an inner `name`."""
    parts = dict(_list_boxes(item))
    name = parts.get(b"name", b"")[4:] if kind == b"----" else kind
    return name.decode("latin-1"), parts.get(b"data", b"")[8:].decode("utf-8", "replace")


def _read_sized(body: bytes) -> str:
    """Give the text of a box right under `udta`: after a length and a language, or bare."""
    length = int.from_bytes(body[:2])
    if 0 < length <= len(body) - 4:
        body = body[4 : 4 + length]
    return body.decode("utf-8", "replace").strip("\0")
