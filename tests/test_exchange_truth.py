"""Nobody who was told of a match misses that it was taken back, by whatever way it goes.

Corrections that bring an end, suspensions, restored tables, recalls that are written out of the
order of their times, and questions beside a sequencer that destroys what they found.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest
from erasing import decide
from exact import settle
from exchanging import forgery, withdrawal
from kept import audit
from reports import digest
from simulator import Simulator, phone_and_device
from sqlalchemy import event, insert, text
from test_concurrency import POSTGRES, read_events
from test_exchange_journeys import TABLES, read_evidence

from ledger.enrolling import suspend_platform
from ledger.erasing import destroy_again, list_matched
from ledger.errors import IncidentClosed, UnknownIncident
from ledger.expiring import expire_due
from ledger.incident.evidence import Sought
from ledger.ledger import mint_id
from ledger.log.leaf import Op
from ledger.matching import list_recalls, match_evidence
from ledger.sequencing import draft_event
from ledger.store import entries
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Sent

    from ledger.ledger import Ledger
    from ledger.store.entries import StoredEvent
    from ledger.store.evidence import Recall

DAY = timedelta(days=1)


@pytest.fixture
def shops(simulator: Callable[..., Simulator]) -> list[Simulator]:
    """Give three members of three groups."""
    return [simulator(f"shop-{name}") for name in "abc"]


def told(shop: Simulator, name: str, at: datetime) -> str | None:
    """Ask about a file as a member; give the answer's id where it told of a match."""
    settle(shop.ledger, at)
    answer = match_evidence(shop.ledger, shop.caller(at), [Sought(digest(name), ())], at)
    return answer.id if answer.seen[0] else None


def recalls(shop: Simulator, at: datetime, after: str = "") -> list[Recall]:
    """List what is recalled from a member."""
    settle(shop.ledger, at)
    return list_recalls(shop.ledger, shop.caller(at), after, 200)[0]


def report(shop: Simulator, name: str, at: datetime, **changes: Any) -> Sent:
    """Report an incident whose photo is the file of a name."""
    like = shop.incident(name, phone_and_device(name), at)
    photo = replace(like.proof.evidence[0], digest=digest(name))
    proof = replace(like.proof, evidence=(photo, *like.proof.evidence[1:]))
    return shop.report(name, phone_and_device(name), at, proof=proof, **changes)


# --- What a correction ends ---------------------------------------------------------------------


