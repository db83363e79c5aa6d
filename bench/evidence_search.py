"""Exact search among a million hashes in memory: columns with a filter, beside a plain row scan.

Hashes are random bits, with near ones planted at every distance; both searches run in turn on the
same queries, and what the plain one finds is what has to be found.
"""

from __future__ import annotations

import sys
from statistics import median
from time import perf_counter

import numpy as np

from ledger_client.evidence.nearby import BITS_MAX, HashColumns

HASHES, QUERIES, PLANTED, SEED = 1_000_000, 24, 40, 11
FASTER_MIN = 5.0


def main() -> int:
    """Print the two times, their ratio, and recall; 1 where a bound is missed."""
    random = np.random.default_rng(SEED)
    rows = random.integers(0, 2**64, (HASHES, 4), np.uint64)
    queries = random.integers(0, 2**64, (QUERIES, 4), np.uint64)
    for query in queries:
        for bits in range(PLANTED):
            near = np.unpackbits(query.view(np.uint8))
            near[random.permutation(256)[:bits]] ^= 1
            rows[random.integers(HASHES)] = np.packbits(near).view(np.uint64)
    columns = HashColumns(np.ascontiguousarray(rows.T))
    plain, quick, found, right = [], [], 0, 0
    for query in queries:
        begun = perf_counter()
        counts = np.bitwise_count(rows ^ query).sum(axis=1)
        expected = set(np.flatnonzero(counts <= BITS_MAX).tolist())
        between = perf_counter()
        given = {position for position, _ in columns.find_near(query.tobytes())}
        quick.append(perf_counter() - between)
        plain.append(between - begun)
        found += len(expected & given)
        right += len(expected)
        if given - expected:
            print("Something was found that isn't near.")
            return 1
    ratio = median(one / other for one, other in zip(plain, quick, strict=True))
    print(
        f"{HASHES} hashes, {QUERIES} queries   row scan {median(plain) * 1e3:6.1f} ms"
        f"   columns {median(quick) * 1e3:5.2f} ms   ratio {ratio:5.1f}"
        f"   recall {found}/{right}"
    )
    return 0 if ratio >= FASTER_MIN and found == right else 1


if __name__ == "__main__":
    sys.exit(main())
