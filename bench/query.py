"""CPU per assessment, server and database, against an authenticated no-op route of the same server.

Both are measured in turns in one run. An assessment is recorded durably before it is answered;
half the questions are about buyers with records. Claim: at most five times the no-op.
"""

from __future__ import annotations

import argparse
from statistics import median

from ground import cpu_seconds, describe_machine, draw_questions, find_postgres, serve_filled


def measure(backend: str, accounts: int, rounds: int, requests: int) -> None:
    """Measure one kind of database and print one line."""
    with serve_filled(backend, accounts) as (asker, http, access, server):
        roots = [server, *find_postgres()]
        asked = nothing = 0.0
        ratios = []
        for number in range(rounds + 1):
            bodies = draw_questions(asker, accounts, number * requests, requests)
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
