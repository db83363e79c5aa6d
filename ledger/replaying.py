"""An earlier answer computed again from the log prefix that it names.

Compared are the exact score, which is recorded, and everything that was shown, as it was shown:
direct and linked scores, weights and exact points are computed again and stand nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.errors import UnknownAssessment
from ledger.identity.platform import require_scope
from ledger.reproducing import Replayed, recompute_answer
from ledger.store import assessments
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from ledger.identity.platform import Caller
    from ledger.ledger import Ledger

__all__ = ["Replayed", "replay", "replay_assessment"]


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
        return recompute_answer(ledger, connection, stored)
