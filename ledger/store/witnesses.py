"""Checkpoints on their way from signed to published, and how far each witness said it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from ledger.store.tables import log_checkpoint, witness_size

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from sqlalchemy.engine import Connection


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """The one signed checkpoint of a size. `published_at` is None until a quorum cosigned it."""

    size: int
    note: str
    cosignatures: str
    published_at: datetime | None


def find_signed(connection: Connection, size: int) -> SignedCheckpoint | None:
    """Find the checkpoint that was signed for a size."""
    statement = select(log_checkpoint).where(log_checkpoint.c.size == size)
    row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    return SignedCheckpoint(row.size, row.note, row.cosignatures or "", row.published_at)


def insert_signed(connection: Connection, size: int, note: str) -> None:
    """Keep the one checkpoint of a size; nobody is shown it yet."""
    connection.execute(insert(log_checkpoint).values(size=size, note=note))


def publish_signed(connection: Connection, size: int, cosignatures: str, at: datetime) -> None:
    """Show a signed checkpoint to everybody from now on, with its cosignatures."""
    connection.execute(
        update(log_checkpoint)
        .where(log_checkpoint.c.size == size)
        .values(published_at=at, cosignatures=cosignatures)
    )


def select_sizes(connection: Connection) -> dict[str, int]:
    """Give how many entries each witness said last that it cosigned, by name."""
    rows = connection.execute(select(witness_size.c.name, witness_size.c.size))
    return {row.name: row.size for row in rows}


def replace_sizes(connection: Connection, told: Mapping[str, int], at: datetime) -> None:
    """Keep what witnesses said just now."""
    if told:
        forget_sizes(connection, told)
        rows = [{"name": name, "size": size, "told_at": at} for name, size in sorted(told.items())]
        connection.execute(insert(witness_size), rows)


def forget_sizes(connection: Connection, names: Collection[str]) -> None:
    """Forget what some witnesses said."""
    connection.execute(delete(witness_size).where(witness_size.c.name.in_(list(names))))
