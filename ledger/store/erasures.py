"""Statements about what was destroyed, what is due to be, and who hasn't confirmed it yet.

It knows which rows hold what a statement said. Entries, receipts and the names of statements
(`jti`, `txn`) stay: the one is public and opens nothing, the others are never used again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, select, union, update

from ledger.incident.lifecycle import CLOSED, ENDING, LASTING
from ledger.log.leaf import Op
from ledger.store.evidence import withdraw_again
from ledger.store.overrides import delete_override
from ledger.store.postings import forget_identifiers
from ledger.store.tables import (
    event,
    event_content,
    incident,
    log_entry,
    separation,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy.engine import Connection

_CLOSED = tuple(state.value for state in CLOSED)
_OVERRIDING = (int(Op.LINK_STATED), int(Op.MARKED))


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
    update(event).where(_SPEAKING).values(response_until=None, active_from=None, retention_day=None)
)


def destroy_content(connection: Connection, record: str | None) -> None:
    """Destroy what was said of a record: tokens, keys, salts, and the dates beside them."""
    if record is None:
        return
    connection.execute(_DESTROY, {"about": record})
    connection.execute(_FORGET, {"about": record})


def select_expired(connection: Connection, last_day: int, limit: int) -> list[str]:
    """Give the ids of open incidents whose conduct ended on a day or before, oldest first.

    *Shape*: the earliest day counts that its report or a correction ever said.
    """
    statement = (
        select(incident.c.id)
        .join(event, event.c.incident == incident.c.id)
        .where(event.c.retention_day <= last_day, incident.c.state.not_in(_CLOSED))
        .group_by(incident.c.id)
        .order_by(func.min(event.c.retention_day), incident.c.id)
        .limit(limit)
    )
    return list(connection.execute(statement).scalars())


def select_ended(
    connection: Connection,
    op: Op,
    last_day: int,
    limit: int | None,
    kept: Collection[int] = (),
) -> list[tuple[str, int, str]]:
    """Give the statements of a kind whose time ended on a day or before, oldest first.

    *Shape*: the record, who stated it, its jti. Nothing about it is pending, and no incident counts
    against an account that it separates from another. `kept` are indexes to leave out.
    """
    later = event.alias()
    pending = select(later.c.id).where(
        later.c.incident == event.c.incident, later.c.entry_index.is_(None)
    )
    borne = select(incident.c.id).where(
        separation.c.event_index == event.c.entry_index,
        separation.c.account == incident.c.account,
    )
    statement = (
        select(event.c.incident, event.c.platform, event.c.jti)
        .where(event.c.retention_day <= last_day, event.c.op == int(op))
        .where(event.c.entry_index.is_not(None), event.c.entry_index.not_in(kept))
        .where(~pending.exists(), ~borne.exists())
        .order_by(event.c.retention_day, event.c.entry_index)
        .limit(limit)
    )
    return [tuple(row) for row in connection.execute(statement)]


def select_gone(connection: Connection, size: int) -> list[int]:
    """Give the indexes below a size of the log whose statements were destroyed from there on.

    *Shape*: reports, and what overrode links; evidence bears on no score.
    """
    reports = select(incident.c.reported_index).where(
        incident.c.state.in_(_CLOSED),
        incident.c.reported_index < size,
        incident.c.changed_index >= size,
    )
    ending = event.alias()
    ended = (
        select(event.c.entry_index)
        .join(ending, ending.c.incident == event.c.incident)
        .where(event.c.op.in_(_OVERRIDING), event.c.entry_index < size)
        .where(ending.c.op == int(Op.EXPIRED), ending.c.entry_index >= size)
    )
    return sorted(connection.execute(union(reports, ended)).scalars())


def select_decided(connection: Connection) -> list[str]:
    """Give the jtis of the decisions about forged evidence, the first of two persons' too."""
    decided = (event.c.op == int(Op.EXPUNGED), event.c.entry_index.is_not(None))
    evidence_alone = ~event.c.incident.in_(select(incident.c.id))
    found = connection.execute(select(event.c.jti).where(*decided, evidence_alone))
    return list(found.scalars())


def destroy_again(connection: Connection, at: datetime, expunged: Collection[str] = ()) -> int:
    """Destroy the content of ended records that is there all the same; give how many statements.

    Nothing leaves any but a restored table, or a hand. What was told of it meanwhile is recalled.
    *Shape*: `expunged` are the records of evidence of which it was decided.
    """
    by_op = event.c.op.in_([int(op) for op in ENDING]) | event.c.incident.in_(expunged)
    ended = select(event.c.incident).where(by_op, event.c.entry_index.is_not(None))
    closed = union(
        select(incident.c.id.label("incident")).where(incident.c.state.in_(_CLOSED)), ended
    )
    is_doomed = (
        event.c.incident.in_(closed)
        & event.c.entry_index.is_not(None)
        & event.c.op.not_in([int(op) for op in LASTING])
    )
    doomed = select(event.c.id).where(is_doomed)
    gone = connection.execute(delete(event_content).where(event_content.c.event.in_(doomed)))
    blank = {"response_until": None, "active_from": None, "retention_day": None}
    connection.execute(update(event).where(is_doomed).values(blank))
    withdraw_again(connection, select(closed.subquery().c.incident), at)
    begun = select(event.c.entry_index).where(is_doomed, event.c.op.in_(_OVERRIDING))
    indexes = connection.execute(begun).scalars().all()
    for index in indexes:
        delete_override(connection, index)
    if indexes:
        forget_identifiers(connection)
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
