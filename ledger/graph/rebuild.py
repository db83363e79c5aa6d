"""The index derived again, from arrays of counting incidents and edges, and its state hash.

It knows what every posting and every multiplicity must be: under its own key and under each token
that it is linked to, an account bears all its incidents; bindings and buckets follow the latest
event, and one account alone isn't counted. It works on whole columns and gives rows in pieces, so
that a million accounts fit into little memory. It refuses to know databases, tokens and scores;
identifiers are small numbers here.

The state hash is SHA-256 of "bcl/state" ‖ 00 ‖ K ‖ I ‖ P ‖ M, four SHA-256 hashes of rows of fixed
width, integers big-endian. K: all lookup keys (16 bytes each) in ascending order. I: their kinds
(2 bytes each) in the same order. P and M: the rows of `POSTING` and `MULTIPLICITY`, ascending by
their key (the first four columns and the first two), where an identifier or an account is the
rank of its lookup key, from 0, or ff ff ff ff where none is stored. So it depends on no row
number, on no order of writing and on no database.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from ledger.errors import LedgerCorrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Array: TypeAlias = npt.NDArray[Any]
Columns: TypeAlias = dict[str, Array]
Rows: TypeAlias = npt.NDArray[np.void]
Row: TypeAlias = tuple[int, ...]


def _lay_out(fields: str) -> np.dtype[np.void]:
    """Lay out a row of big-endian integers, each field followed by its bytes."""
    pairs = (field.rsplit(maxsplit=1) for field in fields.split(","))
    return np.dtype([(name.strip(), f">i{width}") for name, width in pairs])


# Rows as they are hashed. The key comes first, and rows ascend by it.
POSTING = _lay_out(
    "identifier 4, account 4, platform 4, half_life 2, mass 8, count 4, disputed 4, level_a 4, "
    "binding 2, first_day 4, last_day 4"
)
MULTIPLICITY = _lay_out("identifier 4, platform 4, accounts 4, bucket 2, bucket_index 8")
DIFFERENCES_MAX = 20
_BORNE_KEY = ("account", "platform", "half_life")
_END = 2**31
_KEY_BITS = 63
_MASS_MAX = 2**63 - 1
_MERGES = {
    "mass": np.add,
    "count": np.add,
    "level_a": np.add,
    "first_day": np.minimum,
    "last_day": np.maximum,
}
_PIECE_ROWS = 1 << 16
_SPARSE = 16  # from how many numbers for each key on a table of all numbers is a waste
_FEW = 1 << 20


@dataclass(frozen=True, slots=True)
class StateHash:
    """The state hash by its four parts."""

    keys: bytes
    kinds: bytes
    postings: bytes
    multiplicities: bytes

    @property
    def whole(self) -> bytes:
        """The state hash itself."""
        parts = (b"bcl/state\x00", self.keys, self.kinds, self.postings, self.multiplicities)
        return hashlib.sha256(b"".join(parts)).digest()


@dataclass(frozen=True, slots=True)
class Ranks:
    """Which rank a row number has; −1 where there is no such row."""

    numbers: Array
    table: Array

    @property
    def dense(self) -> bool:
        """Whether `table` has a place for every number, and not only for those that exist."""
        return not len(self.numbers)

    def look_up(self, numbers: Array) -> Array:
        """Give the rank of each row number."""
        if self.dense:  # the last place is that of all that aren't there
            last = len(self.table) - 1
            at = np.minimum(numbers.view(np.uint64), np.uint64(last))
            return self.table.take(at.view(np.int64))
        at = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        return np.where(self.numbers[at] == numbers, self.table[at], np.int32(-1))


def rank_numbers(numbers: Array) -> Ranks:
    """Rank row numbers (int64), which are given in the order of their keys."""
    size = len(numbers)
    top = int(numbers.max()) if size else 0
    ranks = np.arange(size, dtype=np.int32)
    if top <= _SPARSE * size + _FEW and (not size or int(numbers.min()) >= 0):
        table = np.full(top + 2, -1, np.int32)
        table[numbers] = ranks
        return Ranks(numbers[:0], table)
    order = np.argsort(numbers)
    return Ranks(numbers[order], ranks[order])


def group_rows(column: Array) -> Array:
    """Give the stable order of rows by a column of small numbers, from −1.

    A sparse matrix with one element a row is turned: that counts, where sorting would compare, and
    takes a third of the time.
    """
    rows = len(column)
    if not rows:
        return np.zeros(0, np.int32)
    shifted = (column + 1).astype(np.int32, copy=False)
    elements = np.ones(rows, np.int8), shifted, np.arange(rows + 1, dtype=np.int32)
    matrix = csr_array(elements, shape=(rows, int(shifted.max()) + 1))
    order: Array = matrix.tocsc().indices
    return order


def order_rows(columns: Sequence[Array]) -> Array:
    """Give the stable order of rows by columns, the first of small numbers, from −1."""
    order = group_rows(columns[0])
    return order[_order_nearly([column[order] for column in columns])]


def _order_nearly(columns: Sequence[Array]) -> Array | slice:
    """Give the stable order of rows by columns, by the first of which they ascend already."""
    key = np.zeros(len(columns[0]), np.int64)
    width = 0
    for column in columns if len(key) else ():
        low = int(column.min())
        bits = (int(column.max()) - low).bit_length()
        width += bits
        if width > _KEY_BITS:
            return np.lexsort(columns[::-1])
        key <<= bits
        key += column
        key -= low
    if (key[1:] >= key[:-1]).all():
        return slice(None)
    return np.argsort(key, kind="stable")  # one pass over runs that ascend, and a few swaps


def _find_starts(*columns: Array) -> Array:
    """Find where runs of equal rows start in columns that are in order."""
    starts = np.zeros(len(columns[0]), np.bool_)
    starts[:1] = True
    for column in columns:
        starts[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(starts)


def _find_ends(starts: Array, rows: int) -> Array:
    """Give the last row of each run."""
    return np.append(starts[1:], rows)[: len(starts)] - 1


def sum_incidents(incidents: Columns) -> Rows:
    """Sum incidents by account, platform and half-life: the postings of the accounts' own keys.

    *Raises*: LedgerCorrupt where a mass leaves 64 bits.
    """
    order = order_rows([incidents[name] for name in _BORNE_KEY])
    keys = {name: incidents[name].take(order) for name in _BORNE_KEY}
    starts = _find_starts(*keys.values())
    borne = np.zeros(len(starts), POSTING)
    for name, column in keys.items():
        borne[name] = column[starts]
    borne["identifier"] = borne["account"]
    del keys
    if not len(order):
        return borne
    mass = incidents["mass"]
    if max(int(mass.max()), -int(mass.min())) > _MASS_MAX // len(mass):
        wide = np.add.reduceat(mass.take(order).astype(np.float64), starts)
        if np.abs(wide).max() >= float(_MASS_MAX):
            raise LedgerCorrupt("An account bears more than 64 bits can hold.")
    for name, merge in _MERGES.items():
        column = incidents[name].take(order)
        borne[name] = merge.reduceat(column, starts) if len(starts) < len(order) else column
    return borne


@dataclass(frozen=True, slots=True)
class Piece:
    """All rows of the identifiers from the last bound up to this, in the order of their keys."""

    bound: int
    postings: Rows
    multiplicities: Rows


@dataclass(frozen=True, slots=True)
class DerivedIndex:
    """The index before it is written out: what accounts bear, and their edges.

    *Shape*: `borne` as of `sum_incidents`; `order` are the edges by identifier.
    """

    borne: Rows
    edges: Columns
    order: Array

    def stream_pieces(self, rows: int = _PIECE_ROWS) -> Iterator[Piece]:
        """Stream all postings and multiplicities in the order of their keys."""
        owners = self.borne["account"].astype(np.int32)
        starts = _find_starts(owners).astype(np.int32)
        identifiers = self.edges["identifier"]
        named = (owners, identifiers, self.edges["account"])
        top = max((int(column.max()) for column in named if len(column)), default=-1)
        groups = np.full(top + 2, len(starts), np.int32)  # the last place is that of −1
        groups[owners[starts]] = np.arange(len(starts), dtype=np.int32)
        first = np.concatenate((starts, np.full(2, len(owners), np.int32)))
        inner = np.concatenate((owners[rows::rows], identifiers[self.order[rows::rows]]))
        bounds = np.append(np.unique(inner), np.int32(top + 1))
        own_from = edge_from = 0
        edge_to = [bisect_left(self.order, bound, key=identifiers.__getitem__) for bound in bounds]
        for bound, own_end, edge_end in zip(
            bounds, np.searchsorted(owners, bounds), edge_to, strict=True
        ):
            edges = self._gather(self.order[edge_from:edge_end])
            links = _find_links(edges)
            groups_of = groups.take(edges["account"].take(links))
            own = np.arange(own_from, own_end)
            postings = self._expand(
                own, owners[own], edges, links, first.take(groups_of), first.take(groups_of + 1)
            )
            yield Piece(int(bound), postings, _count_accounts(edges, links))
            own_from, edge_from = own_end, edge_end

    def _gather(self, places: Array) -> Columns:
        """Gather some edges, ordered by identifier, account and event."""
        edges = {name: column.take(places) for name, column in self.edges.items()}
        order = _order_nearly([edges[name] for name in ("identifier", "account", "event_index")])
        return {name: column[order] for name, column in edges.items()}

    def _expand(
        self, own: Array, owners: Array, edges: Columns, links: Array, rows: Array, rows_to: Array
    ) -> Rows:
        """Give every account of a piece what it bears, under its own key and its links."""
        numbers = rows_to - rows
        if not (numbers == 1).all():
            ended = np.cumsum(numbers)
            links = np.repeat(links, numbers)
            rows = np.arange(len(links)) + np.repeat(rows - (ended - numbers), numbers)
        identifier = np.concatenate((owners, edges["identifier"].take(links)))
        binding = np.concatenate((np.zeros(len(own), np.int16), edges["binding"].take(links)))
        key = identifier.astype(np.int64) << 32
        key += np.concatenate((owners, edges["account"].take(links)))
        order = np.argsort(key, kind="stable")  # which merges two parts that are in order
        postings = self.borne.take(np.concatenate((own, rows))[order])
        postings["identifier"] = identifier[order]
        postings["binding"] = binding[order]
        return postings


def derive_index(incidents: Columns, edges: Columns) -> DerivedIndex:
    """Derive the index from the incidents that count and their edges.

    *Shape*: columns as the tables name them; identifiers and accounts are ranks (int32), which
    are small. *Raises*: LedgerCorrupt where a mass leaves 64 bits.
    """
    order = group_rows(edges["identifier"])
    return DerivedIndex(sum_incidents(incidents), edges, order)


def _find_links(edges: Columns) -> Array:
    """Find the latest edge of each account on each identifier."""
    return _find_ends(_find_starts(edges["identifier"], edges["account"]), len(edges["account"]))


def _count_accounts(edges: Columns, links: Array) -> Rows:
    """Count each platform's accounts on identifiers with two or more; the latest event declares."""
    identifier = np.pad(edges["identifier"].take(links), 1, constant_values=-2)
    links = links[(identifier[1:-1] == identifier[2:]) | (identifier[1:-1] == identifier[:-2])]
    names = ("identifier", "platform", "event_index", "declared")
    columns = [edges[name].take(links) for name in names]
    order = _order_nearly(columns[:3])
    identifier, platform, index, declared = (column[order] for column in columns)
    starts = _find_starts(identifier, platform)
    ends = _find_ends(starts, len(links))
    rows = np.empty(len(starts), MULTIPLICITY)
    rows["accounts"] = ends - starts + 1
    rows["identifier"], rows["platform"] = identifier[ends], platform[ends]
    rows["bucket"], rows["bucket_index"] = declared[ends], index[ends]
    return rows


