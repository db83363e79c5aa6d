"""Each row of the crash table in docs/operating.md, driven with real processes that really die.

Members report and ask over HTTP; the server or the worker is killed at the very moment that the
row names, or loses the database's answer there; what is stored is compared with what the row says,
then everything is started again, what wasn't answered is sent again, and the ledger is held to all
that anybody was told.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from crash_launcher import Moment, Plan
from crash_stage import Crowd, Member, Stage, Told, render_environment, tell_time
from simulator import phone_and_device, render_question

from ledger.auditing import audit_ledger
from ledger.store import assessments, entries, incidents, platforms
from ledger.store.engine import begin_read
from ledger_client.receipt import verify_standing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from ledger.ledger import Ledger, LedgerKeys
    from ledger.store.entries import StoredEvent

EVENT, ENTRY, CHECKPOINT = "INSERT INTO event ", "INSERT INTO log_entry", "INSERT INTO log_check"
ANSWER = "FROM assessment"  # the look for the Idempotency-Key; the record is the driver's own
BEFORE, AFTER = Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT
FAILED, UNANSWERED = Moment.COMMIT_FAILED, Moment.COMMIT_UNANSWERED
KILLED = -9
ROUNDS, LOAD_SECONDS = 4, 5.0
RECEIPTS = 6

ROWS = [
    # row, database, moment, what the transaction holds; whether the event, the checkpoint is kept
    ("C1", "sqlite", BEFORE, EVENT, False, False),
    ("C2", "sqlite", AFTER, EVENT, True, False),
    ("C3", "sqlite", BEFORE, CHECKPOINT, True, False),
    ("C4", "sqlite", AFTER, CHECKPOINT, True, True),
    ("C5", "postgresql", BEFORE, EVENT, False, False),
    ("C6", "postgresql", AFTER, EVENT, True, False),
]
LOST = [
    ("C1", "sqlite", FAILED, EVENT, False),
    ("C2", "sqlite", UNANSWERED, EVENT, True),
    ("C3", "sqlite", FAILED, CHECKPOINT, True),
    ("C4", "sqlite", UNANSWERED, CHECKPOINT, True),
    ("C5", "postgresql", FAILED, EVENT, False),
    ("C6", "postgresql", UNANSWERED, EVENT, True),
]


@dataclass(frozen=True)
class World:
    """A ledger, its processes, its members, and what they were told."""

    ledger: Ledger
    stage: Stage
    told: Told
    members: list[Member]
    founded_at: datetime

    @property
    def reporter(self) -> Member:
        """One of those who report."""
        return self.members[0]

    @property
    def asker(self) -> Member:
        """The one who asks."""
        return self.members[-1]

    def run_crowd(self, seconds: float) -> None:
        """Let two members report, one ask, until the server dies."""
        Crowd(self.members[:-1], self.asker).run(seconds)

    def resend(self) -> None:
        """Start the server if need be, and send again whatever wasn't answered."""
        if self.stage.server is None:
            self.stage.start_server()
        for jti, token in list(self.told.unanswered.items()):
            assert self.reporter.send(jti, token).status_code == 202
        for question, key in list(self.told.unheard):
            self.told.unheard.remove((question, key))
            assert self.asker.ask_again(question, key).status_code == 200

    def count_kept(self) -> int:
        """Count the unanswered statements that are kept all the same."""
        return len(self.told.unanswered.keys() & {one.jti for one in self.read_events()})

    def read_events(self) -> list[StoredEvent]:
        """Read every statement in the order of acceptance."""
        with begin_read(self.ledger.database) as connection:
            found = [
                *entries.select_sequenced(connection),
                *entries.select_pending(connection, 10_000),
            ]
        return sorted(found, key=lambda one: one.id)

    def is_published(self) -> bool:
        """Tell whether a checkpoint covers the whole log."""
        with begin_read(self.ledger.database) as connection:
            size = entries.read_state(connection).size
            return entries.find_checkpoint(connection, at_least=size) is not None


@pytest.fixture
def now() -> datetime:
    """Found the ledger three days ago: its processes go by the real clock."""
    return tell_time() - timedelta(days=3)


@pytest.fixture
def world(
    ledger: Ledger, database_url: str, keys: LedgerKeys, tmp_path: Path, now: datetime
) -> Iterator[World]:
    """Give a ledger with three members whose processes may die."""
    embedded = ledger.database.embedded
    stage = Stage(render_environment(database_url, keys), tmp_path, embedded=embedded)
    told = Told()
    members = [Member(ledger, f"shop-{number}", stage, told, now) for number in range(3)]
    yield World(ledger, stage, told, members, now)
    stage.clear()
    for member in members:
        member.close()


