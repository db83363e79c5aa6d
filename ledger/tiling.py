"""The tree as it is kept: tiles written once they are full, proofs read from them.

It knows which rows a growth of the log fills and which a proof needs. It decides nothing: what is
published is the caller's to know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.errors import InvalidProof, LedgerCorrupt
from ledger.log.tile import (
    build_edge,
    build_tile,
    cut_tiles,
    path_addresses,
    prefix_end,
    prove_consistency,
    prove_inclusion,
)
from ledger.store import tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.log.tile import Edge, TileAddress
    from ledger.store.engine import Connection


def write_full_tiles(connection: Connection, size: int, rows: Sequence[bytes]) -> None:
    """Write the tiles that a growth of the log filled; its entries are written already.

    *Shape*: `rows` as `grow` gives them for a log that had `size` leaves.
    """
    level = 0
    batch: list[tuple[TileAddress, bytes]] = []
    for address, tile in cut_tiles(size, rows):
        if address.level > level and batch:  # which the first tile above may need
            tiles.insert_tiles(connection, batch)
            batch = []
        level = address.level
        if tile is None:
            tile = build_tile(tiles.select_hashes(connection, address))  # noqa: PLW2901
        batch.append((address, tile))
    if batch:
        tiles.insert_tiles(connection, batch)


def read_edge(connection: Connection, size: int) -> Edge:
    """Read the right edge of a size from what is stored. *Raises*: LedgerCorrupt."""
    try:
        return build_edge(size, tiles.select_edge(connection, size))
    except InvalidProof as error:
        raise LedgerCorrupt("What is stored of the tree doesn't fit its size.") from error


def read_inclusion(connection: Connection, edge: Edge, index: int) -> list[bytes]:
    """Read the proof of the leaf at an index, below the edge's size, from one tile a level."""
    addresses = path_addresses(edge.size, index)
    return prove_inclusion(edge, index, tiles.select_tiles(connection, addresses))


def read_consistency(connection: Connection, edge: Edge, size1: int) -> list[bytes]:
    """Read the proof that a smaller log is a prefix of the edge's, from one tile a level.

    *Raises*: InvalidProof for sizes below one or beyond the edge's.
    """
    addresses = path_addresses(edge.size, *prefix_end(size1)) if 0 < size1 < edge.size else []
    return prove_consistency(edge, size1, tiles.select_tiles(connection, addresses))
