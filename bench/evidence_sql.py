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
from typing import TYPE_CHECKING, cast

import numpy as np

from ledger.incident.evidence import DISTANCE_MAX, list_slots
from ledger.store.engine import begin_read, begin_write, open_database
from ledger.store.evidence import find_like
from ledger.store.tables import METADATA

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy.engine import Connection

HASHES, QUESTIONS = 1_000_000, 50
BANDS, BAND_BITS = 16, 16
FASTER_MIN = 5.0


def main() -> int:
    """Ask a database and the scan the same and print the ratio; 1 where a bound is missed."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else HASHES
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
        begun = time.perf_counter()
        with begin_write(database) as connection:
            fill(connection, hashes)
        print(f"filled in {time.perf_counter() - begun:.0f} s")
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
    return 0 if missed == 0 and (number < HASHES or plain / sql >= FASTER_MIN) else 1


def fill(connection: Connection, hashes: np.ndarray) -> None:
    """Store hashes as the sequencer does, but in the order of the index: many times faster."""
    pdqs = [one.tobytes() for one in hashes]
    bands = hashes.view(">u2").astype(np.int64) + (np.arange(BANDS) << BAND_BITS)
    if bands[:QUESTIONS].tolist() != [list_slots(pdq) for pdq in pdqs[:QUESTIONS]]:
        raise SystemExit("The slots aren't the product's.")
    order = np.argsort(bands.ravel(), kind="stable")
    slots = bands.ravel()[order].tolist()
    places = np.repeat(np.arange(len(pdqs)), BANDS)[order].tolist()
    driver = cast("sqlite3.Connection", connection.connection.driver_connection)
    driver.executemany(
        "INSERT INTO evidence (id, record, platform, digest, pdq, original, seen_day)"
        " VALUES (?, 'r', 1, ?, ?, 0, 0)",
        zip(range(len(pdqs)), pdqs, pdqs, strict=True),
    )
    driver.executemany(
        "INSERT INTO evidence_band (slot, evidence, pdq) VALUES (?, ?, ?)",
        zip(slots, places, (pdqs[place] for place in places), strict=True),
    )


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
    sys.exit(main())
