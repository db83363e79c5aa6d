"""What another policy would have changed: past questions, answered again under two of them.

All statements are opened once, to know what was linked when each question was asked: the index
forgets what was corrected, marked or recycled since. Nothing is written.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ledger.errors import InputsErased
from ledger.graph.posting import day_number
from ledger.incident.incident import Money
from ledger.reproducing import asked_keys, recompute_answer, reproduce_neighbourhood
from ledger.risk.advice import GRANTED, Purpose, advise
from ledger.risk.score import score_on_day
from ledger.store import ledgers, outcomes, platforms
from ledger.store.engine import begin_read
from ledger.tracing import trace_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from ledger.ledger import Ledger
    from ledger.risk.policy import RiskPolicy
    from ledger.store.assessments import StoredAssessment
    from ledger.store.engine import Connection
    from ledger.store.outcomes import PastAssessment

_REVIEWED = frozenset({"human_review", "decline_refund_only"})
_JUDGED = frozenset({"exact_score", "score", "level", "advice"})


@dataclass(slots=True)
class BlastRadius:
    """What another policy would have changed about past answers.

    *Shape*: answers are counted, and where they differ the pairs of what the two policies say.
    Claims, reviews and amounts are of orders, each by the last answer about it. *Units*: amounts
    in minor units of the old policy's currency at its reference rates; the loss avoided is what
    platforms told after a grant that the old policy advises and the new one doesn't.
    """

    assessments: int = 0
    claims: int = 0
    erased: int = 0
    differing: int = 0
    levels: Counter[tuple[str, str]] = field(default_factory=Counter)
    actions: Counter[tuple[str, str]] = field(default_factory=Counter)
    changed: int = 0
    changed_reversed: int = 0
    reviews_old: int = 0
    reviews_new: int = 0
    held_back_minor: int = 0
    let_through_minor: int = 0
    loss_avoided_minor: int = 0
    currency: str = ""

    def reviews_per_10_000(self, reviews: int) -> int:
        """Give a number of reviews per 10,000 claims, rounded."""
        return (reviews * 10_000 + self.claims // 2) // self.claims if self.claims else 0


class _Said(NamedTuple):
    """What a policy says of a past question."""

    level: str
    action: str


def backtest_policies(
    ledger: Ledger,
    old: RiskPolicy,
    new: RiskPolicy,
    since: datetime,
    on_progress: Callable[[int, int], None],
) -> BlastRadius:
    """Score every past question since an instant under two policies, each as if always in force.

    *Shape*: `on_progress` is told how many of how many steps are done, of which each entry of the
    log is one and each question one. Questions are counted and left out whose inputs are erased, or
    whose record isn't what the policy that it names gives.
    """
    told = BlastRadius(currency=old.amount_currency)
    with begin_read(ledger.database, snapshot=True) as connection:
        past = outcomes.select_since(connection, since)
        wanted = {key for one in past for key in asked_keys(one.stored)}
        size = max((one.stored.log_size for one in past), default=0)
        steps = size + len(past)
        trace = trace_keys(ledger, connection, wanted, size, lambda at: on_progress(at, steps))
        versions = range(1, ledgers.read_newest(connection) + 1)
        always = [dict.fromkeys(versions, policy) for policy in (old, new)]
        orders = _group_by_order(past)
        for done, one in enumerate(past, size + 1):
            stored = one.stored
            records = trace.find_bearing(asked_keys(stored))
            try:
                replayed = recompute_answer(ledger, connection, stored, records)
            except InputsErased:
                told.erased += 1
            else:
                if _JUDGED.isdisjoint(replayed.differing):
                    said = [_say(ledger, connection, stored, each, records) for each in always]
                    _count(told, one, orders[_order_of(stored)], said, old)
                else:
                    told.differing += 1
            on_progress(done, steps)
    return told


def _order_of(stored: StoredAssessment) -> tuple[int, str, str]:
    return stored.platform, stored.order_commitment, stored.purpose


def _group_by_order(
    past: Sequence[PastAssessment],
) -> Mapping[tuple[int, str, str], Sequence[PastAssessment]]:
    """Give the answers about each order for each purpose, the last one last."""
    orders: dict[tuple[int, str, str], list[PastAssessment]] = {}
    for one in past:
        orders.setdefault(_order_of(one.stored), []).append(one)
    return orders


def _say(
    ledger: Ledger,
    connection: Connection,
    stored: StoredAssessment,
    policies: Mapping[int, RiskPolicy],
    records: Collection[str],
) -> _Said:
    """Give the level and the action of a past question under a policy, whatever its version."""
    policy = policies[stored.policy_version]
    platform = platforms.read_member(connection, stored.platform)
    neighbourhood = reproduce_neighbourhood(ledger, connection, platform, stored, policies, records)
    score = score_on_day(neighbourhood, policy, day_number(stored.assessed_at.date()))
    advice = advise(score, Purpose(stored.purpose), policy)
    return _Said(score.level, advice.action if advice else "")


def _count(
    told: BlastRadius,
    past: PastAssessment,
    of_order: Sequence[PastAssessment],
    said: Sequence[_Said],
    policy: RiskPolicy,
) -> None:
    """Count one answer, and its order where it is the last one about it."""
    old, new = said
    told.assessments += 1
    if old.level != new.level:
        told.levels[old.level, new.level] += 1
    if old.action != new.action:
        told.actions[old.action, new.action] += 1
    if old != new:
        told.changed += 1
        told.changed_reversed += past.reversed_on_appeal
    if of_order[-1] is past:
        _count_order(told, past.stored, of_order, said, policy)


def _count_order(
    told: BlastRadius,
    stored: StoredAssessment,
    of_order: Sequence[PastAssessment],
    said: Sequence[_Said],
    policy: RiskPolicy,
) -> None:
    old, new = said
    is_claim = stored.purpose == Purpose.REFUND_ONLY_CLAIM.value
    told.claims += is_claim
    told.reviews_old += is_claim and old.action in _REVIEWED
    told.reviews_new += is_claim and new.action in _REVIEWED
    amount = _convert(Money(stored.amount_minor or 0, stored.amount_currency or ""), policy)
    if old.action in GRANTED and new.action not in GRANTED:
        losses = [_convert(loss, policy) for one in of_order for loss in one.granted_losses]
        told.held_back_minor += amount
        told.loss_avoided_minor += max(losses, default=0)
    if new.action in GRANTED and old.action not in GRANTED:
        told.let_through_minor += amount


def _convert(amount: Money, policy: RiskPolicy) -> int:
    return amount.minor * policy.reference_rates.get(amount.currency, 0) // 1_000_000
