"""Exact search of perceptual hashes in SQL beside a plain row scan in numpy, in the same run.

Hashes are random, and a tenth of the questions has a copy planted at a distance up to 31. Every
answer must be the scan's. Run: `python bench/evidence_sql.py [HASHES]` (10^6 unless told).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sqlalchemy import insert

from ledger.incident.evidence import DISTANCE_MAX, list_slots
from ledger.store.engine import begin_read, begin_write, open_database
from ledger.store.evidence import find_like
from ledger.store.tables import METADATA, evidence, evidence_band

QUESTIONS = 50
BATCH = 50_000


def main() -> None:
    """Fill a database, ask it and the scan the same, and print the ratio."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    random = np.random.default_rng(1)
    hashes = random.integers(0, 256, (number, 32), dtype=np.uint8)
    words = hashes.view(np.uint64)
    questions = [
        near(hashes[random.integers(number)], int(random.integers(DISTANCE_MAX + 1)), random)
        for _ in range(QUESTIONS)
    ]
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{Path(folder) / 'evidence.sqlite3'}")
        METADATA.create_all(database.engine)
        for first in range(0, number, BATCH):
            with begin_write(database) as connection:
                part = [
                    hashes[place].tobytes() for place in range(first, min(first + BATCH, number))
                ]
                rows = [
                    {"id": place, "record": "r", "platform": 1, "digest": one, "pdq": one}
                    | {"original": 0, "seen_day": 0}
                    for place, one in enumerate(part, first)
                ]
                connection.execute(insert(evidence), rows)
                bands = [
                    {"slot": slot, "evidence": place}
                    for place, one in enumerate(part, first)
                    for slot in list_slots(one)
                ]
                connection.execute(insert(evidence_band), sorted(bands, key=lambda b: b["slot"]))
        in_sql, scanned, missed = [], [], 0
        with begin_read(database) as connection:
            for asked in questions:
                begun = time.process_time()
                found = find_like(connection, [asked])
                in_sql.append(time.process_time() - begun)
                begun = time.process_time()
                there = scan(words, asked)
                scanned.append(time.process_time() - begun)
                missed += len(there.items() ^ found.items())
        database.engine.dispose()
    sql, plain = statistics.median(in_sql), statistics.median(scanned)
    print(f"{number} hashes, {QUESTIONS} questions, CPU time of one form, medians")
    print(f"SQL {sql * 1e3:.2f} ms   numpy scan {plain * 1e3:.2f} ms   ratio {plain / sql:.1f}")
    print(f"answers that differ from the scan's: {missed}")


def near(pdq: np.ndarray, bits: int, random: np.random.Generator) -> bytes:
    """Give a hash that differs from another in so many bits."""
    places = np.unpackbits(pdq)
    places[random.choice(256, bits, replace=False)] ^= 1
    return np.packbits(places).tobytes()


def scan(words: np.ndarray, asked: bytes) -> dict[int, int]:
    """Find what is near by counting the bits of every row."""
    differing = np.bitwise_count(words ^ np.frombuffer(asked, np.uint64)).sum(axis=1)
    places = np.flatnonzero(differing <= DISTANCE_MAX)
    return {int(place): int(differing[place]) for place in places}


if __name__ == "__main__":
    main()
