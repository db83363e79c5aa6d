"""Statements about the tiles of the tree, on the driver's own cursor where every proof waits.

Only full tiles have rows. What a partial one holds is read from what lies below it: leaf hashes of
entries on level 0, the last hash of full tiles above.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from ledger.errors import LedgerCorrupt
from ledger.log.merkle import HASH_BYTES
from ledger.log.tile import FULL_BYTES, WIDTH, TileAddress, edge_addresses
from ledger.store.tables import log_checkpoint, log_entry, log_tile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.engine import Connection

_INSERT = insert(log_tile)
_FIND = {
    "sqlite": 'SELECT hashes FROM log_tile WHERE level = ? AND "index" = ?',
    "postgresql": 'SELECT hashes FROM log_tile WHERE level = %s AND "index" = %s',
}
_LEAVES = 'SELECT leaf_hash FROM log_entry WHERE "index" >= ? AND "index" < ? ORDER BY "index"'
_TOPS = (
    f"SELECT substr(hashes, {FULL_BYTES - HASH_BYTES + 1}) FROM log_tile WHERE level = ? "  # noqa: S608 - a number
    'AND "index" >= ? AND "index" < ? ORDER BY "index"'
)
_ROWS = {
    "sqlite": (_LEAVES, _TOPS),
    "postgresql": (_LEAVES.replace("?", "%s"), _TOPS.replace("?", "%s")),
}


def insert_tiles(connection: Connection, tiles: Sequence[tuple[TileAddress, bytes]]) -> None:
    """Insert full tiles."""
    connection.execute(
        _INSERT, [{"level": one.level, "index": one.index, "hashes": raw} for one, raw in tiles]
    )


def select_tile(connection: Connection, address: TileAddress) -> bytes:
    """Give a full tile. *Raises*: LedgerCorrupt where it is missing."""
    cursor = connection.connection.cursor()
    cursor.execute(_FIND[connection.dialect.name], (address.level, address.index))
    row: Any = cursor.fetchone()
    cursor.close()
    if row is None or len(row[0]) != FULL_BYTES:
        raise LedgerCorrupt("A tile of the log is missing or cut short.")
    tile: bytes = row[0]
    return tile


def select_hashes(connection: Connection, address: TileAddress) -> bytes:
    """Give the hashes of a tile of any width, from what lies below it.

    *Raises*: LedgerCorrupt where some are missing.
    """
    if not address.width:
        return b""
    leaves, tops = _ROWS[connection.dialect.name]
    first = address.index * WIDTH
    place: tuple[int, ...] = (first, first + address.width)
    if address.level:
        place = (address.level - 1, *place)
    cursor = connection.connection.cursor()
    cursor.execute(tops if address.level else leaves, place)
    hashes = b"".join([row[0] for row in cursor.fetchall()])
    cursor.close()
    if len(hashes) != address.width * HASH_BYTES:
        raise LedgerCorrupt("Hashes of the log are missing or cut short.")
    return hashes


def select_edge(connection: Connection, size: int) -> list[bytes]:
    """Give the hashes of the partial tiles of a size, level by level."""
    return [select_hashes(connection, address) for address in edge_addresses(size)]


def select_entries(connection: Connection, begin: int, stop: int) -> list[bytes]:
    """Give the exact entries from one index to before another.

    *Raises*: LedgerCorrupt where some are missing.
    """
    place = log_entry.c.index
    statement = select(log_entry.c.entry).where(place >= begin, place < stop).order_by(place)
    found = list(connection.execute(statement).scalars())
    if len(found) != stop - begin:
        raise LedgerCorrupt("Entries of the log are missing.")
    return found


def stream_tiles(connection: Connection) -> Iterator[tuple[TileAddress, bytes]]:
    """Stream every tile that is kept, level by level."""
    statement = select(log_tile).order_by(log_tile.c.level, log_tile.c.index)
    for row in connection.execute(statement).yield_per(WIDTH):
        yield TileAddress(row[0], row[1]), row[2]


def has_checkpoint(connection: Connection, begin: int, stop: int) -> bool:
    """Tell whether a size from one to before another is published."""
    size = log_checkpoint.c.size
    statement = select(size).where(
        size >= begin, size < stop, log_checkpoint.c.published_at.is_not(None)
    )
    return connection.execute(statement.limit(1)).scalar_one_or_none() is not None
