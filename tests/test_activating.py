"""Held incidents and the clock: when one begins to count, and who wins where several decide.

On PostgreSQL a statement is pending until `settle` does the worker's work.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from exact import settle
from kept import BUYER, hold, nothing_kept, read_log, report_of, see

from ledger.activating import activate_due
from ledger.log.leaf import EntryReason, Op
from ledger.sequencing import draft_own_statement, sequence_pending
from ledger.store import entries
from ledger.store.engine import begin_write

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator import Simulator


DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


@pytest.fixture
def shop(simulator: Callable[[str], Simulator]) -> Simulator:
    """Give a platform that reports."""
    return simulator("shop-a")


def test_held_incident_counts_from_the_end_of_its_window_and_not_before(
    shop: Simulator, now: datetime
) -> None:
    until = now + DAY
    sent = hold(shop, now, until=until)
    settle(shop.ledger, now)
    with nothing_kept(shop.ledger):
        assert activate_due(shop.ledger, until - TICK) == 0
    assert see(shop, sent, until)[0] == "held"
    assert activate_due(shop.ledger, until) == 1
    assert see(shop, sent, until) == ("active", 2)
    last = read_log(shop.ledger)[-1]
    assert (last.op, last.reason, last.ref) == (Op.ACTIVATED, EntryReason.WINDOW_PASSED, 2)
    with nothing_kept(shop.ledger):
        assert activate_due(shop.ledger, until + DAY) == 0
    assert shop.ask("buyer", BUYER, until)["score"] > 0


def test_activation_of_what_is_pending_waits_until_it_is_sequenced(
    shop: Simulator, now: datetime
) -> None:
    until = now + DAY
    sent = hold(shop, now, until=until)
    assert activate_due(shop.ledger, until) == (1 if shop.ledger.database.embedded else 0)
    settle(shop.ledger, until)
    activate_due(shop.ledger, until)
    assert see(shop, sent, until)[0] == "active"


@pytest.mark.parametrize("settled", [True, False])
def test_retraction_of_a_held_incident_prevents_its_activation(
    shop: Simulator, now: datetime, *, settled: bool
) -> None:
    until = now + DAY
    sent = hold(shop, now, until=until)
    settle(shop.ledger, now)
    shop.retract(sent, now)
    if settled:
        settle(shop.ledger, now)
    assert activate_due(shop.ledger, until) == 0
    assert see(shop, sent, until) == ("retracted", 2)
    assert Op.ACTIVATED not in {leaf.op for leaf in read_log(shop.ledger)}
    assert shop.ask("buyer", BUYER, until)["score"] == 0


def test_statement_that_lost_a_race_becomes_an_entry_without_effect(
    shop: Simulator, now: datetime
) -> None:
    """The clock and the reporter decide about one held incident before either is sequenced."""
    ledger, until = shop.ledger, now + DAY
    sent, further = hold(shop, now, until=until), shop.report("further", BUYER, now)
    settle(ledger, now)
    retraction = shop.retraction(report_of(sent), now)
    named = {"incident_iss": shop.uri, "incident_jti": sent.statement.jti}
    late = draft_own_statement(
        ledger,
        "incident-activated",
        named,
        op=Op.ACTIVATED,
        incident=sent.incident_id,
        at=until,
    )
    if ledger.database.embedded:
        shop.send(retraction, now)
        with begin_write(ledger.database) as connection:
            entries.insert_event(connection, late)
            assert sequence_pending(ledger, connection) == 1
    else:
        shop.send(retraction, now)
        with begin_write(ledger.database) as connection:
            entries.insert_event(connection, late)
        with begin_write(ledger.database) as connection:
            assert sequence_pending(ledger, connection) == 2
    taken_back, activated = read_log(ledger)[-2:]
    assert (taken_back.op, taken_back.reason) == (Op.RETRACTED, EntryReason.NONE)
    assert (activated.op, activated.reason) == (Op.ACTIVATED, EntryReason.NO_EFFECT)
    assert activated.ref == taken_back.ref == 2
    assert see(shop, sent, until)[0] == "retracted"
    assert see(shop, further, until)[0] == "active"
