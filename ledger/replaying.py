"""An earlier answer computed again from the log prefix that it names.

Compared are the exact score, which is recorded, and everything that was shown, as it was shown:
direct and linked scores, weights and exact points are computed again and stand nowhere else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ledger.errors import InputsErased, UnknownAssessment
from ledger.graph.posting import day_number
from ledger.identity.platform import require_scope
from ledger.ledger import learn_policies
from ledger.reproducing import reproduce_neighbourhood
from ledger.risk.advice import Purpose
from ledger.risk.answer import answer_question
from ledger.store import assessments, entries, ledgers, platforms
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.identity.platform import Caller
    from ledger.ledger import Ledger
    from ledger.risk.score import RiskScore


@dataclass(frozen=True, slots=True)
class Replayed:
    """An answer computed again: what the recorded one says, and where the two differ.

    *Shape*: `differing` are the members of the answer that aren't as recorded; `score` is exact,
    for an auditor's eyes alone.
    """

    assessment_id: str
    assessed_at: datetime
    log_size: int
    policy_version: int
    answer: dict[str, Any]
    score: RiskScore
    differing: tuple[str, ...]


def replay_assessment(ledger: Ledger, caller: Caller, assessment_id: str) -> Replayed:
    """Compute one of the caller's own answers again. *Raises*: UnknownAssessment, InputsErased."""
    require_scope(caller, "risk:read")
    replayed = replay(ledger, assessment_id, caller.platform.id)
    if replayed is None:
        raise UnknownAssessment("No assessment of yours has this id.")
    return replayed


def replay(ledger: Ledger, assessment_id: str, platform_id: int | None = None) -> Replayed | None:
    """Compute an answer again, whosever it is where no platform is given.

    *Raises*: InputsErased where it differs, and anything was changed or taken back since: then the
    difference says nothing.
    """
    with begin_read(ledger.database, snapshot=True) as connection:
        stored = assessments.find_assessment(connection, platform_id, assessment_id)
        if stored is None or not stored.account:
            return None
        version = stored.policy_version
        learn_policies(ledger, ledgers.select_policies(connection))
        platform = platforms.read_member(connection, stored.platform)
        neighbourhood = reproduce_neighbourhood(
            ledger, connection, platform, stored, ledger.policies
        )
        changed = entries.count_overriding_since(connection, stored.log_size)
    day = day_number(stored.assessed_at.date())
    years = ledger.jurisdiction.retention_years
    purpose = Purpose(stored.purpose)
    score, shown = answer_question(neighbourhood, ledger.policies[version], purpose, day, years)
    recorded = json.loads(stored.answer)
    again = json.loads(json.dumps(shown))
    differing = [name for name, value in again.items() if recorded.get(name) != value]
    if score.score != stored.score:
        differing.append("exact_score")
    if differing and changed:
        raise InputsErased("Some of what this answer may rest on was changed or taken back since.")
    return Replayed(
        stored.id, stored.assessed_at, stored.log_size, version, recorded, score, tuple(differing)
    )
