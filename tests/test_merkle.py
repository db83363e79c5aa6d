"""The Merkle tree against published vectors, typed-in roots and RFC 6962 read word for word."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import InvalidProof
from ledger.log.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    extend_frontier,
    frontier_root,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_hash,
    verify_consistency,
    verify_inclusion,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

VECTORS = ROOT.parent / "shared" / "vectors" / "merkle" / "transparency-dev-merkle" / "testdata"

# The leaves and the roots over the first 0, 1, … 8 of them, as in the reference tree of
# certificate transparency (github.com/transparency-dev/merkle, testonly/constants.go).
ENTRIES = [
    bytes.fromhex(one)
    for one in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    bytes.fromhex(one)
    for one in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]

sizes = st.integers(1, 70)
laws = settings(deadline=None, max_examples=60)


def naive_mth(entries: Sequence[bytes]) -> bytes:
    """Compute MTH(D[n]) exactly as RFC 6962 §2.1 defines it, from the entries themselves."""
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    left, right = naive_mth(entries[:k]), naive_mth(entries[k:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def numbered(size: int) -> list[bytes]:
    """Give entries that differ from each other."""
    return [b"entry %d" % number for number in range(size)]


def hashed(size: int) -> list[bytes]:
    """Give the leaf hashes of entries that differ from each other."""
    return [leaf_hash(entry) for entry in numbered(size)]


def flips(parts: list[bytes], place: int) -> Iterator[list[bytes]]:
    """Give every list that differs in one bit of the part at a place."""
    for bit in range(8 * len(parts[place])):
        changed = bytearray(parts[place])
        changed[bit // 8] ^= 1 << bit % 8
        yield [*parts[:place], bytes(changed), *parts[place + 1 :]]


def is_refused(verify: Callable[..., None], *arguments: object) -> bool:
    """Tell whether a verifier refuses."""
    try:
        verify(*arguments)
    except InvalidProof:
        return True
    return False


# --- Published values -----------------------------------------------------------------------


def test_roots_are_those_of_the_reference_tree() -> None:
    assert ROOTS[0] == EMPTY_ROOT == hashlib.sha256(b"").digest()
    assert [root_hash(LEAVES[:size]) for size in range(9)] == ROOTS


def test_leaf_and_node_hashes_are_domain_separated() -> None:
    left, right = bytes(32), bytes([1]) * 32
    assert leaf_hash(b"") == ROOTS[1]
    assert leaf_hash(left + right) == hashlib.sha256(b"\x00" + left + right).digest()
    assert node_hash(left, right) == hashlib.sha256(b"\x01" + left + right).digest()
    assert node_hash(LEAVES[0], LEAVES[1]) == ROOTS[2]


def test_inclusion_proof_is_the_example_of_rfc_6962() -> None:
    a, b, c, d, e, f, j = (*LEAVES[:6], LEAVES[6])
    g, h = node_hash(a, b), node_hash(c, d)
    i, k = node_hash(e, f), node_hash(g, h)
    last = node_hash(i, j)
    leaves = LEAVES[:7]  # §2.1.3: PATH(0), PATH(3), PATH(4) and PATH(6) of the tree of seven
    assert inclusion_proof(leaves, 0) == (b, h, last)
    assert inclusion_proof(leaves, 3) == (c, g, last)
    assert inclusion_proof(leaves, 4) == (f, j, k)
    assert inclusion_proof(leaves, 6) == (i, k)


def test_consistency_proof_is_the_example_of_rfc_6962() -> None:
    a, b, c, d, e, f, j = (*LEAVES[:6], LEAVES[6])
    g, h = node_hash(a, b), node_hash(c, d)
    i, k = node_hash(e, f), node_hash(g, h)
    last = node_hash(i, j)
    leaves = LEAVES[:7]  # §2.1.3: PROOF(3), PROOF(4) and PROOF(6) of the tree of seven
    assert consistency_proof(leaves, 3) == (c, d, g, last)
    assert consistency_proof(leaves, 4) == (last,)
    assert consistency_proof(leaves, 6) == (i, j, k)


def read_vectors(kind: str) -> list[tuple[Path, dict[str, Any]]]:
    """Read the published proofs of a kind, good and bad ones."""
    folder = VECTORS / kind
    if not folder.is_dir():
        pytest.skip("The published proofs aren't beside this checkout.")
    return [(path, json.loads(path.read_text())) for path in sorted(folder.rglob("*.json"))]


def bytes_of(vector: dict[str, Any], *names: str) -> list[bytes]:
    """Decode members of a vector."""
    return [base64.b64decode(vector[name] or "") for name in names]


def proof_of(vector: dict[str, Any]) -> list[bytes]:
    """Decode the proof of a vector, which may be null."""
    return [base64.b64decode(one) for one in vector["proof"] or ()]


def test_every_published_inclusion_proof_gets_its_published_verdict() -> None:
    vectors = read_vectors("inclusion")
    wrong = []
    for path, vector in vectors:
        hashed_leaf, root = bytes_of(vector, "leafHash", "root")
        refused = is_refused(
            verify_inclusion,
            hashed_leaf,
            vector["leafIdx"],
            vector["treeSize"],
            proof_of(vector),
            root,
        )
        if refused is not vector["wantErr"]:
            wrong.append(path.relative_to(VECTORS).as_posix())
    assert wrong == []
    assert len(vectors) == 98


def test_every_published_consistency_proof_gets_its_published_verdict() -> None:
    vectors = read_vectors("consistency")
    wrong = []
    for path, vector in vectors:
        root1, root2 = bytes_of(vector, "root1", "root2")
        refused = is_refused(
            verify_consistency,
            vector["size1"],
            root1,
            vector["size2"],
            root2,
            proof_of(vector),
        )
        if refused is not vector["wantErr"]:
            wrong.append(path.relative_to(VECTORS).as_posix())
    assert wrong == []
    assert len(vectors) == 98


# --- Laws -----------------------------------------------------------------------------------


@laws
@given(st.lists(st.binary(max_size=100), max_size=70))
def test_root_is_that_of_the_definition(entries: list[bytes]) -> None:
    assert root_hash([leaf_hash(entry) for entry in entries]) == naive_mth(entries)


@laws
@given(st.lists(st.lists(st.binary(max_size=9), max_size=20), max_size=8))
def test_frontier_grown_in_any_steps_gives_the_root_of_the_whole(steps: list[list[bytes]]) -> None:
    size, frontier, entries = 0, b"", list[bytes]()
    for step in steps:
        frontier = extend_frontier(size, frontier, [leaf_hash(entry) for entry in step])
        size += len(step)
        entries += step
        assert len(frontier) == 32 * size.bit_count()
        assert frontier_root(size, frontier) == naive_mth(entries)


def test_frontier_is_the_perfect_subtrees_largest_first() -> None:
    entries = numbered(13)
    expected = naive_mth(entries[:8]) + naive_mth(entries[8:12]) + naive_mth(entries[12:])
    assert extend_frontier(0, b"", hashed(13)) == expected


@pytest.mark.parametrize("length", [0, 31, 32, 63, 65, 96])
def test_frontier_of_another_size_is_refused(length: int) -> None:
    with pytest.raises(InvalidProof):
        extend_frontier(3, bytes(length), [])
    with pytest.raises(InvalidProof):
        frontier_root(3, bytes(length))


@laws
@given(st.data())
def test_every_inclusion_proof_verifies(data: st.DataObject) -> None:
    size = data.draw(sizes)
    index = data.draw(st.integers(0, size - 1))
    leaves, root = hashed(size), naive_mth(numbered(size))
    verify_inclusion(leaves[index], index, size, inclusion_proof(leaves, index), root)


@laws
@given(st.data())
def test_every_consistency_proof_verifies(data: st.DataObject) -> None:
    size2 = data.draw(sizes)
    size1 = data.draw(st.integers(1, size2))
    root1, root2 = naive_mth(numbered(size1)), naive_mth(numbered(size2))
    verify_consistency(size1, root1, size2, root2, consistency_proof(hashed(size2), size1))


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_every_flipped_bit_of_an_inclusion_is_noticed(data: st.DataObject) -> None:
    size = data.draw(sizes)
    index = data.draw(st.integers(0, size - 1))
    leaves = hashed(size)
    root, proof = root_hash(leaves), inclusion_proof(leaves, index)
    parts = [leaves[index], root, *proof]
    place = data.draw(st.integers(0, len(parts) - 1))
    for leaf, top, *path in flips(parts, place):
        assert is_refused(verify_inclusion, leaf, index, size, path, top)


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_every_flipped_bit_of_a_consistency_is_noticed(data: st.DataObject) -> None:
    size2 = data.draw(sizes)
    size1 = data.draw(st.integers(1, size2))
    leaves = hashed(size2)
    parts = [root_hash(leaves[:size1]), root_hash(leaves), *consistency_proof(leaves, size1)]
    place = data.draw(st.integers(0, len(parts) - 1))
    for root1, root2, *path in flips(parts, place):
        assert is_refused(verify_consistency, size1, root1, size2, root2, path)


def test_no_proof_shows_a_leaf_at_another_index() -> None:
    for size in range(1, 18):
        leaves, root = hashed(size), root_hash(hashed(size))
        for index in range(size):
            proof = inclusion_proof(leaves, index)
            shown = [
                other
                for other in range(-1, size + 2)
                if not is_refused(verify_inclusion, leaves[index], other, size, proof, root)
            ]
            assert shown == [index]


def test_proof_with_a_hash_more_less_or_swapped_is_refused() -> None:
    leaves, root = hashed(11), root_hash(hashed(11))
    proof = inclusion_proof(leaves, 5)
    growth = consistency_proof(leaves, 6)
    root6 = root_hash(leaves[:6])
    for change in (lambda p: p[:-1], lambda p: p[1:], lambda p: (*p, p[-1]), lambda p: p[::-1]):
        assert is_refused(verify_inclusion, leaves[5], 5, 11, change(proof), root)
        assert is_refused(verify_consistency, 6, root6, 11, root, change(growth))
    assert is_refused(verify_inclusion, leaves[5], 5, 11, (), root)
    assert is_refused(verify_consistency, 6, root6, 11, root, ())
    assert is_refused(verify_consistency, 6, root, 11, root6, growth)


def test_growth_from_nothing_or_backwards_proves_nothing() -> None:
    root = root_hash(hashed(4))
    assert is_refused(verify_consistency, 0, EMPTY_ROOT, 4, root, ())
    assert is_refused(verify_consistency, 0, EMPTY_ROOT, 0, EMPTY_ROOT, ())
    assert is_refused(verify_consistency, -1, root, 4, root, ())
    assert is_refused(verify_consistency, 5, root, 4, root, ())
    assert is_refused(verify_consistency, 2, root, 1, root, ())
    assert is_refused(verify_consistency, 4, root, 4, root, (root,))
    verify_consistency(4, root, 4, root, ())


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_hash_of_another_length_is_refused_wherever_it_stands(length: int) -> None:
    short = bytes(length)
    leaves = hashed(2)
    root = root_hash(leaves)
    assert is_refused(verify_inclusion, short, 0, 1, (), short)
    pair = leaves[0] + leaves[1]
    assert is_refused(verify_inclusion, pair[:length], 0, 2, (pair[length:],), node_hash(pair, b""))
    assert is_refused(verify_inclusion, leaves[0], 0, 2, (short,), node_hash(pair, b""))
    assert is_refused(verify_consistency, 1, short, 2, node_hash(short, root), (root,))
    assert is_refused(verify_consistency, 1, root, 2, node_hash(root, short), (short,))


def test_proof_of_what_is_not_in_the_tree_cannot_be_made() -> None:
    leaves = hashed(3)
    for index in (-1, 3):
        with pytest.raises(InvalidProof):
            inclusion_proof(leaves, index)
    for size1 in (-1, 0, 4):
        with pytest.raises(InvalidProof):
            consistency_proof(leaves, size1)
