"""What a file records of how it was taken: when, with what camera, how large.

It is read to find contradictions between the files of one claim, and never leaves the confined
process as it stands: places, serial numbers and names aren't read at all. Anybody can write these
records anew; only their contradictions tell something.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAKE, _MODEL, _SAVED, _PHOTO = 0x010F, 0x0110, 0x0132, 0x8769
_TAKEN, _WIDE, _HIGH = 0x9003, 0xA002, 0xA003
_FORMATS = ("JPEG", "PNG", "WEBP")
_MAC_EPOCH = datetime(1904, 1, 1, tzinfo=UTC)
_MOVIE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Capture:
    """How a file was taken, as far as it says.

    *Shape*: times without a zone are the camera's own, read as UTC: they differ by zones at most.
    *Units*: sides in pixels, as stored, and as the camera recorded them.
    """

    size: tuple[int, int] | None = None
    recorded: tuple[int, int] | None = None
    camera: tuple[str, str] | None = None
    taken_at: datetime | None = None
    saved_at: datetime | None = None


def read_picture_capture(raw: bytes) -> Capture:
    """Read what an image that can be decoded says. Unreadable records count as none."""
    with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(raw), formats=_FORMATS) as it:
        size = it.size
        try:
            tags = it.getexif()
            photo = dict(tags.get_ifd(_PHOTO))
        except Exception:  # noqa: BLE001 - the reader raises whatever a damaged byte leads it to
            return Capture(size)
    make, model = (str(tags.get(tag, "")).strip("\0 ") for tag in (_MAKE, _MODEL))
    sides = [side for tag in (_WIDE, _HIGH) if isinstance(side := photo.get(tag), int) and side > 0]
    return Capture(
        size,
        (sides[0], sides[1]) if len(sides) == 2 else None,  # noqa: PLR2004
        (make, model) if make or model else None,
        _parse_time(photo, _TAKEN),
        _parse_time(tags, _SAVED),
    )


def read_film_capture(file: BinaryIO) -> Capture:
    """Read when a film was made, by its box `moov.mvhd` (ISO/IEC 14496-12, 8.2.2)."""
    end, at = file.seek(0, 2), 0
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4])
        start = 16 if length == 1 else 8
        length = int.from_bytes(head[8:16]) if length == 1 else length or end - at
        if length < start:
            break
        if head[4:8] == b"moov":
            file.seek(at + start)
            movie = file.read(_MOVIE_BYTES)
            if movie[4:8] != b"mvhd":
                break
            seconds = int.from_bytes(movie[12:20] if movie[8] else movie[12:16])
            if not 0 < seconds < 2**33:
                break
            return Capture(taken_at=_MAC_EPOCH + timedelta(seconds=seconds))
        at += length
    return Capture()


def _parse_time(tags: Mapping[int, object], tag: int) -> datetime | None:
    try:
        return datetime.strptime(str(tags.get(tag))[:19], "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
