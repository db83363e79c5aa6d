"""Many at once: writers, repeats, retractions, sequencers, askers, auditors, on real connections.

Threads start together at a barrier. Whatever they get in each other's way, nothing is lost,
nothing is there twice, and an audit afterwards is clean.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from threading import Barrier, Event
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from exact import settle
from kept import BUYER, audit, hold, read_log, report_of
from simulator import phone_and_device
from sqlalchemy import event

from ledger.activating import activate_due
from ledger.assessing import assess_risk
from ledger.auditing import audit_ledger
from ledger.checking import check_ready
from ledger.errors import CaseReported, IncidentClosed, LedgerError, LedgerUnavailable
from ledger.ledger import open_ledger
from ledger.log.leaf import EntryReason, Op
from ledger.reporting import Accepted, accept_event
from ledger.sequencing import sequence
from ledger.store import entries
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from simulator import Simulator

    from ledger.incident.incident import IncidentReport
    from ledger.incident.statement import Retraction
    from ledger.ledger import Ledger, LedgerKeys
    from ledger.rights.jurisdiction import JurisdictionProfile
    from ledger.store.entries import StoredEvent

POSTGRES = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
WRITERS = 8
EACH = 3
Made = TypeVar("Made")


def at_once(*calls: Callable[[], Made]) -> list[Made | LedgerError]:
    """Make calls at the same moment, each in a thread of its own; a refusal is an answer."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Made]) -> Made | LedgerError:
        barrier.wait()
        try:
            return call()
        except LedgerError as refusal:
            return refusal

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def read_events(ledger: Ledger) -> list[StoredEvent]:
    """Read every statement; none is pending, and the indexes are dense in log order."""
    with begin_read(ledger.database) as connection:
        assert entries.count_pending(connection) == 0
        events = entries.select_sequenced(connection)
    assert [one.entry_index for one in events] == list(range(len(events)))
    assert len(read_log(ledger)) == len(events)
    return events


@pytest.fixture
def shops(simulator: Callable[[str], Simulator], now: datetime) -> list[Simulator]:
    """Give three platforms whose enrolment is in the log."""
    enrolled = [simulator(f"shop-{name}") for name in "abc"]
    settle(enrolled[0].ledger, now)
    return enrolled


def test_writers_at_once_lose_nothing_and_their_entries_are_dense(
    shops: list[Simulator], now: datetime
) -> None:
    ledger = shops[0].ledger
    reports = [
        (shop, shop.incident(f"buyer-{number}", phone_and_device(f"person {number % 4}"), now))
        for number in range(EACH)
        for shop in shops * 2
    ]
    tokens = [shop.sign(report) for shop, report in reports]

    def write(mine: Sequence[bytes]) -> list[str]:
        return [str(accept_event(ledger, token, now).incident_id) for token in mine]

    shares = [tokens[start::WRITERS] for start in range(WRITERS)]
    answers = at_once(*(partial(write, share) for share in shares))
    settle(ledger, now)
    accepted = [one for answer in answers if isinstance(answer, list) for one in answer]
    assert len(set(accepted)) == len(accepted) == len(tokens)
    events = [one for one in read_events(ledger) if one.op == Op.INCIDENT_CONFIRMED]
    assert sorted(one.incident for one in events) == sorted(accepted)
    assert sorted(one.jti for one in events) == sorted(report.jti for _, report in reports)
    check_ready(ledger)
    assert audit(ledger) == ()


