"""Where one picture departs from another that it lies over: regions, and a picture for a reviewer.

Light, colour, saving and half a pixel of misplacement are evened out first, so that what is left
was drawn, taken away, or was really different. It knows pixels alone: whether a region is a crack,
a retouched flaw or a reflection is for a person to see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ledger_client.evidence.comparison import Region

if TYPE_CHECKING:
    from numpy.typing import NDArray

REGIONS_MAX = 16
_STEP_MIN = 20  # of 255, below which a difference is noise
_NOISE_TIMES = 5.0  # deviations of the picture's own noise
_DARKEST, _BRIGHTEST = 8, 245  # beyond which a smoothed level may have been cut off
_FITTED_MIN = 64
_REACH = 2  # pixels within which the same level counts as being there
_AREA_PER_MILLE_MIN = 0.3
_JOIN_PER_MILLE = 12  # of the longer side: parts nearer than this are one region
_RED = np.array((230, 20, 20), np.uint8)
_DIM = 0.35


@dataclass(frozen=True, slots=True)
class Departure:
    """What departs, largest first, how much of the frame that is, and where pixel by pixel."""

    regions: tuple[Region, ...]
    area_per_mille: float
    mask: NDArray[np.bool_]


def find_departure(
    claim: NDArray[np.uint8], listing: NDArray[np.uint8], covered: NDArray[np.bool_]
) -> Departure:
    """Find where a picture departs from the one that it lies over, within what it covers."""
    inside = cv2.erode(covered.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
    if not inside.any():
        return Departure((), 0.0, inside)
    smooth = [cv2.GaussianBlur(one, (0, 0), 0.8).astype(np.float32) for one in (claim, listing)]
    even = _even_light(smooth[0], smooth[1], inside)
    # A channel at its end may have meant anything beyond it, so that side of it says nothing.
    over = _rise(even, smooth[1]) * _is_open(smooth[0], smooth[1])
    under = _rise(smooth[1], even) * _is_open(smooth[1], smooth[0])
    steps = np.maximum(over, under).max(axis=2)
    noise = float(np.percentile(steps[inside], 75))
    strong = (steps > _STEP_MIN + _NOISE_TIMES * noise) & inside
    return _gather(strong)


def draw_overlay(
    claim: NDArray[np.uint8],
    listing: NDArray[np.uint8],
    departure: Departure,
    *,
    is_row: bool = False,
) -> NDArray[np.uint8]:
    """Draw the shop's photo, the claim's as it lies over it, and that again with its departures.

    *Shape*: in a row, or where that would be too wide in a column, from the left or the top.
    """
    grey = cv2.cvtColor(cv2.cvtColor(claim, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    marked = np.round(255 - _DIM * (255 - grey.astype(np.float32)) * 1.5).clip(0, 255)
    marked = marked.astype(np.uint8)
    marked[departure.mask] = _RED
    height, width = departure.mask.shape
    for one in departure.regions:
        left, right = (round(x * width / 1000) for x in (one.left, one.left + one.width))
        top, bottom = (round(y * height / 1000) for y in (one.top, one.top + one.height))
        cv2.rectangle(marked, (left - 3, top - 3), (right + 3, bottom + 3), _RED.tolist(), 1)
    axis = 1 if is_row or height >= width else 0
    shape = (height, 6, 3) if axis else (6, width, 3)
    gap = np.full(shape, 255, np.uint8)
    drawn: NDArray[np.uint8] = np.concatenate((listing, gap, claim, gap, marked), axis=axis)
    return drawn


def _even_light(
    claim: NDArray[np.float32], listing: NDArray[np.float32], inside: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Give the claim in the listing's light: a line a channel, fitted to the pixels that agree."""
    even = claim.copy()
    for channel in range(3):
        x, y = claim[..., channel][inside], listing[..., channel][inside]
        kept = (x > _DARKEST) & (x < _BRIGHTEST) & (y > _DARKEST) & (y < _BRIGHTEST)
        usable = kept.copy()
        slope, shift = 1.0, 0.0
        for _ in range(3):
            if kept.sum() < _FITTED_MIN or (spread := x[kept].var()) < 1:
                break
            slope = float(((x[kept] - x[kept].mean()) * (y[kept] - y[kept].mean())).mean() / spread)
            shift = float(y[kept].mean() - slope * x[kept].mean())
            apart = np.abs(slope * x + shift - y)
            kept = usable & (apart <= np.percentile(apart[usable], 80))
        even[..., channel] = slope * claim[..., channel] + shift
    return even


def _is_open(higher: NDArray[np.float32], lower: NDArray[np.float32]) -> NDArray[np.float32]:
    """Tell where the lower level isn't cut off above, nor the higher below."""
    is_cut = (lower > _BRIGHTEST) | (higher < _DARKEST)
    near = np.ones((4 * _REACH + 1, 4 * _REACH + 1), np.uint8)
    return np.asarray(1 - cv2.dilate(is_cut.astype(np.float32), near), np.float32)


def _rise(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """By how much a pixel lies outside of all levels that the other has near it."""
    near = np.ones((2 * _REACH + 1, 2 * _REACH + 1), np.uint8)
    above = one - cv2.dilate(other, near)
    below = cv2.erode(other, near) - one
    outside: NDArray[np.float32] = np.maximum(np.maximum(above, below), 0)
    return outside


def _gather(strong: NDArray[np.bool_]) -> Departure:
    """Join what lies together into regions, and drop specks."""
    height, width = strong.shape
    reach = max(3, max(height, width) * _JOIN_PER_MILLE // 1000) | 1
    joined = cv2.dilate(strong.astype(np.uint8), np.ones((reach, reach), np.uint8))
    count, labels = cv2.connectedComponents(joined)
    mask = np.zeros(strong.shape, bool)
    regions = []
    for label in range(1, count):
        part = strong & (labels == label)
        area = 1000 * int(part.sum()) / strong.size
        if area < _AREA_PER_MILLE_MIN:
            continue
        mask |= part
        rows, columns = np.nonzero(part.any(axis=1))[0], np.nonzero(part.any(axis=0))[0]
        left, right = 1000 * columns[0] // width, 1000 * (columns[-1] + 1) // width
        top, bottom = 1000 * rows[0] // height, 1000 * (rows[-1] + 1) // height
        wide, high = max(1, int(right - left)), max(1, int(bottom - top))
        regions.append(Region(int(left), int(top), wide, high, round(area, 1)))
    regions.sort(key=lambda one: -one.area_per_mille)
    total = round(1000 * int(mask.sum()) / strong.size, 1)
    return Departure(tuple(regions[:REGIONS_MAX]), total, mask)
