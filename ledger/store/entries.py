"""Statements about accepted events, their erasable content, and the log over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, bindparam, func, insert, select, union_all, update
from sqlalchemy.exc import IntegrityError

from ledger.errors import LedgerCorrupt, LedgerUnavailable
from ledger.incident.lifecycle import CONCLUDING
from ledger.log.leaf import Op
from ledger.privacy.sealing import SealedToken
from ledger.store.tables import (
    event,
    event_content,
    identifier,
    incident,
    log_checkpoint,
    log_entry,
    log_state,
    marker,
    posting,
    recycling,
    separation,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.engine import Connection

    from ledger.log.leaf import Leaf


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One accepted statement. `sealed` and `salt` are None once its content is destroyed.

    *Shape*: `gone` is the entry of such a statement, which only whoever derives anew gives.
    """

    id: int
    platform: int
    jti: str
    txn: str | None
    incident: str
    op: int
    kid: str
    received_at: datetime
    response_until: datetime | None
    active_from: datetime | None
    entry_index: int | None
    sealed: SealedToken | None
    salt: bytes | None
    retention_day: int | None = None
    gone: Leaf | None = None


@dataclass(frozen=True, slots=True)
class LogState:
    """Size, root and frontier of the log: the one row that is compared and swapped.

    `policy_version` is that of the last policy among its entries, 0 before the first.
    """

    size: int
    root: bytes
    frontier: bytes
    policy_version: int = 0


_AT_ONCE = 1000
_EVENTS = select(event, event_content.c.token, event_content.c.entry_key, event_content.c.salt)
_EVENTS = _EVENTS.select_from(event.outerjoin(event_content, event_content.c.event == event.c.id))
# Built once: building a statement costs several times what running it does.
_BY_JTI = _EVENTS.where(event.c.platform == bindparam("member"), event.c.jti == bindparam("name"))
_BY_CASE = select(event.c.id).where(
    event.c.platform == bindparam("member"), event.c.txn == bindparam("case_name")
)
_BY_INCIDENT = _EVENTS.where(event.c.incident == bindparam("about")).order_by(event.c.id)
_BY_INDEX = _EVENTS.where(event.c.entry_index == bindparam("at"))
_PENDING = (
    _EVENTS.where(event.c.entry_index.is_(None)).order_by(event.c.id).limit(bindparam("most"))
)
_UNPLACED = select(event.c.id).where(event.c.entry_index.is_(None)).order_by(event.c.id)
_NEXT = _UNPLACED.limit(bindparam("most")).subquery()
_PLACE = bindparam("size", type_=BigInteger) - 1 + func.row_number().over(order_by=_NEXT.c.id)
_PLACED = select(_NEXT.c.id, _PLACE.label("place")).subquery()
_ASSIGN = update(event).where(event.c.id == _PLACED.c.id).values(entry_index=_PLACED.c.place)
_ASSIGNED = _EVENTS.where(
    event.c.entry_index >= bindparam("size"),
    event.c.entry_index < bindparam("size") + bindparam("count", type_=BigInteger),
).order_by(event.c.entry_index)
_LOCK = select(event.c.id).where(event.c.id == bindparam("row")).with_for_update()
_ACCEPTED = [one for one in event.c if one.name not in {"id", "entry_index"}]
_INSERT_EVENT = (
    insert(event)
    .values({one: bindparam(one.name, type_=one.type) for one in _ACCEPTED})
    .returning(event.c.id)
)
_CONTENT = [one for one in event_content.c if one.name != "event"]
_INSERT_CONTENT = insert(event_content)
_INSERTED = _INSERT_EVENT.cte("inserted")
# Both rows in one round trip, which SQLite, that needs none, can't.
_INSERT_BOTH = (
    insert(event_content)
    .from_select(
        [event_content.c.event, *_CONTENT],
        select(_INSERTED.c.id, *(bindparam(one.name, type_=one.type) for one in _CONTENT)),
    )
    .returning(event_content.c.event)
)
_INSERT_ENTRIES = 'INSERT INTO log_entry ("index", entry, leaf_hash) VALUES (?, ?, ?)'
_INSERT_COLUMNS = (
    'INSERT INTO log_entry ("index", entry, leaf_hash) '
    "SELECT * FROM unnest(%s::bigint[], %s::bytea[], %s::bytea[])"
)
_STATE = select(
    log_state.c.size, log_state.c.root, log_state.c.frontier, log_state.c.policy_version
).where(log_state.c.id == 1)
_LOCK_STATE = _STATE.with_for_update()
_ADVANCE = (
    update(log_state)
    .where(
        log_state.c.id == 1,
        log_state.c.size == bindparam("old_size"),
        log_state.c.root == bindparam("old_root"),
    )
    .values(
        size=bindparam("new_size"),
        root=bindparam("new_root"),
        frontier=bindparam("new_frontier"),
        policy_version=bindparam("new_policy"),
    )
)
_NOTE = log_checkpoint.c.note + func.coalesce(log_checkpoint.c.cosignatures, "")
_CHECKPOINT = (
    select(log_checkpoint.c.size, _NOTE.label("note"))
    .where(
        log_checkpoint.c.size >= bindparam("at_least"), log_checkpoint.c.published_at.is_not(None)
    )
    .order_by(log_checkpoint.c.size.desc())
    .limit(1)
)


