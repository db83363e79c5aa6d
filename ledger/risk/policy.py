"""The scoring policy as data: every number that it can change, versioned, published in the log.

*Units*: factors and strengths of the file in per mille, kept in micro-units.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from ledger.errors import EvidenceTooHeavy, InvalidPolicy
from ledger.graph.link import KindRule
from ledger.graph.posting import UNIT, HalfLife, day_number, forward_mass
from ledger.identity.identifier import Kind
from ledger.incident.taxonomy import Actor, Conduct, ConductClass, ProofLevel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ledger.incident.incident import Money

_PER_MILLE = UNIT // 1000
WEIGHT_MAX = 20 * UNIT
HUB_CAP_MAX = 499  # the store reads no postings of a token with 500 accounts or more
_FACTOR_MAX = 20_000
_COUNT_MAX = 1_000_000
_AMOUNT_MAX = 10**15
_HALF_LIFE_DAYS_MAX = 3653
_EPOCHS = range(2000, 2100)
_CURRENCY = re.compile(r"[A-Z]{3}")
_LEVELS = ("A", "C", "D")  # level B isn't shared
_CLAIM = (
    "require_live_evidence",
    "require_return",
    "human_review",
    "decline_refund_only",
    "association_require_live_evidence",
)
_CHECKOUT = ("require_delivery_proof", "withhold_instant_refund")
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


@dataclass(frozen=True, slots=True, eq=False)
class RiskPolicy:
    """One version of the policy (docs/scoring.md explains every field).

    *Shape*: `kinds` by the codes of kinds. A policy is equal to itself alone, so that what
    follows from it can be kept.
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


def check_successor(live: RiskPolicy, policy: RiskPolicy, day: int) -> None:
    """Check that a policy can follow the live one on a day since 1970-01-01.

    Masses are kept by epoch and half-life, so that these stay; and the heaviest incident of each
    class, if it ended that day, must fit. Later ones may not: then reports are refused as too
    heavy until the epoch is moved. *Raises*: InvalidPolicy.
    """
    if (policy.epoch_day, policy.half_lives) != (live.epoch_day, live.half_lives):
        raise InvalidPolicy("Another epoch or half-life needs a rebuild of every stored mass.")
    for half_life in HalfLife:
        name, days = half_life.name.lower(), policy.half_lives[half_life]
        try:
            forward_mass(_heaviest(policy, name), day, days, policy.epoch_day)
        except EvidenceTooHeavy as error:
            raise InvalidPolicy(
                f"severity_per_mille.{name}: so long after the epoch its mass doesn't fit."
            ) from error


def _heaviest(policy: RiskPolicy, severity: str) -> int:
    weight = policy.severity[severity] * max(policy.confirmation.values()) // UNIT
    return weight * max(UNIT, policy.amount_factor) // UNIT * policy.series_claims_max


