"""The exact score behind a rounded answer, and ledgers that are filled by real reports.

It reads as `assess_risk` does and stops before rendering. It knows how to hand-make postings for
tests that need no database; what a score should be it doesn't know.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conftest import ROOT
from sqlalchemy import select

from ledger.graph.link import Presented
from ledger.graph.neighbourhood import Evidence, build_neighbourhood
from ledger.graph.posting import Multiplicity, Posting, day_number, forward_mass
from ledger.identity.identifier import Binding, Bucket, Kind, account_key, lookup_key
from ledger.risk.outlook import Outlook
from ledger.risk.policy import RiskPolicy, parse_policy
from ledger.risk.score import RiskScore, score_on_day
from ledger.sequencing import sequence
from ledger.store.assessments import read_evidence
from ledger.store.engine import begin_read
from ledger.store.postings import stream_index
from ledger.store.tables import assessment, identifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date, datetime

    from simulator import Simulator

    from ledger.assessing import AssessmentRequest
    from ledger.ledger import Ledger

POLICY: RiskPolicy = parse_policy((ROOT / "config" / "policy.toml").read_text("utf-8"))
OWN_KEY = b"the asker's own account"
OWN_ACCOUNT = 1
NOTHING_FORESEEN = Outlook(None, None, None, None, None)


def score_exactly(
    ledger: Ledger, asker: Simulator, asked: AssessmentRequest, at: datetime
) -> RiskScore:
    """Score a question in exact integers."""
    key = ledger.keys.index_key
    account = account_key(key, asked.account)
    presented = [
        Presented(
            lookup_key(key, one.identifier),
            one.identifier.kind.code,
            one.binding.code,
            one.accounts_here.code,
        )
        for one in asked.identifiers
    ]
    with begin_read(ledger.database) as connection:
        evidence = read_evidence(connection, (account, *(one.key for one in presented)))
    neighbourhood = build_neighbourhood(
        account,
        asker.group,
        presented,
        evidence,
        ledger.policies[1].kinds,
    )
    return score_on_day(neighbourhood, ledger.policies[1], day_number(at.date()))


def stored_score(ledger: Ledger, answer: dict[str, object]) -> int:
    """Give the exact score that was recorded with an answer."""
    wanted = select(assessment.c.score).where(assessment.c.id == answer["id"])
    with begin_read(ledger.database) as connection:
        return int(connection.execute(wanted).scalar_one())


def settle(ledger: Ledger, at: datetime) -> None:
    """Sequence whatever is pending, as the worker does on PostgreSQL."""
    while sequence(ledger, at):
        pass


def count_by_edges(rows: Iterable[tuple[Any, ...]]) -> set[tuple[object, ...]]:
    """Say from the edges alone which multiplicities there must be: of tokens with two accounts."""
    said: dict[tuple[Any, ...], dict[int, dict[Any, tuple[int, int]]]]
    said = defaultdict(lambda: defaultdict(dict))
    for _, token, kind, account, platform, index, _, declared in (
        row for row in rows if row[0] == "edge"
    ):
        before = said[token, kind][platform].get(account, (-1, 0))
        said[token, kind][platform][account] = max(before, (index, declared))
    return {
        ("multiplicity", *token, platform, len(accounts), *max(accounts.values())[::-1])
        for token, platforms in said.items()
        if sum(map(len, platforms.values())) > 1
        for platform, accounts in platforms.items()
    }


def read_index(ledger: Ledger) -> list[tuple[object, ...]]:
    """Read every derived row of the index, with tokens in the place of row ids.

    Multiplicities that say no more than postings do, or aren't there, fail whichever test reads.
    """
    with begin_read(ledger.database) as connection:
        numbers = connection.execute(select(identifier.c.id)).scalars().all()
        assert len(set(numbers)) == len(numbers), "nothing but this keeps two from being one"
        rows = sorted(stream_index(connection), key=repr)
    counted = [row for row in rows if row[0] == "multiplicity"]
    assert sorted(counted) == sorted(count_by_edges(rows))
    return rows


@dataclass(frozen=True)
class Shared:
    """A token that a hand-made account shares with the asker, verified on both sides or not."""

    kind: Kind
    verified: bool = True
    bucket: Bucket = Bucket.ONE
    name: str = "it"

    @property
    def key(self) -> bytes:
        """Its lookup key."""
        return f"{self.kind} {self.name}".encode()

    def bind(self) -> Binding:
        """Give the binding that verifies its kind, or none."""
        usual = {
            Kind.NID: Binding.REAL_NAME,
            Kind.PAY: Binding.PSP,
            Kind.DEVICE: Binding.OBSERVED,
            Kind.EMAIL: Binding.OTP,
            Kind.PHONE: Binding.OTP,
            Kind.ADDR: Binding.NONE,
        }
        return usual[self.kind] if self.verified else Binding.NONE


@dataclass
class Sketch:
    """A small ledger by hand: fresh fraud incidents of accounts, and one question."""

    today: date
    policy: RiskPolicy = POLICY
    rows: list[Posting] = field(default_factory=list)
    seen: dict[tuple[bytes, int], Multiplicity] = field(default_factory=dict)
    presented: dict[bytes, Presented] = field(default_factory=dict)

    def bear(
        self,
        account: int,
        incidents: int,
        shared: Sequence[Shared] = (),
        *,
        platform: int = 1,
        level_a: int = 0,
        disputed: int = 0,
    ) -> Sketch:
        """Let an account bear incidents, as the asker's own where it shares nothing."""
        day = day_number(self.today)
        mass = incidents * forward_mass(1_000_000, day, 365, self.policy.epoch_day)
        own = [(OWN_KEY, 0, 0)] if account == OWN_ACCOUNT else []
        tokens = [(one.key, one.kind.code, one.bind().code) for one in shared]
        group = f"group {platform}"
        for key, code, binding in [*own, *tokens]:
            self.rows.append(
                Posting(
                    *(key, code, account, platform, group, 1, mass, incidents),
                    *(disputed, level_a, binding, day, day, 0, 0),
                )
            )
        for one in shared:
            before = self.seen.get((one.key, platform))
            number = 1 + (before.accounts if before else 0)
            at = (one.key, one.kind.code, number, platform, group)
            self.seen[one.key, platform] = Multiplicity(*at, one.bucket.code, account)
            codes = (one.kind.code, one.bind().code, one.bucket.code)
            self.presented[one.key] = Presented(one.key, *codes)
        return self

    def score(self, *presented: Presented) -> RiskScore:
        """Score the question of a platform that bears nothing itself."""
        on: Counter[bytes] = Counter()
        for one in self.seen.values():
            on[one.key] += one.accounts
        counted = [one for one in self.seen.values() if on[one.key] > 1]
        neighbourhood = build_neighbourhood(
            OWN_KEY,
            "the asker's group",
            presented or tuple(self.presented.values()),
            Evidence(0, self.policy.version, self.rows, counted),
            self.policy.kinds,
        )
        return score_on_day(neighbourhood, self.policy, day_number(self.today))
