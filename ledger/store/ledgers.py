"""Statements about the ledger itself: what it was created as, and its policies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, inspect, select

from ledger.store.tables import ledger_identity, policy

if TYPE_CHECKING:
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


def find_policy(connection: Connection, version: int) -> str | None:
    """Find a published policy."""
    return connection.execute(
        select(policy.c.body).where(policy.c.version == version)
    ).scalar_one_or_none()
