"""Questions in batches against questions one by one, over HTTP, per subject.

The same client and server, in turns in one run; every answer of both is recorded durably. Claim: at
least fifteen times the single-call rate where one buyer in a hundred has a record, which is the
share of accounts in the simulated population (`bench/population.py`, .9 %). Batches of which half
have one stand beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median

from ground import describe_machine, draw_questions, serve_filled

_COMPACT = (",", ":")  # as httpx renders JSON


def measure(backend: str, accounts: int, batch: int, rounds: int, one_in: int) -> None:
    """Measure one kind of database with one buyer in so many who has a record; print one line."""
    with serve_filled(backend, accounts) as (asker, http, access, _):
        headers = {**access, "Content-Type": "application/json"}
        single, together = [], []
        for number in range(rounds + 1):
            few, many = (
                draw_questions(asker, accounts, (2 * number + part) * batch, size, one_in=one_in)
                for part, size in enumerate((batch // 5, batch))
            )
            bodies = [json.dumps(one, separators=_COMPACT).encode() for one in few]
            whole = json.dumps({"questions": many}, separators=_COMPACT).encode()
            start = time.perf_counter()
            for body in bodies:
                http.post("/v1/risk-assessments", content=body, headers=headers)
            middle = time.perf_counter()
            answer = http.post("/v1/risk-assessments/batch", content=whole, headers=headers)
            end = time.perf_counter()
            answers = answer.raise_for_status().json()["answers"]
            if len(answers) != batch or any(one["refused"] for one in answers):
                raise AssertionError
            if number:  # the first round warms up
                single.append((middle - start) / len(bodies))
                together.append((end - middle) / batch)
    one, each = median(single), median(together)
    print(
        f"{backend:<11} one in {one_in:<4} {1 / one:6.0f} subjects/s one by one, "
        f"{1 / each:6.0f} in batches of {batch}, {one / each:.1f} ×"
    )


def main() -> None:
    """Measure both databases, with few and with many who have a record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--backends", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--one-in", nargs="*", type=int, default=[100, 2])
    chosen = parser.parse_args()
    print(describe_machine())
    for backend in chosen.backends:
        for one_in in chosen.one_in:
            measure(backend, chosen.accounts, chosen.batch, chosen.rounds, one_in)


if __name__ == "__main__":
    main()
