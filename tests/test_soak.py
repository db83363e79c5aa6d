"""The soak tries each law, names the seed that breaks one, and tries that seed again alike."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import soak
from test_invariants import TAPE_BYTES

if TYPE_CHECKING:
    import pytest


def test_soak_agrees_on_each_law_and_says_on_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    tried = {soak.choose_law(seed, soak.LAWS) for seed in range(2 * len(soak.LAWS))}
    assert tried == set(soak.LAWS)
    assert soak.ORACLE in tried
    assert soak.main(["--sequences", "40", "--workers", "1"]) == 0
    told = capsys.readouterr()
    assert told.out == f"40 sequences agreed, on {len(soak.LAWS)} laws.\n"
    assert "40 of 40 sequences agree" in told.err


def test_soak_gives_the_first_seed_that_breaks_a_law() -> None:
    def breaks(tape: bytes) -> None:
        assert tape[0] < 250

    expected = next(seed for seed in range(1000) if Random(seed).randbytes(TAPE_BYTES)[0] >= 250)
    found = soak.try_histories(0, 1000, {"a law": breaks})
    assert found is not None
    assert (found.seed, found.law) == (expected, "a law")
    assert "assert" in found.told
    assert soak.try_histories(expected, 1, {"a law": breaks}) is not None
    assert soak.try_histories(0, expected, {"a law": breaks}) is None
