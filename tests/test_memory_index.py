"""The index in plain dicts gives the same rows and the same integers as a real ledger on SQLite.

Random worlds report and retract in one ledger and, beside it, in memory; every question that is
asked of one is asked of the other.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT
from exact import settle
from worlds import World

from ledger.graph.link import Presented
from ledger.graph.neighbourhood import build_neighbourhood
from ledger.graph.posting import day_number
from ledger.identity.identifier import Kind, account_key, lookup_key
from ledger.risk.advice import Purpose, advise
from ledger.risk.score import score_on_day
from ledger.store.assessments import read_evidence
from ledger.store.engine import begin_read
from ledger.store.platforms import select_platforms

sys.path.append(str(ROOT / "bench"))

from memory_index import Conducted, MemoryIndex, weigh_incident

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from memory_index import ActiveIncident
    from simulator import Sent, Simulator

    from ledger.graph.neighbourhood import Evidence
    from ledger.identity.identifier import IdentifierClaim
    from ledger.incident.incident import IncidentReport
    from ledger.ledger import Ledger
    from ledger.risk.score import RiskScore

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
WORLDS = 24
DAYS = (0, 400)


class Pair:
    """A real ledger, and the index in memory that must say the same."""

    def __init__(self, ledger: Ledger, platforms: list[Simulator]) -> None:
        """Know the members by the row ids that the ledger gave them."""
        self.ledger = ledger
        self.key = ledger.keys.index_key
        with begin_read(ledger.database) as connection:
            self.ids = {one.uri: one.id for one in select_platforms(connection)}
        self.index = MemoryIndex({self.ids[one.uri]: one.group for one in platforms})
        self.places: dict[str, int] = {}

    def present(self, claims: tuple[IdentifierClaim, ...]) -> tuple[Presented, ...]:
        """Present identifiers by their lookup keys."""
        return tuple(
            Presented(
                lookup_key(self.key, one.identifier),
                one.identifier.kind.code,
                one.binding.code,
                one.accounts_here.code,
            )
            for one in claims
        )

    def weigh(self, report: IncidentReport) -> ActiveIncident:
        """Weigh a report that the ledger was sent."""
        place = self.places[report.jti] = len(self.places)
        series = report.series
        told = Conducted(
            day_number(report.conduct_ended_at.date()),
            report.amount,
            report.conduct,
            report.actor,
            report.proof.level,
            series.claims if series else 1,
            day_number(series.first_at.date()) if series else None,
        )
        account = account_key(self.key, report.account)
        platform, bound = self.ids[report.issuer], self.present(report.identifiers)
        return weigh_incident(self.ledger.policies[1], place, platform, account, bound, told)

    def act(self, world: World) -> None:
        """Report or retract something in both."""
        if world.sent and world.random.random() < 0.25:
            gone: Sent = world.sent.pop(world.random.randrange(len(world.sent)))
            world.reporter_of(gone.statement.issuer).retract(gone, world.now)
            self.index.remove(self.places[gone.statement.jti])
            return
        report = world.draw_report()
        world.sent.append(world.reporter_of(report.issuer).send(report, world.now))
        self.index.add(self.weigh(report))

    def ask(self, world: World) -> list[tuple[RiskScore, RiskScore]]:
        """Ask both the same, today and later, and compare the rows that were read."""
        asker = world.random.choice(world.platforms)
        buyer = f"{world.label}-{world.random.choice(['0', '1', '2', 'unknown'])}"
        kinds = world.random.sample(list(Kind), world.random.randint(1, 6))
        presented = self.present(world.draw_claims([*kinds, *kinds[:1]]))
        account = account_key(self.key, asker.account(buyer))
        tokens = [one.key for one in presented]
        with begin_read(self.ledger.database) as connection:
            real = read_evidence(connection, (account, *tokens))
        copied = self.index.read(account, tokens)
        assert describe(copied) == describe(real), world.label
        policy = self.ledger.policies[1]
        answers = []
        for days in DAYS:
            day = day_number((world.now + timedelta(days=days)).date())
            scores = [
                score_on_day(
                    build_neighbourhood(account, asker.group, presented, one, policy.kinds),
                    policy,
                    day,
                )
                for one in (real, copied)
            ]
            assert number_afresh(scores[0]) == number_afresh(scores[1]), world.label
            answers.append((scores[0], scores[1]))
        return answers


def describe(evidence: Evidence) -> tuple[list[object], list[object]]:
    """Give the rows of one read; accounts by their order, since each side numbers them itself."""
    order = sorted({row.account for row in evidence.postings})
    postings = [row._replace(account=order.index(row.account)) for row in evidence.postings]
    counted = [row._replace(bucket_index=0) for row in evidence.multiplicities]
    return sorted(postings, key=repr), sorted(counted, key=repr)


def number_afresh(score: RiskScore) -> RiskScore:
    """Give associated accounts their place in the score as their number."""
    return score._replace(
        links=tuple(one._replace(account=place) for place, one in enumerate(score.links))
    )


def test_index_in_memory_answers_like_a_real_ledger(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    platforms = [
        simulator("shop-a", group="first"),
        simulator("shop-b", group="second"),
        simulator("shop-c", group="first"),
        simulator("shop-d", group="fourth"),
    ]
    pair = Pair(ledger, platforms)
    answers = []
    for number in range(WORLDS):
        world = World(number, platforms, now, crowded=number % 3 == 0)
        for _ in range(world.random.randint(12, 20) if world.crowded else 7):
            pair.act(world)
        settle(ledger, now)
        for _ in range(6):
            answers += pair.ask(world)
    scores = [score for score, _ in answers]
    assert {one.level for one in scores} == {"LOW", "MEDIUM", "HIGH"}
    assert {"no_record", "association", "own_account", "same_person"} == {x.basis for x in scores}
    assert any(one.ignored for one in scores)
    told = {advise(one, Purpose.REFUND_ONLY_CLAIM, ledger.policies[1]) for one in scores}
    assert len(told) > 4
