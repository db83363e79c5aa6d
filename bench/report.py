"""Durable reports per second against verifying their signatures alone, in the same run.

A report is judged, sealed and committed (SQLite: synchronous=FULL, sequenced and published under a
signed checkpoint as well; PostgreSQL: fsync on, sequenced by a worker thread beside the writers).
The baseline is `verify_event_token` on the same tokens, one thread.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Event

from ground import (
    create_secrets,
    describe_machine,
    found_ledger,
    identifiers_of,
    open_database,
)
from simulator import Simulator

from ledger.errors import LedgerUnavailable
from ledger.identity.key import KeyState, PlatformKey
from ledger.identity.token import verify_event_token
from ledger.reporting import accept_event
from ledger.sequencing import sequence

_INTERVAL_SECONDS = 0.2


def measure(backend: str, reports: int, writers: int) -> None:
    """Measure one kind of database and print one line."""
    with open_database(backend) as url, found_ledger(url, create_secrets()) as ledger:
        now = datetime.now(UTC)
        platform = Simulator(ledger, "shop-a")
        platform.enrol(now)
        tokens = [
            platform.sign(platform.incident(str(person), identifiers_of(person), now))
            for person in range(reports + reports // 10)
        ]
        for token in tokens[reports:]:
            accept_event(ledger, token, now)  # warms up
        verified = time_verification(platform, tokens[:reports], now)
        stop = Event()

        def work() -> None:
            while not stop.is_set():
                try:
                    sequence(ledger, datetime.now(UTC))
                except LedgerUnavailable:
                    continue
                stop.wait(_INTERVAL_SECONDS)

        with ThreadPoolExecutor(writers + 1) as pool:
            if backend != "sqlite":
                pool.submit(work)
            cpu, wall = time.process_time(), time.perf_counter()
            list(pool.map(lambda token: accept_event(ledger, token, now), tokens[:reports]))
            wall = time.perf_counter() - wall
            cpu = time.process_time() - cpu
            stop.set()
    print(
        f"{backend:<11} {writers} writers   {reports / wall:6.0f} durable reports/s   "
        f"{cpu / reports * 1e3:5.2f} ms CPU each   verification alone {verified:6.0f}/s   "
        f"ratio {reports / wall / verified:.3f}"
    )


def time_verification(platform: Simulator, tokens: list[bytes], now: datetime) -> float:
    """Give how many of the tokens are verified in a second."""
    kid, algorithm, jwk = platform.key
    key = PlatformKey(1, kid, algorithm, jwk, KeyState.ACTIVE, now, None)
    started = time.perf_counter()
    for token in tokens:
        verify_event_token(
            token, key, issuer=platform.uri, audience=platform.ledger.issuer, received_at=now
        )
    return len(tokens) / (time.perf_counter() - started)


def main() -> None:
    """Measure both databases with one writer and with eight."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=1000)
    parser.add_argument("--backends", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--writers", type=int, nargs="*", default=[1, 8])
    chosen = parser.parse_args()
    print(describe_machine())
    for backend in chosen.backends:
        for writers in chosen.writers:
            measure(backend, chosen.reports, writers)


if __name__ == "__main__":
    main()
