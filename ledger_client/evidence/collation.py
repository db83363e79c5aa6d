"""Lay pictures over one another and put down what differs, in the process that it is called in.

Only the confined child calls it on files that somebody else made. It puts the parts together:
hashes, landmarks, departures, and what files record of how they were taken.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ledger_client.errors import Uninspectable
from ledger_client.evidence.box import find_video_mime
from ledger_client.evidence.capture import Capture, read_film_capture, read_picture_capture
from ledger_client.evidence.comparison import (
    Comparison,
    Drawing,
    Finding,
    FindingKind,
    Placement,
    Region,
    SetComparison,
    Turn,
)
from ledger_client.evidence.container import find_mime
from ledger_client.evidence.decoding import IMAGE_BYTES_MAX, decode_bytes
from ledger_client.evidence.departure import Departure, draw_overlay, find_departure
from ledger_client.evidence.pdq import distance, hash_image
from ledger_client.evidence.registration import (
    Landmarks,
    Movement,
    find_landmarks,
    lay_over,
    register,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ledger_client.evidence.attributes import PerceptualHash

FRAMES_MAX, SAME_MAX, QUALITY_MIN = 4, 31, 50
_SURE = 30  # agreeing landmarks with which the mirrored picture isn't tried
_APART_SECONDS, _SAVED_SECONDS = 86_400, 60
_SHAPE_RATIO = 1.02
_SCENE_COVERED_MIN = 300
_SHEET_SIDE, _SHEET_COLUMNS, _SHEET_PAIRS = 240, 4, 6
_WHITE, _LETTERS = 255, 20
_TURNS = {  # what brings a picture of that form back
    Turn.TURNED_90: Image.Transpose.ROTATE_90,
    Turn.TURNED_180: Image.Transpose.ROTATE_180,
    Turn.TURNED_270: Image.Transpose.ROTATE_270,
    Turn.UPSIDE_DOWN: Image.Transpose.FLIP_TOP_BOTTOM,
    Turn.MIRRORED: Image.Transpose.FLIP_LEFT_RIGHT,
    Turn.DIAGONAL: Image.Transpose.TRANSPOSE,
    Turn.ANTIDIAGONAL: Image.Transpose.TRANSVERSE,
}


@dataclass(frozen=True)
class _Frame:
    """A picture or a key frame, with all that is compared of it."""

    picture: Image.Image
    pixels: NDArray[np.uint8]
    hashed: PerceptualHash
    landmarks: Landmarks


@dataclass(frozen=True)
class _Laid:
    """The one frame as it lies over the other, and where it departs."""

    movement: Movement
    is_mirrored: bool
    covered_per_mille: int
    pixels: NDArray[np.uint8]
    departure: Departure


@dataclass(frozen=True)
class _Item:
    digest: bytes
    capture: Capture
    frames: tuple[_Frame, ...]


def compare_pair(claim: str, listing: str) -> Comparison:
    """Compare a claim's picture with the shop's. *Raises*: Uninspectable."""
    raws = [_read_image(name) for name in (claim, listing)]
    one, other = (_take_frame(decode_bytes(raw)) for raw in raws)
    bits, turn = _find_turn(one.hashed, other.hashed)
    laid = _lay(one, other, bits, turn)
    qualities = (one.hashed.quality, other.hashed.quality)
    is_same = raws[0] == raws[1]
    if laid is None:
        return Comparison(is_same, bits, turn, qualities, None, (), 0.0, None)
    placement = Placement(
        laid.is_mirrored,
        round(laid.movement.scale, 3),
        round(laid.movement.degrees, 1),
        laid.covered_per_mille,
        laid.movement.agreeing,
    )
    departure = laid.departure
    overlay = _draw(draw_overlay(laid.pixels, other.pixels, departure))
    regions, area = departure.regions, departure.area_per_mille
    return Comparison(is_same, bits, turn, qualities, placement, regions, area, overlay)


def lay_pictures(claim: Image.Image, listing: Image.Image) -> tuple[Region, ...] | None:
    """Give where a decoded picture departs from another, or None where it can't be laid over it."""
    one, other = _take_frame(claim), _take_frame(listing)
    laid = _lay(one, other, *_find_turn(one.hashed, other.hashed))
    return laid.departure.regions if laid else None


def collate(names: Sequence[str]) -> SetComparison:
    """Compare the files of one claim with one another. *Raises*: Uninspectable."""
    items = [_read_item(name) for name in names]
    findings: list[Finding] = []
    strips: list[NDArray[np.uint8]] = []
    for number, item in enumerate(items, 1):
        findings += _judge_alone(number, item.capture)
    for (first, one), (second, other) in combinations(enumerate(items, 1), 2):
        findings += _judge_captures(first, second, one.capture, other.capture)
        finding, strip = _judge_pictures(first, second, one, other)
        findings += finding
        strips += strip
    findings.sort(key=lambda one: (one.first, one.second))
    counts = tuple(len(one.frames) for one in items)
    return SetComparison(counts, tuple(findings), _draw(_draw_sheet(items, strips)))


