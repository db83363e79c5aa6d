"""A whole ledger on a stage, and how it is held to account for all that anybody was told."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from crash_launcher import Moment
from crash_stage import Crowd, Member, Stage, Told, render_environment, tell_time
from kept import read_notes
from simulator import phone_and_device

from ledger.auditing import audit_ledger
from ledger.store import entries
from ledger.store.engine import begin_read
from ledger_client.receipt import verify_standing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from ledger.ledger import Ledger, LedgerKeys
    from ledger.store.entries import StoredEvent

# Parts of statements by which a transaction is recognised.
EVENT, ENTRY, CHECKPOINT = "INSERT INTO event ", "INSERT INTO log_entry", "INSERT INTO log_check"
# Moments at which a process dies, or loses the answer of its database.
BEFORE, AFTER = Moment.BEFORE_COMMIT, Moment.AFTER_COMMIT
FAILED, UNANSWERED = Moment.COMMIT_FAILED, Moment.COMMIT_UNANSWERED
STATEMENTS_MAX = 120
STRIDE = 2  # every second statement: a start for each takes its time
KILLED = -9
LOAD_SECONDS = 5.0
RECEIPTS = 6


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
    """Found the ledger three days ago, since its processes go by the real clock."""
    return tell_time() - timedelta(days=3)


@pytest.fixture
def world(
    ledger: Ledger, database_url: str, keys: LedgerKeys, tmp_path: Path, now: datetime
) -> Iterator[World]:
    """Give a ledger with three members whose processes may die.

    A file takes this over with its clock, by `now, world = crash_world.now, crash_world.world`.
    """
    embedded = ledger.database.embedded
    stage = Stage(render_environment(database_url, keys), tmp_path, embedded=embedded)
    told = Told()
    members = [Member(ledger, f"shop-{number}", stage, told, now) for number in range(3)]
    try:
        yield World(ledger, stage, told, members, now)
    finally:
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
    assert world.told.checkpoints <= set(read_notes(world.ledger).values())
    for answer in world.told.answered:
        again = world.asker.fetch(f"/v1/risk-assessments/{answer['id']}")
        # Reports were taken back, and nobody is shown what rested on them.
        assert again.status_code == 410 or again.json() == answer
    _check_receipts(world)


def _check_receipts(world: World) -> None:
    """Verify the receipts of the last acknowledged reports as their members would."""
    owners = {member.platform.name: member for member in world.members}
    reports: dict[str, tuple[str, bytes]] = {}
    taken_back = set()
    for jti, (token, location) in world.told.acknowledged.items():
        if location in reports:
            taken_back.add(location)
        reports.setdefault(location, (jti, token))  # the first about an incident is its report
    assert reports
    for location, (jti, token) in list(reports.items())[-RECEIPTS:]:
        owner = next(one for name, one in owners.items() if f"-{name}-" in jti)
        receipt = owner.fetch(f"{location}/receipt")
        if location in taken_back:
            assert receipt.status_code == 410
            continue
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
