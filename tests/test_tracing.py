"""What was linked at an earlier size of the log is found by its statements, whatever came later."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT
from exact import POLICY, settle
from reports import claim
from simulator import phone_and_device
from sqlalchemy import update
from worlds import CHANGES as CHANGED
from worlds import OVERRIDES, REPORTS, World

from ledger.assessing import assess_risk
from ledger.backtesting import backtest_policies
from ledger.errors import InputsErased, UnreadableRecord
from ledger.governing import publish_policy
from ledger.identity.identifier import Kind
from ledger.incident.taxonomy import Actor
from ledger.replaying import replay
from ledger.risk.policy import parse_policy
from ledger.store import entries
from ledger.store.engine import begin_write
from ledger.store.tables import assessment

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Sent, Simulator

    from ledger.ledger import Ledger

BUYER = phone_and_device("buyer")
DAY = timedelta(days=1)


def correct_identifiers(shops: list[Simulator], sent: Sent, now: datetime) -> None:
    """Say that the identifiers were another buyer's."""
    others = (claim(Kind.PAY, "other"),)
    shops[0].send(shops[0].correction(sent.report, now, identifiers=others), now)


def correct_actor(shops: list[Simulator], sent: Sent, now: datetime) -> None:
    """Say that the buyer was made to."""
    shops[0].send(shops[0].correction(sent.report, now, actor=Actor.COERCED_OR_MULE), now)


def mark_victim(shops: list[Simulator], sent: Sent, now: datetime) -> None:
    """Say that the account was taken over, so that the report counts no more."""
    shops[0].send(shops[0].marking("one", (), now, (sent.report.jti,)), now)


def recycle(shops: list[Simulator], _: Sent, now: datetime) -> None:
    """Say of both identifiers by two groups that they are somebody else's."""
    for shop in shops[:2]:
        for one in BUYER:
            shop.send(shop.recycling(one.identifier, now + DAY), now + DAY)


CHANGES = [correct_identifiers, correct_actor, mark_victim, recycle]


@pytest.mark.parametrize("change", CHANGES)
def test_answer_given_before_a_change_is_replayed_counted_and_held_to_its_record(
    change: Callable[[list[Simulator], Sent, datetime], None],
    ledger: Ledger,
    simulator: Callable[..., Simulator],
    now: datetime,
) -> None:
    shops = [simulator(f"shop-{name}") for name in "abc"]
    sent = shops[0].report("one", BUYER, now)
    shops[1].report("two", (claim(Kind.EMAIL, "two"), BUYER[0]), now)
    settle(ledger, now)
    asker = shops[2]
    given = assess_risk(ledger, asker.caller(now), asker.request("asked", BUYER), now)
    assert json.loads(given.text)["level"] == "MEDIUM"
    change(shops, sent, now)
    shops[1].report("stranger", (claim(Kind.EMAIL, "stranger"),), now)
    settle(ledger, now + DAY)
    again = assess_risk(ledger, asker.caller(now), asker.request("asked", BUYER), now + DAY)
    assert json.loads(again.text)["score"] < json.loads(given.text)["score"]

    with pytest.raises(InputsErased):
        replay(ledger, given.id)
    replayed = replay(ledger, given.id, thoroughly=True)
    assert replayed is not None
    assert (replayed.differing, replayed.score.level) == ((), "MEDIUM")

    text = (ROOT / "config" / "policy.toml").read_text("utf-8")
    milder = parse_policy(text.replace("medium = 250", "medium = 450"))
    radius = backtest_policies(ledger, POLICY, milder, now - DAY, lambda *_: None)
    assert radius.levels["MEDIUM", "LOW"] >= 1
    assert (radius.assessments, radius.erased, radius.differing) == (2, 0, [])

    told, later = json.loads(given.text), json.loads(again.text)
    now_true = later | {name: told[name] for name in ("id", "assessed_at", "valid_until", "log")}
    column = int(replay_score(ledger, again.id))
    forged: list[tuple[dict[str, object], set[str]]] = [
        ({"answer": told | {"level": "HIGH", "score": 900}}, {"score", "level"}),
        ({"score": 901}, {"exact_score"}),
        ({"answer": now_true, "score": column}, {"score", "exact_score"}),  # as the index says now
        ({"log_size": 1}, {"log", "exact_score"}),
        ({"assessed_at": now + timedelta(seconds=1)}, {"assessed_at"}),
    ]
    for columns, differing in forged:
        forge(ledger, given.id, {"answer": told, "score": replayed.score.score} | columns)
        harmed = replay(ledger, given.id, thoroughly=True)
        assert harmed is not None
        assert differing <= {*harmed.differing}
        radius = backtest_policies(ledger, POLICY, POLICY, now - DAY, lambda *_: None)
        is_judged = differing != {"assessed_at"}
        assert radius.differing == [given.id] * is_judged
        assert (radius.assessments, radius.erased) == (2 - is_judged, 0)
        forge(ledger, given.id, {"log_size": replayed.log_size, "assessed_at": now})