def _read_image(name: str) -> bytes:
    with Path(name).open("rb") as file:
        raw = file.read(IMAGE_BYTES_MAX + 1)
    if find_mime(raw[:32]) is None:
        raise Uninspectable("not-supported", "The file is no JPEG, PNG or WebP.")
    return raw


def _read_item(name: str) -> _Item:
    with Path(name).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        file.seek(0)
        if find_mime(file.read(32)):
            raw = _read_image(name)
            frame = _take_frame(decode_bytes(raw))
            return _Item(digest, read_picture_capture(raw), (frame,))
        file.seek(0)
        if find_video_mime(file.read(32)) is None:
            raise Uninspectable("not-supported", "The file is no JPEG, PNG, WebP, MP4 or MOV.")
        capture = read_film_capture(file)
    return _Item(digest, capture, tuple(islice(_list_distinct(name), FRAMES_MAX)))


def _list_distinct(name: str) -> Iterator[_Frame]:
    """Give the key frames of a video that don't look like the one before."""
    from ledger_client.evidence.video import list_key_frames  # noqa: PLC0415 - slow to import

    last = None
    for picture in list_key_frames(name):
        hashed = hash_image(picture)
        if last is None or distance(last, hashed.forms[0]) > SAME_MAX:
            last = hashed.forms[0]
            yield _take_frame(picture, hashed)


def _take_frame(picture: Image.Image, hashed: PerceptualHash | None = None) -> _Frame:
    pixels = np.asarray(picture)
    return _Frame(picture, pixels, hashed or hash_image(picture), find_landmarks(pixels))


def _find_turn(one: PerceptualHash, other: PerceptualHash) -> tuple[int, Turn]:
    """Give the least distance over the eight forms, and how the first is to be turned for it."""
    bits = [distance(form, other.forms[0]) for form in one.forms]
    least = min(bits)
    return least, tuple(Turn)[bits.index(least)]


def _lay(one: _Frame, other: _Frame, bits: int, turn: Turn) -> _Laid | None:
    """Lay a frame over another: by landmarks as it is or mirrored, or else whole by its hash."""
    pixels, is_mirrored = one.pixels, False
    movement = register(one.landmarks, other.landmarks)
    if movement is None or movement.agreeing < _SURE:
        mirrored = np.ascontiguousarray(pixels[:, ::-1])
        found = register(find_landmarks(mirrored), other.landmarks)
        if found and (movement is None or found.agreeing > movement.agreeing):
            pixels, is_mirrored, movement = mirrored, True, found
    height, width = other.pixels.shape[:2]
    is_known = bits <= SAME_MAX and min(one.hashed.quality, other.hashed.quality) >= QUALITY_MIN
    if movement is None and is_known:
        turned = one.picture if turn is Turn.AS_IS else one.picture.transpose(_TURNS[turn])
        pixels = np.asarray(turned.resize((width, height)))
        is_mirrored = tuple(Turn).index(turn) >= tuple(Turn).index(Turn.UPSIDE_DOWN)
        movement = Movement(np.eye(2, 3), 0)
    if movement is None:
        return None
    moved, covered = lay_over(pixels, movement, (height, width))
    share = int(1000 * covered.mean())
    departure = find_departure(moved, other.pixels, covered)
    return _Laid(movement, is_mirrored, share, moved, departure)


def _judge_alone(number: int, capture: Capture) -> Iterator[Finding]:
    """Find what a file's own records contradict."""
    if capture.size and capture.recorded:
        actual, recorded = sorted(capture.size), sorted(capture.recorded)
        if actual != recorded:
            ratio = round(recorded[0] * recorded[1] / (actual[0] * actual[1]), 3)
            yield Finding(FindingKind.SIZE_CONTRADICTS, number, number, ratio)
    if capture.taken_at and capture.saved_at:
        seconds = (capture.saved_at - capture.taken_at).total_seconds()
        if seconds > _SAVED_SECONDS:
            yield Finding(FindingKind.SAVED_LATER, number, number, seconds)
        elif seconds < 0:
            yield Finding(FindingKind.SAVED_BEFORE, number, number, -seconds)


