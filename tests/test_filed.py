"""Whoever writes to the database and holds no key brings no end and no effect nearer.

The clock goes by days beside the statements. Were it to trust them, it would destroy a report by a
lawful entry of the ledger's own, and nothing would be left to show that the day was false.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from exact import settle
from exchanging import forgery
from kept import BUYER, audit, hold, nothing_kept
from reports import digest
from sqlalchemy import update

from ledger.activating import activate_due
from ledger.checking import check_ready
from ledger.errors import LedgerCorrupt
from ledger.expiring import expire_due
from ledger.log.leaf import Op
from ledger.sequencing import draft_own_statement
from ledger.store import entries, tables
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from simulator import Simulator

    from ledger.rights.jurisdiction import JurisdictionProfile
    from ledger.store.entries import StoredEvent

EVENT = tables.event
OLD = timedelta(days=4 * 365)
TICK = timedelta(microseconds=1)


@pytest.fixture
def shop(simulator: Callable[[str], Simulator]) -> Simulator:
    """Give a platform that reports."""
    return simulator("shop-a")


def write(shop: Simulator, jti: str, **changes: Any) -> None:
    """Change the row of a statement."""
    with begin_write(shop.ledger.database) as connection:
        row = update(EVENT).where(EVENT.c.jti == jti)
        assert connection.execute(row.values(changes)).rowcount == 1


def find(shop: Simulator, jti: str) -> StoredEvent:
    """Give a statement as it is stored."""
    with begin_read(shop.ledger.database) as connection:
        return next(one for one in entries.select_sequenced(connection) if one.jti == jti)


def refuse(shop: Simulator, at: datetime) -> None:
    with nothing_kept(shop.ledger), pytest.raises(LedgerCorrupt, match="filed"):
        expire_due(shop.ledger, at)


def test_day_that_was_brought_nearer_destroys_nothing(shop: Simulator, now: datetime) -> None:
    report = shop.report("buyer", BUYER, now).report
    others = (forgery(shop, digest("a"), None, now), shop.marking("else", (), now))
    for one in others:
        shop.send(one, now)
    settle(shop.ledger, now)
    for jti in (report.jti, *(one.jti for one in others)):
        day = find(shop, jti).retention_day
        write(shop, jti, retention_day=0)
        refuse(shop, now)
        write(shop, jti, retention_day=day)
    assert audit(shop.ledger) == ()


@pytest.mark.parametrize("op", [Op.INCIDENT_CONFIRMED, Op.CORRECTED, Op.RETRACTED])
def test_old_statement_that_is_filed_with_another_record_ends_it_not(
    shop: Simulator, now: datetime, op: Op
) -> None:
    """Nor where the record's own statement is filed as one that has no day."""
    old = shop.report("old", BUYER, now, conduct_ended_at=now - OLD).report
    young = shop.report("young", BUYER, now)
    settle(shop.ledger, now)
    write(shop, old.jti, incident=young.incident_id)
    write(shop, young.report.jti, retention_day=None, op=int(op))
    refuse(shop, now + 2 * OLD / 4)


def test_window_that_was_cut_short_lets_nothing_count(shop: Simulator, now: datetime) -> None:
    until = now + timedelta(days=1)
    sent = hold(shop, now, until=until)
    settle(shop.ledger, now)
    write(shop, sent.report.jti, active_from=now)
    with nothing_kept(shop.ledger):
        assert activate_due(shop.ledger, until - TICK) == 0
    assert activate_due(shop.ledger, until) == 1


def test_activation_before_its_window_passed_is_named(shop: Simulator, now: datetime) -> None:
    sent = hold(shop, now, until=now + timedelta(days=1))
    settle(shop.ledger, now)
    members = {"incident_iss": shop.uri, "incident_jti": sent.report.jti}
    early = draft_own_statement(
        *(shop.ledger, "incident-activated", members),
        op=Op.ACTIVATED,
        incident=sent.incident_id,
        at=now,
    )
    with begin_write(shop.ledger.database) as connection:
        entries.insert_event(connection, early)
    settle(shop.ledger, now)
    assert {one.code for one in audit(shop.ledger)} == {"statement-misfiled"}


def test_ledger_under_another_jurisdiction_is_not_ready(
    shop: Simulator, profiles: Mapping[str, JurisdictionProfile], now: datetime
) -> None:
    """Whose windows may be shorter, and whose decisions one person's."""
    shop.report("buyer", BUYER, now)
    settle(shop.ledger, now)
    check_ready(shop.ledger)
    other = replace(shop.ledger, jurisdiction=profiles["CN"])
    with pytest.raises(LedgerCorrupt, match="jurisdiction"):
        check_ready(other)
