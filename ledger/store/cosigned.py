"""What a witness keeps: the newest checkpoint of each log that it cosigned.

A witness's file is its own, made by `bcl witness new` and by nothing else: no table of a ledger
stands in it, and its schema isn't migrated with a ledger's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Table, Text, select
from sqlalchemy.dialects.sqlite import insert

from ledger.store.columns import Instant

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.log.checkpoint import Checkpoint
    from ledger.store.engine import Connection, Database

_TABLES = MetaData()
_cosigned = Table(
    "cosigned",
    _TABLES,
    Column("origin", String(200), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", Text, nullable=False),
    Column("cosigned_at", Instant, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The newest checkpoint of a log that was cosigned here."""

    size: int
    root_hash: bytes


def create_tables(database: Database) -> None:
    """Create the tables of a witness in a new file."""
    _TABLES.create_all(database.engine)


def find_cosigned(connection: Connection, origin: str) -> Cosigned | None:
    """Find how far a log was cosigned."""
    statement = select(_cosigned.c.size, _cosigned.c.root).where(_cosigned.c.origin == origin)
    row = connection.execute(statement).one_or_none()
    return None if row is None else Cosigned(row.size, row.root)


def replace_cosigned(
    connection: Connection, checkpoint: Checkpoint, note: str, at: datetime
) -> None:
    """Keep that a checkpoint is the newest one cosigned, with the note as its log signed it."""
    newest = {
        "size": checkpoint.size,
        "root": checkpoint.root_hash,
        "note": note,
        "cosigned_at": at,
    }
    statement = insert(_cosigned).values(origin=checkpoint.origin, **newest)
    connection.execute(statement.on_conflict_do_update(index_elements=["origin"], set_=newest))