def _event(row: Row[tuple[object, ...]]) -> StoredEvent:
    fields = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row by column
    sealed = None
    if fields["token"] is not None:
        sealed = SealedToken(ciphertext=fields["token"], wrapped_key=fields["entry_key"])
    return StoredEvent(
        id=fields["id"],
        platform=fields["platform"],
        jti=fields["jti"],
        txn=fields["txn"],
        incident=fields["incident"],
        op=fields["op"],
        kid=fields["kid"],
        received_at=fields["received_at"],
        response_until=fields["response_until"],
        active_from=fields["active_from"],
        entry_index=fields["entry_index"],
        sealed=sealed,
        salt=fields["salt"],
        retention_day=fields["retention_day"],
    )


def insert_event(connection: Connection, new: StoredEvent) -> int:
    """Insert one accepted statement with its sealed content and give its id.

    *Raises*: LedgerUnavailable where the same statement or case arrives twice at once (the second
    try finds the first).
    """
    if (new.sealed is None or new.salt is None) and new.gone is None:
        raise LedgerCorrupt("An event can't be accepted without its content.")
    row = {one.name: getattr(new, one.name) for one in _ACCEPTED}
    content = {}
    if new.sealed is not None:
        token, entry_key = new.sealed.ciphertext, new.sealed.wrapped_key
        content = {"token": token, "entry_key": entry_key, "salt": new.salt}
    try:
        if content and connection.dialect.name == "postgresql":
            return int(connection.execute(_INSERT_BOTH, row | content).scalar_one())
        event_id = int(connection.execute(_INSERT_EVENT, row).scalar_one())
    except IntegrityError as error:
        raise LedgerUnavailable("The same statement is being accepted right now.") from error
    if content:
        connection.execute(_INSERT_CONTENT, {"event": event_id} | content)
    return event_id


def find_event(connection: Connection, platform_id: int, jti: str) -> StoredEvent | None:
    """Find a platform's statement by its jti."""
    row = connection.execute(_BY_JTI, {"member": platform_id, "name": jti}).one_or_none()
    return None if row is None else _event(row)


def find_case(connection: Connection, platform_id: int, txn: str) -> int | None:
    """Find the report of a case."""
    case = {"member": platform_id, "case_name": txn}
    return connection.execute(_BY_CASE, case).scalar_one_or_none()


def lock_event(connection: Connection, event_id: int) -> None:
    """Hold an event's row until the transaction ends, so that its incident is judged once."""
    connection.execute(_LOCK, {"row": event_id})


