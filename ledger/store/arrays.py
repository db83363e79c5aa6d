"""Whole tables of the index as arrays, for work on all rows at once.

It knows how to stream a table through the driver's own cursor into columns of the widths that the
tables declare. It interprets nothing, and refuses a value that isn't an integer of its width. All
reads of a transaction see one snapshot if the transaction does.
"""

from __future__ import annotations

import hashlib
import sqlite3
from array import array
from contextlib import contextmanager
from itertools import chain, compress, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import text

from ledger.errors import LedgerCorrupt
from ledger.identity.identifier import LOOKUP_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine import Connection

    from ledger.graph.rebuild import Array, Columns

_ROWS_AT_ONCE = 1 << 14
_LONG = ("id", "identifier", "account", "mass", "reported_index", "event_index", "bucket_index")
_SHORT = ("kind", "half_life", "binding", "declared", "bucket")
_TABLES = {
    "identifier": "SELECT id, kind FROM identifier",
    "incident": """
        SELECT reported_index, account, platform, half_life, mass, count, level_a, first_day,
               last_day
        FROM incident WHERE account IS NOT NULL
    """,
    # An edge of no incident is no account's, which is told by a number that no row has.
    "edge": """
        SELECT e.identifier, coalesce(i.platform, 0) AS platform, e.event_index,
               coalesce(i.account, -1) AS account, e.binding, e.declared
        FROM edge e LEFT JOIN incident i ON i.reported_index = e.event_index
    """,
    "posting": """
        SELECT identifier, account, platform, half_life, mass, count, disputed, level_a, binding,
               first_day, last_day
        FROM posting
    """,
    "multiplicity": """
        SELECT identifier, platform, accounts, bucket, bucket_index FROM multiplicity
    """,
    "override": """
        SELECT account AS identifier, event_index FROM separation UNION ALL
        SELECT other, event_index FROM separation UNION ALL
        SELECT identifier, event_index FROM marker UNION ALL
        SELECT identifier, event_index FROM recycling
    """,
}
_KEYS = "SELECT id, token FROM identifier ORDER BY token"


def count_table(connection: Connection, table: str) -> int:
    """Count the rows of a table that `read_table` would give."""
    counted = text(f"SELECT count(*) FROM ({_TABLES[table]}) t")  # noqa: S608 - a constant
    return int(connection.execute(counted).scalar_one())


def read_table(connection: Connection, table: str, on_rows: Callable[[int], None]) -> Columns:
    """Read the columns of the index's table; of incidents those alone that count.

    *Shape*: `on_rows` is told how many rows came. *Raises*: LedgerCorrupt where a value isn't an
    integer of its column's width.
    """
    rows = count_table(connection, table)
    filled = 0
    with _open_cursor(connection, _TABLES[table]) as cursor:
        names = [one[0] for one in cursor.description]
        columns: Columns = {name: np.empty(rows, _find_width(name)) for name in names}
        while numbers := _read_numbers(cursor):
            block = np.frombuffer(numbers, np.int64).reshape(-1, len(names))
            for place, column in enumerate(columns.values()):
                part = column[filled : filled + len(block)]
                part[:] = block[:, place][: len(part)]
                if len(part) < len(block) or (part != block[:, place]).any():
                    raise LedgerCorrupt(f"A number in table {table} doesn't fit its column.")
            filled += len(block)
            on_rows(len(block))
    return columns


def _read_numbers(cursor: Any) -> array[int]:  # noqa: ANN401 - a driver's cursor
    """Read some rows, all their values in a row."""
    try:
        return array("q", chain.from_iterable(islice(cursor, _ROWS_AT_ONCE)))
    except TypeError as error:
        raise LedgerCorrupt("A value of the index isn't an integer.") from error


def _find_width(name: str) -> str:
    return "i8" if name in _LONG else "i2" if name in _SHORT else "i4"


def read_keys(
    connection: Connection,
    on_rows: Callable[[int], None],
    *,
    used: Array | None = None,
    missing: int = 0,
) -> tuple[Array, bytes]:
    """Read the row numbers of all lookup keys in the order of the keys, and the keys' SHA-256.

    The keys themselves aren't kept. *Shape*: the hash is of those keys alone that are `used`, by
    their places, and of `ff…` for each that is `missing`. *Raises*: LedgerCorrupt where one doesn't
    have its length.
    """
    hashed = hashlib.sha256()
    numbers = array("q")
    with _open_cursor(connection, _KEYS) as cursor:
        while rows := list(islice(cursor, _ROWS_AT_ONCE)):
            ids, keys = zip(*rows, strict=True)
            if set(map(len, keys)) != {LOOKUP_KEY_BYTES}:
                raise LedgerCorrupt("A lookup key doesn't have its length.")
            if used is not None:
                keys = tuple(compress(keys, used[len(numbers) : len(numbers) + len(keys)]))
            hashed.update(b"".join(keys))
            numbers.extend(ids)
            on_rows(len(rows))
    hashed.update(b"\xff" * LOOKUP_KEY_BYTES * missing)
    return np.frombuffer(numbers, np.int64), hashed.digest()


@contextmanager
def _open_cursor(connection: Connection, statement: str) -> Iterator[Any]:
    """Run a statement so that its rows come as they are read, on the driver's own cursor."""
    if connection.dialect.name == "sqlite":
        cursor: Any = connection.connection.cursor()
    else:  # a cursor on the server's side
        cursor = connection.connection.cursor("bcl_arrays", binary=True)
        cursor.itersize = _ROWS_AT_ONCE
    try:
        cursor.execute(statement)
        yield cursor
    except sqlite3.DatabaseError as error:
        if type(error) is sqlite3.DatabaseError:
            raise LedgerCorrupt("The database file is damaged, or isn't a database.") from error
        raise
    finally:
        cursor.close()
