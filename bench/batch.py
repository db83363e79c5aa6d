"""Questions in batches against questions one by one, over HTTP, per subject.

The same client and server, in turns in one run; every answer of both is recorded durably. Half the
questions are about buyers with records. Claim: at least fifteen times the single-call rate.
"""

from __future__ import annotations

import argparse
import json
import time

from ground import describe_machine, draw_questions, serve_filled


def measure(backend: str, accounts: int, batch: int, rounds: int) -> None:
    """Measure one kind of database and print one line."""
    with serve_filled(backend, accounts) as (asker, http, access, _):
        headers = {**access, "Content-Type": "application/json"}
        single = together = 0.0
        for number in range(rounds + 1):
            few = draw_questions(asker, accounts, 2 * number * batch, batch // 5)
            many = draw_questions(asker, accounts, (2 * number + 1) * batch, batch)
            bodies = [json.dumps(one).encode() for one in few]
            whole = json.dumps({"questions": many}).encode()
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
                single += (middle - start) / len(bodies)
                together += (end - middle) / batch
    print(
        f"{backend:<11} batches of {batch}: {rounds / single:6.0f} subjects/s one by one, "
        f"{rounds / together:6.0f} in batches, {single / together:.1f} ×"
    )


def main() -> None:
    """Measure both databases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--backends", nargs="*", default=["sqlite", "postgresql"])
    chosen = parser.parse_args()
    print(describe_machine())
    for backend in chosen.backends:
        measure(backend, chosen.accounts, chosen.batch, chosen.rounds)


if __name__ == "__main__":
    main()
