"""Exact search of perceptual hashes in SQL beside a plain row scan in numpy, in the same run.

Hashes are random, and each question is one of them at a distance up to 31. Every answer must be the
scan's. On PostgreSQL the CPU time is that of this process and of the server's for it together. At
last one member fills every place that one question looks at with pieces within the distance.
Run: `python bench/evidence_sql.py [HASHES] [BACKEND …]` (10^6 and both unless told).
"""

from __future__ import annotations

import statistics
import struct
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from ground import open_database
from psycopg.sql import SQL, Identifier
from sqlalchemy import insert

from ledger.incident.evidence import DISTANCE_MAX, Sought, list_slots, probe_slots
from ledger.recognising import choose_told
from ledger.store.engine import begin_read, begin_write
from ledger.store.engine import open_database as open_engine
from ledger.store.evidence import CROWD_MAX, find_like, find_matches
from ledger.store.tables import platform

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    import psycopg
    from sqlalchemy.engine import Connection

    from ledger.store.engine import Database

HASHES, QUESTIONS = 1_000_000, 50
FLOOD_BEGIN, ROUNDS = 1 << 40, 5
BANDS_OF = ">16H"
PIECE_TYPES = ("int8", "varchar", "int4", "bytea", "bytea", "int2", "int4")
BAND_TYPES = ("int8", "int8", "bytea")
BANDS, BAND_BITS = 16, 16
FASTER_MIN = 5.0


def main() -> int:
    """Ask a database and the scan the same and print the ratio; 1 where a bound is missed."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else HASHES
    random = np.random.default_rng(1)
    hashes = random.integers(0, 256, (number, 32), dtype=np.uint8)
    questions = [
        near(hashes[random.integers(number)], int(random.integers(DISTANCE_MAX + 1)), random)
        for _ in range(QUESTIONS)
    ]
    is_kept = True
    for backend in sys.argv[2:] or ("sqlite", "postgresql"):
        is_kept = measure(backend, hashes, questions) and is_kept
    return 0 if is_kept else 1


def measure(backend: str, hashes: np.ndarray, questions: list[bytes]) -> bool:
    """Ask one database and the scan the same; tell whether the bounds are kept."""
    number, words = len(hashes), hashes.view(np.uint64)
    with open_database(backend) as url:
        database = open_engine(url)
        begun = time.perf_counter()
        with begin_write(database) as connection:
            fill(connection, hashes)
        settle(database)
        print(f"{backend}: filled in {time.perf_counter() - begun:.0f} s")
        in_sql, scanned, missed = [], [], 0
        with begin_read(database) as connection:
            spent = clock_of(connection)
            for asked in questions:  # what they read is in memory then, as what the scan reads is
                find_like(connection, [asked])
            for asked in questions:
                begun = spent()
                found = find_like(connection, [asked])
                in_sql.append(spent() - begun)
                begun = time.process_time()
                there = scan(words, asked)
                scanned.append(time.process_time() - begun)
                missed += len(there.items() ^ found.items())
        with begin_write(database) as connection:
            flood(connection, questions[0])
        settle(database)
        with begin_read(database) as connection:
            flooded = ask(connection, questions[0])
        database.engine.dispose()
    sql, plain = statistics.median(in_sql), statistics.median(scanned)
    print(f"{number} hashes, {len(questions)} questions, CPU time of one form, medians")
    print(f"SQL {sql * 1e3:.2f} ms   numpy scan {plain * 1e3:.2f} ms   ratio {plain / sql:.1f}")
    print(f"answers that differ from the scan's: {missed}")
    print(f"flooded by one member: {flooded}")
    return missed == 0 and (number < HASHES or plain / sql >= FASTER_MIN)


def flood(connection: Connection, asked: bytes) -> None:
    """Fill every place that a question looks at with one member's pieces within the distance.

    Elsewhere each differs by two bits a band, so that none is looked at twice.
    """
    draw = Random(1)  # noqa: S311 - no secret is drawn
    own = struct.unpack(BANDS_OF, asked)
    pieces, bands = [], []
    for number, slot in enumerate(probe_slots(asked) * CROWD_MAX, FLOOD_BEGIN):
        words = [word ^ sum(1 << bit for bit in draw.sample(range(BAND_BITS), 2)) for word in own]
        band, words[band] = divmod(slot, 1 << BAND_BITS)
        pdq = struct.pack(BANDS_OF, *words)
        pieces.append((number, "r", 1, pdq, pdq, 0, 0))
        bands.append((slot, number, pdq))
    insert_rows(connection, pieces, bands)
    member = {"id": 1, "uri": "u", "name": "n", "group_name": "g", "state": "active"}
    keys = {"jurisdictions": "", "scopes": "", "tag_key": b"", "tag_key_wrap": b""}
    connection.execute(insert(platform), {**member, **keys, "enrolled_at": datetime.now(UTC)})


def insert_rows(
    connection: Connection,
    pieces: Iterable[tuple[Any, ...]],
    bands: Iterable[tuple[Any, ...]],
) -> None:
    """Insert pieces and bands by what each driver does fastest."""
    if connection.dialect.name == "sqlite":
        file = cast("sqlite3.Connection", connection.connection.driver_connection)
        file.executemany("INSERT INTO evidence VALUES (?, ?, ?, ?, ?, ?, ?)", pieces)
        file.executemany("INSERT INTO evidence_band VALUES (?, ?, ?)", bands)
        return
    server = cast("psycopg.Connection", connection.connection.driver_connection)
    copy(server, "evidence", PIECE_TYPES, pieces)
    copy(server, "evidence_band", BAND_TYPES, bands)


def ask(connection: Connection, asked: bytes) -> str:
    """Ask about one form, and tell how many pieces were near and what that cost."""
    spent, costs = clock_of(connection), []
    for _ in range(ROUNDS):
        begun = spent()
        found = find_matches(connection, Sought(None, ((asked,),)), "asker")
        choose_told(found)
        costs.append(spent() - begun)
    return f"{len(found)} pieces near, {statistics.median(costs) * 1e3:.0f} ms"


def clock_of(connection: Connection) -> Callable[[], float]:
    """Give a clock of the CPU time of this process, and of the server's process for it."""
    if connection.dialect.name == "sqlite":
        return time.process_time
    process = int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
    spent = Path(f"/proc/{process}/schedstat")
    return lambda: time.process_time() + int(spent.read_text().split()[0]) / 1e9


