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
    from ledger.store.tree_cache import TreeCache


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


def recall_edge(connection: Connection, cache: TreeCache, size: int) -> Edge:
    """Give the right edge of a size, read where it isn't kept. *Raises*: LedgerCorrupt."""
    edge = cache.edges.find(size)
    if edge is None:
        edge = read_edge(connection, size)
        cache.edges.keep(size, edge)
    return edge


def _recall_tiles(
    connection: Connection, cache: TreeCache, addresses: Sequence[TileAddress]
) -> list[bytes]:
    found = []
    for address in addresses:
        place = address.level, address.index
        tile = cache.tiles.find(place)
        if tile is None:
            tile = tiles.select_tile(connection, address)
            cache.tiles.keep(place, tile)
        found.append(tile)
    return found


def recall_inclusion(
    connection: Connection, cache: TreeCache, edge: Edge, index: int
) -> list[bytes]:
    """Give the proof of the leaf at an index, below the edge's size, from one tile a level."""
    addresses = path_addresses(edge.size, index)
    return prove_inclusion(edge, index, _recall_tiles(connection, cache, addresses))


def recall_consistency(
    connection: Connection, cache: TreeCache, edge: Edge, size1: int
) -> list[bytes]:
    """Give the proof that a smaller log is a prefix of the edge's, from one tile a level.

    *Raises*: InvalidProof for sizes below one or beyond the edge's.
    """
    addresses = path_addresses(edge.size, *prefix_end(size1)) if 0 < size1 < edge.size else []
    return prove_consistency(edge, size1, _recall_tiles(connection, cache, addresses))
