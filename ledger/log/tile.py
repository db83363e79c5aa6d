"""Tiles: the tree in pieces of eight heights, as they are stored, addressed and proved from.

A tile of level L and index N covers the nodes of height 8L from 256N on. It is kept with every
perfect node above them up to height 8: 256 hashes, 128, … 1 where it is full, w, w >> 1, … where
its width is w. Its first 32·w bytes are the tile of C2SP tlog-tiles. So each perfect node is a
slice, and a proof is one tile a level and no hashing but that of the right edge. It knows no
database and no file: what must be read it names, and takes.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from ledger.errors import InvalidProof
from ledger.log.merkle import EMPTY_ROOT, HASH_BYTES, node_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HEIGHT = 8
WIDTH = 1 << HEIGHT
FULL_BYTES = (2 * WIDTH - 1) * HASH_BYTES
SIZE_MAX = 2**63 - 1
LEVELS_MAX = 8  # which are as many as a size of 63 bits has
_GROUP_DIGITS = 3
_GROUP = 10**_GROUP_DIGITS
_sha256 = hashlib.sha256

# --- Addresses (C2SP tlog-tiles) --------------------------------------------------------------

PATH_PATTERN = r"(x[0-9]{3}/){0,6}[0-9]{3}(\.p/([1-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5]))?"
LEVEL_PATTERN = "[0-7]"
_PATH = re.compile(PATH_PATTERN, re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class TileAddress:
    """Which tile: its level, its index there, and how many hashes it has, 256 or fewer."""

    level: int
    index: int
    width: int = WIDTH


def render_path(index: int, width: int = WIDTH) -> str:
    """Render a tile's index as a path, `x001/x234/067`, and `.p/W` behind it where it is partial.

    *Source*: C2SP tlog-tiles.
    """
    path = f"{index % _GROUP:03}"
    while index := index // _GROUP:
        path = f"x{index % _GROUP:03}/{path}"
    return path if width == WIDTH else f"{path}.p/{width}"


def parse_path(path: str) -> tuple[int, int] | None:
    """Parse a path into a tile's index and width; None where it isn't the one spelling of any."""
    if _PATH.fullmatch(path) is None:
        return None
    groups, _, width = path.partition(".p/")
    index = int(groups.replace("/", "").replace("x", ""))
    parsed = index, int(width or WIDTH)
    return parsed if render_path(*parsed) == path else None


def list_addresses(size: int, begin: int = 0) -> Iterator[TileAddress]:
    """List the tiles that a log of a size has and one of `begin` hadn't, level by level."""
    for level in range(LEVELS_MAX):
        count = size >> HEIGHT * level
        yield from (
            TileAddress(level, index)
            for index in range(begin >> HEIGHT * (level + 1), count // WIDTH)
        )
        if count % WIDTH and size != begin:
            yield TileAddress(level, count // WIDTH, count % WIDTH)


def first_size(address: TileAddress) -> int:
    """Give the size from which on a log has this tile."""
    return address.index * WIDTH + address.width << HEIGHT * address.level


# --- Building ---------------------------------------------------------------------------------


def build_tile(hashes: bytes) -> bytes:
    """Build a tile of any width: its hashes, and every perfect node above them."""
    rows = [hashes]
    while len(hashes) > HASH_BYTES:
        pairs = range(0, len(hashes) - HASH_BYTES, 2 * HASH_BYTES)
        hashes = b"".join([_sha256(b"\x01" + hashes[at : at + 64]).digest() for at in pairs])
        rows.append(hashes)
    return b"".join(rows)


def cut_tiles(size: int, rows: Sequence[bytes]) -> Iterator[tuple[TileAddress, bytes | None]]:
    """Cut the tiles that a growth of the log fills from the nodes that it completed.

    *Shape*: `rows` as `grow` gives them for a log that had `size` leaves; levels upward. None
    stands for a tile that began before: it takes older hashes, and `build_tile`.
    """
    for level in range((len(rows) + HEIGHT - 1) // HEIGHT):
        base = HEIGHT * level
        before = size >> base
        count = before + len(rows[base]) // HASH_BYTES
        for index in range(before // WIDTH, count // WIDTH):
            if index * WIDTH < before:
                yield TileAddress(level, index), None
                continue
            parts = []
            for row in range(HEIGHT + 1):
                first = (index << HEIGHT - row) - (size >> base + row)
                begin, stop = first * HASH_BYTES, (first + (WIDTH >> row)) * HASH_BYTES
                parts.append(rows[base + row][begin:stop])
            yield TileAddress(level, index), b"".join(parts)


def _list_starts(width: int) -> tuple[int, ...]:
    """List where each row of a tile begins, and after them where the tile ends."""
    starts = [0]
    while width:
        starts.append(starts[-1] + width * HASH_BYTES)
        width >>= 1
    return tuple(starts)


_STARTS = tuple(_list_starts(width) for width in range(WIDTH + 1))


def _cut_siblings(column: int) -> Callable[[bytes], tuple[bytes, ...]]:
    """Cut the siblings on the way up from a hash of a full tile, whose own height comes first."""
    begins = [_STARTS[WIDTH][row] + (column >> row ^ 1) * HASH_BYTES for row in range(HEIGHT)]
    return itemgetter(*[slice(begin, begin + HASH_BYTES) for begin in begins])


_SIBLINGS = tuple(map(_cut_siblings, range(WIDTH)))


# --- The right edge and proofs ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Edge:
    """The right edge of a log: its partial tiles by level, empty where there is none, and peaks.

    *Shape*: `peaks` are the roots of the perfect subtrees, largest first: the frontier, hash by
    hash. `tails` are how a proof goes on from each of them: with all peaks right of it as one hash,
    then with those left of it, nearest first.
    """

    size: int
    tiles: tuple[bytes, ...]
    peaks: tuple[bytes, ...]
    tails: tuple[tuple[bytes, ...], ...]
    root_hash: bytes


def edge_addresses(size: int) -> list[TileAddress]:
    """List the partial tiles of a size, one a level, of width 0 where there is none."""
    levels = (size.bit_length() + HEIGHT - 1) // HEIGHT
    counts = [size >> HEIGHT * level for level in range(levels)]
    return [TileAddress(n, count // WIDTH, count % WIDTH) for n, count in enumerate(counts)]


def build_edge(size: int, hashes: Sequence[bytes]) -> Edge:
    """Build the right edge from the hashes of its partial tiles, level by level.

    *Raises*: InvalidProof where they aren't as many as the size has.
    """
    wanted = [address.width * HASH_BYTES for address in edge_addresses(size)]
    if [len(one) for one in hashes] != wanted:
        raise InvalidProof("The hashes don't fit the size.")
    tiles = tuple(build_tile(one) for one in hashes)
    peaks = []
    for height in range(size.bit_length() - 1, -1, -1):
        if size >> height & 1:
            level, row = divmod(height, HEIGHT)
            width = size >> HEIGHT * level & WIDTH - 1
            stop = _STARTS[width][row + 1]  # a peak is the last perfect node of its row
            peaks.append(tiles[level][stop - HASH_BYTES : stop])
    tails: list[tuple[bytes, ...]] = []
    right: tuple[bytes, ...] = ()  # all peaks right of one as one hash, none beside the last
    for place, peak in reversed([*enumerate(peaks)]):
        tails.append((*right, *reversed(peaks[:place])))
        right = (node_hash(peak, *right) if right else peak,)
    root = right[0] if right else EMPTY_ROOT
    return Edge(size, tiles, tuple(peaks), tuple(reversed(tails)), root)


def path_addresses(size: int, leaf: int, height: int = 0) -> list[TileAddress]:
    """List the full tiles that prove the node of a height above a leaf, one a level, upward."""
    top = (leaf ^ size).bit_length() - 1
    return [
        TileAddress(level, leaf >> HEIGHT * (level + 1))
        for level in range(height // HEIGHT, top // HEIGHT)
    ]


def prove_inclusion(edge: Edge, index: int, tiles: Sequence[bytes]) -> list[bytes]:
    """Prove the leaf at an index under the root of a size, leaf's sibling first.

    *Shape*: `tiles` are those of `path_addresses`. *Source*: RFC 6962 §2.1.1. *Raises*:
    InvalidProof where there is no such leaf.
    """
    if not 0 <= index < edge.size:
        raise InvalidProof("The index lies outside the tree.")
    return _prove_path(edge, index, 0, tiles)


def prefix_end(size1: int) -> tuple[int, int]:
    """Give the last peak of a size as the first leaf under it and its height."""
    height = (size1 & -size1).bit_length() - 1
    return size1 - (1 << height), height


def prove_consistency(edge: Edge, size1: int, tiles: Sequence[bytes]) -> list[bytes]:
    """Prove that the tree of the first `size1` leaves is a prefix of the tree of the edge.

    *Shape*: `tiles` are those of `path_addresses` for `prefix_end(size1)`, whose node is proved:
    together with itself, unless it is the whole first tree. *Source*: RFC 6962 §2.1.2. *Raises*:
    InvalidProof for sizes below one or beyond the tree.
    """
    if not 0 < size1 <= edge.size:
        raise InvalidProof("The first size lies outside the tree.")
    if size1 == edge.size:
        return []
    leaf, height = prefix_end(size1)
    proof = _prove_path(edge, leaf, height, tiles)
    if leaf == 0:
        return proof
    return [_find_node(edge, leaf, height, tiles), *proof]


def _find_node(edge: Edge, leaf: int, height: int, tiles: Sequence[bytes]) -> bytes:
    """Find the node of a height above a leaf, in the first tile of its path."""
    level, row = divmod(height, HEIGHT)
    if (leaf ^ edge.size).bit_length() - 1 == height:  # a peak has no path within the tiles
        above = (edge.size >> height + 1).bit_count()
        return edge.peaks[above]
    full = leaf >> HEIGHT * (level + 1) < edge.size >> HEIGHT * (level + 1)
    width = WIDTH if full else edge.size >> HEIGHT * level & WIDTH - 1
    column = (leaf >> height) & (WIDTH >> row) - 1
    start = _STARTS[width][row] + column * HASH_BYTES
    return (tiles[0] if full else edge.tiles[level])[start : start + HASH_BYTES]


def _prove_path(edge: Edge, leaf: int, height: int, tiles: Sequence[bytes]) -> list[bytes]:
    """List the siblings on the way from a node up to the root.

    Below the root of the perfect subtree that holds it each is a slice of a tile, of the right
    edge where no full one is as high. The tail of that subtree's peak follows.
    """
    size = edge.size
    top = (leaf ^ size).bit_length() - 1
    row = height % HEIGHT
    base = height - row
    proof: list[bytes] = []
    for tile in tiles:
        proof += _SIBLINGS[leaf >> base & WIDTH - 1](tile)
        base += HEIGHT
    if base < top:
        tile, starts = edge.tiles[base // HEIGHT], _STARTS[size >> base & WIDTH - 1]
        column = leaf >> base & WIDTH - 1
        for begin in starts[: top - base]:
            start = begin + (column ^ 1) * HASH_BYTES
            proof.append(tile[start : start + HASH_BYTES])
            column >>= 1
    proof += edge.tails[(size >> top + 1).bit_count()]
    return proof[row:]  # what is below the node was listed with its tile


# --- What is served ---------------------------------------------------------------------------


def render_bundle(entries: Sequence[bytes]) -> bytes:
    """Render entries as a bundle: a 16-bit length before each. *Source*: C2SP tlog-tiles."""
    return b"".join([len(entry).to_bytes(2) + entry for entry in entries])


def name_difference(address: TileAddress, stored: bytes, derived: bytes) -> int:
    """Name the first leaf under the first node in which two tiles differ."""
    at = next(
        (n for n, (a, b) in enumerate(zip(stored, derived, strict=False)) if a != b),
        min(len(stored), len(derived) - 1),
    )
    starts: Mapping[int, int] = dict(enumerate(_STARTS[address.width]))
    row = max((row for row, start in starts.items() if start <= at), default=0)
    column = (at - starts[row]) // HASH_BYTES << row
    return address.index * WIDTH + column << HEIGHT * address.level
