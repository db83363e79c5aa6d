"""Random small ledgers, filled by real statements, score to the last integer as the oracle says.

Each world has its own people and identifiers and an oracle that heard nothing else; all worlds of
a test lie in one ledger, so that a world that leaked into another would show as well.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from conftest import clone_database, founded
from exact import read_index, score_exactly, settle, stored_score
from histories import IDS, MEMBERS, NOW, MemoryIndex, describe, expect, without_rows
from oracle import Oracle, power
from reports import claim
from simulator import Simulator
from worlds import World, remain

from ledger.assessing import assess_risk
from ledger.graph.posting import powers
from ledger.identity.identifier import Bucket, Kind
from ledger.store import overrides
from ledger.store.engine import begin_read, begin_write
from ledger.store.platforms import select_platforms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from oracle import Expected

    from ledger.identity.platform import Caller
    from ledger.ledger import Ledger, LedgerKeys
    from ledger.rights.jurisdiction import JurisdictionProfile

WORLDS = {"sqlite": 300, "postgresql": 100}
TWIN_WORLDS = {"sqlite": 40, "postgresql": 10}
QUESTIONS = 3
DAYS = (0, 0, 30, 365, 1000)


class Stage:
    """One real ledger, its members, and what was decided of each group's reports so far."""

    def __init__(self, ledger: Ledger, platforms: list[Simulator], now: datetime) -> None:
        """Know the members by the row ids that the ledger gave them."""
        self.ledger = ledger
        self.platforms = platforms
        self.now = now
        self.callers: dict[str, Caller] = {one.uri: one.caller(now) for one in platforms}
        with begin_read(ledger.database) as connection:
            self.members = {one.uri: (one.id, one.group) for one in select_platforms(connection)}
        self.decided: dict[str, tuple[int, int]] = {}

    def fill(self, number: int) -> tuple[World, Oracle]:
        """Let one more world state something, and tell its oracle."""
        world = World(number, self.platforms, self.now, crowded=number % 3 == 0)
        oracle = Oracle(self.members)
        oracle.decided = self.decided
        for _ in range(world.random.randint(14, 22) if world.crowded else 7):
            said = world.draw_statement()
            world.reporter_of(said.issuer).send(said, self.now)
            oracle.hear(said)
        if number % 10 == 9:
            self.decide(world)
        settle(self.ledger, self.now)
        return world, oracle

    def decide(self, world: World) -> None:
        """Let some reports of a platform be upheld or overturned: no event says so yet."""
        member, group = self.members[world.random.choice(self.platforms).uri]
        decided = world.random.choice([(1, 0), (5, 0), (0, 1), (0, 2)])
        with begin_write(self.ledger.database) as connection:
            overrides.count_decided(connection, member, decided)
        upheld, overturned = self.decided.get(group, (0, 0))
        self.decided[group] = (upheld + decided[0], overturned + decided[1])

    def compare(self, world: World, oracle: Oracle, *, aloud: bool) -> Expected:
        """Ask something about a world, today or later, aloud or not, and compare every integer."""
        asker, asked = world.draw_question()
        at = self.now + timedelta(days=world.random.choice(DAYS))
        expected = oracle.assess(asked, at.date())
        score = score_exactly(self.ledger, asker, asked, at)
        assert describe(score) == expect(expected), world.label
        if not aloud:
            return expected
        answer = json.loads(assess_risk(self.ledger, self.callers[asker.uri], asked, at).text)
        assert stored_score(self.ledger, answer) == expected.score
        assert (answer["basis"], answer["advice"]["action"]) == (
            expected.basis,
            expected.advice[0][0],
        )
        shown = sum(reason["points"] for reason in answer["reasons"])
        assert shown == answer["score"] == expected.score // 10 * 10
        return expected


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
    stage = Stage(ledger, platforms, now)
    answers = []
    filled = []
    for number in range(WORLDS[backend]):
        world, oracle = stage.fill(number)
        filled.append((world, oracle))
        answers += [stage.compare(world, oracle, aloud=n == 0) for n in range(QUESTIONS)]
    answers += [stage.compare(world, oracle, aloud=False) for world, oracle in filled[::4]]
    assert_worlds_are_rich(answers)


