"""Policies: published in the log, tried in the shadow, compared on what was asked.

What is true when: after the commit of a publication the policy is the next entry's to put in
force; every answer says which one it was scored by. If we die right before it, nothing was kept and
the version is still the next. A statement that was accepted under one policy and gets its place
under another follows the latter, and always gets its place. A policy that is tried in the shadow is
scored beside the live one and shown to nobody who asks.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledger.errors import InputsErased, InvalidInput, UnknownPolicy
from ledger.graph.posting import day_number
from ledger.incident.incident import Money
from ledger.ledger import learn_policies
from ledger.log.leaf import Op
from ledger.reproducing import check_inputs, reproduce_neighbourhood
from ledger.risk.advice import GRANTED, Purpose, advise
from ledger.risk.policy import check_successor, parse_policy
from ledger.risk.score import score_on_day
from ledger.sequencing import draft_own_statement, publish_checkpoint, sequence_pending
from ledger.store import entries, ledgers, outcomes, platforms
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from ledger.identity.platform import Platform
    from ledger.ledger import Ledger
    from ledger.risk.policy import RiskPolicy
    from ledger.store.assessments import StoredAssessment
    from ledger.store.engine import Connection
    from ledger.store.outcomes import PastAssessment

_REVIEWED = frozenset({"human_review", "decline_refund_only"})


def publish_policy(ledger: Ledger, policy_text: str, at: datetime) -> int:
    """Publish a policy as a log entry and give its version.

    *Raises*: InvalidInput where it isn't the next version, or can't follow without a rebuild.
    """
    policy = parse_policy(policy_text)
    with begin_write(ledger.database) as connection:
        live = entries.read_state(connection, lock=True).policy_version
        newest = ledgers.read_newest(connection)
        if policy.version != newest + 1:
            raise InvalidInput(f"The next policy has version {newest + 1}.")
        check_successor(learn_policies(ledger, connection, live), policy, day_number(at.date()))
        ledgers.insert_policy(connection, policy.version, policy_text, at)
        members = {"version": policy.version, "policy": policy_text}
        draft = draft_own_statement(
            ledger, "policy-published", members, op=Op.POLICY_PUBLISHED, incident="", at=at
        )
        entries.insert_event(connection, draft)
        if ledger.database.embedded:
            sequence_pending(ledger, connection)
    if ledger.database.embedded:
        publish_checkpoint(ledger, at)
    return policy.version


def try_policy(ledger: Ledger, policy_text: str | None, at: datetime) -> int:
    """Score a policy beside the live one from now on, or none any more; give its number.

    *Shape*: a tried policy is numbered by the ledger, whatever version it has, since it may be
    changed and tried again. *Raises*: InvalidInput where it can't be scored by the masses kept.
    """
    with begin_write(ledger.database) as connection:
        if policy_text is None:
            ledgers.end_shadow(connection)
            return 0
        live = entries.read_state(connection).policy_version
        policy, day = parse_policy(policy_text), day_number(at.date())
        check_successor(learn_policies(ledger, connection, live), policy, day)
        number = ledgers.read_newest_shadow(connection) + 1
        ledgers.begin_shadow(connection, number, policy_text, at)
    return number


@dataclass(frozen=True, slots=True)
class PublishedPolicy:
    """A policy as data, when it was published, and whether it is in force."""

    version: int
    published_at: datetime
    in_force: bool
    members: dict[str, object]


def list_policies(ledger: Ledger, version: int | None = None) -> list[PublishedPolicy]:
    """List every policy that was published, or the one of a version."""
    with begin_read(ledger.database) as connection:
        live = entries.read_state(connection).policy_version
        published = ledgers.select_publications(connection, version)
    return [
        PublishedPolicy(number, at, number == live, tomllib.loads(body))
        for number, body, at in published
    ]


def describe_policy(ledger: Ledger, version: int) -> PublishedPolicy:
    """Describe one policy. *Raises*: UnknownPolicy."""
    found = list_policies(ledger, version)
    if not found:
        raise UnknownPolicy("No policy of this version was published.")
    return found[0]


@dataclass(slots=True)
class BlastRadius:
    """What another policy would have changed about past answers.

    *Shape*: `levels` and `actions` count pairs of what the two policies say, where they differ.
    *Units*: amounts in minor units of the old policy's currency at its reference rates; loss is
    what platforms told after granting what the new policy doesn't grant.
    """

    assessments: int = 0
    claims: int = 0
    erased: int = 0
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


def backtest_policies(
    ledger: Ledger,
    old: RiskPolicy,
    new: RiskPolicy,
    since: datetime,
    on_progress: Callable[[int, int], None],
) -> BlastRadius:
    """Score every past question since an instant under two policies, each as if always in force.

    *Shape*: `on_progress` is told how many of how many were scored. Questions whose inputs are
    erased are counted and left out.
    """
    told = BlastRadius(currency=old.amount_currency)
    with begin_read(ledger.database, snapshot=True) as connection:
        past = outcomes.select_since(connection, since)
        versions = range(1, ledgers.read_newest(connection) + 1)
        always = [dict.fromkeys(versions, policy) for policy in (old, new)]
        for done, one in enumerate(past, 1):
            platform = platforms.read_member(connection, one.stored.platform)
            try:
                check_inputs(ledger, connection, one.stored)
                said = [
                    _say(ledger, connection, platform, one.stored, policies) for policies in always
                ]
            except InputsErased:
                told.erased += 1
            else:
                _count(told, one, said, old)
            on_progress(done, len(past))
    return told


def _say(
    ledger: Ledger,
    connection: Connection,
    platform: Platform,
    stored: StoredAssessment,
    policies: Mapping[int, RiskPolicy],
) -> tuple[str, str]:
    """Give the level and the action of a past question under a policy, whatever its version."""
    policy = policies[stored.policy_version]
    neighbourhood = reproduce_neighbourhood(ledger, connection, platform, stored, policies)
    score = score_on_day(neighbourhood, policy, day_number(stored.assessed_at.date()))
    advice = advise(score, Purpose(stored.purpose), policy)
    return score.level, advice.action if advice else ""


def _count(
    told: BlastRadius, past: PastAssessment, said: list[tuple[str, str]], policy: RiskPolicy
) -> None:
    (old_level, old_action), (new_level, new_action) = said
    told.assessments += 1
    is_claim = past.stored.purpose == Purpose.REFUND_ONLY_CLAIM.value
    told.claims += is_claim
    told.reviews_old += is_claim and old_action in _REVIEWED
    told.reviews_new += is_claim and new_action in _REVIEWED
    if old_level != new_level:
        told.levels[old_level, new_level] += 1
    if old_action != new_action:
        told.actions[old_action, new_action] += 1
    if said[0] == said[1]:
        return
    told.changed += 1
    told.changed_reversed += past.reversed_on_appeal
    stored = past.stored
    amount = _convert(Money(stored.amount_minor or 0, stored.amount_currency or ""), policy)
    if old_action in GRANTED and new_action not in GRANTED:
        told.held_back_minor += amount
        told.loss_avoided_minor += max(
            (_convert(loss, policy) for loss in past.granted_losses), default=0
        )
    if new_action in GRANTED and old_action not in GRANTED:
        told.let_through_minor += amount


def _convert(amount: Money, policy: RiskPolicy) -> int:
    return amount.minor * policy.reference_rates.get(amount.currency, 0) // 1_000_000


def shadow_disagreements(ledger: Ledger, number: int) -> Counter[tuple[str, str, str, str]]:
    """Count answers given beside a tried policy: live level and action, tried level and action.

    *Shape*: the tried level is "failed" where it couldn't be scored. *Raises*: UnknownPolicy.
    """
    counted: Counter[tuple[str, str, str, str]] = Counter()
    with begin_read(ledger.database) as connection:
        if not ledgers.select_unknown_shadow(connection, number, ()):
            raise UnknownPolicy("No policy was tried under this number.")
        for answer, shadow in outcomes.select_shadowed(connection):
            live, tried = json.loads(answer), json.loads(shadow)
            if tried["version"] == number:
                action = (live["advice"] or {"action": ""})["action"]
                counted[live["level"], action, tried["level"], tried["action"] or ""] += 1
    return counted
