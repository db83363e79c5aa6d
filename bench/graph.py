"""The graph as a whole: deriving the index again, against scipy, in memory, from rows, on disk.

Each part is a subcommand that prints its lines: `arrays` and `database` so far. People have two
accounts on average, with a phone and a device of their own and an address for two people; numbers
are drawn as ranks of lookup keys are, without any order. Claims, for a million accounts with three
tokens each: from arrays at most 1.3 times what scipy needs for the same graph's components and
three sweeps; at most 100 MB beyond the arrays; read from SQLite and derived within 6 s; at most
350 MB on disk. Times are CPU times of the best of three runs, so that neighbours matter little.
"""

from __future__ import annotations

import argparse
import sqlite3
import time
import tracemalloc
from contextlib import closing
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from ground import create_secrets, describe_machine, found_ledger, open_database
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ledger.graph.rebuild import derive_index
from ledger.identity.identifier import LOOKUP_KEY_BYTES
from ledger.rebuilding import rebuild_index
from ledger.store.arrays import read_table
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ledger.graph.rebuild import Array, Columns

MILLION = 10**6
TOKENS = 3
PLATFORMS = 8
RUNS = 3
DAY = 20_400
NAMELESS: Mapping[int, bytes] = MappingProxyType({})
INDEX = ("identifier", "edge", "posting", "multiplicity")
_FAST = ("PRAGMA synchronous=OFF", "PRAGMA foreign_keys=OFF", "PRAGMA cache_size=-800000")


