"""Statements about what was destroyed, what is due to be, and who hasn't confirmed it yet.

It knows which rows hold what a statement said. Entries, receipts and the names of statements
(`jti`, `txn`) stay: the one is public and opens nothing, the others are never used again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, select, update

from ledger.incident.lifecycle import CLOSED, LASTING
from ledger.log.leaf import Op
from ledger.store.evidence import delete_pieces
from ledger.store.tables import event, event_content, evidence, incident, log_entry

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.engine import Connection

_CLOSED = tuple(state.value for state in CLOSED)


@dataclass(frozen=True, slots=True)
class Erased:
    """An incident whose content was destroyed: by which entry, when, and who submitted it."""

    incident: str
    platform: int
    jti: str
    state: str
    reported_index: int
    index: int
    entry: bytes
    erased_at: datetime
    acknowledged_at: datetime | None


_SPEAKING = (
    (event.c.incident == bindparam("about"))
    & event.c.entry_index.is_not(None)
    & event.c.op.not_in([int(op) for op in LASTING])
)
_DESTROY = delete(event_content).where(
    event_content.c.event.in_(select(event.c.id).where(_SPEAKING))
)
_FORGET = (
    update(event).where(_SPEAKING).values(response_until=None, active_from=None, conduct_day=None)
)


def destroy_content(connection: Connection, incident_id: str | None) -> None:
    """Destroy what was said about an incident: tokens, keys, salts, and the dates beside them."""
    if incident_id is None:
        return
    connection.execute(_DESTROY, {"about": incident_id})
    connection.execute(_FORGET, {"about": incident_id})


def select_expired(connection: Connection, last_day: int, limit: int) -> list[str]:
    """Give the ids of open incidents whose conduct ended on a day or before, oldest first.

    *Shape*: the earliest day counts that its report or a correction ever said.
    """
    statement = (
        select(incident.c.id)
        .join(event, event.c.incident == incident.c.id)
        .where(event.c.conduct_day <= last_day, incident.c.state.not_in(_CLOSED))
        .group_by(incident.c.id)
        .order_by(func.min(event.c.conduct_day), incident.c.id)
        .limit(limit)
    )
    return list(connection.execute(statement).scalars())


def select_gone(connection: Connection, size: int) -> list[int]:
    """Give the indexes of the reports below a size of the log that were erased from there on."""
    statement = select(incident.c.reported_index).where(
        incident.c.state.in_(_CLOSED),
        incident.c.reported_index < size,
        incident.c.changed_index >= size,
    )
    return list(connection.execute(statement.order_by(incident.c.reported_index)).scalars())


def destroy_again(connection: Connection) -> int:
    """Destroy the content of closed incidents that is there all the same; give how many statements.

    Nothing leaves any but a restored table, or a hand.
    """
    closed = select(incident.c.id).where(incident.c.state.in_(_CLOSED))
    is_doomed = (
        event.c.incident.in_(closed)
        & event.c.entry_index.is_not(None)
        & event.c.op.not_in([int(op) for op in LASTING])
    )
    doomed = select(event.c.id).where(is_doomed)
    gone = connection.execute(delete(event_content).where(event_content.c.event.in_(doomed)))
    blank = {"response_until": None, "active_from": None, "conduct_day": None}
    connection.execute(update(event).where(is_doomed).values(blank))
    known = select(evidence.c.record).where(evidence.c.record.in_(closed)).distinct()
    for record in connection.execute(known).scalars().all():
        delete_pieces(connection, record)
    return int(gone.rowcount)


def select_erased(
    connection: Connection, incident_id: str | None = None, *, since: int = 0
) -> list[Erased]:
    """Give the incidents whose content was destroyed by an entry from an index on, oldest first."""
    report, closing = event.alias(), event.alias()
    said_at = (
        select(func.min(event.c.received_at))
        .where(event.c.incident == incident.c.id, event.c.op == int(Op.ERASURE_ACKNOWLEDGED))
        .scalar_subquery()
    )
    statement = (
        select(
            *(incident.c.id, incident.c.platform, report.c.jti, incident.c.state),
            *(incident.c.reported_index, incident.c.changed_index, log_entry.c.entry),
            *(closing.c.received_at, said_at),
        )
        .join(report, report.c.entry_index == incident.c.reported_index)
        .join(closing, closing.c.entry_index == incident.c.changed_index)
        .join(log_entry, log_entry.c.index == incident.c.changed_index)
        .where(incident.c.state.in_(_CLOSED), incident.c.changed_index >= since)
        .order_by(incident.c.changed_index)
    )
    if incident_id is not None:
        statement = statement.where(incident.c.id == incident_id)
    return [Erased(*row) for row in connection.execute(statement)]
