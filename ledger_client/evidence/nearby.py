"""Find all hashes near one, exactly, among a million in memory.

The hashes lie in four columns of 64 bits. Two pictures that differ in at most 31 bits differ in at
most 31 of the first 128, which of unlike pictures almost none do: two columns are read, and what
they leave is counted in full. It knows bits alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BITS_MAX = 31
_WORDS, _BYTES = 4, 32
_BLOCK = 16_384  # hashes, whose two words and counts stay in a processor's cache


@dataclass(frozen=True, slots=True)
class HashColumns:
    """Hashes of 256 bits, as 4 × n words."""

    words: NDArray[np.uint64]

    @classmethod
    def gather(cls, hashes: Sequence[bytes]) -> Self:
        """Lay out hashes of 32 bytes. *Raises*: ValueError."""
        if any(len(one) != _BYTES for one in hashes):
            raise ValueError("A hash has 32 bytes.")
        rows = np.frombuffer(b"".join(hashes), np.uint64).reshape(-1, _WORDS)
        return cls(np.ascontiguousarray(rows.T))

    def find_near(self, wanted: bytes, bits_max: int = BITS_MAX) -> list[tuple[int, int]]:
        """Find all hashes within so many bits. *Shape*: position and distance, in order."""
        query = np.frombuffer(wanted, np.uint64)
        first, second, *_ = self.words
        found = []
        for at in range(0, self.words.shape[1], _BLOCK):
            block = slice(at, at + _BLOCK)
            count = np.bitwise_count(first[block] ^ query[0])
            count += np.bitwise_count(second[block] ^ query[1])
            found += [at + int(one) for one in np.flatnonzero(count <= bits_max)]
        whole = np.bitwise_count(self.words[:, found] ^ query[:, None]).sum(axis=0)
        pairs = zip(found, map(int, whole), strict=True)
        return [(position, bits) for position, bits in pairs if bits <= bits_max]