def draw_graph(accounts: int, *, shared: bool, seed: int = 1) -> tuple[Columns, Columns]:
    """Draw one incident and three edges for each account, in the order of the log.

    *Shape*: columns of incidents and edges. Numbers are given as they first come, to accounts and
    tokens alike. Unless tokens are shared, everybody has one account and lives alone.
    """
    random = np.random.default_rng(seed)
    platform = random.integers(1, PLATFORMS + 1, accounts).astype(np.int32)
    named = np.arange(1, accounts * (1 + TOKENS) + 1).reshape(accounts, 1 + TOKENS)
    if shared:
        people = (accounts + 1) // 2
        person = random.integers(0, people, accounts)
        tokens = (person, people + person, 2 * people + person // 2)
        drawn = np.stack((np.arange(accounts), *(accounts + one for one in tokens)), axis=1)
        _, first, inverse = np.unique(drawn, return_index=True, return_inverse=True)
        number = np.empty(len(first), np.int64)
        number[np.argsort(first)] = np.arange(1, len(first) + 1)
        named = number[inverse].reshape(named.shape)
    index = np.arange(accounts, dtype=np.int64)
    days = DAY - random.integers(0, 700, accounts).astype(np.int32)
    incidents: Columns = {
        "reported_index": index,
        "account": named[:, 0].copy(),
        "platform": platform,
        "half_life": random.integers(1, 5, accounts).astype(np.int16),
        "mass": random.integers(10**8, 10**12, accounts),
        "count": np.ones(accounts, np.int32),
        "level_a": np.zeros(accounts, np.int32),
        "first_day": days,
        "last_day": days.copy(),
    }
    edges: Columns = {
        "identifier": named[:, 1:].reshape(-1),
        "platform": np.repeat(platform, TOKENS),
        "event_index": np.repeat(index, TOKENS),
        "account": np.repeat(named[:, 0], TOKENS),
        "binding": random.integers(0, 5, accounts * TOKENS).astype(np.int16),
        "declared": random.integers(0, 3, accounts * TOKENS).astype(np.int16),
    }
    return incidents, edges


def count_numbers(columns: Iterable[Array]) -> int:
    """Give the first number that no identifier and no account has."""
    return 1 + max(int(column.max()) for column in columns)


def rank_at_random(incidents: Columns, edges: Columns) -> None:
    """Put ranks in the place of numbers: lookup keys are in no order."""
    size = count_numbers((incidents["account"], edges["identifier"]))
    rank = np.random.default_rng(2).permutation(size).astype(np.int32)
    for columns in (incidents, edges):
        for name in {"identifier", "account"} & columns.keys():
            columns[name] = rank[columns[name]]


def time_best(run: Callable[[], object]) -> float:
    """Give the CPU time of the best of some runs."""
    times = []
    for _ in range(RUNS):
        before = time.process_time()
        run()
        times.append(time.process_time() - before)
    return min(times)


def derive_all(incidents: Columns, edges: Columns) -> tuple[int, int]:
    """Derive the index and write out every row; count postings and multiplicities."""
    postings = multiplicities = 0
    for piece in derive_index(incidents, edges).stream_pieces():
        postings += len(piece.postings)
        multiplicities += len(piece.multiplicities)
    return postings, multiplicities


# --- Part: from arrays, against scipy --------------------------------------------------------


def measure_arrays(accounts: int) -> None:
    """Measure deriving from arrays in time, against scipy in the same run, and in memory."""
    incidents, edges = draw_graph(accounts, shared=True)
    rank_at_random(incidents, edges)
    size = count_numbers((incidents["account"], edges["identifier"]))

    def sweep() -> None:
        ones = np.ones(len(edges["account"]), np.float32)
        ends = edges["account"], edges["identifier"]
        graph = coo_array((ones, ends), shape=(size, size)).tocsr()
        connected_components(graph, directed=False)
        weights = np.ones(size, np.float32)
        for _ in range(3):
            weights = graph @ (graph.T @ weights)

    postings, multiplicities = derive_all(incidents, edges)
    scipy, rebuilt = time_best(sweep), time_best(lambda: derive_all(incidents, edges))
    tracemalloc.start()
    derive_all(incidents, edges)
    beyond = tracemalloc.get_traced_memory()[1] / MILLION
    tracemalloc.stop()
    given = sum(column.nbytes for part in (incidents, edges) for column in part.values()) / MILLION
    scale = MILLION / accounts
    print(
        f"arrays      {accounts} accounts, {len(edges['account'])} edges: {postings} postings and "
        f"{multiplicities} multiplicities\n"
        f"            derived {rebuilt:6.2f} s   scipy {scipy:6.2f} s   "
        f"ratio {rebuilt / scipy:.2f} (≤ 1.3)\n"
        f"            {beyond * scale:.0f} MB per million accounts (≤ 100) beyond the arrays' "
        f"{given * scale:.0f} MB",
        flush=True,
    )


# --- Part: from a database's rows, and on its disk -------------------------------------------


def measure_database(accounts: int) -> None:
    """Measure reading and deriving from SQLite, the whole command, and the index on disk."""
    for shared in (True, False):
        keys = create_secrets()
        with open_database("sqlite") as url, found_ledger(url, keys) as ledger:
            incidents, edges = draw_graph(accounts, shared=shared)
            sizes = fill_index(url.removeprefix("sqlite:///"), incidents, edges)

            def read() -> None:
                with begin_read(ledger.database, snapshot=True) as connection:
                    sources = [
                        read_table(connection, table, lambda _: None)
                        for table in ("incident", "edge")
                    ]
                derive_all(*sources)

            seconds = time_best(read)
            before = time.process_time()
            rebuilt = rebuild_index(ledger, lambda _done, _of: None)
            whole = time.process_time() - before
            if not rebuilt.is_equal:
                raise AssertionError(rebuilt.differences)
        scale = MILLION / accounts
        how = "shared" if shared else "never shared"
        parts = ", ".join(f"{part} {size * scale:.0f}" for part, size in sizes.items())
        print(
            f"database    {accounts} accounts, tokens {how}\n"
            f"            read and derived {seconds:6.2f} s (≤ 6)   "
            f"compared and hashed too {whole:6.2f} s\n"
            f"            {sum(sizes.values()) * scale:.0f} MB per million accounts on disk "
            f"(≤ 350): {parts}",
            flush=True,
        )


def fill_index(
    path: str, incidents: Columns, edges: Columns, names: Mapping[int, bytes] = NAMELESS
) -> dict[str, float]:
    """Fill an empty index in the order of the log; give the MB of each table with its indexes.

    *Shape*: `names` are lookup keys by number; those of all others are random.
    """
    random = np.random.default_rng(3)
    size = count_numbers((incidents["account"], edges["identifier"]))
    kinds = np.zeros(size, np.int16)
    kinds[edges["identifier"]] = np.tile((5, 3, 6), len(incidents["mass"]))
    keys = random.bytes(LOOKUP_KEY_BYTES * size)
    pieces = list(derive_index(incidents, edges).stream_pieces())
    postings = np.concatenate([piece.postings for piece in pieces])
    postings = postings[np.argsort(postings["account"], kind="stable")]
    counted = np.concatenate([piece.multiplicities for piece in pieces])
    counted = counted[np.argsort(counted["bucket_index"], kind="stable")]
    with closing(sqlite3.connect(path)) as connection:
        for pragma in _FAST:
            connection.execute(pragma)
        insert(
            connection,
            "identifier",
            ((names.get(n) or name_key(keys, n), n, int(kinds[n])) for n in range(1, size)),
            3,
        )
        rows = zip(*(column.tolist() for column in incidents.values()), strict=True)
        connection.executemany(
            "INSERT INTO incident (id, state, reported_index, changed_index, content_index, "
            "relief, account, platform, half_life, mass, count, level_a, first_day, last_day) "
            "VALUES (?, 'active', ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((f"inc_{row[0]:032x}", *[row[0]] * 3, *row[1:]) for row in rows),
        )
        stored = (edges[name] for name in ("event_index", "identifier", "binding", "declared"))
        insert(connection, "edge", zip(*(c.tolist() for c in stored), strict=True), 4)
        insert(connection, "posting", iter(postings.tolist()), 11)
        insert(connection, "multiplicity", iter(counted.tolist()), 5)
        connection.commit()
        return {table: read_size(connection, table) for table in INDEX}


def name_key(keys: bytes, number: int) -> bytes:
    """Give the lookup key of a number."""
    return keys[LOOKUP_KEY_BYTES * number : LOOKUP_KEY_BYTES * (number + 1)]


def insert(
    connection: sqlite3.Connection, table: str, rows: Iterable[tuple[Any, ...]], width: int
) -> None:
    """Insert rows of all columns of a table."""
    places = ", ".join("?" * width)
    connection.executemany(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608 - constants


def read_size(connection: sqlite3.Connection, table: str) -> float:
    """Give the MB that a table and its indexes take in the file."""
    statement = (
        "SELECT sum(pgsize) FROM dbstat WHERE aggregate = TRUE AND name IN "
        "(SELECT name FROM sqlite_schema WHERE tbl_name = ?)"
    )
    return int(connection.execute(statement, (table,)).fetchone()[0]) / MILLION


PARTS: dict[str, Callable[[int], None]] = {"arrays": measure_arrays, "database": measure_database}


def main() -> None:
    """Measure the parts that were asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all, unless named")
    parser.add_argument("--accounts", type=int, default=MILLION)
    options = parser.parse_args()
    print(describe_machine())
    for part in options.parts or PARTS:
        PARTS[part](options.accounts)


if __name__ == "__main__":
    main()
