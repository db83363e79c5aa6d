"""The states of an incident and which entry leads from which to which.

- A report is held; its activation makes it count.
- While it is held, active or disputed its reporter may retract or correct it, and its buyer may
  have made it good; the latter two change no state.
- What was retracted, expunged, expired or erased stays so.
"""

from __future__ import annotations

from enum import StrEnum

from ledger.log.leaf import Op


class State(StrEnum):
    """How an incident stands. Only an active one weighs."""

    HELD = "held"
    ACTIVE = "active"
    DISPUTED = "disputed"
    RETRACTED = "retracted"
    EXPIRED = "expired"
    EXPUNGED = "expunged"
    ERASED = "erased"


OPEN = (State.HELD, State.ACTIVE, State.DISPUTED)

_NEXT: dict[tuple[State | None, Op], State] = {
    (None, Op.INCIDENT_CONFIRMED): State.HELD,
    (State.HELD, Op.ACTIVATED): State.ACTIVE,
    (State.HELD, Op.DISPUTED): State.DISPUTED,
    (State.ACTIVE, Op.DISPUTED): State.DISPUTED,
    (State.DISPUTED, Op.DISPUTE_REJECTED): State.ACTIVE,
    (State.DISPUTED, Op.NOTED): State.ACTIVE,
    (State.DISPUTED, Op.EXPUNGED): State.EXPUNGED,
    **{(state, Op.RETRACTED): State.RETRACTED for state in OPEN},
    **{(state, op): state for state in OPEN for op in (Op.CORRECTED, Op.RESTITUTED)},
    **{(state, Op.EXPIRED): State.EXPIRED for state in OPEN},
    **{(state, Op.ERASED): State.ERASED for state in State if state is not State.ERASED},
}


def next_state(state: State | None, op: Op) -> State | None:
    """Give the state that an entry leads to, or None where it has no effect."""
    return _NEXT.get((state, op))
