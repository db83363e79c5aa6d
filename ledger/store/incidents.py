"""Statements about incidents: the derived state of what was reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, insert, select, update

from ledger.incident.lifecycle import CLOSED, State
from ledger.store.tables import event, identifier, incident

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.engine import Connection


@dataclass(frozen=True, slots=True)
class StoredIncident:
    """An incident's derived state. `account` and the mass are set only while it counts.

    *Units*: `mass` in forward-decayed micro-units, days since 1970-01-01.
    """

    id: str
    platform: int
    state: State
    reported_index: int
    changed_index: int
    content_index: int
    relief: int = 0
    account: int | None = None
    half_life: int = 0
    mass: int = 0
    count: int = 0
    level_a: int = 0
    first_day: int = 0
    last_day: int = 0


_BY_ID = select(incident).where(incident.c.id == bindparam("name"))
_BY_ACCOUNT = select(incident).where(incident.c.account == bindparam("bearer"))
_INSERT = insert(incident)
_REPLACE = update(incident).where(incident.c.id == bindparam("name"))


def _incident(row: Row[tuple[object, ...]]) -> StoredIncident:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row by column
    fields["state"] = State(fields["state"])
    return StoredIncident(**fields)


def _values(stored: StoredIncident) -> dict[str, object]:
    return {
        "id": stored.id,
        "platform": stored.platform,
        "state": stored.state.value,
        "reported_index": stored.reported_index,
        "changed_index": stored.changed_index,
        "content_index": stored.content_index,
        "relief": stored.relief,
        "account": stored.account,
        "half_life": stored.half_life,
        "mass": stored.mass,
        "count": stored.count,
        "level_a": stored.level_a,
        "first_day": stored.first_day,
        "last_day": stored.last_day,
    }


def find_incident(connection: Connection, incident_id: str) -> StoredIncident | None:
    """Find an incident that the sequencer has seen."""
    row = connection.execute(_BY_ID, {"name": incident_id}).one_or_none()
    return None if row is None else _incident(row)


def insert_incident(connection: Connection, new: StoredIncident) -> None:
    """Insert one incident."""
    connection.execute(_INSERT, _values(new))


def replace_incident(connection: Connection, changed: StoredIncident) -> None:
    """Write an incident's next state over the present one."""
    connection.execute(_REPLACE, {"name": changed.id, **_values(changed)})


def select_account_incidents(connection: Connection, account: int) -> list[StoredIncident]:
    """Give the incidents that count against an account."""
    return [_incident(row) for row in connection.execute(_BY_ACCOUNT, {"bearer": account})]


def stream_incidents(connection: Connection) -> Iterator[tuple[str, int, tuple[object, ...]]]:
    """Stream the id, the report's index and all else of every incident, for comparison.

    An account's lookup key stands in the place of its row id, and no value is interpreted.
    """
    others = [one for one in incident.c if one.name not in {"id", "reported_index", "account"}]
    named = select(identifier.c.id, identifier.c.token).cte("named").prefix_with("MATERIALIZED")
    borne = (incident.c.account.is_not(None), named.c.token)
    statement = select(incident.c.id, incident.c.reported_index, *borne, *others).outerjoin_from(
        incident, named, named.c.id == incident.c.account
    )
    for row in connection.execute(statement):
        yield row[0], row[1], tuple(row[2:])


def select_reported(
    connection: Connection, platform: int, jtis: tuple[str, ...]
) -> list[StoredIncident]:
    """Give the open incidents that a platform reported by statements of these names."""
    if not jtis:
        return []
    statement = select(incident).join(event, event.c.entry_index == incident.c.reported_index)
    is_open = incident.c.state.not_in([one.value for one in CLOSED])
    named = (event.c.platform == platform) & event.c.jti.in_(jtis) & is_open
    ordered = statement.where(named).order_by(incident.c.reported_index)
    return [_incident(row) for row in connection.execute(ordered)]


def find_counting(connection: Connection) -> tuple[int, int] | None:
    """Find some incident that counts: its report's index and the row id of its account."""
    statement = select(incident.c.reported_index, incident.c.account)
    row = connection.execute(statement.where(incident.c.account.is_not(None)).limit(1)).first()
    return None if row is None else (row.reported_index, row.account)


def select_waiting(connection: Connection) -> list[int]:
    """Give the index of what each incident is that may count yet: held, or disputed."""
    may_count = incident.c.state.in_([State.HELD.value, State.DISPUTED.value])
    return list(connection.execute(select(incident.c.content_index).where(may_count)).scalars())


def select_due(connection: Connection, now: datetime, limit: int) -> list[str]:
    """Give the ids of held incidents whose notice window has passed, oldest first."""
    statement = (
        select(incident.c.id)
        .join(event, event.c.entry_index == incident.c.reported_index)
        .where(incident.c.state == State.HELD.value, event.c.active_from <= now)
        .order_by(event.c.active_from)
        .limit(limit)
    )
    return list(connection.execute(statement).scalars())
