"""Random small worlds: who states what about whom, with which identifiers, and how bound.

It draws valid statements and questions and files nothing by itself.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from reports import USUAL_BINDINGS, digest

from ledger.identity.identifier import Binding, Bucket, IdentifierClaim, Kind, demo_token
from ledger.incident.incident import EvidenceItem, IncidentReport, Money, Series
from ledger.incident.statement import Change, Correction, Marking, Retraction
from ledger.incident.taxonomy import (
    Actor,
    Conduct,
    EvidenceKind,
    EvidenceSource,
    MarkerKind,
    ProofLevel,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from simulator import Sent, Simulator

    from ledger.assessing import AssessmentRequest
    from ledger.incident.statement import Statement

# What makes an item of evidence, beside two independent ones, a finding of this level.
FINDINGS = {ProofLevel.A: EvidenceKind.DECISION, ProofLevel.C: EvidenceKind.ADMISSION}
FEW = (Bucket.ONE, Bucket.ONE, Bucket.ONE, Bucket.FEW)
# How often each kind of statement is drawn, of twenty.
REPORTS = ("report",)
CHANGES = ("retraction", "retraction", "correction", "correction", "correction", "restitution")
OVERRIDES = ("unlinking", "recycling", "recycling", "recycling", "marking", "marking")
# From when to when somebody is marked: around today, long ago, some day.
MARKED_DAYS = ((-30, 0), (-30, 300), (-300, -290), (-300, -290), (310, 320), (310, 320))
EVERYTHING = REPORTS * 8 + CHANGES + OVERRIDES


class World:
    """One random world: who reports what about whom, and who asks."""

    def __init__(
        self,
        number: int | Random,
        platforms: Sequence[Simulator],
        now: datetime,
        *,
        label: str = "",
        crowded: bool = False,
        plain: bool = False,
    ) -> None:
        """Seed a world: its number decides everything that is drawn, its label only names.

        *Shape*: `open` are the reports that weren't retracted, as they were filed. Crowded worlds
        have more accounts on fewer identifiers; in plain ones every identifier is bound as usual
        and declared on one account.
        """
        self.random = number if isinstance(number, Random) else Random(number)
        self.label = label or str(number)
        self.platforms = platforms
        self.now = now
        self.crowded = crowded
        self.plain = plain
        self.sent: list[Sent] = []
        self.open: list[IncidentReport] = []
        self._restituted: set[str] = set()
        self._marked: list[Marking] = []
        self._ended: dict[str, datetime] = {}  # of what was corrected

    def draw_claims(self, kinds: Sequence[Kind]) -> tuple[IdentifierClaim, ...]:
        """Draw an identifier of each kind, mostly verified and mostly on one account."""
        drawn = {}
        for kind in kinds:
            value = f"{kind} {self.random.randrange(1 if self.crowded else 2)} of {self.label}"
            usual = self.random.random() < 0.85
            binding = USUAL_BINDINGS[kind] if usual else self.random.choice(list(Binding))
            some = FEW if self.random.random() < 0.8 else tuple(Bucket)
            here = self.random.choice(some)
            if self.plain:
                binding, here = USUAL_BINDINGS[kind], Bucket.ONE
            drawn[value] = IdentifierClaim(demo_token(kind, value), binding, None, here)
        return tuple(drawn.values())

    def draw_kinds(self) -> list[Kind]:
        """Draw which kinds of identifier are known, twice the same now and then."""
        kinds = self.random.sample(list(Kind), self.random.randint(1, 4))
        if self.random.random() < 0.5:
            kinds = [Kind.PHONE, Kind.DEVICE, *kinds]
        return kinds if self.random.random() < 0.2 else list(dict.fromkeys(kinds))

    def draw_buyer(self) -> str:
        """Draw the name of a buyer; each platform has an account of each."""
        return f"{self.label}-{self.random.randrange(8 if self.crowded else 2)}"

    def draw_report(self) -> IncidentReport:
        """Draw a report of some conduct, age, amount, proof and series."""
        platform = self.random.choice(self.platforms)
        buyer = self.draw_buyer()
        honest = platform.incident(buyer, self.draw_claims(self.draw_kinds()), self.now)
        conduct = self.random.choice([*Conduct, *[Conduct.EVIDENCE_FORGED_AI] * 15])
        actor = self.random.choice([Actor.FIRST_PARTY] * 12 + [Actor.COERCED_OR_MULE])
        if conduct is Conduct.ACCOUNT_TAKEOVER_REFUND:
            actor = Actor.VICTIM
        level = self.random.choice([ProofLevel.D] * 6 + [ProofLevel.A, ProofLevel.C])
        proof = replace(honest.proof, level=level)
        if level in FINDINGS:
            item = EvidenceItem(FINDINGS[level], EvidenceSource.AUTHORITY, digest("it"), None)
            proof = replace(proof, evidence=(*proof.evidence, item))
        age = timedelta(days=int(self.random.choice([0, 0, 1, 90, 1825]) * self.random.random()))
        ended = honest.conduct_ended_at - age
        amount = Money(self.random.choice([1, 12_990, 38_461, 61_225, 300_000]), "CNY")
        amount = replace(amount, currency=self.random.choice(["CNY", "EUR", "JPY", "CHF"]))
        series = Series(self.random.randint(2, 5), ended - timedelta(days=9), ended, amount)
        return replace(
            honest,
            conduct=conduct,
            actor=actor,
            proof=proof,
            conduct_ended_at=ended,
            amount=amount,
            series=series if self.random.random() < 0.15 else None,
        )

    def reporter_of(self, uri: str) -> Simulator:
        """Give the platform of an address."""
        return next(one for one in self.platforms if one.uri == uri)

    def draw_statement(self, kinds: Sequence[str] = EVERYTHING) -> Statement:
        """Draw what some platform may state now, and remember which reports are open.

        *Shape*: where there is no report to change, a report.
        """
        kind = self.random.choice(kinds)
        if kind in OVERRIDES:
            return self._draw_override(kind)
        if kind in REPORTS or not self.open:
            self.open.append(self.draw_report())
            return self.open[-1]
        of = self.random.choice(self.open)
        reporter = self.reporter_of(of.issuer)
        if kind == "retraction":
            self.open.remove(of)
            return reporter.retraction(of, self.now)
        if kind == "restitution" and of.jti not in self._restituted:
            self._restituted.add(of.jti)
            return reporter.restitution(of, self.now)
        other = self.draw_report()
        self._ended[of.jti] = other.conduct_ended_at
        return reporter.correction(
            of,
            self.now,
            identifiers=other.identifiers,
            conduct=other.conduct,
            actor=other.actor,
            proof=other.proof,
            conduct_ended_at=other.conduct_ended_at,
            amount=other.amount,
            series=other.series,
        )

    def _draw_override(self, kind: str) -> Statement:
        platform, buyer = self.random.choice(self.platforms), self.draw_buyer()
        if kind == "unlinking":
            other = self.random.choice(self.platforms).account(self.draw_buyer())
            if other == platform.account(buyer):
                other = platform.account(f"{self.label}-unknown")
            said = platform.unlinking(buyer, other, self.now)
            return replace(said, live_checks=(digest("one holder"), digest("another")))
        if kind == "recycling":
            given = self.draw_claims([self.random.choice([*Kind][1:])])[0].identifier
            age = timedelta(days=self.random.choice([0, 0, 1, 40, 400]))
            return replace(platform.recycling(given, self.now), recycled_at=self.now - age)
        if self.open and self.random.random() < 0.7:  # somebody of whom something was reported
            known = self.random.choice(self.open)
            platform = self.reporter_of(known.issuer)
            buyer = known.account.sub.removeprefix("acct-")
        named = self.random.sample([Kind.PHONE, Kind.EMAIL, Kind.PAY, Kind.NID], 2)
        identifiers = tuple(one.identifier for one in self.draw_claims(named))
        marking = platform.marking(buyer, identifiers[: self.random.randrange(3)], self.now)
        if self.random.random() < 0.6:
            days = self.random.choice(MARKED_DAYS)
            begins, until = (self.now + timedelta(days=day) for day in days)
            if self._marked and self.random.random() < 0.7:  # the same people, at another time
                earlier = self.random.choice(self._marked)
                return replace(
                    earlier, jti=marking.jti, txn=marking.txn, begins=begins, until=until
                )
            marking = replace(marking, kind=MarkerKind.IMPERSONATED, begins=begins, until=until)
            self._marked.append(marking)
            return self._marked[-1]
        stolen = tuple(
            one.jti
            for one in self.open
            if one.account == marking.account
            and self._ended.get(one.jti, one.conduct_ended_at) >= marking.begins
        )
        return replace(marking, incident_jtis=stolen[: self.random.randrange(3)])

    def draw_question(self) -> tuple[Simulator, AssessmentRequest]:
        """Draw who asks about whom, a stranger now and then, with which identifiers."""
        asker = self.random.choice(self.platforms)
        buyer = f"{self.label}-{self.random.choice(['0', '1', 'unknown'])}"
        kinds = self.random.sample(list(Kind), self.random.randint(1, 6))
        return asker, asker.request(buyer, self.draw_claims([*kinds, *kinds[:1]]))


def cases_of(said: Statement) -> set[str]:
    """Give the jti of each report that a statement is or is about."""
    if isinstance(said, IncidentReport):
        return {said.jti}
    if isinstance(said, Change):
        return {said.incident_jti}
    return set(said.incident_jtis) if isinstance(said, Marking) else set()


def keep_cases(statements: Iterable[Statement], kept: set[str]) -> list[Statement]:
    """Leave out all that is said about other cases, as if they had never been reported."""
    left: list[Statement] = []
    for one in statements:
        if isinstance(one, Marking):
            named = tuple(jti for jti in one.incident_jtis if jti in kept)
            left.append(replace(one, incident_jtis=named))
        elif not cases_of(one) or cases_of(one) & kept:
            left.append(one)
    return left


def remain(statements: Sequence[Statement]) -> list[Statement]:
    """Give the statements that would have been enough, in the order of the reports.

    What was retracted or waived was never reported, what was corrected was right from the start.
    """
    gone: set[str] = set()
    last: dict[str, IncidentReport] = {}
    for one in statements:
        if isinstance(one, Retraction | Marking):
            gone |= cases_of(one)
        elif isinstance(one, Correction):
            last[one.incident_jti] = replace(one.report, jti=one.incident_jti)
    kept = {jti for one in statements for jti in cases_of(one)} - gone
    return [
        last.get(one.jti, one) if isinstance(one, IncidentReport) else one
        for one in keep_cases(statements, kept)
        if not isinstance(one, Correction)
    ]
