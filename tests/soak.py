"""Every invariant on a million random histories in memory, one in two against the oracle.

`make soak` runs it on all processors. A history is decided by its seed alone, so that
`--first SEED --sequences 1` tries one again. It stops at the first that differs.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import test_invariants
from test_invariants import TAPE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Law = Callable[[bytes], None]

AT_ONCE = 1000
LAWS: dict[str, Law] = {
    name: law.hypothesis.inner_test
    for name, law in vars(test_invariants).items()
    if hasattr(law, "hypothesis")
}
ORACLE = "test_every_score_is_the_oracles_to_the_last_integer"


class Difference(NamedTuple):
    """A history that breaks a law: its seed, the law's name, what happened."""

    seed: int
    law: str
    told: str


def choose_law(seed: int, laws: Mapping[str, Law]) -> str:
    """Choose which law a history is tried on: every second one on the oracle."""
    others = [name for name in laws if name != ORACLE]
    return ORACLE if seed % 2 == 0 and ORACLE in laws else others[seed // 2 % len(others)]


def try_histories(
    first: int, number: int, laws: Mapping[str, Law] | None = None
) -> Difference | None:
    """Try histories one after another and give the first that breaks its law."""
    known = LAWS if laws is None else laws
    for seed in range(first, first + number):
        law = choose_law(seed, known)
        try:
            known[law](Random(seed).randbytes(TAPE_BYTES))
        except Exception:  # noqa: BLE001 - whatever goes wrong is told with its seed
            return Difference(seed, law, traceback.format_exc())
    return None


def soak(first: int, number: int, workers: int) -> Difference | None:
    """Try histories on some processors, tell how many agreed, and give the first that differs."""
    began = monotonic()
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        starts = range(first, first + number, AT_ONCE)
        sizes = [min(AT_ONCE, first + number - start) for start in starts]
        done = 0
        for size, found in zip(sizes, pool.map(try_histories, starts, sizes), strict=True):
            if found is not None:
                pool.shutdown(wait=False, cancel_futures=True)
                return found
            done += size
            rate = done / (monotonic() - began)
            sys.stderr.write(f"\r{done:,} of {number:,} sequences agree, {rate:,.0f} a second ")
            sys.stderr.flush()
    sys.stderr.write("\n")
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, and exit with 1 where a history differs."""
    parser = argparse.ArgumentParser(description="Try every invariant on random histories.")
    parser.add_argument("--sequences", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    found = soak(options.first, options.sequences, options.workers)
    if found is not None:
        sys.stderr.write(f"\n{found.told}\nSeed {found.seed} breaks {found.law}.\n")
        return 1
    sys.stdout.write(f"{options.sequences:,} sequences agreed, on {len(LAWS)} laws.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
