"""The Merkle tree of RFC 6962 over SHA-256: roots, frontiers, proofs and their verification.

A frontier is the concatenation of the roots of the perfect subtrees of a size, largest first:
all that appending needs to know. Verification returns nothing or raises.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ledger.errors import InvalidProof

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HASH_BYTES = 32
_PAIR_BYTES = 2 * HASH_BYTES
EMPTY_ROOT = hashlib.sha256(b"").digest()
_sha256 = hashlib.sha256
_NODE = _sha256(b"\x01")  # copied where many nodes are hashed: cheaper than to begin anew


def leaf_hash(entry: bytes) -> bytes:
    """Hash an entry: SHA-256(00 ‖ entry). *Source*: RFC 6962 §2.1."""
    return _sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Hash many entries, as fast as the language lets us."""
    return [_sha256(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash an inner node: SHA-256(01 ‖ left ‖ right). *Source*: RFC 6962 §2.1."""
    return _sha256(b"\x01" + left + right).digest()


def grow(
    size: int, frontier: bytes, leaf_hashes: Sequence[bytes]
) -> tuple[bytes, tuple[bytes, ...]]:
    """Give the frontier after some more leaves, and all nodes that they complete.

    *Shape*: nodes by height, leaf hashes first: those of height h from index `size >> h` on, one
    after the other. *Raises*: InvalidProof where the frontier isn't one of `size`.
    """
    if len(frontier) != HASH_BYTES * size.bit_count():
        raise InvalidProof("The frontier doesn't fit the size.")
    peaks = [frontier[at : at + HASH_BYTES] for at in range(0, len(frontier), HASH_BYTES)]
    row = b"".join(leaf_hashes)
    rows: list[bytes] = []
    smaller: list[bytes] = []
    while row:
        rows.append(row)
        if size >> (len(rows) - 1) & 1:
            row = peaks.pop() + row
        if len(row) % _PAIR_BYTES:
            smaller.append(row[-HASH_BYTES:])
        pairs = range(0, len(row) - HASH_BYTES, _PAIR_BYTES)
        row = b"".join([_sha256(b"\x01" + row[at : at + _PAIR_BYTES]).digest() for at in pairs])
    return b"".join([*peaks, *reversed(smaller)]), tuple(rows)


def extend_frontier(size: int, frontier: bytes, leaf_hashes: Sequence[bytes]) -> bytes:
    """Give the frontier after some more leaves.

    *Raises*: InvalidProof where the frontier isn't one of `size`.
    """
    return grow(size, frontier, leaf_hashes)[0]


def frontier_root(size: int, frontier: bytes) -> bytes:
    """Give the root of a frontier. *Raises*: InvalidProof where it doesn't fit the size."""
    if len(frontier) != HASH_BYTES * size.bit_count():
        raise InvalidProof("The frontier doesn't fit the size.")
    if size == 0:
        return EMPTY_ROOT
    root = frontier[-HASH_BYTES:]
    for start in range(len(frontier) - 2 * HASH_BYTES, -1, -HASH_BYTES):
        root = node_hash(frontier[start : start + HASH_BYTES], root)
    return root


def root_hash(leaf_hashes: Sequence[bytes]) -> bytes:
    """Give the root over some leaves. *Source*: RFC 6962 §2.1."""
    return frontier_root(len(leaf_hashes), extend_frontier(0, b"", leaf_hashes))


def _split(size: int) -> int:
    """Give the largest power of two smaller than a size of two or more."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Prove the leaf at an index under the root over all, leaf's sibling first.

    *Source*: RFC 6962 §2.1.1. *Raises*: InvalidProof where there is no such leaf.
    """
    if not 0 <= index < len(leaf_hashes):
        raise InvalidProof("The index lies outside the tree.")
    proof = []
    start, stop = 0, len(leaf_hashes)
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            proof.append(root_hash(leaf_hashes[middle:stop]))
            stop = middle
        else:
            proof.append(root_hash(leaf_hashes[start:middle]))
            start = middle
    return tuple(reversed(proof))


def consistency_proof(leaf_hashes: Sequence[bytes], size1: int) -> tuple[bytes, ...]:
    """Prove that the tree of the first `size1` leaves is a prefix of the tree over all.

    *Source*: RFC 6962 §2.1.2. *Raises*: InvalidProof for sizes below one or beyond the tree.
    """
    if not 0 < size1 <= len(leaf_hashes):
        raise InvalidProof("The first size lies outside the tree.")
    proof = []
    start, stop, whole = 0, len(leaf_hashes), True
    while stop - start != size1 - start:
        middle = start + _split(stop - start)
        if size1 <= middle:
            proof.append(root_hash(leaf_hashes[middle:stop]))
            stop = middle
        else:
            proof.append(root_hash(leaf_hashes[start:middle]))
            start, whole = middle, False
    if not whole:
        proof.append(root_hash(leaf_hashes[start:stop]))
    return tuple(reversed(proof))


def _check_lengths(proof: Sequence[bytes], *hashes: bytes) -> None:
    if {*map(len, proof), *map(len, hashes)} != {HASH_BYTES}:
        raise InvalidProof("A hash doesn't have 32 bytes.")


def verify_inclusion(
    hashed: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Verify that a leaf hash is at an index under a root.

    Up to where the ways to this leaf and to the last one meet, siblings stand on either side;
    above, only left of it. Only one leaf hash of 32 bytes can be shown at an index, however long
    the siblings are: from the root down, each step must hash what was hashed there, and the part
    of that which comes from below is the first or the last 32 bytes.
    *Source*: RFC 9162 §2.1.3.2, without its second counter. *Raises*: InvalidProof.
    """
    if len(hashed) != HASH_BYTES:
        raise InvalidProof("A hash doesn't have 32 bytes.")
    if not 0 <= index < size:
        raise InvalidProof("The index lies outside the tree.")
    meeting = (index ^ (size - 1)).bit_length()
    if len(proof) != meeting + (index >> meeting).bit_count():
        raise InvalidProof("The proof is too long or too short.")
    left = index | -1 << meeting  # bit by bit upward: whether the sibling stands left
    for sibling in proof:
        node = _NODE.copy()
        node.update(sibling + hashed if left & 1 else hashed + sibling)
        hashed = node.digest()
        left >>= 1
    if hashed != root:
        raise InvalidProof("The proof doesn't lead to the root.")


def verify_consistency(
    size1: int, root1: bytes, size2: int, root2: bytes, proof: Sequence[bytes]
) -> None:
    """Verify that one tree is a prefix of another.

    *Source*: RFC 9162 §2.1.4.2. *Raises*: InvalidProof; a first size of zero proves nothing and
    is refused.
    """
    if not 0 < size1 <= size2:
        raise InvalidProof("The first size lies outside the second tree.")
    if size1 == size2:
        if proof or root1 != root2:
            raise InvalidProof("Two trees of one size must have one root and need no proof.")
        return
    _check_lengths(proof, root1, root2)
    path = list(proof)
    if size1 & (size1 - 1) == 0:
        path.insert(0, root1)
    if not path:
        raise InvalidProof("The proof is empty.")
    node, last = size1 - 1, size2 - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise InvalidProof("The proof is too long.")
        if node & 1 or node == last:
            first = node_hash(sibling, first)
            second = node_hash(sibling, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        node, last = node >> 1, last >> 1
    if last or first != root1 or second != root2:
        raise InvalidProof("The proof doesn't connect the two roots.")
