"""Random small worlds: who reports which conduct about whom, with which identifiers, and how bound.

It draws valid reports and questions and files nothing by itself.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from reports import USUAL_BINDINGS, digest

from ledger.identity.identifier import Binding, Bucket, IdentifierClaim, Kind, demo_token
from ledger.incident.incident import EvidenceItem, IncidentReport, Money, Series
from ledger.incident.taxonomy import Actor, Conduct, EvidenceKind, EvidenceSource, ProofLevel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from simulator import Sent, Simulator

# What makes an item of evidence, beside two independent ones, a finding of this level.
FINDINGS = {ProofLevel.A: EvidenceKind.DECISION, ProofLevel.C: EvidenceKind.ADMISSION}
FEW = (Bucket.ONE, Bucket.ONE, Bucket.ONE, Bucket.FEW)


class World:
    """One random world: who reports what about whom, and who asks."""

    def __init__(
        self,
        number: int,
        platforms: Sequence[Simulator],
        now: datetime,
        *,
        label: str = "",
        crowded: bool = False,
        plain: bool = False,
    ) -> None:
        """Seed a world: its number decides everything that is drawn, its label only names.

        Crowded ones have more accounts on fewer identifiers; in plain ones every identifier is
        bound as usual and declared on one account.
        """
        self.random = Random(number)
        self.label = label or str(number)
        self.platforms = platforms
        self.now = now
        self.crowded = crowded
        self.plain = plain
        self.sent: list[Sent] = []

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

    def draw_report(self) -> IncidentReport:
        """Draw a report of some conduct, age, amount, proof and series."""
        platform = self.random.choice(self.platforms)
        buyer = f"{self.label}-{self.random.randrange(8 if self.crowded else 2)}"
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