def read_ranked(ledger: Ledger) -> list[tuple[object, ...]]:
    """Read the index with each place in the log as its rank among those that are linked."""
    rows = read_index(ledger)
    with begin_read(ledger.database) as connection:
        rows += [row for _, row in overrides.stream_overrides(connection)]
    places = sorted({str(row[5]).zfill(9) for row in rows if row[0] == "edge"})
    column = {"edge": 5, "multiplicity": 6}
    return sorted(
        (
            (*row[:at], places.index(str(row[at]).zfill(9)), *row[at + 1 :])
            if (at := column.get(str(row[0])))
            else row
            for row in rows
        ),
        key=repr,
    )


@pytest.fixture
def twins(
    backend: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    now: datetime,
    keys: LedgerKeys,
    profiles: Mapping[str, JurisdictionProfile],
) -> Iterator[list[list[Simulator]]]:
    """Give the same members of two ledgers with the same keys."""
    with ExitStack() as opened:
        twins = []
        policy_text = request.getfixturevalue("policy_text")
        for name in ("lived", "rebuilt"):
            folder = tmp_path / name
            folder.mkdir()
            url = opened.enter_context(clone_database(backend, request, folder))
            ledger = opened.enter_context(founded(url, keys, profiles, policy_text, now))
            members = [Simulator(ledger, f"shop-{x}", group=f"{x in 'ac'}") for x in "abcd"]
            for one in members:
                one.enrol(now)
            twins.append(members)
        yield twins


def test_ledger_keeps_what_one_would_that_heard_only_what_remains(
    backend: str, twins: list[list[Simulator]], now: datetime
) -> None:
    lived, rebuilt = twins
    questions = []
    for number in range(TWIN_WORLDS[backend]):
        world = World(number, lived, now, crowded=number % 3 == 0)
        statements = [world.draw_statement() for _ in range(12)]
        for members, said in ((lived, statements), (rebuilt, remain(statements))):
            by_uri = {one.uri: one for one in members}
            for one in said:
                by_uri[one.issuer].send(one, now)
            settle(members[0].ledger, now)
        questions += [world.draw_question() for _ in range(3)]
    kept, plain = (members[0].ledger for members in twins)
    assert read_ranked(kept) == read_ranked(plain)
    for asker, asked in questions:
        at = now + timedelta(days=100)
        told, again = score_exactly(kept, asker, asked, at), score_exactly(plain, asker, asked, at)
        assert without_rows(told) == without_rows(again)


def test_group_at_the_cap_need_not_vouch_for_its_crowd() -> None:
    index, oracle = MemoryIndex(), Oracle(IDS)
    for platform, accounts, bucket in ((1, 7, Bucket.SEVERAL), (3, 6, Bucket.MANY)):
        for number in range(accounts):
            email = claim(Kind.EMAIL, "everybody's", here=bucket)
            said = MEMBERS[platform].incident(str(number), (email,), NOW)
            index.hear(said)
            oracle.hear(said)
    asked = MEMBERS[0].request("asked", (claim(Kind.EMAIL, "everybody's"),))
    told = index.score(asked, NOW.date())
    assert (len(told.links), told.links[0].accounts, told.ignored) == (13, 6, ())
    assert describe(told) == expect(oracle.assess(asked, NOW.date()))


def assert_worlds_are_rich(answers: list[Expected]) -> None:
    """Make sure that the worlds reach what they are there for."""
    assert {one.level for one in answers} == {"LOW", "MEDIUM", "HIGH"}
    assert {one.basis for one in answers} == {
        "no_record",
        "association",
        "own_account",
        "same_person",
        "protected",
    }
    assert any(one.ignored for one in answers)
    assert any(one.direct and one.linked for one in answers)
    assert any(len({kind for kind, *_ in one.links}) > 1 for one in answers)
    assert len({one.advice[0] for one in answers}) > 6
    assert len({one.advice[1] for one in answers}) > 3


@pytest.mark.parametrize("h", [90, 180, 365, 730])
def test_every_power_is_the_nearest_integer_by_the_oracle_too(h: int) -> None:
    places = range(0, h, 29)
    assert [powers(h)[r] for r in places] == [power(r, h) for r in places]
