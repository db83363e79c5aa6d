"""The states of an incident and which entry leads from which to which.

- A report is held; its activation makes it count.
- While it is held, active or disputed its reporter may retract or correct it, and its buyer may
  have made it good; the latter two change no state.
- What was retracted, expunged, expired or erased stays so: its content is destroyed by that very
  entry. Whoever submitted it may say that its own copy is gone too, which changes no state.

Statements about no incident have no state: each stands until it expires, or is withdrawn.
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


_OPEN = (State.HELD, State.ACTIVE, State.DISPUTED)
CLOSED = frozenset({State.RETRACTED, State.EXPIRED, State.EXPUNGED, State.ERASED})
# What begins a record of its own, which later statements name.
BEGINNING = frozenset({Op.INCIDENT_CONFIRMED, Op.EVIDENCE_SEEN, Op.LINK_STATED, Op.MARKED})
# What only its reporter says about a record.
FOLLOWING = frozenset(
    {Op.CORRECTED, Op.RETRACTED, Op.RESTITUTED, Op.EVIDENCE_WITHDRAWN, Op.ERASURE_ACKNOWLEDGED}
)
# Entries that end a record that is no incident, and with it its content.
ENDING = frozenset({Op.EVIDENCE_WITHDRAWN, Op.EXPIRED})
# The same, and what does where it isn't the first of two persons' decisions alone.
CONCLUDING = ENDING | {Op.EXPUNGED}
# Entries that destroy the content of a record, where they take effect.
DESTROYING = ENDING | {Op.RETRACTED, Op.EXPUNGED, Op.ERASED}
# What is said about a record and says nothing of a person; all else goes with its content.
LASTING = frozenset({Op.ACTIVATED, Op.EXPUNGED, Op.EXPIRED, Op.ERASED, Op.ERASURE_ACKNOWLEDGED})

_NEXT: dict[tuple[State | None, Op], State] = {
    (None, Op.INCIDENT_CONFIRMED): State.HELD,
    (State.HELD, Op.ACTIVATED): State.ACTIVE,
    (State.HELD, Op.DISPUTED): State.DISPUTED,
    (State.ACTIVE, Op.DISPUTED): State.DISPUTED,
    (State.DISPUTED, Op.DISPUTE_REJECTED): State.ACTIVE,
    (State.DISPUTED, Op.NOTED): State.ACTIVE,
    (State.DISPUTED, Op.EXPUNGED): State.EXPUNGED,
    **{(state, Op.RETRACTED): State.RETRACTED for state in _OPEN},
    **{(state, op): state for state in _OPEN for op in (Op.CORRECTED, Op.RESTITUTED)},
    **{(state, Op.EXPIRED): State.EXPIRED for state in _OPEN},
    **{(state, Op.ERASED): State.ERASED for state in State if state is not State.ERASED},
    **{(state, Op.ERASURE_ACKNOWLEDGED): state for state in CLOSED},
}


def next_state(state: State | None, op: Op) -> State | None:
    """Give the state that an entry leads to, or None where it has no effect."""
    return _NEXT.get((state, op))
