"""The search in columns finds what counting every bit of every hash finds, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from ledger_client.evidence.nearby import HashColumns
from ledger_client.evidence.pdq import distance


def flip(one: bytes, bits: list[int]) -> bytes:
    """Flip the bits of these numbers."""
    number = int.from_bytes(one)
    for bit in bits:
        number ^= 1 << bit
    return number.to_bytes(32)


@pytest.mark.parametrize("bits_max", [0, 10, 31, 90])
def test_all_that_is_near_is_found_wherever_its_bits_lie(bits_max: int) -> None:
    random = np.random.default_rng(3)
    hashes = [random.bytes(32) for _ in range(40_000)]
    wanted = random.bytes(32)
    for number in range(300):
        low, high = ((0, 256), (0, 64), (192, 256), (64, 192))[number % 4]
        bits = random.permutation(np.arange(low, high))[: number % 60].tolist()
        hashes[int(random.integers(40_000))] = flip(wanted, bits)
    expected = [
        (at, bits) for at, one in enumerate(hashes) if (bits := distance(one, wanted)) <= bits_max
    ]
    assert expected
    assert HashColumns.gather(hashes).find_near(wanted, bits_max) == expected


def test_nothing_is_found_among_no_hashes_and_a_short_one_is_refused() -> None:
    assert HashColumns.gather([]).find_near(bytes(32)) == []
    with pytest.raises(ValueError, match="32 bytes"):
        HashColumns.gather([bytes(31)])