def parse_policy(toml_text: str) -> RiskPolicy:
    """Read a policy file whole: every field, of its type and in its range, and no other.

    *Raises*: InvalidPolicy naming the first field that is wrong.
    """
    try:
        root = _Table("", tomllib.loads(toml_text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidPolicy("The policy isn't TOML.") from error
    policy = _build(root)
    root.finish()
    _check_order("level", policy.level_medium, policy.level_high - 1)
    claims = policy.claim_live_evidence, policy.claim_return, policy.claim_review
    _check_order("claim", *claims, policy.claim_decline)
    _check_order("checkout", policy.checkout_delivery_proof, policy.checkout_withhold)
    if policy.prior_upheld > policy.prior_reports:
        raise InvalidPolicy("reliability.prior_upheld: there are no more than prior_reports.")
    if policy.reference_rates.get(policy.amount_currency) != UNIT:
        raise InvalidPolicy("amount.currency: its own reference rate must be 1000000.")
    for name in policy.severity:
        if _heaviest(policy, name) > WEIGHT_MAX:
            raise InvalidPolicy(f"severity_per_mille.{name}: no incident weighs more than twenty.")
    return policy


def _check_order(table: str, *thresholds: int) -> None:
    if list(thresholds) != sorted(thresholds):
        raise InvalidPolicy(f"{table}: its thresholds must rise with what they ask for.")


class _Table:
    """One table of the file: each field is taken once, and what is left over is refused."""

    def __init__(self, path: str, members: object) -> None:
        if not isinstance(members, dict):
            raise InvalidPolicy(f"{path}: must be a table.")
        self.path = path
        self.left = dict(members)

    def name(self, field: str) -> str:
        """Give a field's name in full."""
        return f"{self.path}.{field}" if self.path else field

    def take(self, field: str) -> object:
        """Take a field as it is."""
        if field not in self.left:
            raise InvalidPolicy(f"{self.name(field)}: is missing.")
        return self.left.pop(field)

    def integer(self, field: str, least: int, most: int) -> int:
        """Take an integer, which a bool isn't here."""
        value = self.take(field)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise InvalidPolicy(f"{self.name(field)}: must be an integer from {least} to {most}.")
        return value

    def date(self, field: str) -> date:
        """Take a date."""
        value = self.take(field)
        if isinstance(value, datetime) or not isinstance(value, date) or value.year not in _EPOCHS:
            raise InvalidPolicy(f"{self.name(field)}: must be a date from 2000 to 2099.")
        return value

    def currency(self, field: str) -> str:
        """Take the code of a currency."""
        value = self.take(field)
        if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
            raise InvalidPolicy(f"{self.name(field)}: isn't an ISO 4217 code.")
        return value

    def table(self, field: str) -> _Table:
        """Take a table within this one."""
        return _Table(self.name(field), self.take(field))

    def integers(
        self, field: str, names: Iterable[str] | None, least: int, most: int
    ) -> dict[str, int]:
        """Take a table that has an integer under each of these names, or under any."""
        table = self.table(field)
        taken = {
            name: table.integer(name, least, most)
            for name in (list(table.left) if names is None else names)
        }
        table.finish()
        return taken

    def finish(self) -> None:
        """Refuse what wasn't taken."""
        for field in self.left:
            raise InvalidPolicy(f"{self.name(field)}: isn't a field of a policy.")


def _build(raw: _Table) -> RiskPolicy:
    classes = [one.name.lower() for one in HalfLife]
    severity = raw.integers("severity_per_mille", classes, 0, _FACTOR_MAX)
    confirmation = raw.integers("confirmation_per_mille", _LEVELS, 0, _FACTOR_MAX)
    half_lives = raw.integers("half_life_days", classes, 1, _HALF_LIFE_DAYS_MAX)
    amount = raw.table("amount")
    factor = amount.integer("factor_per_mille", 0, _FACTOR_MAX)
    threshold = amount.integer("threshold_minor", 0, _AMOUNT_MAX)
    currency = amount.currency("currency")
    amount.finish()
    rates = raw.integers("reference_rates_micro", None, 1, _AMOUNT_MAX)
    series = raw.integers("series", ("claims_max",), 1, _COUNT_MAX)
    level = raw.integers("level", ("medium", "high"), 1, 1000)
    claim = raw.integers("claim", _CLAIM, 0, 1000)
    checkout = raw.integers("checkout", _CHECKOUT, 0, 1000)
    reliability = raw.table("reliability")
    prior_reports = reliability.integer("prior_reports", 1, _COUNT_MAX)
    prior_upheld = reliability.integer("prior_upheld", 0, _COUNT_MAX)
    reliability.finish()
    kinds = raw.table("kind")
    rules = {kind.code: _read_rule(kinds.table(kind.value), kind) for kind in Kind}
    kinds.finish()
    return RiskPolicy(
        version=raw.integer("version", 1, 2**31 - 1),
        epoch_day=day_number(raw.date("epoch")),
        severity={name: value * _PER_MILLE for name, value in severity.items()},
        confirmation={ProofLevel(name): one * _PER_MILLE for name, one in confirmation.items()},
        amount_factor=factor * _PER_MILLE,
        amount_threshold_minor=threshold,
        amount_currency=currency,
        reference_rates=rates,
        series_claims_max=series["claims_max"],
        half_lives={HalfLife[name.upper()]: days for name, days in half_lives.items()},
        prior_upheld=prior_upheld,
        prior_reports=prior_reports,
        multiplicity_k=raw.integer("multiplicity_k", 1, _COUNT_MAX),
        kinds=rules,
        level_medium=level["medium"],
        level_high=level["high"],
        claim_live_evidence=claim["require_live_evidence"],
        claim_return=claim["require_return"],
        claim_review=claim["human_review"],
        claim_decline=claim["decline_refund_only"],
        association_live_evidence=claim["association_require_live_evidence"],
        checkout_delivery_proof=checkout["require_delivery_proof"],
        checkout_withhold=checkout["withhold_instant_refund"],
        review_window_hours=raw.integer("review_window_hours", 1, _COUNT_MAX),
    )


def _read_rule(rule: _Table, kind: Kind) -> KindRule:
    """Read how a kind links: a national id is never a hub, any other kind is from 500 on."""
    strength = rule.integer("strength_per_mille", 0, 1000) * _PER_MILLE
    free = rule.integer("free", 1, _COUNT_MAX)
    cap = None if kind is Kind.NID else rule.integer("hub_cap", 1, HUB_CAP_MAX)
    rule.finish()
    return KindRule(strength, free, cap)
