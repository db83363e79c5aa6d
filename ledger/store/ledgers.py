"""Statements about the ledger itself: what it was created as, and its policies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, insert, inspect, select, update

from ledger.store.tables import ledger_identity, log_state, policy, shadow_policy

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


def find_shadow(connection: Connection, version: int) -> str | None:
    """Find a policy that is tried beside the live one."""
    return connection.execute(
        select(shadow_policy.c.body).where(shadow_policy.c.version == version)
    ).scalar_one_or_none()


def begin_shadow(connection: Connection, version: int, body: str, begun_at: datetime) -> None:
    """Try a policy beside the live one, in the place of any other."""
    connection.execute(insert(shadow_policy).values(version=version, body=body, begun_at=begun_at))
    connection.execute(update(log_state).values(shadow_version=version))


def end_shadow(connection: Connection) -> None:
    """Try no policy any more."""
    connection.execute(update(log_state).values(shadow_version=0))


def read_versions(connection: Connection) -> tuple[int, int]:
    """Give the newest version that was published and the newest that was ever tried."""
    newest = select(func.max(policy.c.version)), select(func.max(shadow_policy.c.version))
    return tuple(connection.execute(one).scalar() or 0 for one in newest)  # type: ignore[return-value]  # two


def select_publications(connection: Connection) -> list[tuple[int, str, datetime]]:
    """Give every published policy: version, body and when it was published."""
    rows = connection.execute(select(policy).order_by(policy.c.version))
    return [(row.version, row.body, row.published_at) for row in rows]
