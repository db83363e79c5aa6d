"""An empty database in memory that an audit derives everything in once more."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from ledger.identity.platform import PlatformState
from ledger.store.engine import Database, open_database
from ledger.store.tables import METADATA, platform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection


@contextmanager
def open_scratch() -> Iterator[Database]:
    """Open an empty database in memory with every table and no foreign key in force."""
    database = open_database("sqlite://")
    try:
        METADATA.create_all(database.engine)
        yield database
    finally:
        database.engine.dispose()


def copy_platforms(source: Connection, target: Connection) -> None:
    """Copy the members, whose tag keys the entries need, as they were before their first entry."""
    derived = {"upheld": 0, "overturned": 0, "state": PlatformState.ACTIVE.value}
    rows = [dict(row._mapping) | derived for row in source.execute(select(platform))]  # noqa: SLF001
    if rows:
        target.execute(insert(platform), rows)