def select_incident_events(connection: Connection, incident_id: str) -> list[StoredEvent]:
    """Give all statements about one incident in accept order."""
    return [_event(row) for row in connection.execute(_BY_INCIDENT, {"about": incident_id})]


def select_reported_events(connection: Connection, platform: int, jti: str) -> list[StoredEvent]:
    """Give all statements about the incident that a platform reported by a jti, or none."""
    reported = find_event(connection, platform, jti)
    if reported is None or reported.op != Op.INCIDENT_CONFIRMED:
        return []
    return select_incident_events(connection, reported.incident)


def select_pending(connection: Connection, limit: int) -> list[StoredEvent]:
    """Give accepted events that have no index yet, in accept order."""
    return [_event(row) for row in connection.execute(_PENDING, {"most": limit})]


def find_entry_event(connection: Connection, index: int) -> StoredEvent | None:
    """Find the statement that became the entry at an index."""
    row = connection.execute(_BY_INDEX, {"at": index}).one_or_none()
    return None if row is None else _event(row)


def select_said(
    connection: Connection, stored: StoredEvent, index: int | None
) -> list[StoredEvent]:
    """Give the statements that a pending one is judged by.

    *Shape*: of an incident what it is, by its index; where a record that is no incident ends, all
    about it in accept order; else none.
    """
    if index is not None:
        rows = connection.execute(_BY_INDEX, {"at": index})
    elif stored.op in CONCLUDING:
        rows = connection.execute(_BY_INCIDENT, {"about": stored.incident})
    else:
        return []
    return [_event(row) for row in rows]


def select_sequenced(connection: Connection) -> list[StoredEvent]:
    """Give the statement of every entry in log order."""
    statement = _EVENTS.where(event.c.entry_index.is_not(None)).order_by(event.c.entry_index)
    return [_event(row) for row in connection.execute(statement)]


def stream_statements(
    connection: Connection, ops: Sequence[Op], size: int
) -> Iterator[StoredEvent]:
    """Stream the statements of some kinds below a size of the log, in log order."""
    chosen = event.c.entry_index < size, event.c.op.in_([int(op) for op in ops])
    statement = _EVENTS.where(*chosen).order_by(event.c.entry_index)
    for row in connection.execute(statement, execution_options={"yield_per": _AT_ONCE}):
        yield _event(row)


def select_about(connection: Connection, records: Collection[str], size: int) -> list[StoredEvent]:
    """Give the statements below a size of the log about some records, and all policies, in order.

    *Shape*: records are asked for in thousands, since a crowd may have named one identifier.
    """
    listed = sorted(records)
    parts = [listed[at : at + _AT_ONCE] for at in range(0, len(listed), _AT_ONCE)]
    chosen = [event.c.op == int(Op.POLICY_PUBLISHED), *map(event.c.incident.in_, parts)]
    found = [
        _event(row)
        for some in chosen
        for row in connection.execute(_EVENTS.where(event.c.entry_index < size, some))
    ]
    return sorted(found, key=lambda one: one.entry_index or 0)


def select_bearing(connection: Connection, keys: Sequence[bytes], size: int) -> list[StoredEvent]:
    """Give the statements below a size of the log that bear on an account and identifiers.

    *Shape*: those about incidents of the accounts that are linked now, those that override links
    by these keys, and all policies, in log order.
    """
    ids = select(identifier.c.id).where(identifier.c.token.in_(keys)).scalar_subquery()
    linked = select(posting.c.account).where(posting.c.identifier.in_(ids))
    borne = select(incident.c.id).where(incident.c.account.in_(linked))
    overriding = union_all(
        select(separation.c.event_index).where(separation.c.account.in_(ids)),
        select(marker.c.event_index).where(marker.c.identifier.in_(ids)),
        select(recycling.c.event_index).where(recycling.c.identifier.in_(ids)),
    )
    statement = _EVENTS.where(
        event.c.entry_index < size,
        event.c.incident.in_(borne)
        | event.c.entry_index.in_(overriding)
        | (event.c.op == int(Op.POLICY_PUBLISHED)),
    )
    return [_event(row) for row in connection.execute(statement.order_by(event.c.entry_index))]


