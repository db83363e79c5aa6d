"""CPU per assessment, server and database, against an authenticated no-op route of the same server.

Both are measured in turns in one run. An assessment is recorded durably before it is answered;
half the questions are about buyers with records. Claim: at most five times the no-op.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from statistics import median

import httpx
from ground import (
    cpu_seconds,
    create_secrets,
    describe_machine,
    fill,
    find_postgres,
    found_ledger,
    identifiers_of,
    new_order,
    open_database,
    render_environment,
    run_server,
)
from simulator import RemoteSimulator, Simulator, render_question


def measure(backend: str, accounts: int, rounds: int, requests: int) -> None:
    """Measure one kind of database and print one line."""
    keys = create_secrets()
    with open_database(backend) as url, found_ledger(url, keys) as ledger:
        reporter, asker = Simulator(ledger, "shop-a"), Simulator(ledger, "shop-b")
        for platform in (reporter, asker):
            platform.enrol(datetime.now(UTC))
        fill(reporter, accounts)
        with (
            run_server("noop:application", render_environment(url, keys)) as (address, server),
            httpx.Client(base_url=address) as http,
        ):
            roots = [server, *find_postgres()]
            remote = RemoteSimulator(asker, http)
            access = remote.get_access(datetime.now(UTC))
            asked = nothing = 0.0
            ratios = []
            for number in range(rounds + 1):
                bodies = [
                    render_question(
                        asker.request(str(person), identifiers_of(person), order=new_order())
                    )
                    for person in range(number * requests, (number + 1) * requests)
                    for person in ((person * 7919) % (2 * accounts),)
                ]
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