def pack_rows(kind: np.dtype[np.void], columns: Columns, places: Array) -> Rows:
    """Pack some rows of columns into rows of fixed width."""
    rows = np.empty(len(places), kind)
    for name in _names(kind):
        rows[name] = columns[name].take(places)
    return rows


def _names(kind: np.dtype[np.void]) -> tuple[str, ...]:
    return kind.names or ()


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that isn't as it is derived; `fields` that differ, where both sides have the row.

    *Shape*: identifier and account are ranks or −1; a multiplicity has no account.
    """

    table: str
    how: str
    fields: tuple[str, ...]
    identifier: int
    platform: int
    account: int | None = None


class TableComparison:
    """One derived table beside the stored one, piece after piece: both hashes, what differs."""

    def __init__(self, table: str, kind: np.dtype[np.void], key: int, stored: Columns) -> None:
        """Put the stored rows in the order of their key, which is the first `key` columns."""
        self.table, self.kind, self.key = table, kind, key
        self.stored = stored
        names = _names(kind)
        unnamed = any((stored[name] < 0).any() for name in names[:2])  # rows that refer to nothing
        self.order = order_rows([stored[name] for name in (names if unnamed else names[:key])])
        self.derived_hash, self.stored_hash = hashlib.sha256(), hashlib.sha256()
        self.rows = self.differing = self._compared = 0
        self.differences: list[Difference] = []

    def compare(self, bound: int, derived: Rows) -> None:
        """Compare all rows of identifiers below a bound that weren't compared yet."""
        begin = self._compared
        find = self.stored["identifier"].__getitem__
        self._compared = bisect_left(self.order, bound, lo=begin, key=find)
        stored = pack_rows(self.kind, self.stored, self.order[begin : self._compared])
        self.rows += len(derived)
        ours, theirs = derived.tobytes(), stored.tobytes()
        self.derived_hash.update(ours)
        self.stored_hash.update(theirs)
        if ours != theirs:
            found = self._tell(Counter(derived.tolist()), Counter(stored.tolist()))
            self.differing += len(found)
            self.differences += found[: DIFFERENCES_MAX - len(self.differences)]

    def _tell(self, derived: Counter[Row], stored: Counter[Row]) -> list[Difference]:
        expected = {row[: self.key]: row for row in derived - stored}
        unexpected = stored - derived
        names = _names(self.kind)
        told = []
        for row in sorted(unexpected.elements()):
            twin = expected.pop(row[: self.key], None)
            fields = [n for n, x, y in zip(names, row, twin or row, strict=True) if x != y]
            told.append((row, "changed" if twin else "unexpected", tuple(fields)))
        told += [(row, "missing", ()) for row in expected.values()]
        return [
            Difference(
                self.table,
                how,
                fields,
                row[0],
                row[names.index("platform")],
                row[1] if names[1] == "account" else None,
            )
            for row, how, fields in sorted(told)
        ]


def compare_index(
    derived: DerivedIndex,
    postings: Columns,
    multiplicities: Columns,
    on_rows: Callable[[int], None],
) -> tuple[TableComparison, TableComparison]:
    """Compare the derived index with stored postings and multiplicities, as columns of ranks."""
    borne = TableComparison("posting", POSTING, 4, postings)
    counted = TableComparison("multiplicity", MULTIPLICITY, 2, multiplicities)
    for piece in derived.stream_pieces():
        borne.compare(piece.bound, piece.postings)
        counted.compare(piece.bound, piece.multiplicities)
        on_rows(len(piece.postings) + len(piece.multiplicities))
    borne.compare(_END, np.empty(0, POSTING))  # whatever is stored beyond
    counted.compare(_END, np.empty(0, MULTIPLICITY))
    return borne, counted
