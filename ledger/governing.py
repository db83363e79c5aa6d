"""Policies: published in the log, tried in the shadow.

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
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.errors import InvalidInput, UnknownPolicy
from ledger.graph.posting import day_number
from ledger.ledger import learn_policies
from ledger.log.leaf import Op
from ledger.risk.policy import check_successor, parse_policy
from ledger.sequencing import draft_own_statement, publish_checkpoint, sequence_pending
from ledger.store import entries, ledgers, outcomes
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.ledger import Ledger


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