def _judge_captures(first: int, second: int, one: Capture, other: Capture) -> Iterator[Finding]:
    """Find what two files' records contradict."""
    if one.taken_at and other.taken_at:
        seconds = abs((one.taken_at - other.taken_at).total_seconds())
        if seconds > _APART_SECONDS:
            yield Finding(FindingKind.TIMES_APART, first, second, seconds)
    if one.camera and other.camera:
        if one.camera != other.camera:
            yield Finding(FindingKind.CAMERAS_DIFFER, first, second, 0.0)
        elif one.size and other.size:
            shapes = [max(sides) / min(sides) for sides in (one.size, other.size)]
            ratio = max(shapes) / min(shapes)
            if ratio > _SHAPE_RATIO:
                yield Finding(FindingKind.SHAPES_DIFFER, first, second, round(ratio, 3))


def _judge_pictures(
    first: int, second: int, one: _Item, other: _Item
) -> tuple[list[Finding], list[NDArray[np.uint8]]]:
    """Find whether two files show the same picture or the same scene, by their nearest frames."""
    if one.digest == other.digest:
        return [Finding(FindingKind.SAME_BYTES, first, second, 0.0)], []
    pairs = [
        (*_find_turn(a.hashed, b.hashed), number, a, b)
        for number, (a, b) in enumerate((a, b) for a in one.frames for b in other.frames)
    ]
    bits, turn, _, a, b = min(pairs, key=lambda pair: (pair[0], pair[2]))
    found: list[Finding] = []
    if bits <= SAME_MAX and min(a.hashed.quality, b.hashed.quality) >= QUALITY_MIN:
        kind = FindingKind.SAME_PICTURE if turn is Turn.AS_IS else FindingKind.TURNED_PICTURE
        found.append(Finding(kind, first, second, float(bits)))
    laid, b = _lay_best(pairs)
    if laid is None:
        return found, []
    if not laid.departure.regions:
        covered = float(laid.covered_per_mille)
        return found or [Finding(FindingKind.SAME_SCENE, first, second, covered)], []
    found.append(
        Finding(FindingKind.SCENE_DEPARTS, first, second, float(len(laid.departure.regions)))
    )
    drawn = draw_overlay(laid.pixels, b.pixels, laid.departure, is_row=True)
    return found, [_label(_fit_row(drawn), f"{second}, {first} over it")]


def _lay_best(
    pairs: list[tuple[int, Turn, int, _Frame, _Frame]],
) -> tuple[_Laid | None, _Frame]:
    """Lay the pair of frames over each other on which most landmarks agree."""
    best: tuple[_Laid | None, _Frame] = (None, pairs[0][4])
    for bits, turn, _, a, b in pairs:
        laid = _lay(a, b, bits, turn)
        if laid is None or laid.covered_per_mille < _SCENE_COVERED_MIN:
            continue
        if best[0] is None or laid.movement.agreeing > best[0].movement.agreeing:
            best = (laid, b)
    return best


def _draw_sheet(items: Sequence[_Item], strips: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Draw all files in their order, and below them the pairs whose scenes depart."""
    wide = _SHEET_SIDE * _SHEET_COLUMNS
    cells = []
    for number, item in enumerate(items, 1):
        thumb = item.frames[0].picture.copy()
        thumb.thumbnail((_SHEET_SIDE - 8, _SHEET_SIDE - 8))
        cell = np.full((_SHEET_SIDE, _SHEET_SIDE, 3), _WHITE, np.uint8)
        cell[4 : 4 + thumb.height, 4 : 4 + thumb.width] = np.asarray(thumb)
        cells.append(_label(cell, str(number)))
    rows = []
    for at in range(0, len(cells), _SHEET_COLUMNS):
        row = np.concatenate(cells[at : at + _SHEET_COLUMNS], axis=1)
        rows.append(np.pad(row, ((0, 0), (0, wide - row.shape[1]), (0, 0)), constant_values=_WHITE))
    sheet: NDArray[np.uint8] = np.concatenate((*rows, *strips[:_SHEET_PAIRS]))
    return sheet


def _fit_row(strip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Scale pictures that stand in a row to the width of the sheet."""
    picture = Image.fromarray(strip)
    picture.thumbnail((_SHEET_SIDE * _SHEET_COLUMNS, 2 * _SHEET_SIDE))
    row = np.full((picture.height + 8, _SHEET_SIDE * _SHEET_COLUMNS, 3), _WHITE, np.uint8)
    row[4 : 4 + picture.height, : picture.width] = np.asarray(picture)
    return row


def _label(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """Write into the upper left corner, legible on anything."""
    labelled = Image.fromarray(picture)
    font = ImageFont.load_default(_LETTERS)
    ImageDraw.Draw(labelled).text((8, 6), text, "black", font, stroke_width=2, stroke_fill="white")
    return np.asarray(labelled)


def _draw(pixels: NDArray[np.uint8]) -> Drawing:
    height, width = pixels.shape[:2]
    return Drawing(width, height, pixels.tobytes())
