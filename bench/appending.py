"""Durable appends on PostgreSQL by several writers, each a process, as servers of the ledger are.

Statements are drafted beforehand and nothing is derived from them, so that it is the log that is
measured: a sequencer in a process of its own, as `bcl worker` is one, against writers that
integrate what they insert in the same transaction. The clock is the machine's, one for all.
"""

from __future__ import annotations

import multiprocessing
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ground import create_secrets, found_ledger, open_database

from ledger.errors import LedgerUnavailable
from ledger.log.leaf import Op
from ledger.log.merkle import leaf_hashes
from ledger.sequencing import BATCH_MAX, draft_event, extend_log
from ledger.store import entries as stored
from ledger.store.engine import begin_write
from ledger.store.engine import open_database as open_address
from ledger.store.entries import StoredEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier, Event

    from ledger.ledger import Ledger
    from ledger.store.engine import Connection, Database

CLAIMED = 5  # times the rate of integrating inside the insert
_WARMING_UP = 20
_WITHIN_SECONDS = 300


def append(connection: Connection, entries: Sequence[bytes]) -> None:
    """Append entries to the log of a connection, with nothing behind them."""
    state = stored.read_state(connection, lock=True)
    hashes = leaf_hashes(entries)
    rows = list(zip(range(state.size, state.size + len(entries)), entries, hashes, strict=True))
    stored.insert_entries(connection, rows)
    advanced = extend_log(connection, state, hashes, state.policy_version)
    stored.advance_state(connection, state, advanced)


def draft(ledger: Ledger, name: str) -> StoredEvent:
    """Draft a statement that is ready to be inserted."""
    return draft_event(
        ledger,
        StoredEvent(
            id=0,
            platform=0,
            jti=f"bench-{name}",
            txn=None,
            incident="",
            op=int(Op.NOTED),
            kid="bench",
            received_at=datetime.now(UTC),
            response_until=None,
            active_from=None,
            entry_index=None,
            sealed=None,
            salt=None,
        ),
        secrets.token_bytes(700),
    )


def integrate_pending(connection: Connection) -> list[int]:
    """Give pending statements their indexes and entries; give which."""
    state = stored.read_state(connection, lock=True)
    pending = stored.assign_indexes(connection, state.size, BATCH_MAX)
    if pending:
        append(connection, [secrets.token_bytes(80) for _ in pending])
    return [event.id for event in pending]


def insert(database: Database, event: StoredEvent) -> int:
    """Insert a statement for a sequencer to come."""
    with begin_write(database, autocommit=True) as connection:
        return stored.insert_event(connection, event)


def insert_inside(database: Database, event: StoredEvent) -> int:
    """Insert a statement and integrate it in the same transaction."""
    while True:
        try:
            with begin_write(database) as connection:
                stored.read_state(connection, lock=True)
                known = stored.insert_event(connection, event)
                integrate_pending(connection)
        except LedgerUnavailable:
            continue
        return known


def write(
    url: str,
    events: list[StoredEvent],
    insert_one: Callable[[Database, StoredEvent], int],
    pause: float,
    barrier: Barrier,
    results: Queue[tuple[float, dict[int, float]]],
) -> None:
    """Be a writer: insert all events, one a pause, the first ones before the clock starts."""
    database = open_address(url)
    for event in events[:_WARMING_UP]:
        insert_one(database, event)
    barrier.wait()
    began = time.monotonic()
    inserted = {}
    for number, event in enumerate(events[_WARMING_UP:]):
        time.sleep(max(0.0, began + number * pause - time.monotonic()))
        known = insert_one(database, event)
        inserted[known] = time.monotonic()
    results.put((began, inserted))


def sequence(
    url: str, interval: float, barrier: Barrier, stop: Event, results: Queue[dict[int, float]]
) -> None:
    """Be the sequencer, which begins a batch once an interval, and at once after a full one."""
    database = open_address(url)
    sequenced: dict[int, float] = {}
    with begin_write(database) as connection:
        integrate_pending(connection)  # warms up
    barrier.wait()
    while True:
        began, ending = time.monotonic(), stop.is_set()
        with begin_write(database) as connection:
            done = integrate_pending(connection)
        sequenced.update(dict.fromkeys(done, time.monotonic()))
        if len(done) == BATCH_MAX:
            continue
        if ending:
            break
        stop.wait(interval - (time.monotonic() - began))
    results.put(sequenced)


def run(
    url: str, events: list[StoredEvent], writers: int, interval: float | None, rate: float = 0
) -> tuple[float, list[float]]:
    """Give how many a second are inserted, and beside a sequencer the seconds until sequenced.

    *Units*: `rate` a second that all writers keep to, 0 for as fast as they can.
    """
    context = multiprocessing.get_context("spawn")
    beside = interval is not None
    barrier, stop = context.Barrier(writers + beside), context.Event()
    written: Queue[tuple[float, dict[int, float]]] = context.Queue()
    outcome: Queue[dict[int, float]] = context.Queue()
    insert_one = insert if beside else insert_inside
    fixed = insert_one, writers / rate if rate else 0.0, barrier, written
    started = [
        context.Process(target=write, args=(url, events[number::writers], *fixed))
        for number in range(writers)
    ]
    if beside:
        arguments = (url, interval, barrier, stop, outcome)
        started.append(context.Process(target=sequence, args=arguments))
    for process in started:
        process.start()
    told = [written.get(timeout=_WITHIN_SECONDS) for _ in range(writers)]
    inserted = {known: at for _, one in told for known, at in one.items()}
    stop.set()
    sequenced = outcome.get(timeout=_WITHIN_SECONDS) if beside else inserted
    for process in started:
        process.join()
    seconds = max(inserted.values()) - min(began for began, _ in told)
    return len(inserted) / seconds, [sequenced[known] - at for known, at in inserted.items()]


def measure_appends(count: int, writers: int, interval: float, turns: int) -> None:
    """Measure durable appends on PostgreSQL, sequenced beside the writers and inside the insert.

    How long a statement waits for its place is measured at the rate that is claimed, `CLAIMED`
    times that of integrating inside, and at the writers' full speed, at which nothing rests.
    """
    rates, claimed, full = [], [], []
    with open_database("postgresql") as url, found_ledger(url, create_secrets()) as ledger:
        for turn in range(turns):
            drafts = [draft(ledger, f"{turn}-{number}") for number in range(3 * count)]
            inside, _ = run(url, drafts[2 * count :], writers, None)
            _, waited = run(url, drafts[count : 2 * count], writers, interval, CLAIMED * inside)
            claimed += waited
            beside, waited = run(url, drafts[:count], writers, interval)
            full += waited
            rates.append((beside / inside, beside, inside))
    rates.sort()
    ratio, beside, inside = rates[turns // 2]
    shown = f"beside {beside:6.0f}/s   inside {inside:6.0f}/s   ratio {ratio:.1f}"
    print(f"postgresql         {writers} writers   {shown} ({rates[0][0]:.1f}…{rates[-1][0]:.1f})")
    for name, waits in ((f"at {CLAIMED} × inside", claimed), ("at full speed", full)):
        waits.sort()
        p50, p99 = (waits[len(waits) * part // 100] * 1e3 for part in (50, 99))
        print(
            f"                   inserted to sequenced {name}: p50 {p50:.0f} ms, p99 {p99:.0f} ms"
        )
