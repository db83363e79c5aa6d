"""The rows of the crash table in docs/operating.md that are about a server, and random kills.

Members report and ask over HTTP; the server is killed at the very moment that the row names, or
loses the database's answer there; what is stored is compared with what the row says, then it is
started again, what wasn't answered is sent again, and the ledger is held to all that was told.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import Any

import crash_world
import httpx
import pytest
from crash_launcher import Moment, Plan
from crash_world import (
    AFTER,
    BEFORE,
    CHECKPOINT,
    EVENT,
    FAILED,
    LOAD_SECONDS,
    STATEMENTS_MAX,
    STRIDE,
    UNANSWERED,
    World,
    await_death,
    hold_to_account,
    send_fresh,
)
from simulator import phone_and_device, render_question

from ledger.store import assessments, entries, platforms
from ledger.store.engine import begin_read

ANSWER = "assessment"  # the look for the Idempotency-Key, or the record itself
ROUNDS = 3

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

now, world = crash_world.now, crash_world.world


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
    for number in range(1, STATEMENTS_MAX, STRIDE):
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
    assert STATEMENTS_MAX - STRIDE > number > 8
    world.stage.cancel()
    hold_to_account(world)


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
        assert world.stage.server is not None
        doomed = [world.stage.server, *([worker] if chance.random() < 0.7 else [])]
        chance.shuffle(doomed)
        for process in doomed:
            timer = threading.Timer(chance.uniform(0.05, 0.5), world.stage.kill, [process])
            timer.start()
            world.run_crowd(LOAD_SECONDS if process is world.stage.server else 0.3)
            timer.join()
        world.stage.server = None
        if worker in doomed:
            worker = world.stage.start("worker")
        world.resend()
    world.stage.kill(worker)
    assert world.told.acknowledged
    assert world.told.answered
    hold_to_account(world)
    assert world.stage.run("log", "audit") == 0
