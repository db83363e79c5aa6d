"""The rows of the crash table in docs/operating.md that are about the exchange of evidence.

The server and the worker die before and after each COMMIT that matters to who was told of a match.
Nobody's answer is forgotten, nothing that was taken back still matches, and nothing is half gone.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import crash_world
import httpx
import pytest
from crash_launcher import Moment, Plan
from crash_stage import tell_time
from crash_world import AFTER, BEFORE, ENTRY, KILLED, await_death
from exact import settle
from exchanging import forgery, withdrawal
from reports import digest
from simulator import phone_and_device

from ledger.auditing import audit_ledger
from ledger.log.leaf import Op
from ledger.store import entries, overrides
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from crash_stage import Member
    from crash_world import World

    from ledger.incident.statement import Forgery, Statement
    from ledger.store.entries import StoredEvent

now, world = crash_world.now, crash_world.world

FORGED, LIKENESS = digest("forged"), digest("likeness")
MATCH, ACKNOWLEDGE = "INSERT INTO evidence_match", "UPDATE recall"
DESTROY, PIECES = "DELETE FROM event_content", "INSERT INTO evidence_band"


def post(member: Member, path: str, body: object | None = None) -> httpx.Response:
    """Post something as a member. *Raises*: TransportError."""
    remote = member.connect()
    access = remote.get_access(tell_time())
    return remote.http.post(path, json=body, headers=access)


def ask(world: World) -> bool:
    """Ask whether the forged picture was seen before."""
    body = {"evidence": [{"sha256": FORGED.hex()}]}
    answer = post(world.asker, "/v1/evidence-matches", body)
    assert answer.status_code == 200, answer.text
    return answer.json()["matches"][0]["seen_before"] is not None


def recalls(world: World) -> list[dict[str, Any]]:
    """List what is recalled from the one who asks."""
    world.asker.connect()
    listed: list[dict[str, Any]] = world.asker.fetch("/v1/recalls").json()["data"]
    return listed


def say(world: World, said: Statement) -> httpx.Response:
    """Send a statement. *Raises*: TransportError."""
    platform = world.reporter.platform
    return world.reporter.connect().send(platform.sign(said))


def file(world: World) -> Forgery:
    """State that a picture is forged, and give the statement its place."""
    said = forgery(world.reporter.platform, FORGED, LIKENESS, tell_time())
    assert say(world, said).status_code == 202
    settle(world.ledger, tell_time())
    return said


def die_while_sequencing(world: World, said: Statement, plan: Plan) -> None:
    """Send a statement; who gives it its place dies: the server, or on PostgreSQL the worker."""
    if world.ledger.database.embedded:
        world.stage.plan(plan)
        with pytest.raises(httpx.TransportError):
            say(world, said)
        await_death(world)
        world.stage.start_server()
    else:
        assert say(world, said).status_code == 202
        world.stage.plan(plan)
        assert world.stage.run("worker", "--once") == KILLED


def find(world: World, said: Statement) -> StoredEvent | None:
    """Give a statement as it is stored."""
    return next((one for one in world.read_events() if one.jti == said.jti), None)


def hold_sound(world: World) -> None:
    """Check that an audit finds nothing."""
    assert audit_ledger(world.ledger, lambda *_: None).findings == ()


@pytest.mark.parametrize(
    ("moment", "about", "is_there"),
    [
        (Moment.STATEMENT, PIECES, False),
        pytest.param(BEFORE, PIECES, False, id="C33"),
        pytest.param(AFTER, PIECES, True, id="C34"),
    ],
)
def test_death_while_forged_evidence_gets_its_place_leaves_it_whole_or_out(
    world: World, moment: Moment, about: str, is_there: bool
) -> None:
    world.stage.start_server()
    said = forgery(world.reporter.platform, FORGED, LIKENESS, tell_time())
    die_while_sequencing(world, said, Plan(moment, about))
    assert ask(world) is is_there
    assert (find(world, said) is not None) == (is_there or not world.ledger.database.embedded)
    hold_sound(world)
    assert say(world, said).status_code == 202
    assert world.stage.run("worker", "--once") == 0
    assert ask(world)
    assert len([one for one in world.read_events() if one.op == Op.EVIDENCE_SEEN]) == 1
    hold_sound(world)


@pytest.mark.parametrize(
    ("moment", "about", "is_gone"),
    [
        *[(Moment.STATEMENT, part, False) for part in (DESTROY, "INSERT INTO recall", ENTRY)],
        pytest.param(BEFORE, DESTROY, False, id="C35"),
        pytest.param(AFTER, DESTROY, True, id="C36"),
    ],
)
def test_death_while_evidence_is_withdrawn_recalls_every_answer_once_or_none(
    world: World, moment: Moment, about: str, is_gone: bool
) -> None:
    world.stage.start_server()
    seen = file(world)
    assert ask(world)
    said = withdrawal(world.reporter.platform, seen, tell_time())
    die_while_sequencing(world, said, Plan(moment, about))
    stored = find(world, seen)
    assert stored is not None
    assert (stored.sealed is None) == (stored.salt is None) == is_gone
    assert len(recalls(world)) == is_gone
    hold_sound(world)
    assert say(world, said).status_code == 202
    assert world.stage.run("worker", "--once") == 0
    assert not ask(world)
    assert len(recalls(world)) == 1
    left = [find(world, one) for one in (seen, said)]
    assert all(one is not None and one.sealed is None for one in left)
    hold_sound(world)


@pytest.mark.parametrize(
    ("moment", "answers"),
    [pytest.param(BEFORE, 1, id="C37"), pytest.param(AFTER, 2, id="C38")],
)
def test_death_while_a_match_is_recorded_forgets_no_answer_that_was_given(
    world: World, moment: Moment, answers: int
) -> None:
    world.stage.start_server()
    seen = file(world)
    world.stage.plan(Plan(moment, MATCH))
    with pytest.raises(httpx.TransportError):
        ask(world)
    await_death(world)
    world.stage.start_server()
    assert ask(world)
    assert say(world, withdrawal(world.reporter.platform, seen, tell_time())).status_code == 202
    assert world.stage.run("worker", "--once") == 0
    listed = recalls(world)
    assert len(listed) == answers
    for one in listed:
        told = post(world.asker, f"/v1/recalls/{one['id']}/acknowledgement")
        assert told.json()["acknowledged_at"] is not None
    hold_sound(world)


@pytest.mark.parametrize(
    ("moment", "is_kept"),
    [pytest.param(BEFORE, False, id="C39"), pytest.param(AFTER, True, id="C40")],
)
def test_death_while_a_recall_is_acknowledged_keeps_the_first_time_or_none(
    world: World, moment: Moment, is_kept: bool
) -> None:
    world.stage.start_server()
    seen = file(world)
    assert ask(world)
    assert say(world, withdrawal(world.reporter.platform, seen, tell_time())).status_code == 202
    assert world.stage.run("worker", "--once") == 0
    (one,) = recalls(world)
    path = f"/v1/recalls/{one['id']}/acknowledgement"
    world.stage.plan(Plan(moment, ACKNOWLEDGE))
    with pytest.raises(httpx.TransportError):
        post(world.asker, path)
    await_death(world)
    world.stage.start_server()
    (kept,) = recalls(world)
    assert (kept["acknowledged_at"] is not None) == is_kept
    again = post(world.asker, path).json()
    assert again["acknowledged_at"] is not None
    assert kept["acknowledged_at"] in {None, again["acknowledged_at"]}


@pytest.mark.parametrize(
    ("moment", "about", "is_gone"),
    [
        *[(Moment.STATEMENT, part, False) for part in ("DELETE FROM marker", DESTROY, ENTRY)],
        pytest.param(BEFORE, DESTROY, False, id="C41"),
        pytest.param(AFTER, DESTROY, True, id="C42"),
    ],
)
def test_death_while_statements_expire_leaves_all_whole_or_all_gone(
    world: World, moment: Moment, about: str, is_gone: bool
) -> None:
    # Five years end between the founding and the present.
    platform, then = world.reporter.platform, world.founded_at
    ended = then.replace(microsecond=0) - timedelta(days=5 * 365)
    phone = phone_and_device("old")[0].identifier
    marking = platform.marking("old", (phone,), then)
    said: list[Statement] = [
        replace(platform.recycling(phone, then), recycled_at=ended),
        replace(marking, begins=ended - timedelta(days=9), until=ended),
    ]
    for one in said:
        platform.send(one, then)
    settle(world.ledger, then)
    world.stage.plan(Plan(moment, about))
    assert world.stage.run("worker", "--once") == KILLED

    def look() -> tuple[list[bool], int]:
        stored = [find(world, one) for one in said]
        with begin_read(world.ledger.database) as connection:
            rows = [row for index, row in overrides.stream_overrides(connection) if index]
        return [one is None or one.sealed is None for one in stored], len(rows)

    assert look() == (([True, True], 0) if is_gone else ([False, False], 3))
    hold_sound(world)
    for _ in range(2):
        assert world.stage.run("worker", "--once") == 0
    assert look() == ([True, True], 0)
    with begin_read(world.ledger.database) as connection:
        ops = [one.op for one in entries.select_sequenced(connection)]
    assert ops.count(Op.EXPIRED) == 2
    assert world.is_published()
    hold_sound(world)