def count_overriding_since(connection: Connection, size: int) -> int:
    """Count the entries from a size of the log on that change or take back what was before."""
    harmless = {Op.INCIDENT_CONFIRMED, Op.ACTIVATED, Op.PLATFORM_CHANGED, Op.POLICY_PUBLISHED}
    harmless |= {Op.ERASURE_ACKNOWLEDGED, Op.EVIDENCE_SEEN, Op.EVIDENCE_WITHDRAWN}
    statement = select(func.count()).select_from(event).where(event.c.entry_index >= size)
    changing = statement.where(event.c.op.not_in([int(op) for op in harmless]))
    return int(connection.execute(changing).scalar_one())


def assign_indexes(connection: Connection, size: int, limit: int) -> list[StoredEvent]:
    """Give pending events the indexes from a size of the log on, in accept order; give them."""
    count = connection.execute(_ASSIGN, {"size": size, "most": limit}).rowcount
    assigned = connection.execute(_ASSIGNED, {"size": size, "count": count})
    return [_event(row) for row in assigned]


def insert_entries(connection: Connection, entries: Sequence[tuple[int, bytes, bytes]]) -> None:
    """Insert entries. *Shape*: index, the exact entry, its leaf hash."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(_INSERT_ENTRIES, [*entries])
    else:
        columns = tuple(map(list, zip(*entries, strict=True)))
        connection.exec_driver_sql(_INSERT_COLUMNS, columns)


def find_entry(connection: Connection, index: int) -> bytes | None:
    """Find the exact bytes of the entry at an index."""
    return connection.execute(
        select(log_entry.c.entry).where(log_entry.c.index == index)
    ).scalar_one_or_none()


def stream_entries(connection: Connection) -> Iterator[tuple[int, bytes, bytes]]:
    """Stream index, entry and leaf hash of every entry in log order."""
    statement = select(log_entry).order_by(log_entry.c.index)
    for row in connection.execute(statement).yield_per(1000):
        yield row[0], row[1], row[2]


def insert_state(connection: Connection, state: LogState) -> None:
    """Insert the state of a log that has just been created."""
    connection.execute(
        insert(log_state).values(
            id=1,
            size=state.size,
            root=state.root,
            frontier=state.frontier,
            policy_version=state.policy_version,
        )
    )


def read_state(connection: Connection, *, lock: bool = False) -> LogState:
    """Read the log's state, and with `lock` hold it until the transaction ends."""
    row = connection.execute(_LOCK_STATE if lock else _STATE).one_or_none()
    if row is None:
        raise LedgerCorrupt("The log has no state.")
    return LogState(row.size, row.root, row.frontier, row.policy_version)


def advance_state(connection: Connection, old: LogState, new: LogState) -> None:
    """Swap the log's state if it is still the old one.

    *Raises*: LedgerUnavailable where another sequencer was faster; nothing is lost by it.
    """
    result = connection.execute(
        _ADVANCE,
        {
            "old_size": old.size,
            "old_root": old.root,
            "new_size": new.size,
            "new_root": new.root,
            "new_frontier": new.frontier,
            "new_policy": new.policy_version,
        },
    )
    if result.rowcount != 1:
        raise LedgerUnavailable("Another sequencer advanced the log.")


def find_checkpoint(connection: Connection, at_least: int = 0) -> tuple[int, str] | None:
    """Find the newest published checkpoint that covers `at_least` entries: size and note."""
    row = connection.execute(_CHECKPOINT, {"at_least": at_least}).one_or_none()
    return None if row is None else (row.size, row.note)


def count_pending(connection: Connection) -> int:
    """Count accepted events without an index."""
    statement = select(func.count()).select_from(event).where(event.c.entry_index.is_(None))
    return int(connection.execute(statement).scalar_one())