def test_expiry_is_recalled_where_a_correction_brought_it_and_not_where_time_did(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    ancient = now.replace(year=now.year - 5) + DAY
    names = ("sooner", "there and back", "old from the first")
    sooner, back, old = (
        report(a, name, now, **changes)
        for name, changes in zip(names, ({}, {}, {"conduct_ended_at": ancient}), strict=True)
    )
    answers = [told(b, name, now) for name in names]
    for sent, ends in ((sooner, [ancient]), (back, [ancient, now - DAY]), (old, [now - DAY])):
        for at in ends:
            a.send(a.correction(sent.report, now, conduct_ended_at=at), now)
    assert recalls(b, now) == []
    later = now + 3 * DAY
    assert expire_due(ledger, later) == 3
    assert [told(b, name, later) for name in names] == [None] * 3
    assert {one.answer for one in recalls(b, later)} == set(answers[:2])
    assert read_evidence(ledger) == [[], [], []]
    assert audit(ledger) == ()


# --- Who can't vouch any more -------------------------------------------------------------------


def test_suspended_member_s_evidence_matches_no_more_and_whoever_was_told_is_told_again(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, c = shops
    first = forgery(a, digest("forged"), digest("picture"), now)
    a.send(first, now)
    report(a, "reported", now)
    c.send(forgery(c, digest("other's"), None, now), now)
    answers = [told(b, name, now) for name in ("forged", "reported", "other's")]
    both = [Sought(digest(name), ()) for name in ("forged", "reported", "other's")]
    answers.append(match_evidence(ledger, b.caller(now), both, now).id)
    vouching, pending = a.caller(now).platform.id, forgery(a, digest("pending"), None, now)
    a.send(pending, now)
    suspend_platform(ledger, a.uri, now)
    names = ("forged", "reported", "pending", "other's")
    assert [told(b, name, now) is not None for name in names] == [False, False, False, True]
    assert sorted(one.answer for one in recalls(b, now)) == sorted(
        map(str, (*answers[:2], answers[3]))
    )
    pieces, bands, _ = read_evidence(ledger)
    assert ({one["platform"] for one in pieces}, bands) == ({c.caller(now).platform.id}, [])
    assert audit(ledger) == ()
    # Accepted while the suspension was being decided: its place in the log comes after it.
    late = forgery(a, digest("late"), digest("picture"), now)
    with begin_write(ledger.database) as connection:
        like = entries.find_event(connection, vouching, first.jti)
        assert like is not None
        new = replace(like, id=0, jti=late.jti, incident=mint_id("evd_", now), entry_index=None)
        entries.insert_event(connection, draft_event(ledger, new, a.sign(late)))
    settle(ledger, now)
    assert told(b, "late", now) is None
    assert audit(ledger) == ()


# --- Restored tables ----------------------------------------------------------------------------


def test_what_a_restored_table_told_of_is_recalled_when_it_is_destroyed_again(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, c = shops
    said = forgery(a, digest("withdrawn"), digest("picture"), now)
    a.send(said, now)
    c.send(forgery(c, digest("suspended"), None, now), now)
    settle(ledger, now)
    kept = read_evidence(ledger)
    a.send(withdrawal(a, said, now), now)
    suspend_platform(ledger, c.uri, now)
    settle(ledger, now)
    with begin_write(ledger.database) as connection:
        for table, rows in zip(TABLES[:2], kept, strict=False):
            connection.execute(insert(table), rows)
    answers = {told(b, name, now) for name in ("withdrawn", "suspended")}
    assert None not in answers
    destroy_again(ledger, now)
    assert {one.answer for one in recalls(b, now)} == answers
    assert read_evidence(ledger) == [[], [], []]
    destroy_again(ledger, now)
    assert len(recalls(b, now)) == 2
    assert audit(ledger) == ()


# --- Where a list goes on -----------------------------------------------------------------------


def test_recall_that_is_written_later_is_listed_later_whatever_its_time(
    shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    names = ("first", "second", "third")
    seen = [forgery(a, digest(name), None, now) for name in names]
    for one in seen:
        a.send(one, now)
    answers = [told(b, name, now) for name in names]
    read: list[Recall] = []
    # Another server's clock may be behind; what was received first may get its place last.
    for one, at in zip(seen, (now + 2 * DAY, now + DAY, now), strict=True):
        a.send(withdrawal(a, one, now), at)
        read += recalls(b, now, read[-1].id if read else "")
    assert [one.answer for one in read] == answers
    assert [one.id for one in read] == sorted(one.id for one in recalls(b, now))


# --- At once ------------------------------------------------------------------------------------


@POSTGRES
def test_questions_and_a_sequencer_wait_for_each_other_in_turn_and_none_fails(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, c = shops
    x, y = (forgery(a, digest(name), None, now) for name in "xy")
    for one in (x, y):
        a.send(one, now)
    settle(ledger, now)
    for one in (y, x):  # the sequencer destroys them in the other order than the question finds
        a.send(withdrawal(a, one, now), now)
    found, go_on = Event(), Event()

    def pause(*call: Any) -> None:
        if "INSERT INTO evidence_match" in call[2] and not found.is_set():
            found.set()
            go_on.wait(5)

    def wait_for(*threads: Thread) -> None:
        here = "datname = current_database() AND wait_event_type = 'Lock'"
        waiting = text(f"SELECT count(*) FROM pg_stat_activity WHERE {here}")
        with begin_read(ledger.database) as connection:
            while sum(one.is_alive() for one in threads) > connection.execute(waiting).scalar_one():
                pass

    event.listen(ledger.database.engine, "after_cursor_execute", pause)
    sought, answers = [Sought(one.digest, ()) for one in (x, y)], {}
    callers = [shop.caller(now) for shop in (b, c)]

    def ask(number: int) -> None:
        answers[number] = match_evidence(ledger, callers[number], sought, now)

    early, late = (Thread(target=ask, args=(number,)) for number in range(2))
    placing = Thread(target=settle, args=(ledger, now))
    early.start()
    assert found.wait(5)
    placing.start()
    wait_for(placing)
    late.start()
    wait_for(placing, late)
    go_on.set()
    for thread in (early, placing, late):
        thread.join()
    assert [all(answers[number].seen) for number in range(2)] == [True, False]
    assert answers[1].seen == (None, None), "who asks after a withdrawal waits for it"
    assert {one.answer for one in recalls(b, now)} == {answers[0].id}
    assert (recalls(c, now), read_evidence(ledger)) == ([], [[], [], []])
    assert audit(ledger) == ()


# --- What an operator decides -------------------------------------------------------------------


def test_evidence_that_is_found_unfounded_matches_no_more_and_whoever_was_told_is_told_again(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    said = forgery(a, digest("false"), None, now)
    sent, kept = a.send(said, now), a.send(forgery(a, digest("true"), None, now), now)
    answers = told(b, "false", now), told(b, "true", now)
    about = begun(ledger, sent).incident
    assert list_matched(ledger, str(answers[0])) == [(about, a.uri, said.jti)]
    with pytest.raises(UnknownIncident):
        decide(ledger, about, now, Op.ERASED)
    rows = read_evidence(ledger)
    decide(ledger, about, now, Op.EXPUNGED)
    assert told(b, "false", now) is None
    assert [one.answer for one in recalls(b, now)] == [answers[0]]
    assert begun(ledger, sent).sealed is None
    assert begun(ledger, kept).sealed is not None
    with pytest.raises(IncidentClosed):
        decide(ledger, about, now, Op.EXPUNGED)
    with pytest.raises(IncidentClosed):
        a.send(withdrawal(a, said, now), now)
    assert audit(ledger) == ()
    with begin_write(ledger.database) as connection:  # as from a restored table
        connection.execute(insert(TABLES[0]), [one for one in rows[0] if one not in known(ledger)])
    assert told(b, "false", now) is not None
    destroy_again(ledger, now)
    assert told(b, "false", now) is None
    assert len(recalls(b, now)) == 2
    assert audit(ledger) == ()


def begun(ledger: Ledger, sent: Sent) -> StoredEvent:
    """Give a statement as it is stored."""
    return next(one for one in read_events(ledger) if one.jti == sent.statement.jti)


def known(ledger: Ledger) -> list[dict[str, Any]]:
    """Read by what evidence is recognised now."""
    return read_evidence(ledger)[0]


def test_one_person_alone_finds_no_evidence_unfounded(
    found_ledger: Callable[[str], Ledger], now: datetime
) -> None:
    ledger = found_ledger("CN")
    a, b = Simulator(ledger, "shop-a"), Simulator(ledger, "shop-b")
    for shop in (a, b):
        shop.enrol(now)
    sent = a.send(forgery(a, digest("false"), None, now), now)
    settle(ledger, now)
    about = begun(ledger, sent).incident
    first = decide(ledger, about, now, Op.EXPUNGED)
    destroy_again(ledger, now)
    assert not first.is_final
    assert told(b, "false", now) is not None
    assert audit(ledger) == ()
    decide(ledger, about, now, Op.EXPUNGED, person="Lee", confirms=first.jti)
    assert told(b, "false", now) is None
    assert len(recalls(b, now)) == 1
    with pytest.raises(IncidentClosed):
        decide(ledger, about, now, Op.EXPUNGED)
    assert audit(ledger) == ()
