"""Lay one picture over another that shows the same, whatever was shifted, scaled, turned or cut.

Landmarks are found by SIFT, and the one movement that most of them agree on by random sampling from
a fixed seed, so that the same two pictures give the same answer. It knows pixels alone; mirrored
pictures are the caller's to turn first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LANDMARKS_MAX = 1500
AGREEING_MIN, AGREEING_PER_MILLE_MIN = 12, 250
_RATIO_MAX = 0.8  # a landmark counts where its best match is clearly better than the second
_APART_MAX = 3.0  # pixels between where a landmark is and where the movement puts it
_SCALE_MIN, _SCALE_MAX = 0.2, 5.0


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Where a picture has landmarks, and what each looks like."""

    points: NDArray[np.float32]
    looks: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Movement:
    """How one picture lies over another.

    *Shape*: a matrix of 2 × 3 from pixels of the first to pixels of the second. *Units*: agreeing
    is a number of landmarks.
    """

    matrix: NDArray[np.float64]
    agreeing: int

    @property
    def scale(self) -> float:
        """By what a length grows."""
        return float(np.hypot(*self.matrix[:, 0]))

    @property
    def degrees(self) -> float:
        """By what the picture is turned."""
        return float(np.degrees(np.arctan2(self.matrix[1, 0], self.matrix[0, 0])))


def find_landmarks(picture: NDArray[np.uint8]) -> Landmarks:
    """Find the landmarks of an RGB picture."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    found, looks = cv2.SIFT.create(LANDMARKS_MAX).detectAndCompute(grey, None)
    if looks is None:
        return Landmarks(np.empty((0, 2), np.float32), np.empty((0, 128), np.float32))
    return Landmarks(np.array([one.pt for one in found], np.float32), np.asarray(looks, np.float32))


def register(moved: Landmarks, still: Landmarks) -> Movement | None:
    """Find how the one picture lies over the other, or None where too little agrees."""
    if min(len(moved.points), len(still.points)) < AGREEING_MIN:
        return None
    pairs = _match(moved.looks, still.looks)
    if len(pairs) < AGREEING_MIN:
        return None
    cv2.setRNGSeed(0)
    matrix, agree = cv2.estimateAffinePartial2D(
        moved.points[pairs[:, 0]],
        still.points[pairs[:, 1]],
        method=cv2.RANSAC,
        ransacReprojThreshold=_APART_MAX,
        maxIters=4000,
    )
    if matrix is None:
        return None
    movement = Movement(np.asarray(matrix, float), int(agree.sum()))
    is_enough = movement.agreeing >= AGREEING_MIN
    is_most = movement.agreeing * 1000 >= len(pairs) * AGREEING_PER_MILLE_MIN
    is_plausible = _SCALE_MIN <= movement.scale <= _SCALE_MAX
    return movement if is_enough and is_most and is_plausible else None


def lay_over(
    picture: NDArray[np.uint8], movement: Movement, shape: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Move a picture into the other's frame. *Shape*: the picture moved, and where it is at all."""
    height, width = shape
    moved: Any = cv2.warpAffine(picture, movement.matrix, (width, height), flags=cv2.INTER_AREA)
    whole = np.full(picture.shape[:2], 255, np.uint8)
    covered = cv2.warpAffine(whole, movement.matrix, (width, height), flags=cv2.INTER_LINEAR)
    return moved, covered == whole.max()


def _match(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.int64]:
    """Pair landmarks that are each other's best match and clearly better than the second."""
    near = cv2.BFMatcher(cv2.NORM_L2).knnMatch(one, other, k=2)
    there = [best for best, second in near if best.distance < _RATIO_MAX * second.distance]
    back = cv2.BFMatcher(cv2.NORM_L2).match(other, one)
    best_of = {match.queryIdx: match.trainIdx for match in back}
    kept = [(m.queryIdx, m.trainIdx) for m in there if best_of.get(m.trainIdx) == m.queryIdx]
    return np.array(kept, np.int64).reshape(-1, 2)
