"""What the ledger suggests; the platform decides.

- Advice follows the direct score. Association alone never yields more than "verify".
- No advice touches the statutory return.
- Without a shared national id, the same person's evidence stops at human review.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledger.risk.policy import RiskPolicy
    from ledger.risk.score import RiskScore

_KINDS_MIN = 2
GRANTED = frozenset({"grant", "proceed"})
_WEAKER_THAN_IDENTITY_PROOF = frozenset({"grant", "require_live_evidence", "proceed"})


class Purpose(StrEnum):
    """Why a platform may ask about one buyer: a closed list."""

    REFUND_ONLY_CLAIM = "refund_only_claim"
    CHECKOUT = "checkout"
    RETURN_CLAIM = "return_claim"
    DISPUTE_HANDLING = "dispute_handling"
    SUBJECT_ACCESS = "subject_access"


@dataclass(frozen=True, slots=True)
class Advice:
    """A suggested action, the time to review it, and the rule that led to it."""

    action: str
    review_window_hours: int
    rule: str


def advise(score: RiskScore, purpose: Purpose, policy: RiskPolicy) -> Advice | None:
    """Advise on a claim or a checkout; other purposes get no advice."""
    if purpose is Purpose.REFUND_ONLY_CLAIM:
        action, rule = _advise_claim(score, policy)
    elif purpose is Purpose.CHECKOUT:
        action, rule = _advise_checkout(score, policy)
    else:
        return None
    if score.protected and action in _WEAKER_THAN_IDENTITY_PROOF:
        action, rule = "require_identity_proof", "protective_marker"
    hours = 0 if action in GRANTED else policy.review_window_hours
    return Advice(action, hours, rule)


def _advise_claim(score: RiskScore, policy: RiskPolicy) -> tuple[str, str]:
    direct = score.direct_score
    if direct >= policy.claim_decline and score.level == "HIGH":
        if score.certain_score >= policy.claim_decline and score.certain_high:
            return "decline_refund_only", "confirmed_at_two_groups_or_by_a_court"
        return "human_review", "same_person_without_nid"
    if direct >= policy.claim_review:
        return "human_review", "direct_score"
    if direct >= policy.claim_return:
        return "require_return", "direct_score"
    if direct >= policy.claim_live_evidence:
        return "require_live_evidence", "direct_score"
    if score.was_active_disputed:
        return "require_live_evidence", "disputed_incident"
    if (
        score.association_kinds >= _KINDS_MIN
        and score.linked_score >= policy.association_live_evidence
    ):
        return "require_live_evidence", "association_by_two_kinds"
    return "grant", "below_every_threshold"


def _advise_checkout(score: RiskScore, policy: RiskPolicy) -> tuple[str, str]:
    if score.direct_score >= policy.checkout_withhold:
        return "withhold_instant_refund", "direct_score"
    if score.direct_score >= policy.checkout_delivery_proof:
        return "require_delivery_proof", "direct_score"
    return "proceed", "below_every_threshold"