def replay_score(ledger: Ledger, answer_id: str) -> int:
    """Give the exact score of an answer."""
    replayed = replay(ledger, answer_id)
    assert replayed is not None
    return replayed.score.score


def forge(ledger: Ledger, answer_id: str, columns: dict[str, object]) -> None:
    """Change a record behind the ledger's back."""
    values = columns | {
        name: json.dumps(value) for name, value in columns.items() if isinstance(value, dict)
    }
    with begin_write(ledger.database) as connection:
        at = assessment.c.id == answer_id
        connection.execute(update(assessment).where(at).values(values))


BROKEN: list[dict[str, object]] = [
    {"policy_version": 99},
    {"purpose": "x"},
    {"identifiers": b"x"},
    {"answer": "{"},
    {"answer": "[]"},
    {"answer": "{}"},
    {"answer": '{"evidence":[]}'},
]


@pytest.mark.parametrize("broken", BROKEN)
def test_record_that_cannot_be_read_is_named_and_stops_nothing(
    broken: dict[str, object],
    ledger: Ledger,
    simulator: Callable[..., Simulator],
    now: datetime,
) -> None:
    asker = simulator("shop-a")
    caller = asker.caller(now)
    given, other = (
        assess_risk(ledger, caller, asker.request(name, BUYER), now) for name in ("one", "two")
    )
    forge(ledger, given.id, broken)
    with pytest.raises(UnreadableRecord):
        replay(ledger, given.id)
    radius = backtest_policies(ledger, POLICY, POLICY, now - DAY, lambda *_: None)
    assert (radius.differing, radius.assessments) == ([given.id], 1)
    assert replay(ledger, other.id) is not None


def test_equal_weights_are_shared_alike_by_who_answers_and_who_replays(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    shops = [simulator(f"shop-{name}") for name in "ab"]
    device, email = claim(Kind.DEVICE, "of five"), claim(Kind.EMAIL, "of three")
    first = [shops[0].report(f"by email {number}", (email,), now) for number in range(3)]
    for number in range(5):
        shops[0].report(f"by device {number}", (device,), now)
    for number in range(3):  # the accounts of the email were named first, and no statement says so
        shops[0].report(f"by email {number}", (email,), now)
    for one in first:
        shops[0].retract(one, now)
    settle(ledger, now)
    weights = set()
    for days in range(0, 400, 7):
        at = now + timedelta(days=days)
        asked = shops[1].request("asked", (device, email))
        given = assess_risk(ledger, shops[1].caller(at), asked, at)
        replayed = replay(ledger, given.id)
        assert replayed is not None
        assert replayed.differing == ()
        weights.add(len({link.weight for link in replayed.score.links}))
    assert weights == {1}


@pytest.mark.parametrize("with_retractions", [False, True])
def test_no_answer_of_random_worlds_is_ever_said_to_differ(
    with_retractions: bool,
    backend: str,
    ledger: Ledger,
    simulator: Callable[..., Simulator],
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shops = [simulator(f"shop-{name}") for name in "abc"]
    changes = [one for one in CHANGED if with_retractions or one != "retraction"]
    kinds = [*REPORTS * 4, *OVERRIDES, *changes * 2]
    text = (ROOT / "config" / "policy.toml").read_text("utf-8")
    heavier = text.replace("fraud = 1000", "fraud = 1900").replace("version = 1\n", "version = 2\n")
    monkeypatch.setattr(entries, "_AT_ONCE", 2)
    given: list[str] = []
    for number in range(12 if backend == "sqlite" else 3):
        world = World(number, shops, now, crowded=number % 2 == 0)
        for step in range(8):
            if (number, step) == (1, 4):  # from here on the same conduct weighs more
                publish_policy(ledger, heavier, now)
                settle(ledger, now)
            for _ in range(3):
                statement = world.draw_statement(kinds)
                world.reporter_of(statement.issuer).send(statement, now)
            settle(ledger, now)
            asker, asked = world.draw_question()
            at = now + timedelta(days=200 * (step % 2))
            given.append(assess_risk(ledger, asker.caller(now), asked, at).id)
    told = {"agrees": 0, "unsure": 0, "erased": 0}
    for one in given:
        try:
            replayed = replay(ledger, one, thoroughly=True)
        except InputsErased:
            told["erased"] += 1
            continue
        assert replayed is not None
        assert replayed.differing == ()
        told["agrees"] += 1
        with suppress(InputsErased):
            replay(ledger, one)
            told["unsure"] -= 1
        told["unsure"] += 1
    assert bool(told["erased"]) == with_retractions
    assert told["agrees"] > len(given) // 4
    assert told["unsure"] or backend == "postgresql"  # the index alone couldn't tell for some
