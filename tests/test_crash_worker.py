"""The rows of the crash table in docs/operating.md that are about a worker.

What was accepted waits, the worker is killed at the moment that the row names, and the next one
must make good whatever it left.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import crash_world
import pytest
from crash_launcher import Moment, Plan
from crash_stage import tell_time
from crash_world import (
    AFTER,
    BEFORE,
    CHECKPOINT,
    ENTRY,
    EVENT,
    FAILED,
    KILLED,
    LOAD_SECONDS,
    STATEMENTS_MAX,
    STRIDE,
    UNANSWERED,
    World,
    hold_to_account,
    send_fresh,
)
from kept import read_notes
from simulator import phone_and_device

from ledger.auditing import audit_ledger
from ledger.store import entries, incidents
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from ledger.ledger import Ledger

COMPLAINT = "bcl worker: The database can't be reached"

now, world = crash_world.now, crash_world.world


def leave_unpublished(world: World) -> None:
    """Have a report kept that no checkpoint covers yet."""
    if not world.ledger.database.embedded:
        world.reporter.platform.report("p", phone_and_device("p"), tell_time())
        return
    if world.stage.server is None:
        world.stage.start_server()
    world.stage.plan(Plan(AFTER, EVENT))
    assert send_fresh(world, world.reporter) is None
    assert not world.is_published()


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_worker_that_dies_before_any_statement_leaves_all_pending_or_none(world: World) -> None:
    """Rows C7 to C10: places go by the order of acceptance whatever dies on the way."""
    assert world.stage.run("worker", "--once") == 0
    pending = 0
    for number in range(1, STATEMENTS_MAX, STRIDE):
        if not pending:  # so that there is no more to do than the time before
            sent = world.reporter.platform.report("p", phone_and_device("p"), tell_time())
            world.reporter.platform.retract(sent, tell_time())
        world.stage.plan(Plan(Moment.STATEMENT, number=number))
        status = world.stage.run("worker", "--once")
        with begin_read(world.ledger.database) as connection:
            pending = entries.count_pending(connection)
        if status == 0:
            break
        assert status == KILLED
        assert pending in {0, 3}, "a report, its activation and its retraction, or none"
    assert STATEMENTS_MAX - STRIDE > number > 20
    assert world.stage.cancel(), "the last run had fewer statements"
    stored = world.read_events()
    assert [one.entry_index for one in stored] == list(range(len(stored)))
    assert audit_ledger(world.ledger, lambda *_: None).findings == ()


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("moment", "is_sequenced"),
    [pytest.param(BEFORE, False, id="C7"), pytest.param(AFTER, True, id="C8")],
)
def test_death_of_the_worker_at_its_commit_is_made_good_by_the_next(
    world: World, moment: Moment, is_sequenced: bool
) -> None:
    leave_unpublished(world)
    world.stage.plan(Plan(moment, ENTRY))
    assert world.stage.run("worker", "--once") == KILLED
    assert {one.entry_index is not None for one in world.read_events()[-2:]} == {is_sequenced}
    assert not world.is_published() or not is_sequenced
    world.stage.start_server()
    assert world.reporter.report().status_code == 202
    hold_to_account(world)


@pytest.mark.parametrize(
    ("moment", "is_published"),
    [pytest.param(BEFORE, False, id="C9"), pytest.param(AFTER, True, id="C10")],
)
def test_death_of_the_worker_while_publishing_never_makes_two_roots_of_one_size(
    world: World, moment: Moment, is_published: bool
) -> None:
    leave_unpublished(world)
    world.stage.plan(Plan(moment, CHECKPOINT))
    assert world.stage.run("worker", "--once") == KILLED
    assert world.is_published() == is_published
    with begin_read(world.ledger.database) as connection:
        size = entries.read_state(connection).size
    before = read_notes(world.ledger)
    assert world.stage.run("worker", "--once") == 0
    after = read_notes(world.ledger)
    assert after.keys() - before.keys() == (set() if is_published else {size})
    assert after.items() >= before.items()
    world.resend()
    assert world.reporter.report().status_code == 202
    hold_to_account(world)


@pytest.mark.parametrize("moment", [FAILED, UNANSWERED], ids=lambda moment: moment.name)
def test_worker_whose_commit_got_no_answer_says_so_and_goes_on(
    world: World, moment: Moment
) -> None:
    """Rows C7 to C10 where the process lives."""
    leave_unpublished(world)
    about = CHECKPOINT if world.ledger.database.embedded else ENTRY
    world.stage.plan(Plan(moment, about))
    worker = world.stage.start("worker")
    deadline = time.monotonic() + LOAD_SECONDS
    while COMPLAINT not in world.stage.read_log() or not world.is_published():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert worker.is_alive()
    world.resend()
    assert world.reporter.report().status_code == 202
    hold_to_account(world)


@pytest.mark.parametrize(
    ("moment", "state"),
    [pytest.param(BEFORE, "held", id="C11"), pytest.param(AFTER, "active", id="C12")],
)
def test_death_while_activating_leaves_an_incident_held_or_active_and_stated_once(
    world: World, moment: Moment, state: str
) -> None:
    platform, then = world.reporter.platform, world.founded_at + timedelta(hours=1)
    held = platform.held_incident("h", phone_and_device("h"), then, then + timedelta(days=1))
    incident_id = platform.send(held, then).incident_id
    if not world.ledger.database.embedded:
        world.stage.plan(Plan(AFTER, ENTRY))
        assert world.stage.run("worker", "--once") == KILLED  # sequenced, not activated
    world.stage.plan(Plan(moment, EVENT))
    assert world.stage.run("worker", "--once") == KILLED
    assert _read_state(world.ledger, incident_id) == state
    for _ in range(2):
        assert world.stage.run("worker", "--once") == 0
    assert _read_state(world.ledger, incident_id) == "active"
    assert len([one for one in world.read_events() if one.incident == incident_id]) == 2
    world.stage.start_server()
    assert world.reporter.report().status_code == 202
    hold_to_account(world)


def _read_state(ledger: Ledger, incident_id: str) -> str:
    with begin_read(ledger.database) as connection:
        found = incidents.find_incident(connection, incident_id)
    assert found is not None
    return found.state.value
