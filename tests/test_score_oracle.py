"""Random small ledgers, filled by real reports, score to the last integer as the oracle says.

Each world has its own people and identifiers; all worlds of a test lie in one ledger, so that a
world that leaked into another would show as well.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from exact import score_exactly, settle, stored_score
from oracle import Expected, Oracle, power
from worlds import World

from ledger.assessing import assess_risk
from ledger.graph.posting import powers
from ledger.identity.identifier import Kind
from ledger.incident.incident import IncidentReport
from ledger.risk.advice import Purpose, advise
from ledger.store.engine import begin_read
from ledger.store.platforms import select_platforms

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Simulator

    from ledger.identity.platform import Caller
    from ledger.ledger import Ledger
    from ledger.risk.score import RiskScore

WORLDS = {"sqlite": 60, "postgresql": 15}


def act(world: World, oracle: Oracle) -> None:
    """Report or retract something, and tell the oracle."""
    if world.sent and world.random.random() < 0.2:
        gone = world.sent.pop(world.random.randrange(len(world.sent)))
        world.reporter_of(gone.statement.issuer).retract(gone, world.now)
        assert isinstance(gone.statement, IncidentReport)
        oracle.retract(gone.statement)
        return
    report = world.draw_report()
    world.sent.append(world.reporter_of(report.issuer).send(report, world.now))
    oracle.report(report)


def describe(score: RiskScore) -> tuple[object, ...]:
    """Give what the oracle must agree with."""
    return (
        (score.score, score.direct_score, score.linked_score, score.level, score.basis),
        {part.group: (part.weight, part.points) for part in score.groups},
        [(one.kind.value, one.accounts, one.weight, one.points) for one in score.links],
        [one.kind.value for one in score.ignored],
        score.incidents,
    )


def expect(expected: Expected) -> tuple[object, ...]:
    """Give the same of the oracle's answer."""
    return (
        (expected.score, expected.direct, expected.linked, expected.level, expected.basis),
        expected.groups,
        expected.links,
        expected.ignored,
        expected.incidents,
    )


def compare(
    ledger: Ledger, world: World, oracle: Oracle, callers: dict[str, Caller]
) -> list[Expected]:
    """Ask some questions of a world, today and later, and compare every integer."""
    answers = []
    for _ in range(4):
        asker = world.random.choice(world.platforms)
        buyer = f"{world.label}-{world.random.choice(['0', '1', 'unknown'])}"
        kinds = world.random.sample(list(Kind), world.random.randint(1, 6))
        asked = asker.request(buyer, world.draw_claims([*kinds, *kinds[:1]]))
        at = world.now + timedelta(days=world.random.choice([0, 0, 30, 365, 1000]))
        expected = oracle.assess(asked, at.date())
        score = score_exactly(ledger, asker, asked, at)
        assert describe(score) == expect(expected), world.label
        for purpose, told in (
            (Purpose.REFUND_ONLY_CLAIM, expected.claim),
            (Purpose.CHECKOUT, expected.checkout),
        ):
            advice = advise(score, purpose, ledger.policy)
            assert advice is not None
            assert (advice.action, advice.rule) == told, world.label
        answer = json.loads(assess_risk(ledger, callers[asker.uri], asked, at).text)
        assert stored_score(ledger, answer) == expected.score
        shown = answer["reasons"]
        assert isinstance(shown, list)
        assert (
            sum(reason["points"] for reason in shown) == answer["score"] == score.score // 10 * 10
        )
        answers.append(expected)
    return answers


def test_random_ledgers_score_as_the_oracle_says(
    backend: str, ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    platforms = [
        simulator("shop-a", group="first"),
        simulator("shop-b", group="second"),
        simulator("shop-c", group="first"),
        simulator("shop-d", group="fourth"),
    ]
    settle(ledger, now)
    callers = {one.uri: one.caller(now) for one in platforms}
    with begin_read(ledger.database) as connection:
        members = {one.uri: (one.id, one.group) for one in select_platforms(connection)}
    oracle = Oracle(members)
    answers = []
    for number in range(WORLDS[backend]):
        world = World(number, platforms, now, crowded=number % 3 == 0)
        for _ in range(world.random.randint(14, 22) if world.crowded else 7):
            act(world, oracle)
        settle(ledger, now)
        answers += compare(ledger, world, oracle, callers)
    if backend == "sqlite":
        assert_worlds_are_rich(answers)


def assert_worlds_are_rich(answers: list[Expected]) -> None:
    """Make sure that the worlds reach what they are there for."""
    assert {one.level for one in answers} == {"LOW", "MEDIUM", "HIGH"}
    assert {one.basis for one in answers} == {
        "no_record",
        "association",
        "own_account",
        "same_person",
    }
    assert any(one.ignored for one in answers)
    assert any(one.direct and one.linked for one in answers)
    assert any(len({kind for kind, *_ in one.links}) > 1 for one in answers)
    assert len({one.claim for one in answers}) > 4


@pytest.mark.parametrize("h", [90, 180, 365, 730])
def test_every_power_is_the_nearest_integer_by_the_oracle_too(h: int) -> None:
    places = range(0, h, 29)
    assert [powers(h)[r] for r in places] == [power(r, h) for r in places]
