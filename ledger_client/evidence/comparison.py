"""Compare a claim's photo with the shop's, and a claim's files with one another.

Everything is measured in the confined process of inspection.py. What comes back is for the
platform's own reviewer and is sent to nobody: numbers, and a picture that shows where to look.
Nothing here says that anything is forged: a retouched shop photo departs from an honest one too.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from ledger_client.errors import Uninspectable
from ledger_client.evidence.inspection import (
    Limits,
    Refusal,
    break_down,
    open_regular,
    require_extra,
    run_child,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ITEMS_MAX = 12
LIMITS = Limits(seconds=60)
_ANSWER_BYTES_MAX = 24_000_000
_PIXELS_MAX = 3_500_000


class Turn(StrEnum):
    """How a picture was turned or mirrored, in the order of the eight forms of a hash."""

    AS_IS = "as_is"
    TURNED_90 = "turned_90"
    TURNED_180 = "turned_180"
    TURNED_270 = "turned_270"
    UPSIDE_DOWN = "mirrored_upside_down"
    MIRRORED = "mirrored"
    DIAGONAL = "mirrored_diagonally"
    ANTIDIAGONAL = "mirrored_antidiagonally"


class FindingKind(StrEnum):
    """What two files of a claim, or one with itself, have to do with each other."""

    SAME_BYTES = "same_bytes"
    SAME_PICTURE = "same_picture"
    TURNED_PICTURE = "turned_picture"
    SAME_SCENE = "same_scene"
    SCENE_DEPARTS = "scene_departs"
    TIMES_APART = "times_apart"
    CAMERAS_DIFFER = "cameras_differ"
    SHAPES_DIFFER = "shapes_differ"
    SIZE_CONTRADICTS = "size_contradicts"
    SAVED_LATER = "saved_later"
    SAVED_BEFORE = "saved_before"


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the frame that departs. *Units*: per mille of the frame's sides and area."""

    left: int
    top: int
    width: int
    height: int
    area_per_mille: float


@dataclass(frozen=True, slots=True)
class Placement:
    """How the claim's photo lies over the shop's.

    *Shape*: no landmark agrees where the whole frames were laid over each other by their hashes.
    *Units*: scale and degrees are of the claim's movement; covered is of the shop's frame.
    """

    is_mirrored: bool
    scale: float
    degrees: float
    covered_per_mille: int
    agreeing: int


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture for a person. *Shape*: RGB, a row after another."""

    width: int
    height: int
    pixels: bytes


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a claim's photo stands to the shop's.

    *Shape*: distance 0 to 256 is the least over the eight forms, and turn is which; placement,
    regions and overlay are there where the one could be laid over the other. *Units*: qualities of
    the claim's and the shop's hash, of which below 50 is too featureless to tell anything.
    """

    is_same_bytes: bool
    distance: int
    turn: Turn
    qualities: tuple[int, int]
    placement: Placement | None
    regions: tuple[Region, ...]
    departed_per_mille: float
    overlay: Drawing | None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was measured between two files, counted from 1, or within one.

    *Units* of amount: bits of distance for pictures, per mille of the second's frame that the first
    covers for the same scene, regions for one that departs, seconds for times, the recorded pixels
    over the actual ones for a size, the ratio of two shapes; otherwise 0.
    """

    kind: FindingKind
    first: int
    second: int
    amount: float


@dataclass(frozen=True, slots=True)
class SetComparison:
    """What a claim's files have to do with each other, and a sheet of them for the reviewer.

    *Shape*: pictures of the files in their order, how many frames each was judged by.
    """

    frames: tuple[int, ...]
    findings: tuple[Finding, ...]
    sheet: Drawing


class _Answer(BaseModel):
    model_config = ConfigDict(val_json_bytes="hex", extra="forbid")

    comparison: Comparison | None = None
    collation: SetComparison | None = None
    refusal: Refusal | None = None


def compare(claim: Path, listing: Path, limits: Limits = LIMITS) -> Comparison:
    """Compare a claim's picture with the shop's. *Raises*: Uninspectable, MissingExtra, OSError."""
    answer = _ask("compare", (claim, listing), limits)
    if not answer.comparison or not _is_sound(answer.comparison.overlay):
        raise break_down()
    return answer.comparison


def compare_set(items: Sequence[Path], limits: Limits = LIMITS) -> SetComparison:
    """Compare the pictures and videos of one claim with one another, 2 to 12 of them.

    *Raises*: Uninspectable, MissingExtra, OSError.
    """
    if not 1 < len(items) <= ITEMS_MAX:
        raise Uninspectable("not-supported", f"A set has 2 to {ITEMS_MAX} files.")
    answer = _ask("collate", items, limits)
    if not answer.collation or not _is_sound(answer.collation.sheet):
        raise break_down()
    return answer.collation


def write_png(drawing: Drawing) -> bytes:
    """Write a drawing as a PNG file, here, so that no file comes from the confined process."""
    row = 3 * drawing.width
    rows = (drawing.pixels[at : at + row] for at in range(0, row * drawing.height, row))
    head = struct.pack(">IIBBBBB", drawing.width, drawing.height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + one for one in rows), 6)
    chunks = ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
        for kind, part in chunks
    )


def _ask(task: str, paths: Sequence[Path], limits: Limits) -> _Answer:
    require_extra()
    with ExitStack() as stack:
        files = [stack.enter_context(open_regular(path)) for path in paths]
        raw = run_child(task, files, limits, _ANSWER_BYTES_MAX)
    try:
        answer = _Answer.model_validate_json(raw)
    except ValidationError as error:
        raise break_down() from error
    if answer.refusal:
        raise Uninspectable(answer.refusal.code, answer.refusal.detail)
    return answer


def _is_sound(drawing: Drawing | None) -> bool:
    """Tell whether a drawing has the pixels that it announces, whatever printed it."""
    if drawing is None:
        return True
    is_sized = 0 < drawing.width * drawing.height <= _PIXELS_MAX and drawing.width > 0
    return is_sized and len(drawing.pixels) == 3 * drawing.width * drawing.height
