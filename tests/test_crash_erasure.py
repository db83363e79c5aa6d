"""The rows of the crash table in docs/operating.md that are about what is destroyed.

Processes die before, inside and after the transaction that destroys. Nothing is ever half gone,
and what was told to be gone stays so.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import crash_world
import httpx
import pytest
from crash_launcher import Moment, Plan
from crash_stage import tell_time
from crash_world import AFTER, BEFORE, ENTRY, KILLED, await_death, hold_to_account
from erasing import stored_of
from exact import settle
from simulator import phone_and_device

from ledger.auditing import audit_ledger
from ledger.incident.lifecycle import State
from ledger.store import incidents
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from crash_world import World
    from simulator import Sent

now, world = crash_world.now, crash_world.world

DESTROY, FORGET = "DELETE FROM event_content", "UPDATE event SET response_until"
INSIDE = ((Moment.STATEMENT, DESTROY), (Moment.STATEMENT, FORGET), (Moment.STATEMENT, ENTRY))


def hold_whole(world: World, sent: Sent) -> State:
    """Check that a report is there with all of its content or with none; tell how it stands."""
    stored = stored_of(world.ledger, sent)
    with begin_read(world.ledger.database) as connection:
        found = incidents.find_incident(connection, sent.incident_id)
    assert found is not None
    is_gone = found.state in {State.EXPIRED, State.ERASED, State.RETRACTED}
    assert (stored.sealed is None) == (stored.salt is None) == (stored.retention_day is None)
    assert (stored.sealed is None) == is_gone
    assert audit_ledger(world.ledger, lambda *_: None).findings == ()
    return found.state


def report_before(world: World, then_ended: timedelta) -> Sent:
    """File a report when the ledger was founded, of a conduct so long ago, and settle it."""
    platform, then = world.reporter.platform, world.founded_at
    ended = then.replace(microsecond=0) - then_ended
    sent = platform.report("old", phone_and_device("old"), then, conduct_ended_at=ended)
    settle(world.ledger, then)
    return sent


@pytest.mark.parametrize(
    ("moment", "about", "state"),
    [
        *[(*one, State.ACTIVE) for one in INSIDE],
        pytest.param(BEFORE, DESTROY, State.ACTIVE, id="C21"),
        pytest.param(AFTER, DESTROY, State.EXPIRED, id="C22"),
    ],
)
def test_death_while_expiring_leaves_a_record_whole_or_gone(
    world: World, moment: Moment, about: str, state: State
) -> None:
    # Five years end between the founding and the present.
    sent = report_before(world, timedelta(days=5 * 365))
    world.stage.plan(Plan(moment, about))
    assert world.stage.run("worker", "--once") == KILLED
    assert hold_whole(world, sent) is state
    for _ in range(2):
        assert world.stage.run("worker", "--once") == 0
    assert hold_whole(world, sent) is State.EXPIRED
    assert len([one for one in world.read_events() if one.incident == sent.incident_id]) == 3


@pytest.mark.parametrize(
    ("moment", "about", "state"),
    [
        *[(*one, State.ACTIVE) for one in INSIDE],
        pytest.param(BEFORE, DESTROY, State.ACTIVE, id="C23"),
        pytest.param(AFTER, DESTROY, State.ERASED, id="C24"),
    ],
)
def test_death_while_an_operator_erases_leaves_a_record_whole_or_gone(
    world: World, moment: Moment, about: str, state: State
) -> None:
    sent = report_before(world, timedelta(days=9))
    erase = ("incident", "erase", sent.incident_id, "--reason", "ordered", "--person", "Kim")
    world.stage.plan(Plan(moment, about))
    assert world.stage.run(*erase) == KILLED
    assert hold_whole(world, sent) is state
    assert world.stage.run(*erase) == (2 if state is State.ERASED else 0)
    assert ("incident-closed" in world.stage.read_log()) == (state is State.ERASED)
    assert hold_whole(world, sent) is State.ERASED
    assert world.stage.run("db", "scrub") == (0 if world.ledger.database.embedded else 1)
    assert hold_whole(world, sent) is State.ERASED


@pytest.mark.parametrize(("moment", "about"), [*INSIDE, (BEFORE, DESTROY), (AFTER, DESTROY)])
def test_retraction_that_died_is_sent_again_and_takes_all_of_the_report(
    world: World, moment: Moment, about: str
) -> None:
    """Rows C1 to C8 hold for a statement that destroys, its own content included."""
    sent = report_before(world, timedelta(days=9))
    said = world.reporter.platform.retraction(sent.report, tell_time())
    place = f"/v1/incidents/{sent.incident_id}"
    world.told.acknowledged[sent.report.jti] = (sent.token, place)
    world.told.unanswered[said.jti] = world.reporter.platform.sign(said)
    world.stage.start_server()
    world.stage.plan(Plan(moment, about))
    if world.ledger.database.embedded:
        with pytest.raises(httpx.TransportError):
            world.resend()
        await_death(world)
    else:
        world.resend()
        assert world.stage.run("worker", "--once") == KILLED
    expected = State.RETRACTED if moment is AFTER else State.ACTIVE
    assert hold_whole(world, sent) is expected
    world.resend()
    assert world.stage.run("worker", "--once") == 0
    assert hold_whole(world, sent) is State.RETRACTED
    assert world.reporter.report().status_code == 202
    hold_to_account(world)
