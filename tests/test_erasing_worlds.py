"""Random worlds in which incidents are retracted, erased and expire, among all else that is said.

What is left must be as if what is gone had never counted: the audit derives the same from what is
still there, the index rebuilds to the same hash, and no row of any table holds a destroyed byte.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from erasing import decide, stored_of, traces_of
from exact import settle
from kept import audit, read_log
from test_dump import read_values
from worlds import EVERYTHING, World

from ledger.errors import ContentErased, EventIdReused
from ledger.expiring import expire_due
from ledger.incident.incident import IncidentReport
from ledger.incident.lifecycle import CLOSED, LASTING, State
from ledger.incident.statement import Change
from ledger.log.leaf import Op
from ledger.rebuilding import rebuild_index
from ledger.store import entries, incidents
from ledger.store.engine import begin_read
from ledger_client.receipt import verify_standing

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Sent, Simulator

    from ledger.ledger import Ledger

ROUNDS, STEPS = 3, 12
AGES = timedelta(days=500)


class Told:
    """One world, what was said in it, and what a database held of each statement."""

    def __init__(self, ledger: Ledger, world: World) -> None:
        self.ledger = ledger
        self.world = world
        self.sent: list[Sent] = []
        self.traces: dict[str, dict[str, bytes]] = {}
        self.receipts: dict[str, str] = {}

    def say(self) -> None:
        """Let somebody say something, and keep what a thief would keep."""
        said = self.world.draw_statement(EVERYTHING)
        one = self.world.reporter_of(said.issuer).send(said, self.world.now)
        if isinstance(said, IncidentReport | Change):
            self.sent.append(one)
            stored = stored_of(self.ledger, one)
            if stored.sealed is not None:  # a retraction is gone with the very report
                self.traces[said.jti] = traces_of(stored)

    def state_of(self, incident_id: str) -> State:
        """Tell how an incident stands."""
        with begin_read(self.ledger.database) as connection:
            found = incidents.find_incident(connection, incident_id)
        assert found is not None
        return found.state

    def forget_closed(self) -> None:
        """Let nobody say anything more about what is gone."""
        ids = {one.statement.jti: one.incident_id for one in self.sent}
        self.world.open = [
            one for one in self.world.open if self.state_of(ids[one.jti]) not in CLOSED
        ]


def live(told: Told) -> None:
    """Let a world go on, with an erasure now and then, and time that passes."""
    world, ledger = told.world, told.ledger
    for number in range(1, ROUNDS + 1):
        for _ in range(STEPS):
            told.say()
        settle(ledger, world.now)
        reports = [one for one in told.sent if isinstance(one.statement, IncidentReport)]
        for one in reports:
            if told.state_of(one.incident_id) not in CLOSED:
                shop = world.reporter_of(one.report.issuer)
                told.receipts[one.report.jti] = shop.fetch_receipt(one.incident_id, world.now)
        chosen = world.random.choice(reports)
        if told.state_of(chosen.incident_id) is not State.ERASED:
            decide(ledger, chosen.incident_id, world.now)
        expire_due(ledger, world.now + number * AGES)  # whoever reports lives at one instant
        told.forget_closed()
        check(told)


def check(told: Told) -> None:
    """Hold a world to what erasing promises."""
    ledger = told.ledger
    assert audit(ledger) == ()
    assert rebuild_index(ledger, lambda *_: None).is_equal
    values = read_values(ledger)
    with begin_read(ledger.database) as connection:
        stored = {one.jti: one for one in entries.select_sequenced(connection)}
    for sent in told.sent:
        event = stored[sent.statement.jti]
        is_gone = told.state_of(event.incident) in CLOSED
        assert (event.sealed is None) == is_gone == (event.salt is None)
        traces = told.traces.get(event.jti, {})
        assert {name for name, one in traces.items() if one in values} == (
            set() if is_gone else set(traces)
        )
        dates = (event.response_until, event.active_from, event.retention_day)
        assert not is_gone or dates == (None, None, None)
    assert all(one.sealed for one in stored.values() if not one.incident or one.op in LASTING)


# One world on PostgreSQL: what differs between the databases is the same in each.
@pytest.mark.parametrize(
    ("backend", "number"),
    [("sqlite", 0), ("sqlite", 1), ("sqlite", 2), ("sqlite", 3), ("postgresql", 0)],
    indirect=["backend"],
)
def test_what_is_left_is_as_if_what_is_gone_had_never_counted(
    number: int, ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    shops = [simulator(f"shop-{name}") for name in "abc"]
    told = Told(ledger, World(number, shops, now, crowded=number % 2 == 0))
    live(told)
    ops = Counter(leaf.op for leaf in read_log(ledger))
    assert ops[Op.ERASED]
    assert ops[Op.RETRACTED] + ops[Op.EXPIRED]
    _hold_receipts(told)
    _acknowledge_all(told)
    check(told)


def _hold_receipts(told: Told) -> None:
    """Old receipts prove what they proved; there are no new ones of what is gone."""
    at, vkey = told.world.now, told.ledger.vkey
    for one in told.sent:
        if not isinstance(one.statement, IncidentReport):
            continue
        shop = told.world.reporter_of(one.statement.issuer)
        receipt = told.receipts.get(one.statement.jti)
        if receipt is not None:
            proved = verify_standing(receipt, vkey, event=one.token, status=None, now=at)
            assert proved.receipt.opened
        if told.state_of(one.incident_id) in CLOSED:
            with pytest.raises(ContentErased):
                shop.fetch_receipt(one.incident_id, at)
            with pytest.raises(EventIdReused):
                shop.send(one.statement, at)


def _acknowledge_all(told: Told) -> None:
    """Let every submitter say that its copy is gone; then nothing is due any more."""
    at = told.world.now
    for one in told.sent:
        if isinstance(one.statement, IncidentReport):
            shop = told.world.reporter_of(one.statement.issuer)
            is_due = shop.look_up(one.incident_id, at).erasure_acknowledgement_due
            assert is_due == (told.state_of(one.incident_id) in CLOSED)
            if is_due:
                shop.send(shop.acknowledgement(one.statement, at), at)
                settle(told.ledger, at)
                assert not shop.look_up(one.incident_id, at).erasure_acknowledgement_due
