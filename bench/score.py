"""The read with score and reasons, without HTTP, on SQLite: beside what else could answer it.

Every account of the ledger bears an incident, which is the worst case. A question names a phone, a
device and an address that an account of the ledger has. In turns, in one run: the product (read,
neighbourhood, score, reasons); the very same statement through bare sqlite3, rows fetched and left
alone; a join over two hops at query time, from edges and incidents, as one would write without
postings; NetworkX in memory, up to 200,000 accounts. Times are CPU time of the thread, of each
question the median of five turns, between which all others are asked: what the machine does beside
is no slow question. Claims: at most twice the bare statement; at 10^6 accounts a median of at most
100 µs, and a p99 of at most 1.5 times that at 10^5.
"""

from __future__ import annotations

import argparse
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING

import networkx as nx
from graph import draw_graph, fill_index
from ground import create_secrets, describe_machine, found_ledger, open_database

from ledger.graph.link import Presented
from ledger.graph.neighbourhood import build_neighbourhood
from ledger.graph.posting import day_number, decayed_mass
from ledger.risk.reason import explain_score
from ledger.risk.score import score_on_day
from ledger.store.assessments import _READ_BY_COUNT, read_evidence
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.graph.neighbourhood import Evidence
    from ledger.ledger import Ledger

QUESTIONS = 4000
TURNS = 5
NETWORKX_MAX = 200_000
_STRANGER = b"bears no record."
# What only a benchmark asks: the key of a number.
_NAMED = """
CREATE TEMP TABLE named (id INTEGER PRIMARY KEY, token, kind);
INSERT INTO named SELECT id, token, kind FROM identifier;
"""
_INDEX_EDGES = "CREATE INDEX edge_by_token ON edge (identifier, event_index)"
_IN_MEMORY = "PRAGMA mmap_size=2000000000"
_JOIN = """
SELECT e.identifier, i.account, i.platform, i.half_life, sum(i.mass), min(i.first_day)
FROM identifier t JOIN edge e ON e.identifier = t.id
                  JOIN incident i ON i.reported_index = e.event_index
WHERE t.token IN (?, ?, ?, ?) GROUP BY 1, 2, 3, 4
"""


def draw_questions(path: str, accounts: int) -> list[tuple[Presented, ...]]:
    """Draw questions: who shares three identifiers with an account of the ledger."""
    with closing(sqlite3.connect(path)) as connection:
        step = max(1, accounts // QUESTIONS)
        chosen = range(0, accounts, step)[:QUESTIONS]
        connection.executescript(_NAMED)
        statement = (
            "SELECT t.token, t.kind FROM edge e JOIN named t ON t.id = e.identifier "
            "WHERE e.event_index = ? ORDER BY t.kind"
        )
        return [
            tuple(
                Presented(token, kind, 2, 0)
                for token, kind in connection.execute(statement, (index,))
            )
            for index in chosen
        ]


def run_timed(run: Callable[[int], object], number: int) -> list[float]:
    """Give the CPU microseconds of each of some questions."""
    times = []
    for question in range(number):
        before = time.thread_time_ns()
        run(question)
        times.append((time.thread_time_ns() - before) / 1000)
    return times


def render(times: list[float]) -> str:
    """Render median and p99."""
    return f"{times[len(times) // 2]:7.1f} / {times[len(times) * 99 // 100]:7.1f} µs"


def measure(accounts: int, *, shared: bool) -> None:
    """Measure one size of a ledger and print its lines."""
    keys = create_secrets()
    with open_database("sqlite") as url, found_ledger(url, keys) as ledger:
        path = url.removeprefix("sqlite:///")
        incidents, edges = draw_graph(accounts, shared=shared)
        fill_index(path, incidents, edges)
        questions = draw_questions(path, accounts)
        with closing(sqlite3.connect(path)) as writer:
            writer.execute(_INDEX_EDGES)  # which the join needs, and nothing else
        memory = _build_networkx(path) if accounts <= NETWORKX_MAX else None
        with (
            closing(sqlite3.connect(path)) as bare,
            begin_read(ledger.database) as connection,
        ):
            bare.execute(_IN_MEMORY)
            connection.exec_driver_sql(_IN_MEMORY)

            def ask(number: int) -> object:
                presented = questions[number]
                evidence = read_evidence(connection, (_STRANGER, *[one.key for one in presented]))
                return _conclude(ledger, presented, evidence)

            statement = _READ_BY_COUNT[4]["sqlite"]

            def fetch(number: int) -> object:
                wanted = (_STRANGER, *[one.key for one in questions[number]])
                return bare.execute(statement, wanted).fetchall()

            def join(number: int) -> object:
                wanted = (_STRANGER, *[one.key for one in questions[number]])
                return bare.execute(_JOIN, wanted).fetchall()

            ways = {"product": ask, "bare": fetch, "join": join}
            if memory is not None:
                ways["networkx"] = lambda number: _walk(ledger, memory, questions[number])
            turns: dict[str, list[list[float]]] = {name: [] for name in ways}
            for _ in range(TURNS):
                for name, way in ways.items():
                    turns[name].append(run_timed(way, len(questions)))
    typical = {name: sorted(map(median, zip(*each, strict=True))) for name, each in turns.items()}
    middle = {name: times[len(times) // 2] for name, times in typical.items()}
    how = "shared" if shared else "never shared"
    print(f"{accounts:>9} accounts, tokens {how}")
    for name, times in typical.items():
        print(f"   {name:<9} {render(times)}   {middle[name] / middle['bare']:5.2f} × bare")


def _conclude(ledger: Ledger, presented: tuple[Presented, ...], evidence: Evidence) -> object:
    found = build_neighbourhood(
        _STRANGER,
        "the asker's group",
        presented,
        evidence,
        ledger.policies[1].kinds,
    )
    score = score_on_day(found, ledger.policies[1], day_number(datetime.now(UTC).date()))
    return explain_score(score)


def _build_networkx(path: str) -> nx.Graph:
    graph: nx.Graph = nx.Graph()
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT t.token, i.account FROM edge e JOIN identifier t ON t.id = e.identifier "
            "JOIN incident i ON i.reported_index = e.event_index"
        )
        graph.add_edges_from(rows)
        masses = connection.execute("SELECT account, mass, half_life FROM incident")
        for account, mass, half_life in masses:
            graph.nodes[account].setdefault("masses", []).append((mass, half_life))
    return graph


def _walk(ledger: Ledger, graph: nx.Graph, presented: tuple[Presented, ...]) -> int:
    """Sum what the accounts two hops away bear: less than a score, and already slower or not."""
    policy, day, borne = ledger.policies[1], day_number(datetime.now(UTC).date()), 0
    for account in {other for one in presented for other in graph[one.key]}:
        for mass, half_life in graph.nodes[account]["masses"]:
            borne += decayed_mass(mass, day, policy.half_lives[half_life], policy.epoch_day)
    return borne


def main() -> None:
    """Measure the sizes that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    chosen = parser.parse_args()
    print(describe_machine())
    for accounts in chosen.accounts:
        for shared in (True, False):
            measure(accounts, shared=shared)


if __name__ == "__main__":
    main()
