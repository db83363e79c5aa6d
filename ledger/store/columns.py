"""How the ledger's tables are named and how instants stand in them.

Instants are stored as whole microseconds since 1970 in UTC, so that both databases keep them
exactly.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Integer, MetaData
from sqlalchemy.types import TypeDecorator

from ledger.errors import LedgerCorrupt

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_MICROSECOND = timedelta(microseconds=1)

# SQLite gives a rowid only to a column of exactly this type.
RowId = BigInteger().with_variant(Integer(), "sqlite")


def to_microseconds(instant: datetime) -> int:
    """Give an aware instant as whole microseconds since 1970-01-01T00:00Z."""
    return (instant - EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    """Give the instant of `to_microseconds` back, in UTC.

    *Raises*: LedgerCorrupt beyond the calendar.
    """
    try:
        return EPOCH + timedelta(microseconds=value)
    except OverflowError as error:
        raise LedgerCorrupt("A stored instant was changed.") from error


class Instant(TypeDecorator[datetime]):
    """An aware instant, stored as microseconds since 1970 in UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Turn an aware instant into its integer."""
        del dialect
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Turn the integer into the aware instant."""
        del dialect
        return None if value is None else from_microseconds(value)
