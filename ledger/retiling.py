"""Tiles compared with the entries that they are of, for an audit of the tree as it is kept."""

from __future__ import annotations

from itertools import count, takewhile
from typing import TYPE_CHECKING

from ledger.examining import Finding
from ledger.log.merkle import grow, leaf_hashes
from ledger.log.tile import HEIGHT, LEVELS_MAX, WIDTH, cut_tiles, first_size, name_difference
from ledger.store import tiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ledger.log.tile import TileAddress
    from ledger.store.engine import Connection


def examine_tiles(
    connection: Connection, size: int, rows: Mapping[int, tuple[bytes, bytes]]
) -> list[Finding]:
    """Build every full tile again from the entries and compare; each is named by an entry under it.

    *Shape*: `rows` are entries and leaf hashes by index. Where an entry is missing, which is a
    finding of its own, the tiles before it are compared.
    """
    dense = takewhile(lambda index: index in rows, count())
    _, grown = grow(0, b"", leaf_hashes(rows[index][0] for index in dense))
    derived = dict(cut_tiles(0, grown))
    findings = []
    for address, stored in tiles.stream_tiles(connection):
        expected = derived.pop(address, None)
        if expected is not None:
            if stored != expected:
                index = name_difference(address, stored, expected)
                findings.append(Finding(index, "tile-differs", "A tile isn't of its entries."))
        elif not 0 <= address.level < LEVELS_MAX or first_size(address) > size:
            detail = "A tile is kept that the log hasn't filled."
            findings.append(Finding(_first_leaf(address), "tile-unknown", detail))
    findings += [
        Finding(_first_leaf(address), "tile-missing", "A tile that the log filled is missing.")
        for address in derived
    ]
    return findings


def _first_leaf(address: TileAddress) -> int | None:
    if not 0 <= address.level < LEVELS_MAX:
        return None
    return address.index * WIDTH << HEIGHT * address.level
