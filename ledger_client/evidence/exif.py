"""The few tags of an Exif block that evidence is about.

It asks for tags by number, so that a place, a serial number, a time or an owner's name is never
even read. It judges none of what it finds.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from PIL import Image

_EXIF_IFD = 0x8769
_DESCRIPTION, _MAKE, _SOFTWARE, _XMP, _USER_COMMENT = 0x010E, 0x010F, 0x0131, 0x02BC, 0x9286
_PREFIX_BYTES = 8
_TEXT_MAX = 65_536


class UnreadableExif(Exception):
    """A block isn't what the TIFF structure allows."""


@dataclass(frozen=True)
class ExifTags:
    """What was asked for. An absent tag is empty."""

    comments: tuple[str, ...]
    software: str
    xmp: bytes
    has_make: bool


def parse_exif(block: bytes) -> ExifTags:
    """Read the tags of a block, which begins with the TIFF header.

    *Raises*: UnreadableExif.
    """
    exif = Image.Exif()
    try:
        with warnings.catch_warnings(action="ignore"):
            exif.load(block)
            inner = exif.get_ifd(_EXIF_IFD)
            comments = [_decode_comment(one.get(_USER_COMMENT)) for one in (inner, exif)]
            comments.append(_decode(exif.get(_DESCRIPTION)))
            xmp = exif.get(_XMP)
            return ExifTags(
                tuple(filter(None, comments)),
                _decode(exif.get(_SOFTWARE)),
                bytes(xmp) if isinstance(xmp, bytes | tuple) else b"",
                _MAKE in exif,
            )
    except MemoryError:
        raise
    except Exception as error:  # a parser raises whatever a damaged byte leads it to
        raise UnreadableExif from error


def _decode_comment(value: object) -> str:
    """Give a UserComment, whose first 8 bytes should name its characters and often don't."""
    if not isinstance(value, bytes):
        return _decode(value)
    prefix, body = value[:_PREFIX_BYTES], value[_PREFIX_BYTES:]
    if prefix == b"UNICODE\0" and b"{\0" in body + b"\0" and b'"Label"' not in body:
        is_big = b"\0{" in body[:4] or body[:2] == b"\xfe\xff"
        return _decode(body.decode("utf-16-be" if is_big else "utf-16-le", "replace"))
    is_prefixed = prefix[:5] in {b"ASCII", b"UNICO"} or prefix.strip(b"\0") in {b"JIS", b""}
    return _decode(body if is_prefixed else value)


def _decode(value: object) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return text.strip("\0 \ufeff")[:_TEXT_MAX] if isinstance(text, str) else ""
