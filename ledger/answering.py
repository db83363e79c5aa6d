"""Answers that were given: read again, shown to a merchant in part, and what came of them.

What is true when: an outcome that was acknowledged is kept; it is feedback and never evidence.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.errors import IdempotencyKeyReused, UnknownAssessment
from ledger.identity.platform import require_scope
from ledger.ledger import mint_id
from ledger.reproducing import check_inputs, check_matches
from ledger.store import assessments, outcomes
from ledger.store.assessments import GivenAnswer
from ledger.store.engine import begin_read, begin_write
from ledger.store.outcomes import StoredOutcome

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.identity.platform import Caller
    from ledger.incident.incident import Money
    from ledger.ledger import Ledger
    from ledger.store.assessments import StoredAssessment


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the platform did after an answer: feedback, never evidence."""

    action: str
    decided_by: str
    merchant_heard: bool
    listing_compared: bool
    reversed_on_appeal: bool
    loss: Money | None
    idempotency_key: str | None
    digest: bytes


def find_assessment(ledger: Ledger, caller: Caller, assessment_id: str) -> GivenAnswer:
    """Give one of the caller's own answers again, exactly.

    *Raises*: UnknownAssessment, InputsErased where it rested on what was erased since, or told of
    a match that was taken back.
    """
    one = _recall(ledger, caller, assessment_id, tells_matches=True)
    return GivenAnswer(one.id, one.answer)


def _recall(
    ledger: Ledger, caller: Caller, assessment_id: str, *, tells_matches: bool
) -> StoredAssessment:
    require_scope(caller, "risk:read")
    with begin_read(ledger.database, snapshot=True) as connection:
        found = assessments.find_assessment(connection, caller.platform.id, assessment_id)
        one = _about_one(found)
        check_inputs(ledger, connection, one)
        if tells_matches:
            check_matches(connection, one)
    return one


def _about_one(found: StoredAssessment | None) -> StoredAssessment:
    """Check that an answer is there and about one buyer; a portfolio's count is no such answer."""
    if found is None or not found.account:
        raise UnknownAssessment("No assessment of yours has this id.")
    return found


def show_merchant(ledger: Ledger, caller: Caller, assessment_id: str) -> dict[str, object]:
    """Give what the merchant of an order may see of an answer: its band, and the time to review.

    Neither reasons nor identifiers nor a score nor a match, so that nobody learns why. *Raises*:
    UnknownAssessment, InputsErased where it rested on what was erased since.
    """
    one = _recall(ledger, caller, assessment_id, tells_matches=False)
    answer = json.loads(one.answer)
    advice = answer["advice"] or {"review_window_hours": 0}
    return {
        "assessment": one.id,
        "level": answer["level"],
        "review_window_hours": advice["review_window_hours"],
        "valid_until": answer["valid_until"],
    }


def record_outcome(
    ledger: Ledger, caller: Caller, assessment_id: str, outcome: Outcome, at: datetime
) -> str:
    """Record what the caller did after an answer and give the record's id.

    *Raises*: UnknownAssessment, IdempotencyKeyReused.
    """
    require_scope(caller, "risk:read")
    new = StoredOutcome(
        id=mint_id("out_", at),
        assessment=assessment_id,
        platform=caller.platform.id,
        recorded_at=at,
        action=outcome.action,
        decided_by=outcome.decided_by,
        merchant_heard=outcome.merchant_heard,
        listing_compared=outcome.listing_compared,
        reversed_on_appeal=outcome.reversed_on_appeal,
        loss_minor=outcome.loss.minor if outcome.loss else None,
        loss_currency=outcome.loss.currency if outcome.loss else None,
        idempotency_key=outcome.idempotency_key,
        request_hash=outcome.digest,
    )
    with begin_write(ledger.database) as connection:
        _about_one(assessments.find_assessment(connection, new.platform, assessment_id))
        if outcome.idempotency_key is not None:
            earlier = outcomes.find_repeated_outcome(
                connection, new.platform, outcome.idempotency_key
            )
            if earlier is not None:
                if (earlier.assessment, earlier.request_hash) != (assessment_id, outcome.digest):
                    raise IdempotencyKeyReused("The Idempotency-Key was used before.")
                return earlier.id
        outcomes.insert_outcome(connection, new)
    return new.id
