"""The scoring policy as data: every number of the formula, versioned and published in the log.

*Units*: factors and strengths of the file in per mille, kept in micro-units.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ledger.errors import InvalidInput
from ledger.graph.link import KindRule
from ledger.graph.posting import UNIT, HalfLife, day_number
from ledger.identity.identifier import Kind
from ledger.incident.taxonomy import Actor, Conduct, ConductClass, ProofLevel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ledger.incident.incident import Money

_PER_MILLE = UNIT // 1000
WEIGHT_MAX = 20 * UNIT
_DELIVERY = frozenset({Conduct.NONRECEIPT_FALSE, Conduct.MISSING_ITEM_FALSE})
_WEIGHTLESS = frozenset({Actor.VICTIM, Actor.COERCED_OR_MULE})
_CLASSES = {
    ConductClass.FRAUD: HalfLife.FRAUD,
    ConductClass.POLICY: HalfLife.POLICY,
    ConductClass.ORGANISED: HalfLife.ORGANISED,
}


@dataclass(frozen=True, slots=True)
class Weight:
    """What a report weighs when it is fresh, in micro-units, and how it fades."""

    half_life: HalfLife
    micro: int


@dataclass(frozen=True, slots=True)
class RiskPolicy:
    """One version of the policy (docs/scoring.md explains every field).

    *Shape*: `kinds` by the codes of kinds.
    """

    version: int
    epoch_day: int
    severity: Mapping[str, int]
    confirmation: Mapping[ProofLevel, int]
    amount_factor: int
    amount_threshold_minor: int
    amount_currency: str
    reference_rates: Mapping[str, int]
    series_claims_max: int
    half_lives: Mapping[int, int]
    prior_upheld: int
    prior_reports: int
    multiplicity_k: int
    kinds: Mapping[int, KindRule]
    level_medium: int
    level_high: int
    claim_live_evidence: int
    claim_return: int
    claim_review: int
    claim_decline: int
    association_live_evidence: int
    checkout_delivery_proof: int
    checkout_withhold: int
    review_window_hours: int

    def half_life_days(self, half_life: HalfLife) -> int:
        """Give the half-life of a class in days."""
        return self.half_lives[half_life]

    def reliability(self, upheld: int, overturned: int) -> int:
        """Give a reporter's reliability in micro-units: the posterior mean of Beta(18, 2)."""
        return UNIT * (self.prior_upheld + upheld) // (self.prior_reports + upheld + overturned)

    def weigh(
        self, conduct: Conduct, actor: Actor, level: ProofLevel, amount: Money, claims: int
    ) -> Weight:
        """Weigh a fresh report. *Shape*: `claims` is 1, or the claims of a series."""
        if conduct in _DELIVERY:
            half_life, severity = HalfLife.DELIVERY, self.severity["delivery"]
        elif conduct.conduct_class is ConductClass.VICTIM:
            return Weight(HalfLife.FRAUD, 0)
        else:
            half_life = _CLASSES[conduct.conduct_class]
            severity = self.severity[conduct.conduct_class.value]
        if actor in _WEIGHTLESS:
            return Weight(half_life, 0)
        factor = self.amount_factor if self._is_large(amount) else UNIT
        micro = severity * self.confirmation[level] // UNIT * factor // UNIT
        return Weight(half_life, micro * min(claims, self.series_claims_max))

    def _is_large(self, amount: Money) -> bool:
        """Compare an amount with the threshold at the policy's reference rates, never live ones.

        *Units*: a rate is micro-units of the threshold's minor unit for one minor unit.
        """
        rate = self.reference_rates.get(amount.currency)
        return rate is not None and amount.minor * rate >= self.amount_threshold_minor * UNIT


def check_successor(live: RiskPolicy, policy: RiskPolicy) -> None:
    """Check that a policy can read the masses that are kept under the live one.

    Masses are kept by epoch and half-life, so that these stay; and no incident may weigh so much
    that ten thousand of them left 64 bits. *Raises*: InvalidInput.
    """
    if (policy.epoch_day, policy.half_lives) != (live.epoch_day, live.half_lives):
        raise InvalidInput("Another epoch or half-life needs a rebuild of every stored mass.")
    heaviest = max(policy.severity.values()) * max(policy.confirmation.values()) // UNIT
    heaviest = heaviest * policy.amount_factor // UNIT * policy.series_claims_max
    if heaviest > WEIGHT_MAX:
        raise InvalidInput("An incident would weigh more than twenty times a fresh one.")


def parse_policy(toml_text: str) -> RiskPolicy:
    """Read a policy file. *Raises*: InvalidInput where a field is missing or of another type."""
    try:
        raw = tomllib.loads(toml_text)
        return _build(raw)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput("The policy isn't TOML.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput("The policy lacks a field, or one is of another type.") from error


def _build(raw: dict[str, Any]) -> RiskPolicy:
    amount, claim, checkout = raw["amount"], raw["claim"], raw["checkout"]
    return RiskPolicy(
        version=int(raw["version"]),
        epoch_day=day_number(raw["epoch"]),
        severity={name: value * _PER_MILLE for name, value in raw["severity_per_mille"].items()},
        confirmation={
            ProofLevel(name): value * _PER_MILLE
            for name, value in raw["confirmation_per_mille"].items()
        },
        amount_factor=amount["factor_per_mille"] * _PER_MILLE,
        amount_threshold_minor=int(amount["threshold_minor"]),
        amount_currency=str(amount["currency"]),
        reference_rates=dict(raw["reference_rates_micro"]),
        series_claims_max=int(raw["series"]["claims_max"]),
        half_lives={
            HalfLife[name.upper()]: int(days) for name, days in raw["half_life_days"].items()
        },
        prior_upheld=int(raw["reliability"]["prior_upheld"]),
        prior_reports=int(raw["reliability"]["prior_reports"]),
        multiplicity_k=int(raw["multiplicity_k"]),
        kinds={
            Kind(name).code: KindRule(
                strength=rule["strength_per_mille"] * _PER_MILLE,
                free=rule["free"],
                cap=rule.get("hub_cap"),
            )
            for name, rule in raw["kind"].items()
        },
        level_medium=int(raw["level"]["medium"]),
        level_high=int(raw["level"]["high"]),
        claim_live_evidence=int(claim["require_live_evidence"]),
        claim_return=int(claim["require_return"]),
        claim_review=int(claim["human_review"]),
        claim_decline=int(claim["decline_refund_only"]),
        association_live_evidence=int(claim["association_require_live_evidence"]),
        checkout_delivery_proof=int(checkout["require_delivery_proof"]),
        checkout_withhold=int(checkout["withhold_instant_refund"]),
        review_window_hours=int(raw["review_window_hours"]),
    )
