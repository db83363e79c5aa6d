"""What another policy would have changed: past questions, answered again under two of them.

All statements are opened once, to know what was linked when each question was asked: the index
forgets what was corrected, marked or recycled since. Nothing is written.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ledger.errors import InputsErased, UnreadableRecord
from ledger.graph.posting import day_number
from ledger.incident.incident import Money
from ledger.reproducing import asked_keys, derive_neighbourhood, read_inputs, recompute_answer
from ledger.risk.advice import GRANTED, Purpose, advise
from ledger.risk.score import score_on_day
from ledger.store import ledgers, outcomes
from ledger.store.engine import begin_read
from ledger.tracing import trace_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from ledger.ledger import Ledger
    from ledger.reproducing import Inputs
    from ledger.risk.policy import RiskPolicy
    from ledger.store.assessments import StoredAssessment
    from ledger.store.engine import Connection
    from ledger.store.outcomes import PastAssessment

_REVIEWED = frozenset({"human_review", "decline_refund_only"})
_JUDGED = frozenset({"exact_score", "score", "level", "advice", "policy_version", "log"})


@dataclass(slots=True)
class BlastRadius:
    """What another policy would have changed about past answers.

    *Shape*: answers are counted, and where they differ the pairs of what the two policies say.
    Claims, reviews and amounts are of orders, each by the last answer about it. `differing` are the
    ids of the records with another score, level or advice than they were given by, or that can't be
    read. *Units*: amounts in minor units of the old policy's currency at its reference rates; a
    loss is avoided where it was told of an answer that the old policy advises to grant and the new
    one doesn't, of each order the largest.
    """

    assessments: int = 0
    claims: int = 0
    erased: int = 0
    differing: list[str] = field(default_factory=list)
    levels: Counter[tuple[str, str]] = field(default_factory=Counter)
    actions: Counter[tuple[str, str]] = field(default_factory=Counter)
    changed: int = 0
    changed_reversed: int = 0
    reviews_old: int = 0
    reviews_new: int = 0
    held_back_minor: int = 0
    let_through_minor: int = 0
    losses_minor: dict[tuple[int, str, str], int] = field(default_factory=dict)
    currency: str = ""

    @property
    def loss_avoided_minor(self) -> int:
        """The losses that the new policy would have held back."""
        return sum(self.losses_minor.values())

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
        keys_of = {one.stored.id: _find_keys(one.stored) for one in past}
        wanted = {key for keys in keys_of.values() for key in keys}
        size = max((one.stored.log_size for one in past), default=0)
        steps = size + len(past)
        trace = trace_keys(ledger, connection, wanted, size, lambda at: on_progress(at, steps))
        versions = range(1, ledgers.read_newest(connection) + 1)
        always = [dict.fromkeys(versions, policy) for policy in (old, new)]
        last = {_order_of(one.stored): one for one in past}
        for done, one in enumerate(past, size + 1):
            stored = one.stored
            records = trace.find_bearing(keys_of[stored.id])
            try:
                inputs = read_inputs(connection, stored, records)
                is_sound = _is_sound(ledger, connection, stored, inputs)
            except InputsErased:
                told.erased += 1
            else:
                if is_sound:
                    said = [_say(ledger, connection, stored, inputs, each) for each in always]
                    _count(told, one, last[_order_of(stored)], said, old)
                else:
                    told.differing.append(stored.id)
            on_progress(done, steps)
    return told


def _find_keys(stored: StoredAssessment) -> tuple[bytes, ...]:
    """Give the lookup keys of a recorded question, none where it can't be read."""
    try:
        return asked_keys(stored)
    except UnreadableRecord:
        return ()


def _order_of(stored: StoredAssessment) -> tuple[int, str, str]:
    return stored.platform, stored.order_commitment, stored.purpose


def _is_sound(
    ledger: Ledger, connection: Connection, stored: StoredAssessment, inputs: Inputs
) -> bool:
    """Tell whether an answer's record is what it was given by. *Raises*: InputsErased."""
    try:
        replayed = recompute_answer(ledger, connection, stored, inputs)
    except UnreadableRecord:
        return False
    return _JUDGED.isdisjoint(replayed.differing)


def _say(
    ledger: Ledger,
    connection: Connection,
    stored: StoredAssessment,
    inputs: Inputs,
    policies: Mapping[int, RiskPolicy],
) -> _Said:
    """Give the level and the action of a past question under a policy, whatever its version."""
    policy = policies[stored.policy_version]
    neighbourhood = derive_neighbourhood(ledger, connection, stored, inputs, policies)
    score = score_on_day(neighbourhood, policy, day_number(stored.assessed_at.date()))
    advice = advise(score, Purpose(stored.purpose), policy)
    return _Said(score.level, advice.action if advice else "")


def _count(
    told: BlastRadius,
    past: PastAssessment,
    last: PastAssessment,
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
    if old.action in GRANTED and new.action not in GRANTED:
        order = _order_of(past.stored)
        losses = [_convert(loss, policy) for loss in past.granted_losses]
        told.losses_minor[order] = max([told.losses_minor.get(order, 0), *losses])
    if last is past:
        _count_order(told, past.stored, said, policy)


def _count_order(
    told: BlastRadius,
    stored: StoredAssessment,
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
        told.held_back_minor += amount
    if new.action in GRANTED and old.action not in GRANTED:
        told.let_through_minor += amount


def _convert(amount: Money, policy: RiskPolicy) -> int:
    return amount.minor * policy.reference_rates.get(amount.currency, 0) // 1_000_000
