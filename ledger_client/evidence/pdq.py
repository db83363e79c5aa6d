"""PDQ: 256 bits by which a picture is known again after it was saved anew, scaled or mirrored.

The algorithm is that of Meta's specification ("The TMK+PDQF Video-Hashing Algorithm and the PDQ
Image-Hashing Algorithm", 2019), in matrices: smoothing and decimation are one product a side, and
the seven turned and mirrored pictures follow from the coefficients of the first. It knows pixels
alone, and gives a number of bits, never whether two pictures are the same.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ledger_client.evidence.attributes import PerceptualHash

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

SIDE, WAVES = 64, 16
_LUMA = np.array((0.299, 0.587, 0.114), np.float32)
_WAVE = np.arange(1, WAVES + 1)  # the constant wave is left out, so brightness is
_COSINES = np.sqrt(2 / SIDE) * np.cos(
    np.pi / (2 * SIDE) * np.outer(_WAVE, 2 * np.arange(SIDE) + 1)
).astype(np.float32)
_ODD = np.where(_WAVE % 2, -1, 1)  # what mirroring does to the coefficient of a wave


def hash_image(image: Image) -> PerceptualHash:
    """Hash an RGB picture in its eight forms."""
    luma = np.asarray(image, np.float32) @ _LUMA
    height, width = luma.shape
    small = _thin(height) @ luma @ _thin(width).T
    waves = _COSINES @ small @ _COSINES.T
    down, across = _ODD[:, None], _ODD[None, :]
    upright = (waves, waves * down * across, waves * down, waves * across)
    same, half_turn, upside_down, mirrored = upright
    lying = (mirrored.T, upside_down.T, same.T, half_turn.T)
    forms = (same, lying[0], half_turn, lying[1], upside_down, mirrored, lying[2], lying[3])
    return PerceptualHash(tuple(_threshold(one) for one in forms), _grade(small))


def distance(one: bytes, other: bytes) -> int:
    """Count the bits in which two hashes differ."""
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


@lru_cache(maxsize=64)
def _thin(length: int) -> NDArray[np.float32]:
    """Give the matrix that smooths a side by two box filters and keeps 64 of its points."""
    window = (length + 2 * SIDE - 1) // (2 * SIDE)
    ahead = (window + 2) // 2
    at = np.arange(length)
    offset = at[None, :] - at[:, None]
    box = ((offset < ahead) & (offset >= ahead - window)).astype(np.float32)
    box /= box.sum(axis=1, keepdims=True)
    kept = ((np.arange(SIDE) + 0.5) * length / SIDE).astype(int)
    thin: NDArray[np.float32] = box[kept] @ box
    return thin


def _threshold(waves: NDArray[np.float32]) -> bytes:
    """Set a bit for each coefficient above the median, the first as the last bit."""
    flat = waves.ravel()
    above = flat > np.partition(flat, flat.size // 2 - 1)[flat.size // 2 - 1]
    return np.packbits(above[::-1]).tobytes()


def _grade(small: NDArray[np.float32]) -> int:
    """Grade how much there is to see, by the steps between neighbouring points."""
    steps = [np.trunc(np.diff(small, axis=axis) * (100 / 255)) for axis in (0, 1)]
    return min(100, int(sum(float(np.abs(one).sum()) for one in steps)) // 90)
