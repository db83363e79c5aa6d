"""Statements about no incident end: by a withdrawal at once, or when their time is over.

Nothing comes back into a score by it, nothing of them is left, and audits say that it is lawful.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import overriding
import pytest
from exact import settle
from exchanging import forgery, withdrawal
from kept import audit, nothing_kept, read_log
from overriding import BUYER, DAY, PHONE, ask
from reports import digest
from sqlalchemy import delete, insert, select
from worlds import EVERYTHING, World

from ledger.errors import EventIdReused, IncidentClosed
from ledger.expiring import expire_due
from ledger.identity.identifier import AccountRef
from ledger.log.leaf import EntryReason, Op
from ledger.rebuilding import rebuild_index
from ledger.reporting import Accepted
from ledger.rights.retention import local_day, retention_day
from ledger.sequencing import draft_own_statement
from ledger.store import entries, erasures, tables
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from datetime import datetime

    from simulator import Simulator
    from sqlalchemy import Table

    from ledger.incident.statement import Statement
    from ledger.ledger import Ledger
    from ledger.store.entries import StoredEvent

shops = overriding.shops
YEARS = timedelta(days=5 * 365 + 1)  # with the one leap day of any five years here
TICK = timedelta(microseconds=1)
DERIVED = (tables.separation, tables.recycling, tables.marker, tables.evidence)


def count(ledger: Ledger, *of: Table) -> int:
    """Count the rows of some tables."""
    with begin_read(ledger.database) as connection:
        return sum(len(connection.execute(select(one)).all()) for one in of)


def find(ledger: Ledger, said: Statement) -> StoredEvent:
    """Give a statement as it is stored."""
    with begin_read(ledger.database) as connection:
        return next(one for one in entries.select_sequenced(connection) if one.jti == said.jti)


def is_gone(ledger: Ledger, said: Statement) -> bool:
    """Tell whether nothing of a statement's content is left, or all of it is there."""
    stored = find(ledger, said)
    left = (stored.sealed, stored.salt, stored.retention_day)
    assert all(one is None for one in left) or all(one is not None for one in left)
    return stored.sealed is None


def midnight(said: Statement, shop: Simulator, now: datetime) -> datetime:
    """Give the end of a statement's time, where years are five and days are UTC's."""
    day = retention_day(said, shop.ledger.jurisdiction)
    assert day is not None
    began = now.replace(hour=0, minute=0, second=0, microsecond=0, year=1970, month=1, day=1)
    at = began + day * DAY
    return at.replace(year=at.year + 5)


def draw(shop: Simulator, kind: str, now: datetime) -> Statement:
    """State something about no incident."""
    if kind == "separation":
        return shop.unlinking("x", AccountRef("https://shop-c.example", "acct-y"), now)
    if kind == "recycling":
        return shop.recycling(PHONE.identifier, now)
    if kind == "marker":
        return shop.marking("x", (PHONE.identifier,), now)
    return forgery(shop, digest("forged"), digest("like"), now)


# --- Their time ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["separation", "recycling", "marker", "evidence"])
def test_statement_stands_until_its_midnight_and_nothing_is_left_of_it(
    kind: str, ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    said = draw(shops[0], kind, now)
    shops[0].send(said, now)
    settle(ledger, now)
    end = midnight(said, shops[0], now)
    assert end - now > timedelta(days=5 * 365) - DAY
    with nothing_kept(ledger):
        assert expire_due(ledger, end - TICK) == 0
    assert count(ledger, *DERIVED)
    begun = find(ledger, said).entry_index
    assert expire_due(ledger, end) == 1
    assert is_gone(ledger, said)
    assert count(ledger, *DERIVED, tables.evidence_band, tables.identifier) == 0
    last = read_log(ledger)[-1]
    assert (last.op, last.reason, last.ref) == (Op.EXPIRED, EntryReason.RETENTION_ENDED, begun)
    assert audit(ledger) == ()
    with nothing_kept(ledger):
        assert expire_due(ledger, end + DAY) == 0
    with pytest.raises(EventIdReused):
        shops[0].send(said, now)


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "UTC", "America/New_York", "Pacific/Kiritimati"])
def test_marker_is_kept_as_long_as_any_incident_of_its_time_wherever_days_begin(
    zone: str, shops: list[Simulator], now: datetime
) -> None:
    profile = replace(shops[0].ledger.jurisdiction, time_zone=ZoneInfo(zone))
    for hours in range(48):
        until = now + timedelta(hours=hours)
        day = retention_day(replace(shops[0].marking("x", (), now), until=until), profile)
        assert day is not None
        assert day >= local_day(until, profile)


# --- Households ---------------------------------------------------------------------------------


