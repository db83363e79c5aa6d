"""Checkpoints on their way from signed to published, and how far each witness said it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select, update

from ledger.errors import LedgerCorrupt
from ledger.store.tables import log_checkpoint, log_state, witness_size

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.engine import Connection

# Built once: on SQLite each statement is published by these.
_SIGNED = select(log_checkpoint).where(log_checkpoint.c.size == bindparam("at"))
_INSERT_SIGNED = (
    insert(log_checkpoint)
    .values(
        previous_size=select(log_state.c.signed_size).where(log_state.c.id == 1).scalar_subquery()
    )
    .returning(log_checkpoint.c.previous_size)
)
_NEWEST = update(log_state).where(log_state.c.id == 1).values(signed_size=bindparam("newest"))


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """The one signed checkpoint of a size. `published_at` is None until a quorum cosigned it.

    *Shape*: `previous_size` is that of the checkpoint signed before it, 0 for none.
    """

    size: int
    note: str
    cosignatures: str
    published_at: datetime | None
    previous_size: int

    @property
    def shown(self) -> str:
        """The note with its cosignatures."""
        return self.note + self.cosignatures


def find_signed(connection: Connection, size: int) -> SignedCheckpoint | None:
    """Find the checkpoint that was signed for a size."""
    row = connection.execute(_SIGNED, {"at": size}).one_or_none()
    return None if row is None else _signed(row)


def stream_signed(connection: Connection) -> Iterator[SignedCheckpoint]:
    """Stream every signed checkpoint, by size."""
    for row in connection.execute(select(log_checkpoint).order_by(log_checkpoint.c.size)):
        yield _signed(row)


def _signed(row: Row[tuple[object, ...]]) -> SignedCheckpoint:
    return SignedCheckpoint(
        row.size, row.note, row.cosignatures or "", row.published_at, row.previous_size
    )


def insert_signed(
    connection: Connection, size: int, note: str, published_at: datetime | None, *, after: int
) -> SignedCheckpoint:
    """Keep the one checkpoint of a size; nobody is shown it before `published_at`.

    The log's state is locked by the caller, so that each follows the one before it. *Raises*:
    LedgerCorrupt where that is older than one of which it is known that it was signed, `after`.
    """
    row = {"size": size, "note": note, "published_at": published_at}
    previous_size = connection.execute(_INSERT_SIGNED, row).scalar_one()
    if previous_size < after:
        raise LedgerCorrupt(
            f"This process signed {after} entries and the database doesn't know it: an old backup "
            "was restored. Nothing more is signed (docs/operating.md, Restoring a backup)."
        )
    connection.execute(_NEWEST, {"newest": size})
    return SignedCheckpoint(size, note, "", published_at, previous_size)


def select_newest_signed(connection: Connection) -> list[int]:
    """Give the newest size that was signed, as each row of the log's state has it: one has."""
    return list(connection.execute(select(log_state.c.signed_size)).scalars())


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


def select_unsigned(connection: Connection) -> dict[str, int]:
    """Give the sizes that witnesses say they cosigned and that were never signed, by name."""
    told = select(witness_size.c.name, witness_size.c.size)
    signed = select(log_checkpoint.c.size).where(log_checkpoint.c.size == witness_size.c.size)
    rows = connection.execute(told.where(witness_size.c.size > 0, ~signed.exists()))
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