def hold_to_account(world: World) -> None:
    """Send again what wasn't answered; then everything that anybody was told must be true."""
    world.resend()
    assert world.stage.run("worker", "--once") == 0
    assert world.is_published()
    stored = world.read_events()
    by_index = sorted(one.entry_index for one in stored if one.entry_index is not None)
    assert by_index == list(range(len(stored))), "indexes are dense, and nothing is pending"
    named = Counter(one.jti for one in stored)
    incident_of = {one.jti: one.incident for one in stored}
    for jti, (_, location) in world.told.acknowledged.items():
        assert named[jti] == 1
        assert location == f"/v1/incidents/{incident_of[jti]}"
    assert audit_ledger(world.ledger, lambda *_: None).findings == ()
    with begin_read(world.ledger.database) as connection:
        notes = dict(entries.stream_checkpoints(connection))
    assert world.told.checkpoints <= set(notes.values())
    for answer in world.told.answered:
        assert world.asker.fetch(f"/v1/risk-assessments/{answer['id']}").json() == answer
    _check_receipts(world)


def _check_receipts(world: World) -> None:
    """Verify the receipts of the last acknowledged reports as their members would."""
    owners = {member.platform.name: member for member in world.members}
    reports: dict[str, tuple[str, bytes]] = {}
    for jti, (token, location) in world.told.acknowledged.items():
        reports.setdefault(location, (jti, token))  # the first about an incident is its report
    assert reports
    for location, (jti, token) in list(reports.items())[-RECEIPTS:]:
        owner = next(one for name, one in owners.items() if f"-{name}-" in jti)
        receipt = owner.fetch(f"{location}/receipt")
        assert receipt.status_code == 200
        proved = verify_standing(
            receipt.text, world.ledger.vkey, event=token, status=None, now=tell_time()
        )
        assert proved.receipt.opened


def await_death(world: World) -> None:
    """Take note that the server was killed, as was planned."""
    assert world.stage.server is not None
    assert not world.stage.cancel(), "the moment never came"
    assert world.stage.wait(world.stage.server) == KILLED
    world.stage.server = None


def send_fresh(world: World, member: Member) -> httpx.Response | None:
    """Send one new report; None where no answer came."""
    at = tell_time()
    stated = member.platform.incident("one", phone_and_device("one"), at)
    try:
        return member.send(stated.jti, member.platform.sign(stated))
    except httpx.TransportError:
        await_death(world)
        return None


# --- Accepting ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "about", "is_kept", "is_published", "backend"),
    [pytest.param(*row[2:], row[1], id=row[0]) for row in ROWS],
    indirect=["backend"],
)
def test_death_of_the_server_under_load_loses_nothing_that_was_acknowledged(
    world: World, moment: Moment, about: str, is_kept: bool, is_published: bool
) -> None:
    embedded = world.ledger.database.embedded
    world.stage.start_server()
    worker = None if embedded else world.stage.start("worker")
    world.stage.plan(Plan(moment, about, number=6))
    world.run_crowd(LOAD_SECONDS)
    await_death(world)
    kept, unanswered = world.count_kept(), len(world.told.unanswered)
    if embedded:  # one thread answers, so at most one of the waiting statements was reached
        assert kept == is_kept
        assert world.is_published() == (is_published or not is_kept)
    else:
        assert kept >= 1 if is_kept else kept < unanswered
    hold_to_account(world)
    if worker is not None:
        world.stage.kill(worker)


@pytest.mark.parametrize(
    ("moment", "about", "is_kept", "backend"),
    [pytest.param(*row[2:], row[1], id=f"{row[0]}-{row[2].name}") for row in LOST],
    indirect=["backend"],
)
def test_event_that_was_answered_503_is_sent_again_and_kept_once(
    world: World, moment: Moment, about: str, is_kept: bool
) -> None:
    world.stage.start_server()
    assert world.reporter.report().status_code == 202
    world.stage.plan(Plan(moment, about))
    refused = send_fresh(world, world.reporter)
    assert refused is not None
    assert refused.status_code == 503
    assert refused.headers["Retry-After"]
    assert world.count_kept() == is_kept
    hold_to_account(world)


def test_server_that_dies_before_any_statement_keeps_an_event_whole_or_not_at_all(
    world: World,
) -> None:
    world.stage.start_server()
    for number in count(1):
        world.stage.plan(Plan(Moment.STATEMENT, number=number))
        answer = send_fresh(world, world.reporter)
        if answer is not None:
            assert answer.status_code == 202
            break
        kept = world.count_kept()
        with begin_read(world.ledger.database) as connection:
            pending = entries.count_pending(connection)
        alone = Counter(one.incident for one in world.read_events() if one.incident)
        assert set(alone.values()) <= {2}, "a report and its activation, or neither"
        assert pending == 0 or not world.ledger.database.embedded
        world.resend()
        assert kept <= 1
    assert number > 8
    world.stage.cancel()
    hold_to_account(world)


