"""Derive the postings and multiplicities again, all at once, and compare their state hash.

The incidents that count and their edges are taken as stored; an audit is what holds them against
the signed statements. Everything is read in one snapshot, nothing is written, and what differs is
named by the entries of its incidents, never by a token.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ledger.graph.rebuild import (
    DIFFERENCES_MAX,
    StateHash,
    compare_index,
    derive_index,
    rank_numbers,
)
from ledger.store import arrays
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.graph.rebuild import Array, Columns, Difference, Ranks
    from ledger.ledger import Ledger
    from ledger.store.engine import Connection

_RANKED = ("identifier", "account")
_SOURCES = ("incident", "edge")
_STORED = ("posting", "multiplicity")


@dataclass(frozen=True, slots=True)
class DifferingRow:
    """A stored row that isn't as it is derived, or isn't there, or shouldn't be.

    *Shape*: `how` is changed, missing or unexpected; `fields` are those that changed; `indexes`
    are the entries of the incidents from which the row follows, or of those nearest to it.
    """

    table: str
    how: str
    fields: tuple[str, ...]
    indexes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """How many rows were read and derived, both hashes, and the first rows that differ."""

    incidents: int
    edges: int
    identifiers: int
    postings: int
    multiplicities: int
    derived: StateHash
    live: StateHash
    differing: int
    differences: tuple[DifferingRow, ...]

    @property
    def is_equal(self) -> bool:
        """Whether the stored index is the derived one."""
        return self.derived == self.live


def rebuild_index(ledger: Ledger, on_progress: Callable[[int, int], None]) -> Rebuilt:
    """Derive the index again, compare it with the stored one, and give both hashes.

    *Shape*: `on_progress` is told how many of how many rows were read or compared. *Raises*:
    LedgerCorrupt where what is stored can't be read.
    """
    with begin_read(ledger.database, snapshot=True) as connection:
        told = _Progress(connection, on_progress)
        numbers, keys_hash = arrays.read_keys(connection, told.add)
        ranks = rank_numbers(numbers)
        kinds_hash = _hash_kinds(arrays.read_table(connection, "identifier", told.add), ranks)
        read = {
            table: _rank(arrays.read_table(connection, table, told.add), ranks)
            for table in (*_SOURCES, *_STORED)
        }
    incidents, edges = read["incident"], read["edge"]
    derived = derive_index(incidents, edges)
    borne, counted = compare_index(derived, read.pop("posting"), read.pop("multiplicity"), told.add)
    told.end()
    found = (*borne.differences, *counted.differences)[:DIFFERENCES_MAX]
    return Rebuilt(
        incidents=len(incidents["mass"]),
        edges=len(edges["binding"]),
        identifiers=len(numbers),
        postings=borne.rows,
        multiplicities=counted.rows,
        derived=StateHash(
            keys_hash, kinds_hash, borne.derived_hash.digest(), counted.derived_hash.digest()
        ),
        live=StateHash(
            keys_hash, kinds_hash, borne.stored_hash.digest(), counted.stored_hash.digest()
        ),
        differing=borne.differing + counted.differing,
        differences=tuple(_name_row(one, incidents, edges) for one in found),
    )


class _Progress:
    """What is done of all rows: each is read once, and those of the index compared once more."""

    def __init__(self, connection: Connection, on_progress: Callable[[int, int], None]) -> None:
        """Count what there is to do."""
        count = {
            table: arrays.count_table(connection, table)
            for table in ("identifier", *_SOURCES, *_STORED)
        }
        compared = count["posting"] + count["multiplicity"]
        self.of = sum(count.values()) + count["identifier"] + compared
        self.done = 0
        self.on_progress = on_progress

    def add(self, rows: int) -> None:
        """Tell that some more are done; more may be derived than are stored."""
        self.done = min(self.done + rows, self.of)
        self.on_progress(self.done, self.of)

    def end(self) -> None:
        """Tell that all is done."""
        self.add(self.of)


def _rank(columns: Columns, ranks: Ranks) -> Columns:
    """Put ranks in the place of row numbers."""
    for name in _RANKED:
        if name in columns:
            columns[name] = ranks.look_up(columns[name])
    return columns


def _hash_kinds(identifiers: Columns, ranks: Ranks) -> bytes:
    kinds = np.empty(len(identifiers["id"]), ">i2")
    kinds[ranks.look_up(identifiers["id"])] = identifiers["kind"]
    return hashlib.sha256(kinds.tobytes()).digest()


def _name_row(one: Difference, incidents: Columns, edges: Columns) -> DifferingRow:
    """Name a row by its incidents: of its account, or under its token, here or anywhere."""
    of_token = edges["identifier"] == one.identifier
    nearest: list[tuple[Array, Array]] = [
        (of_token & (edges["platform"] == one.platform), edges["event_index"]),
        (of_token, edges["event_index"]),
    ]
    if one.account is not None:
        nearest.insert(0, (incidents["account"] == one.account, incidents["reported_index"]))
    named = (np.unique(indexes[where]).tolist() for where, indexes in nearest)
    indexes = next((tuple(some) for some in named if some), ())
    return DifferingRow(one.table, one.how, one.fields, indexes)