def test_separation_stays_while_an_incident_of_either_account_counts(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    said = a.unlinking("asked", b.account("housemate"), now)
    a.send(said, now)
    later = now + 4 * YEARS / 5
    b.report("housemate", BUYER, later)
    settle(ledger, later)
    over = midnight(said, a, now) + 30 * DAY
    assert ask(ledger, a, over).score == 0
    assert expire_due(ledger, over) == 0
    assert ask(ledger, a, over).score == 0, "the household is still told apart"
    assert ask(ledger, a, over, buyer="stranger").score > 0
    ended = later + YEARS
    assert expire_due(ledger, ended) == 2, "the incident, and then what it was waiting for"
    assert is_gone(ledger, said)
    assert audit(ledger) == ()


@pytest.mark.parametrize("earlier", [0, 1])
def test_separation_stays_while_a_held_incident_may_count(
    earlier: int, ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    for _ in range(earlier):
        b.report("housemate", BUYER, now)
    said = a.unlinking("asked", b.account("housemate"), now)
    a.send(said, now)
    later = now + 4 * YEARS / 5
    sent = b.send(b.held_incident("housemate", BUYER, later, now + 2 * YEARS), later)
    settle(ledger, later)
    over = midnight(said, a, now) + 30 * DAY
    assert expire_due(ledger, over) == earlier, "the old incident alone, and not what it held back"
    assert not is_gone(ledger, said)
    assert expire_due(ledger, over) == 0
    b.retract(sent, over)
    settle(ledger, over)
    assert expire_due(ledger, over) == 1
    assert is_gone(ledger, said)


def test_separation_that_is_stated_again_outlives_the_first(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    first = a.unlinking("asked", b.account("housemate"), now)
    later = now + YEARS / 2
    again = a.unlinking("asked", b.account("housemate"), later)
    a.send(first, now)
    a.send(again, later)
    settle(ledger, later)
    assert expire_due(ledger, midnight(first, a, now)) == 1
    assert (is_gone(ledger, first), is_gone(ledger, again)) == (True, False)
    assert audit(ledger) == ()
    b.report("housemate", BUYER, now + YEARS)
    assert ask(ledger, a, now + YEARS).score == 0


# --- Nothing comes back -------------------------------------------------------------------------


def test_what_a_recycling_cut_is_gone_before_it(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    a.report("buyer", BUYER, now, conduct_ended_at=now - 2 * DAY)
    said = a.recycling(PHONE.identifier, now)
    a.send(said, now)
    assert ask(ledger, b, now, PHONE).score == 0
    end = midnight(said, a, now)
    assert expire_due(ledger, end - 2 * DAY) <= 1
    assert not is_gone(ledger, said)
    expire_due(ledger, end)
    assert is_gone(ledger, said)
    assert ask(ledger, b, end, PHONE).score == 0
    assert audit(ledger) == ()
    assert rebuild_index(ledger, lambda *_: None).is_equal


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_statements_wait_for_every_incident_that_is_due(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    sent = a.report("buyer", BUYER, now)
    said = a.recycling(PHONE.identifier, now + DAY)
    a.send(said, now + DAY)
    settle(ledger, now + DAY)
    a.send(a.restitution(sent.report, now), now)
    much_later = now + 2 * YEARS
    assert expire_due(ledger, much_later) == 0, "something about the incident is pending"
    assert not is_gone(ledger, said)
    assert expire_due(ledger, much_later) == 2
    assert is_gone(ledger, said)
    assert ask(ledger, b, much_later).score == 0
    assert audit(ledger) == ()


def test_incident_that_a_marker_names_never_counts_again(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    sent = a.report("buyer", BUYER, now)
    said = replace(a.marking("buyer", (), now, (sent.report.jti,)), until=now)
    settle(ledger, now)
    a.send(said, now)
    end = midnight(said, a, now)
    for at in (end - 3 * DAY, end - DAY, end - TICK, end, end + DAY):
        expire_due(ledger, at)
        assert ask(ledger, b, at).score == 0
        assert audit(ledger) == ()
    assert is_gone(ledger, said)


def test_markers_that_lie_within_each_other_end_as_if_the_rest_had_stood_alone(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    shop, marks = shops[0], []
    for first, last in ((0, 100), (10, 90), (0, 100), (20, 200), (30, 40), (50, 300), (60, 301)):
        for hour in (2, 20):
            begins, until = now + first * DAY, now.replace(hour=hour) + last * DAY
            one = replace(shop.marking("x", (), now), begins=begins, until=until)
            shop.send(one, now)
            marks.append(one)
    settle(ledger, now)
    ends = sorted({midnight(one, shop, now) for one in marks})
    assert len(ends) == 6
    for end in ends:
        before = [is_gone(ledger, one) for one in marks]
        expire_due(ledger, end - TICK)
        assert [is_gone(ledger, one) for one in marks] == before
        expire_due(ledger, end)
        for one in marks:
            assert is_gone(ledger, one) == (midnight(one, shop, now) <= end)
        assert audit(ledger) == ()
    assert count(ledger, *DERIVED, tables.identifier) == 0


@pytest.mark.parametrize("number", range(2))
def test_random_world_is_as_if_what_is_gone_was_never_said_and_ends_empty(
    number: int, ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    world = World(number, shops, now, crowded=number % 2 == 0)
    for _ in range(40):
        said = world.draw_statement(EVERYTHING)
        world.reporter_of(said.issuer).send(said, now)
    shops[0].send(forgery(shops[0], digest("a"), digest("b"), now), now)
    settle(ledger, now)
    for months in range(0, 90, 10):
        while expire_due(ledger, now + months * timedelta(days=30)):
            pass
        assert audit(ledger) == ()
        assert rebuild_index(ledger, lambda *_: None).is_equal
    empty = (tables.edge, tables.posting, tables.multiplicity, tables.identifier)
    assert count(ledger, *DERIVED, *empty) == 0
    with begin_read(ledger.database) as connection:
        left = [one for one in entries.select_sequenced(connection) if one.sealed]
    assert {one.platform for one in left} == {0}, "nothing of any member's is left"


# --- Withdrawals --------------------------------------------------------------------------------


def test_withdrawal_takes_its_own_content_along_and_is_answered_again(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    shop = shops[0]
    seen, other = (forgery(shop, digest(name), digest(name), now) for name in "ab")
    said = withdrawal(shop, seen, now)
    for one in (seen, other, said):
        shop.send(one, now)
    settle(ledger, now)
    stored = [find(ledger, one) for one in (seen, said)]
    assert [(one.sealed, one.salt) for one in stored] == [(None, None)] * 2
    assert not is_gone(ledger, other)
    assert audit(ledger) == ()
    assert shop.send(said, now).accepted == Accepted(None, repeated=True)
    for another in (replace(said, evidence_jti=other.jti), replace(other, jti=said.jti), seen):
        with pytest.raises(EventIdReused):
            shop.send(another, now)
    with pytest.raises(IncidentClosed):
        shop.send(withdrawal(shop, seen, now), now)


def test_withdrawal_of_what_expired_is_refused(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    seen = forgery(shops[0], digest("a"), None, now)
    shops[0].send(seen, now)
    settle(ledger, now)
    later = now + YEARS + DAY
    assert expire_due(ledger, later) == 1
    with pytest.raises(IncidentClosed):
        shops[0].send(withdrawal(shops[0], seen, later), later)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_withdrawal_that_lost_the_race_against_time_is_destroyed_all_the_same(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    seen = forgery(shops[0], digest("a"), None, now)
    shops[0].send(seen, now)
    settle(ledger, now)
    stored = find(ledger, seen)
    members = {"statement_iss": seen.issuer, "statement_jti": seen.jti}
    with begin_write(ledger.database) as connection:
        expiry = draft_own_statement(
            *(ledger, "statement-expired", members),
            op=Op.EXPIRED,
            incident=stored.incident,
            at=now,
        )
        entries.insert_event(connection, expiry)
    said = withdrawal(shops[0], seen, now)
    shops[0].send(said, now)
    settle(ledger, now)
    last = read_log(ledger)[-1]
    assert (last.op, last.reason) == (Op.EVIDENCE_WITHDRAWN, EntryReason.NO_EFFECT)
    assert last.ref == stored.entry_index
    assert find(ledger, said).sealed is None
    assert audit(ledger) == ()


# --- Audits -------------------------------------------------------------------------------------


def test_content_gone_unlawfully_and_content_kept_unlawfully_are_told_apart(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    shop = shops[0]
    said = [draw(shop, kind, now) for kind in ("separation", "recycling", "marker", "evidence")]
    for statement in said:
        shop.send(statement, now)
    settle(ledger, now)
    stored = [find(ledger, statement) for statement in said]
    with begin_read(ledger.database) as connection:
        rows = connection.execute(select(tables.event_content)).all()
        content = {row.event: dict(row._mapping) for row in rows}
        marks = [dict(row._mapping) for row in connection.execute(select(tables.marker))]
    for one in stored:
        with begin_write(ledger.database) as connection:
            mine = tables.event_content.c.event == one.id
            connection.execute(delete(tables.event_content).where(mine))
        assert [(f.code, f.index) for f in audit(ledger)] == [
            ("content-unreadable", one.entry_index)
        ]
        with begin_write(ledger.database) as connection:
            connection.execute(insert(tables.event_content).values(content[one.id]))
    assert audit(ledger) == ()
    assert expire_due(ledger, now + 2 * YEARS) == len(said)
    assert audit(ledger) == ()
    with begin_write(ledger.database) as connection:
        connection.execute(insert(tables.marker), marks)
    assert {f.code for f in audit(ledger)} == {"override-differs"}
    with begin_write(ledger.database) as connection:
        for one in stored:
            connection.execute(insert(tables.event_content).values(content[one.id]))
    assert {(f.code, f.index) for f in audit(ledger)} == {
        ("content-kept", one.entry_index) for one in stored
    }
    with begin_write(ledger.database) as connection:
        assert erasures.destroy_again(connection, now) == len(said)
    assert audit(ledger) == ()
