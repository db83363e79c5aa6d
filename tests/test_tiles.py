"""Tiles against C2SP tlog-tiles, another log's published tiles, and RFC 6962 read plainly."""

from __future__ import annotations

import random
from functools import cache
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from test_format import values
from test_merkle import hashed, naive_mth

from ledger.errors import InvalidProof
from ledger.log.checkpoint import open_checkpoint
from ledger.log.merkle import (
    consistency_proof,
    extend_frontier,
    frontier_root,
    grow,
    inclusion_proof,
    leaf_hash,
    root_hash,
    verify_consistency,
    verify_inclusion,
)
from ledger.log.note import parse_vkey
from ledger.log.tile import (
    FULL_BYTES,
    WIDTH,
    Edge,
    TileAddress,
    build_edge,
    build_tile,
    cut_tiles,
    edge_addresses,
    first_size,
    list_addresses,
    name_difference,
    parse_path,
    path_addresses,
    prefix_end,
    prove_consistency,
    prove_inclusion,
    render_bundle,
    render_path,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

LOG = ROOT.parent / "shared" / "vectors" / "merkle" / "tessera" / "testdata" / "log"
VKEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
LONG = 66_000  # more than a full tile of level 1
sizes = st.one_of(st.integers(1, 1100), st.sampled_from([255, 256, 257, 511, 512, 513, 768]))
laws = settings(deadline=None, max_examples=60)


@cache
def leaves(size: int) -> list[bytes]:
    """Give leaf hashes that differ from each other."""
    return hashed(size)


class Shelf:
    """The tiles of a tree by address, each made from the level below, as somebody else would."""

    def __init__(self, leaf_hashes: Sequence[bytes]) -> None:
        """Make every level of full tiles."""
        self.size = len(leaf_hashes)
        self.levels = [list(leaf_hashes)]
        self.full: dict[TileAddress, bytes] = {}
        while len(self.levels[-1]) >= WIDTH:
            below = self.levels[-1]
            above = []
            for index in range(len(below) // WIDTH):
                hashes = below[index * WIDTH : (index + 1) * WIDTH]
                tile = build_tile(b"".join(hashes))
                self.full[TileAddress(len(self.levels) - 1, index)] = tile
                above.append(root_hash(hashes))
            self.levels.append(above)

    def hashes(self, address: TileAddress) -> bytes:
        """Give the hashes of a tile of any width."""
        begin = address.index * WIDTH
        return b"".join(self.levels[address.level][begin : begin + address.width])

    @property
    def edge(self) -> Edge:
        """The right edge."""
        return build_edge(self.size, [self.hashes(one) for one in edge_addresses(self.size)])

    def include(self, index: int) -> tuple[bytes, ...]:
        """Prove a leaf."""
        read = [self.full[one] for one in path_addresses(self.size, index)]
        return tuple(prove_inclusion(self.edge, index, read))

    def connect(self, size1: int) -> tuple[bytes, ...]:
        """Prove a prefix."""
        read = [self.full[one] for one in path_addresses(self.size, *prefix_end(size1))]
        return tuple(prove_consistency(self.edge, size1, read))


@cache
def shelf(size: int) -> Shelf:
    return Shelf(leaves(LONG)[:size])


# --- Addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "width", "path"),
    [
        (1234067, 256, "x001/x234/067"),  # the example of C2SP tlog-tiles
        (0, 256, "000"),
        (999, 1, "999.p/1"),
        (1000, 255, "x001/000.p/255"),
        (2**55 - 1, 256, "x036/x028/x797/x018/x963/967"),
    ],
)
def test_path_is_that_of_the_specification(index: int, width: int, path: str) -> None:
    assert render_path(index, width) == path
    assert parse_path(path) == (index, width)


@given(st.integers(0, 2**55 - 1), st.integers(1, 256))
def test_path_leads_back_to_its_tile(index: int, width: int) -> None:
    assert parse_path(render_path(index, width)) == (index, width)


@pytest.mark.parametrize(
    "path",
    [
        *("", "0", "00", "0000", "x000/000", "x000/x001/000", "001/000", "x001", "x001/", "/000"),
        *("000/", "000.p", "000.p/", "000.p/0", "000.p/00", "000.p/01", "000.p/256", "000.p/300"),
        *(
            "000.p/1/",
            "000.p/1.p/1",
            "x001/000.p/x",
            "X001/000",
            "x001/\u0660\u0660\u0660",
            "000\n",
            "-01",
        ),
    ],
)
def test_another_spelling_is_no_path(path: str) -> None:
    assert parse_path(path) is None


@laws
@given(st.data())
def test_growth_lists_exactly_the_tiles_that_are_new(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 200_000))
    begin = data.draw(st.integers(0, size))
    new, old = set(list_addresses(size, begin)), set(list_addresses(begin))
    if begin != size:
        assert new >= set(list_addresses(size)) - old
    assert all(one.width < WIDTH or first_size(one) > begin for one in new)
    assert all(first_size(one) <= size for one in new)


# --- Published tiles --------------------------------------------------------------------------


