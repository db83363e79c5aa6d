"""What an asker sees of a score: steps of ten, bands and months, never an exact count.

Exact integers are for the buyer, the auditor and the replay. Scores are floored, so that no
band is crossed by rounding; reasons still add up.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ledger.graph.neighbourhood import Neighbourhood
from ledger.graph.posting import month_text
from ledger.risk.advice import advise
from ledger.risk.fading import fade
from ledger.risk.outlook import NOTHING, foresee
from ledger.risk.reason import TEXTS, explain_score
from ledger.risk.score import score_fading, score_on_day, share_points

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ledger.graph.neighbourhood import IgnoredLink
    from ledger.risk.advice import Advice, Purpose
    from ledger.risk.outlook import Outlook
    from ledger.risk.policy import RiskPolicy
    from ledger.risk.score import RiskScore

_STEP = 10
_TWO = 2


def band(count: int) -> str:
    """Give a count as 0, 1, 2, 3-9 or 10+."""
    if count <= _TWO:
        return str(count)
    return "3-9" if count < _STEP else "10+"


@lru_cache(maxsize=16)
def render_second(instant: datetime) -> str:
    """Render an instant of UTC as RFC 3339, to the second."""
    return instant.isoformat(timespec="seconds").replace("+00:00", "Z")


def _month(day: int | None) -> str | None:
    return None if day is None else month_text(day)


def answer_question(
    neighbourhood: Neighbourhood,
    policy: RiskPolicy,
    purpose: Purpose,
    day: int,
    retention_years: int,
) -> tuple[RiskScore, Mapping[str, Any]]:
    """Score a neighbourhood, and render all that depends on nothing else.

    *Units*: `day` since 1970-01-01.
    """
    own, same, associated, ignored, markers = neighbourhood
    if not (own or same or associated or markers):
        return _answer_without_record(ignored, policy, purpose)
    fading = fade(neighbourhood, policy)
    score = score_fading(neighbourhood, fading, policy, day)
    outlook = foresee(fading, score, policy, day, retention_years)
    return score, render_answer(score, advise(score, purpose, policy), outlook, policy)


@lru_cache(maxsize=256, typed=True)
def _answer_without_record(
    ignored: tuple[IgnoredLink, ...], policy: RiskPolicy, purpose: Purpose
) -> tuple[RiskScore, Mapping[str, Any]]:
    """Answer where nobody bears anything, which is so for most buyers and on every day alike."""
    score = score_on_day(Neighbourhood(None, (), (), ignored), policy, 0)
    return score, render_answer(score, advise(score, purpose, policy), NOTHING, policy)


def render_answer(
    score: RiskScore, advice: Advice | None, outlook: Outlook, policy: RiskPolicy
) -> dict[str, Any]:
    """Render what the asker may see, ready for JSON (docs/scoring.md)."""
    reasons = explain_score(score)
    shown = share_points(
        score.score // _STEP,
        [(reason.points, (0, place)) for place, reason in enumerate(reasons)],
    )
    return {
        "score": score.score // _STEP * _STEP,
        "level": score.level,
        "basis": score.basis,
        "confidence": _confidence(score),
        "advice": advice
        and {
            "action": advice.action,
            "review_window_hours": advice.review_window_hours,
            "not_for_sole_use": True,
            "rule": advice.rule,
        },
        "reasons": [
            {
                "code": reason.code,
                "message": TEXTS[reason.code],
                "points": points * _STEP,
                "ends": outlook.links_end if reason.kind else outlook.direct_ends,
                "link": reason.kind
                and {
                    "kind": reason.kind.value,
                    "strength": reason.strength,
                    "accounts": band(reason.accounts),
                },
            }
            for reason, points in zip(reasons, shown, strict=True)
        ],
        "evidence": {
            "incidents": band(score.incidents),
            "platforms": str(score.platforms) if score.platforms < _TWO else "2+",
            "disputed": band(score.disputed),
            "first_seen": _month(score.first_day),
            "last_seen": _month(score.last_day),
            "seen_before": None,
        },
        "clears": _render_outlook(score, outlook),
        "ignored_links": [{"kind": one.kind.value, "reason": one.reason} for one in score.ignored],
        "policy_version": policy.version,
    }


def _render_outlook(score: RiskScore, outlook: Outlook) -> dict[str, str | None] | None:
    if score.level == "LOW":
        return None
    overturned = outlook.if_overturned
    return {
        "below_high": outlook.below_high,
        "below_medium": outlook.below_medium,
        "if_overturned": "10+" if overturned is None else band(overturned),
    }


def _confidence(score: RiskScore) -> str:
    """Say how many platform groups confirmed what counts directly, or else what is associated."""
    groups = len(score.groups) or score.platforms
    if groups == 0:
        return "none"
    return "one_platform" if groups < _TWO else "two_or_more_platforms"