@pytest.mark.parametrize("is_report", [True, False], ids=["report", "retraction"])
def test_same_token_at_once_is_one_statement_and_every_answer_the_same(
    shops: list[Simulator], now: datetime, *, is_report: bool
) -> None:
    shop = shops[0]
    statement: IncidentReport | Retraction = shop.incident("buyer", BUYER, now)
    if not is_report:
        statement = shop.retraction(report_of(shop.send(statement, now)), now)
    tokens = [shop.sign(statement) for _ in range(WRITERS)]
    answers = at_once(*(partial(accept_event, shop.ledger, token, now) for token in tokens))
    settle(shop.ledger, now)
    accepted = [one for one in answers if isinstance(one, Accepted)]
    assert len({one.incident_id for one in accepted}) == 1
    assert [one.repeated for one in accepted].count(False) == 1
    others = {type(one) for one in answers if not isinstance(one, Accepted)}
    assert others <= {LedgerUnavailable}, "who is told to come back may do so"
    assert accept_event(shop.ledger, tokens[0], now).repeated
    assert [one.jti for one in read_events(shop.ledger)].count(statement.jti) == 1
    assert audit(shop.ledger) == ()


@contextmanager
def interrupted(ledger: Ledger, mark: str, call: Callable[[], object]) -> Iterator[None]:
    """Make a call right before the first statement of this ledger that has a mark in it."""
    calls = [call]

    def listen(*execution: Any) -> None:
        if calls and mark in execution[2]:
            calls.pop()()

    event.listen(ledger.database.engine, "before_cursor_execute", listen)
    try:
        yield
    finally:
        event.remove(ledger.database.engine, "before_cursor_execute", listen)
    assert not calls, "the moment has come"


@POSTGRES
@pytest.mark.parametrize("is_report", [True, False], ids=["report", "retraction"])
def test_statement_that_is_accepted_while_it_is_judged_is_a_repeat(
    shops: list[Simulator],
    database_url: str,
    keys: LedgerKeys,
    profiles: Mapping[str, JurisdictionProfile],
    now: datetime,
    *,
    is_report: bool,
) -> None:
    """Another server of the same ledger is faster, in the one moment in which it matters."""
    shop, faster = shops[0], open_ledger(database_url, keys, profiles)
    statement: IncidentReport | Retraction = shop.incident("buyer", BUYER, now)
    if not is_report:
        statement = shop.retraction(report_of(shop.send(statement, now)), now)
    token = shop.sign(statement)
    mark = "event.txn = " if is_report else "FOR UPDATE"
    with interrupted(shop.ledger, mark, lambda: accept_event(faster, token, now)):
        answer = accept_event(shop.ledger, token, now)
    assert answer.repeated
    settle(shop.ledger, now)
    assert [one.jti for one in read_events(shop.ledger)].count(statement.jti) == 1
    faster.database.engine.dispose()


def test_same_case_under_many_ids_at_once_is_reported_once(
    shops: list[Simulator], now: datetime
) -> None:
    shop = shops[0]
    tokens = [shop.sign(shop.incident("buyer", BUYER, now, txn="case-1")) for _ in range(WRITERS)]
    answers = at_once(*(partial(accept_event, shop.ledger, token, now) for token in tokens))
    settle(shop.ledger, now)
    assert [isinstance(one, Accepted) for one in answers].count(True) == 1
    assert {type(one) for one in answers} <= {Accepted, CaseReported, LedgerUnavailable}
    with pytest.raises(CaseReported):
        shop.report("buyer", BUYER, now, txn="case-1")
    assert [one.txn for one in read_events(shop.ledger)].count("case-1") == 1
    assert audit(shop.ledger) == ()


def test_retractions_at_once_take_a_report_back_once(shops: list[Simulator], now: datetime) -> None:
    shop = shops[0]
    sent = shop.report("buyer", BUYER, now)
    settle(shop.ledger, now)
    retractions = [shop.retraction(report_of(sent), now) for _ in range(WRITERS)]
    answers = at_once(*(partial(shop.send, one, now) for one in retractions))
    settle(shop.ledger, now)
    refusals = [one for one in answers if isinstance(one, LedgerError)]
    assert len(refusals) == WRITERS - 1
    assert {type(one) for one in refusals} == {IncidentClosed}
    assert [one.op for one in read_events(shop.ledger)].count(Op.RETRACTED) == 1
    assert shop.look_up(sent.incident_id, now).state == "retracted"
    assert audit(shop.ledger) == ()