# --- Sequencing, publishing, activating -----------------------------------------------------


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
    """Rows C7 and C9: places go by the order of acceptance whatever dies on the way."""
    for number in count(1):
        sent = world.reporter.platform.report("p", phone_and_device("p"), tell_time())
        world.reporter.platform.retract(sent, tell_time())
        world.stage.plan(Plan(Moment.STATEMENT, number=number))
        status = world.stage.run("worker", "--once")
        if status == 0:
            break
        assert status == KILLED
        last = [one.entry_index is None for one in world.read_events()][-3:]
        assert set(last) in ({True}, {False})
    assert number > 20
    assert not world.stage.cancel() or status == 0
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
        before = dict(entries.stream_checkpoints(connection))
        size = entries.read_state(connection).size
    assert world.stage.run("worker", "--once") == 0
    with begin_read(world.ledger.database) as connection:
        after = dict(entries.stream_checkpoints(connection))
    assert after.keys() - before.keys() == (set() if is_published else {size})
    assert after.items() >= before.items()
    world.resend()
    assert world.reporter.report().status_code == 202
    hold_to_account(world)


@pytest.mark.parametrize("moment", [FAILED, UNANSWERED])
def test_worker_whose_commit_got_no_answer_says_so_and_goes_on(
    world: World, moment: Moment
) -> None:
    """Rows C7 to C10 where the process lives."""
    leave_unpublished(world)
    about = CHECKPOINT if world.ledger.database.embedded else ENTRY
    world.stage.plan(Plan(moment, about))
    worker = world.stage.start("worker")
    deadline = time.monotonic() + LOAD_SECONDS
    while not world.is_published() or any(e.entry_index is None for e in world.read_events()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert worker.is_alive()
    assert "bcl worker: The database can't be reached" in world.stage.read_log()
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


# --- Assessing ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "is_recorded"),
    [
        pytest.param(BEFORE, False, id="C13"),
        pytest.param(AFTER, True, id="C14"),
        pytest.param(FAILED, False, id="C13-failed"),
        pytest.param(UNANSWERED, True, id="C14-unanswered"),
    ],
)
def test_question_without_an_answer_is_recorded_or_not_and_asked_again_under_its_key(
    world: World, moment: Moment, is_recorded: bool
) -> None:
    world.stage.start_server()
    assert world.reporter.report().status_code == 202
    assert world.asker.ask().status_code == 200
    asked = world.asker.platform.request("p", phone_and_device("p"), order="one order")
    question = render_question(asked)
    world.stage.plan(Plan(moment, ANSWER))
    try:
        answer: Any = world.asker.ask_again(question, "one-key")
    except httpx.TransportError:
        await_death(world)
    else:
        assert answer.status_code == 503
    recorded = _find_recorded(world, "one-key")
    assert (recorded is not None) == is_recorded
    world.resend()
    told = world.told.answered[-1]
    if recorded is not None:
        assert told["id"] == recorded
    assert _find_recorded(world, "one-key") == told["id"]
    other = world.asker.platform.request("q", phone_and_device("q"), order="one order")
    assert world.asker.ask_again(render_question(other), "another-key").status_code == 409
    world.told.unheard.clear()
    hold_to_account(world)


def _find_recorded(world: World, key: str) -> str | None:
    with begin_read(world.ledger.database) as connection:
        member = platforms.find_platform(connection, world.asker.platform.uri)
        assert member is not None
        found = assessments.find_repeated_assessment(connection, member.id, key)
    return found.id if found else None


# --- Whenever -------------------------------------------------------------------------------


def test_kills_at_random_times_under_load_lose_nothing_that_was_told(world: World) -> None:
    """All rows at once: the server and the worker die at any time, several times."""
    chance = random.Random(20_261_122)
    world.stage.start_server()
    worker = world.stage.start("worker")
    for _ in range(ROUNDS):
        world.run_crowd(chance.uniform(0.05, 0.5))
        assert world.stage.server is not None
        if chance.random() < 0.7:
            world.stage.kill(worker)
            worker = world.stage.start("worker")
        world.stage.kill(world.stage.server)
        world.stage.server = None
        world.resend()
    world.stage.kill(worker)
    assert world.told.acknowledged
    assert world.told.answered
    hold_to_account(world)
    assert world.stage.run("log", "audit") == 0