def test_every_published_tile_and_bundle_of_another_log_is_made_anew() -> None:
    if not LOG.is_dir():
        pytest.skip("The published tiles aren't beside this checkout.")
    for size in range(16):
        note = (LOG / f"checkpoint.{size}").read_text("utf-8")
        checkpoint = open_checkpoint(note, [parse_vkey(VKEY)])
        listed = list(list_addresses(size))
        tile = b""
        if size:
            (address,) = listed
            path = render_path(address.index, address.width).removesuffix(f"/{size}")
            tile = (LOG / f"tile/{address.level}/{path}/{size}").read_bytes()
            bundle = (LOG / f"tile/entries/{path}/{size}").read_bytes()
            told, rest = [], bundle
            while rest:
                stop = 2 + int.from_bytes(rest[:2])
                told.append(rest[2:stop])
                rest = rest[stop:]
            assert render_bundle(told) == bundle
            assert b"".join(leaf_hash(one) for one in told) == tile
        edge = build_edge(size, [tile] if size else [])
        assert (checkpoint.size, checkpoint.root_hash) == (size, edge.root_hash)
        hashes = [tile[at : at + 32] for at in range(0, len(tile), 32)]
        for index in range(size):
            proof = prove_inclusion(edge, index, [])
            verify_inclusion(hashes[index], index, size, proof, checkpoint.root_hash)
            earlier = (LOG / f"checkpoint.{index + 1}").read_text("utf-8")
            root1 = open_checkpoint(earlier, [parse_vkey(VKEY)]).root_hash
            growth = prove_consistency(edge, index + 1, [])
            verify_consistency(index + 1, root1, size, checkpoint.root_hash, growth)


def test_example_of_the_format_is_made_anew() -> None:
    shown = values("Example: a tile")
    entries = [b"one", b"two", b"three"]
    tile = b"".join(leaf_hash(one) for one in entries)
    assert shown == {
        "bundle": render_bundle(entries).hex(),
        "tile": tile.hex(),
        "root": build_edge(3, [tile]).root_hash.hex(),
    }


# --- Laws -------------------------------------------------------------------------------------


def test_full_tile_has_every_node_above_its_hashes() -> None:
    hashes = leaves(LONG)[:256]
    tile = build_tile(b"".join(hashes))
    assert len(tile) == FULL_BYTES == 16_352
    assert tile[: 256 * 32] == b"".join(hashes)
    nodes = [tile[at : at + 32] for at in range(0, len(tile), 32)]
    assert nodes[256:258] == [root_hash(hashes[:2]), root_hash(hashes[2:4])]
    assert nodes[256 + 128 + 63] == root_hash(hashes[252:])
    assert nodes[-3:] == [root_hash(hashes[:128]), root_hash(hashes[128:]), root_hash(hashes)]


@laws
@given(sizes)
def test_edge_leads_to_the_frontier_and_the_root(size: int) -> None:
    edge = shelf(size).edge
    frontier = extend_frontier(0, b"", leaves(LONG)[:size])
    assert b"".join(edge.peaks) == frontier
    assert edge.root_hash == frontier_root(size, frontier)
    assert edge.root_hash == naive_mth([b"entry %d" % number for number in range(size)])


@laws
@given(st.data())
def test_growth_in_any_step_cuts_the_very_tiles(data: st.DataObject) -> None:
    size = data.draw(sizes)
    begin = data.draw(st.integers(0, size))
    before = extend_frontier(0, b"", leaves(LONG)[:begin])
    _, rows = grow(begin, before, leaves(LONG)[begin:size])
    cut = dict(cut_tiles(begin, rows))
    full = shelf(size).full
    assert list(cut) == sorted(cut)
    assert set(cut) == {one for one in full if first_size(one) > begin}
    for address, tile in cut.items():
        began_before = first_size(TileAddress(address.level, address.index, 1)) <= begin
        assert (tile is None) == began_before
        assert tile in {None, full[address]}


@laws
@given(st.data())
def test_proofs_from_tiles_are_those_of_rfc_6962(data: st.DataObject) -> None:
    size = data.draw(sizes)
    index = data.draw(st.integers(0, size - 1))
    hashes = leaves(LONG)[:size]
    assert shelf(size).include(index) == inclusion_proof(hashes, index)
    assert shelf(size).connect(index + 1) == consistency_proof(hashes, index + 1)


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, LONG])
def test_proofs_over_two_levels_verify(size: int) -> None:
    chosen = random.Random(size)
    hashes = leaves(LONG)[:size]
    root = extend_frontier(0, b"", hashes)
    edge, top = shelf(size).edge, frontier_root(size, root)
    assert edge.root_hash == top
    places = {0, 1, 255, 256, size // 2, size - 2, size - 1}
    for index in places | {chosen.randrange(size) for _ in range(8)}:
        read = [shelf(size).full[one] for one in path_addresses(size, index)]
        assert len(read) <= 2
        verify_inclusion(hashes[index], index, size, prove_inclusion(edge, index, read), top)
        read = [shelf(size).full[one] for one in path_addresses(size, *prefix_end(index + 1))]
        prefix = root_hash(hashes[: index + 1])
        verify_consistency(index + 1, prefix, size, top, prove_consistency(edge, index + 1, read))


def test_proof_of_what_is_not_there_is_refused() -> None:
    edge = shelf(300).edge
    for index in (-1, 300):
        with pytest.raises(InvalidProof):
            prove_inclusion(edge, index, [])
    for size1 in (-1, 0, 301):
        with pytest.raises(InvalidProof):
            prove_consistency(edge, size1, [])
    with pytest.raises(InvalidProof):
        build_edge(300, [bytes(43 * 32), bytes(32)])


@given(st.integers(0, FULL_BYTES * 8 - 1), st.sampled_from([0, 1]))
def test_flipped_bit_of_a_tile_is_named_by_an_entry_under_it(bit: int, level: int) -> None:
    tile = shelf(512).full[TileAddress(0, 1)]
    changed = bytearray(tile)
    changed[bit // 8] ^= 1 << bit % 8
    named = name_difference(TileAddress(level, 1), bytes(changed), tile)
    node, row, width = bit // 256, 0, 256
    while node >= width:
        node, row, width = node - width, row + 1, width // 2
    assert named == ((256 + (node << row)) << 8 * level)
