"""An earlier answer computed again from the log prefix that it names.

Compared are the exact score, which is recorded, and everything that was shown, as it was shown:
direct and linked scores, weights and exact points are computed again and stand nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.errors import UnknownAssessment
from ledger.identity.platform import require_scope
from ledger.reproducing import Replayed, asked_keys, read_inputs, recompute_answer
from ledger.store import assessments, entries
from ledger.store.engine import begin_read
from ledger.tracing import trace_keys

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


def replay(
    ledger: Ledger,
    assessment_id: str,
    platform_id: int | None = None,
    *,
    thoroughly: bool = False,
) -> Replayed | None:
    """Compute an answer again, whosever it is where no platform is given.

    *Shape*: thoroughly, all statements are opened where anything was changed since, so that the
    index can't tell what was linked then. *Raises*: InputsErased where it differs, and anything was
    erased since, or changed unless thoroughly: then the difference says nothing; UnreadableRecord.
    """
    with begin_read(ledger.database, snapshot=True) as connection:
        stored = assessments.find_assessment(connection, platform_id, assessment_id)
        if stored is None or not stored.account:
            return None
        if not (thoroughly and entries.count_overriding_since(connection, stored.log_size)):
            return recompute_answer(ledger, connection, stored)
        keys = asked_keys(stored)
        trace = trace_keys(ledger, connection, keys, stored.log_size)
        inputs = read_inputs(connection, stored, trace.find_bearing(keys))
        return recompute_answer(ledger, connection, stored, inputs)