def test_clock_and_reporter_at_once_leave_a_held_incident_retracted(
    shops: list[Simulator], now: datetime
) -> None:
    shop, until = shops[0], now + timedelta(days=1)
    for _ in range(EACH):
        sent = hold(shop, now, until=until)
        settle(shop.ledger, now)
        retraction = shop.retraction(report_of(sent), now)
        answers = at_once(
            partial(shop.send, retraction, now), partial(activate_due, shop.ledger, until)
        )
        assert not any(isinstance(one, LedgerError) for one in answers)
        settle(shop.ledger, until)
        assert shop.look_up(sent.incident_id, until).state == "retracted"
    read_events(shop.ledger)
    assert shop.ask("buyer", BUYER, until)["score"] == 0
    assert audit(shop.ledger) == ()


def test_workers_at_once_activate_what_is_due_once(shops: list[Simulator], now: datetime) -> None:
    shop, until = shops[0], now + timedelta(days=1)
    for _ in range(EACH):
        hold(shop, now, until=until)
    settle(shop.ledger, now)
    counts = at_once(*[partial(activate_due, shop.ledger, until)] * 4)
    assert sorted(one for one in counts if isinstance(one, int)) == [0, 0, 0, EACH]
    log = read_log(shop.ledger)
    assert [leaf.op for leaf in log].count(Op.ACTIVATED) == EACH
    assert EntryReason.NO_EFFECT not in {leaf.reason for leaf in log}
    assert audit(shop.ledger) == ()


@POSTGRES
def test_sequencers_at_once_neither_fork_the_log_nor_skip_a_place(
    shops: list[Simulator], now: datetime
) -> None:
    ledger = shops[0].ledger
    tokens = [
        shop.sign(shop.incident(f"buyer-{number}", BUYER, now))
        for number in range(2 * EACH)
        for shop in shops
    ]

    finished = Event()

    def write() -> int:
        try:
            return len([accept_event(ledger, token, now) for token in tokens])
        finally:
            finished.set()

    def run_worker() -> int:
        done = 0
        while True:
            is_last = finished.is_set()
            count = sequence(ledger, now)
            done += count
            if is_last and not count:
                return done

    before = len(read_log(ledger))
    expected = before + 2 * len(tokens)  # an activation follows each report
    written, *done = at_once(write, run_worker, run_worker)
    assert written == len(tokens)
    assert sum(one for one in done if isinstance(one, int)) == 2 * len(tokens)
    settle(ledger, now)
    assert len(read_events(ledger)) == expected
    check_ready(ledger)
    assert audit(ledger) == ()


def test_askers_and_auditors_see_a_sound_ledger_while_others_report(
    shops: list[Simulator], now: datetime
) -> None:
    ledger, (reporter, asker, _) = shops[0].ledger, shops
    reports = [reporter.incident(f"buyer-{number}", BUYER, now) for number in range(4 * EACH)]

    def write() -> list[int]:
        for report in reports:
            reporter.send(report, now)
            sequence(ledger, now)
        return []

    def ask() -> list[int]:
        caller = asker.caller(now)
        questions = [asker.request("them", BUYER) for _ in range(4 * EACH)]
        answers = [assess_risk(ledger, caller, one, now) for one in questions]
        return [json.loads(answer.text)["log"]["size"] for answer in answers]

    def watch() -> list[int]:
        sizes = []
        for _ in range(EACH):
            report = audit_ledger(ledger, lambda done, of: None)  # noqa: ARG005 - called by position
            assert report.findings == ()
            check_ready(ledger)
            sizes.append(report.entries)
        return sizes

    answers = at_once(write, ask, watch)
    for sizes in answers:
        assert isinstance(sizes, list), sizes
        assert sizes == sorted(sizes), "nobody ever sees an earlier log again"
    read_events(ledger)
    assert asker.ask("them", BUYER, now)["score"] > 0
    assert audit(ledger) == ()
