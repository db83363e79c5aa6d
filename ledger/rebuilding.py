"""Derive the postings and multiplicities again, all at once, and compare their state hash.

The incidents that count, their edges and the kinds of identifiers are taken as stored; an audit is
what holds them against the signed statements. Which identifiers there must be follows from what
refers to them. Everything is read in one snapshot, nothing is written, and what differs is named by
the entries of its incidents, never by a token.
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

    from ledger.graph.rebuild import Array, Columns, Difference
    from ledger.ledger import Ledger
    from ledger.store.engine import Connection

_RANKED = ("identifier", "account")
# What says which identifiers there must be, each with the entry that it is of.
_SOURCES = {"incident": "reported_index", "edge": "event_index", "override": "event_index"}
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
        names = _Names(numbers)
        kinds = names.order_kinds(arrays.read_table(connection, "identifier", told.add))
        read = {
            table: names.rank(arrays.read_table(connection, table, told.add), _SOURCES.get(table))
            for table in (*_SOURCES, *_STORED)
        }
        unnamed = names.find_differences()
        live = keys_hash, _hash_kinds(kinds)
        due = live
        if names.differing:
            missing, used = names.missing, names.used
            _, due_keys = arrays.read_keys(connection, lambda _: None, used=used, missing=missing)
            due = due_keys, _hash_kinds(kinds[used], missing)
    incidents, edges = read["incident"], read["edge"]
    derived = derive_index(incidents, edges)
    borne, counted = compare_index(derived, read.pop("posting"), read.pop("multiplicity"), told.add)
    told.end()
    found = (*borne.differences, *counted.differences)[:DIFFERENCES_MAX]
    rows = [_name_row(one, incidents, edges) for one in found]
    return Rebuilt(
        incidents=len(incidents["mass"]),
        edges=len(edges["binding"]),
        identifiers=len(numbers),
        postings=borne.rows,
        multiplicities=counted.rows,
        derived=StateHash(*due, borne.derived_hash.digest(), counted.derived_hash.digest()),
        live=StateHash(*live, borne.stored_hash.digest(), counted.stored_hash.digest()),
        differing=names.differing + borne.differing + counted.differing,
        differences=(*unnamed, *rows)[:DIFFERENCES_MAX],
    )


class _Names:
    """The ranks of row numbers, which identifiers something refers to, and which aren't there."""

    def __init__(self, numbers: Array) -> None:
        """Rank row numbers, which are given in the order of their keys."""
        self.ranks = rank_numbers(numbers)
        self._marks = np.zeros(len(numbers) + 1, np.bool_)  # the last is that of all without a rank
        self._unknown: list[tuple[Array, Array]] = []

    def rank(self, columns: Columns, entry: str | None) -> Columns:
        """Put ranks in the place of row numbers, and keep in mind to what they refer.

        *Shape*: `entry` is the column of the entries that rows are of; without it the rows are
        themselves derived, and don't say what there must be.
        """
        for name in _RANKED:
            if name not in columns:
                continue
            numbers = columns[name]
            columns[name] = self.ranks.look_up(numbers)
            self._marks[columns[name]] = True
            if entry:
                gone = (columns[name] < 0) & (numbers >= 0)
                self._unknown.append((numbers[gone], columns[entry][gone]))
        return columns

    def order_kinds(self, identifiers: Columns) -> Array:
        """Give the kinds in the order of the keys."""
        kinds = np.full(len(self.used), -1, ">i2")
        kinds[self.ranks.look_up(identifiers["id"])] = identifiers["kind"]
        return kinds

    @property
    def used(self) -> Array:
        """Whether something refers to an identifier, by its rank."""
        return self._marks[:-1]

    @property
    def missing(self) -> int:
        """How many identifiers are referred to and aren't there."""
        return len(np.unique(np.concatenate([numbers for numbers, _ in self._unknown])))

    @property
    def differing(self) -> int:
        """How many identifiers should be there and aren't, or the other way."""
        return int(np.count_nonzero(~self.used)) + self.missing

    def find_differences(self) -> list[DifferingRow]:
        """Name the first identifiers that are missing, by what refers to them, or unexpected."""
        numbers, entries = map(np.concatenate, zip(*self._unknown, strict=True))
        missing = [
            DifferingRow(
                "identifier", "missing", (), tuple(np.unique(entries[numbers == one]).tolist())
            )
            for one in np.unique(numbers)[:DIFFERENCES_MAX]
        ]
        orphans = min(DIFFERENCES_MAX, int(np.count_nonzero(~self.used)))
        return missing + [DifferingRow("identifier", "unexpected", (), ())] * orphans


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


def _hash_kinds(kinds: Array, missing: int = 0) -> bytes:
    return hashlib.sha256(kinds.tobytes() + b"\xff\xff" * missing).digest()


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
