"""CPU per assessment, server and database, against an authenticated no-op route of the same server.

Both are measured in turns in one run. An assessment is recorded durably before it is answered;
half the questions are about buyers with records. Claims: at most five times the no-op; at a million
accounts at most 1.3 times what it costs at 10,000. From 100,000 on (SQLite only) the index is
written as bench/graph.py draws it, and some accounts get identifiers that can be asked about.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from statistics import median

from graph import PLATFORMS, TOKENS, draw_graph, fill_index
from ground import (
    cpu_seconds,
    describe_machine,
    draw_questions,
    fill,
    find_postgres,
    identifiers_of,
    serve_filled,
)
from simulator import Simulator

from ledger.identity.identifier import lookup_key

LARGE = 100_000
NAMED = 3000  # as many accounts of a large index can be asked about


def fill_large(reporter: Simulator, accounts: int) -> None:
    """Write an index of many accounts, and name a few of them, spread over all."""
    ledger = reporter.ledger
    for number in range(2, PLATFORMS):
        Simulator(ledger, f"shop-{number}").enrol(datetime.now(UTC))
    incidents, edges = draw_graph(accounts, shared=True)
    numbers = edges["identifier"].reshape(accounts, TOKENS)[:: accounts // NAMED]
    names: dict[bytes, int] = {}  # of the three people at an address the first
    for person, named in enumerate(numbers[:NAMED].tolist()):
        for number, claim in zip(named, identifiers_of(person), strict=True):
            names.setdefault(lookup_key(ledger.keys.index_key, claim.identifier), number)
    path = str(ledger.database.engine.url.database)
    fill_index(path, incidents, edges, {number: key for key, number in names.items()})


def measure(backend: str, accounts: int, rounds: int, requests: int) -> None:
    """Measure one kind of database and print one line."""
    known = NAMED if accounts >= LARGE else accounts
    filler = fill_large if accounts >= LARGE else fill
    with serve_filled(backend, accounts, filler) as (asker, http, access, server):
        roots = [server, *find_postgres()]
        asked = nothing = 0.0
        ratios = []
        for number in range(rounds + 1):
            bodies = draw_questions(asker, known, number * requests, requests)
            before = cpu_seconds(roots)
            for body in bodies:
                http.post("/v1/risk-assessments", json=body, headers=access).raise_for_status()
            between = cpu_seconds(roots)
            for _ in bodies:
                http.get("/v1/nothing", headers=access).raise_for_status()
            after = cpu_seconds(roots)
            if number:  # the first round warms up
                asked += between - before
                nothing += after - between
                ratios.append((between - before) / (after - between))
    total = rounds * requests
    print(
        f"{backend:<11} {accounts:>7} accounts   assessment {asked / total * 1e6:5.0f} µs   "
        f"no-op {nothing / total * 1e6:4.0f} µs   ratio {asked / nothing:.2f} "
        f"(rounds {min(ratios):.2f}…{max(ratios):.2f}, median {median(ratios):.2f})"
    )


def main() -> None:
    """Measure both databases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, nargs="*", default=[300, 3000])
    parser.add_argument("--backends", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--requests", type=int, default=150)
    chosen = parser.parse_args()
    print(describe_machine())
    for backend in chosen.backends:
        for accounts in chosen.accounts:
            measure(backend, accounts, chosen.rounds, chosen.requests)


if __name__ == "__main__":
    main()
