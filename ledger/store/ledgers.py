"""Statements about the ledger itself: what it was created as, and its policies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, inspect, select, update

from ledger.errors import LedgerCorrupt
from ledger.store.tables import ledger_identity, log_state, policy, shadow_policy

if TYPE_CHECKING:
    from collections.abc import Container
    from datetime import datetime

    from sqlalchemy.engine import Connection


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """What a ledger was created as; none of it ever changes."""

    origin: str
    jurisdiction: str
    sandbox: bool
    created_at: datetime


def has_schema(connection: Connection) -> bool:
    """Tell whether the migrations ran here."""
    return inspect(connection).has_table(ledger_identity.name)


def find_ledger(connection: Connection) -> StoredLedger | None:
    """Find what this ledger was created as."""
    row = connection.execute(select(ledger_identity)).one_or_none()
    if row is None:
        return None
    return StoredLedger(row.origin, row.jurisdiction, row.sandbox, row.created_at)


def insert_ledger(connection: Connection, new: StoredLedger) -> None:
    """Insert the one row that says what this ledger is."""
    connection.execute(
        insert(ledger_identity).values(
            id=1,
            origin=new.origin,
            jurisdiction=new.jurisdiction,
            sandbox=new.sandbox,
            created_at=new.created_at,
        )
    )


def insert_policy(connection: Connection, version: int, body: str, published_at: datetime) -> None:
    """Insert one policy version as it was published."""
    connection.execute(insert(policy).values(version=version, body=body, published_at=published_at))


def select_policies(connection: Connection) -> dict[int, str]:
    """Give every published policy by version."""
    rows = connection.execute(select(policy.c.version, policy.c.body).order_by(policy.c.version))
    return {row.version: row.body for row in rows}


def read_policy(connection: Connection, version: int) -> str:
    """Read a published policy. *Raises*: LedgerCorrupt where it isn't stored."""
    statement = select(policy.c.body).where(policy.c.version == version)
    body = connection.execute(statement).scalar_one_or_none()
    if body is None:
        raise LedgerCorrupt("A policy that is in force is missing.")
    return str(body)


def select_unknown_shadow(
    connection: Connection, version: int, known: Container[int]
) -> dict[int, str]:
    """Give a tried policy that a process doesn't know yet, by number, or nothing; 0 is none."""
    if not version or version in known:
        return {}
    statement = select(shadow_policy.c.body).where(shadow_policy.c.version == version)
    body = connection.execute(statement).scalar_one_or_none()
    return {} if body is None else {version: body}


def begin_shadow(connection: Connection, version: int, body: str, begun_at: datetime) -> None:
    """Try a policy beside the live one, in the place of any other."""
    connection.execute(insert(shadow_policy).values(version=version, body=body, begun_at=begun_at))
    connection.execute(update(log_state).values(shadow_version=version))


def end_shadow(connection: Connection) -> None:
    """Try no policy any more."""
    connection.execute(update(log_state).values(shadow_version=0))


def read_newest(connection: Connection) -> int:
    """Give the newest version that was published."""
    return connection.execute(select(func.max(policy.c.version))).scalar() or 0


def read_newest_shadow(connection: Connection) -> int:
    """Give the number of the newest policy that was ever tried."""
    return connection.execute(select(func.max(shadow_policy.c.version))).scalar() or 0


def select_publications(
    connection: Connection, version: int | None = None
) -> list[tuple[int, str, datetime]]:
    """Give every published policy, or that of a version: version, body, when."""
    statement = select(policy).order_by(policy.c.version)
    if version is not None:
        statement = statement.where(policy.c.version == version)
    return [(row.version, row.body, row.published_at) for row in connection.execute(statement)]