def fill(connection: Connection, hashes: np.ndarray) -> None:
    """Store hashes as the sequencer does, many times faster.

    In SQLite a table is its index, and is filled in its order; in PostgreSQL rows lie in the order
    in which hashes come, and the index is built anew.
    """
    pdqs = [one.tobytes() for one in hashes]
    bands = hashes.view(">u2").astype(np.int64) + (np.arange(BANDS) << BAND_BITS)
    if bands[:QUESTIONS].tolist() != [list_slots(pdq) for pdq in pdqs[:QUESTIONS]]:
        raise SystemExit("The slots aren't the product's.")
    places = np.repeat(np.arange(len(pdqs)), BANDS)
    pieces = ((place, "r", 1, pdq, pdq, 0, 0) for place, pdq in enumerate(pdqs))
    if connection.dialect.name == "sqlite":
        order = np.argsort(bands.ravel(), kind="stable")
        slots, places = bands.ravel()[order], places[order]
        rows = zip(slots.tolist(), places.tolist(), (pdqs[one] for one in places), strict=True)
        insert_rows(connection, pieces, rows)
        return
    rows = zip(bands.ravel().tolist(), places.tolist(), (pdqs[one] for one in places), strict=True)
    connection.exec_driver_sql("ALTER TABLE evidence_band DROP CONSTRAINT pk_evidence_band")
    insert_rows(connection, pieces, rows)
    connection.exec_driver_sql(
        "ALTER TABLE evidence_band ADD CONSTRAINT pk_evidence_band"
        " PRIMARY KEY (slot, evidence) INCLUDE (pdq)"
    )


def copy(
    server: psycopg.Connection, table: str, types: tuple[str, ...], rows: Iterable[tuple[Any, ...]]
) -> None:
    """Copy rows into a table of PostgreSQL."""
    statement = SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(Identifier(table))
    with server.cursor() as cursor, cursor.copy(statement) as stream:
        stream.set_types(types)
        for row in rows:
            stream.write_row(row)


def settle(database: Database) -> None:
    """Do what PostgreSQL's own cleaner does in time."""
    if database.embedded:
        return
    with database.engine.connect() as connection:
        connection.execution_options(begin="")
        connection.exec_driver_sql("VACUUM (ANALYZE) evidence, evidence_band")


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
