"""Receipts (C2SP tlog-proof): an entry's opening, its inclusion proof and a checkpoint.

A receipt proves that a statement was logged. It doesn't prove that the statement still stands:
for that a fresh signed status is needed.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.errors import InvalidReceipt
from ledger.log.checkpoint import open_checkpoint
from ledger.log.leaf import LEAF_BYTES, commit, parse_leaf
from ledger.log.merkle import leaf_hash, verify_inclusion
from ledger.log.witness import open_witnessed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ledger.log.checkpoint import Checkpoint
    from ledger.log.leaf import Leaf
    from ledger.log.note import NoteVerifier
    from ledger.log.witness import WitnessPolicy

_HEADER = "c2sp.org/tlog-proof@v1"
_SALT_BYTES = 32
_PROOF_MAX = 63
_HEAD_LINES = 3
_RECEIPT_CHARACTERS_MAX = 1_000_000
_INDEX = re.compile("index (0|[1-9][0-9]{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The parts of a receipt. `proof` has the leaf's sibling first."""

    entry: bytes
    salt: bytes
    index: int
    proof: tuple[bytes, ...]
    checkpoint_note: str


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """What a receipt proved. `opened` tells whether a statement was held against it."""

    leaf: Leaf
    index: int
    checkpoint: Checkpoint
    opened: bool


def render_receipt(receipt: Receipt) -> str:
    """Render a receipt as `.tlog-proof` text."""
    extra = base64.b64encode(receipt.entry + receipt.salt).decode()
    lines = [_HEADER, f"extra {extra}", f"index {receipt.index}"]
    lines += [base64.b64encode(one).decode() for one in receipt.proof]
    return "\n".join(lines) + "\n\n" + receipt.checkpoint_note


def parse_receipt(text: str) -> Receipt:
    """Parse a receipt. *Raises*: InvalidReceipt unless the text is canonical."""
    head, separator, note = text.partition("\n\n")
    lines = head.split("\n")
    index = _INDEX.fullmatch(lines[2]) if len(lines) >= _HEAD_LINES else None
    if (
        len(text) > _RECEIPT_CHARACTERS_MAX
        or not separator
        or index is None
        or lines[0] != _HEADER
        or not lines[1].startswith("extra ")
        or len(lines) > _HEAD_LINES + _PROOF_MAX
    ):
        raise InvalidReceipt("The text isn't a tlog-proof.")
    try:
        extra = base64.b64decode(lines[1].removeprefix("extra "), validate=True)
        proof = tuple(base64.b64decode(line, validate=True) for line in lines[_HEAD_LINES:])
    except (binascii.Error, ValueError) as error:
        raise InvalidReceipt("A line of the receipt isn't base64.") from error
    if len(extra) != LEAF_BYTES + _SALT_BYTES:
        raise InvalidReceipt("The receipt's extra data isn't an entry and a salt.")
    receipt = Receipt(extra[:LEAF_BYTES], extra[LEAF_BYTES:], int(index[1]), proof, note)
    if render_receipt(receipt) != text:
        raise InvalidReceipt("The receipt isn't in canonical form.")
    return receipt


def verify_receipt(
    text: str,
    verifiers: Iterable[NoteVerifier],
    *,
    token: bytes | None,
    witnesses: WitnessPolicy | None = None,
) -> VerifiedReceipt:
    """Verify a receipt offline and open its commitment with the statement, where there is one.

    *Shape*: `token` is the compact JWS exactly as it was sent; with `witnesses` a quorum of them
    must have cosigned the checkpoint. *Raises*: InvalidReceipt, InvalidNote, QuorumMissing,
    InvalidProof, InvalidEntry.
    """
    receipt = parse_receipt(text)
    leaf = parse_leaf(receipt.entry)
    if witnesses is None:
        checkpoint = open_checkpoint(receipt.checkpoint_note, verifiers)
    else:
        checkpoint = open_witnessed(receipt.checkpoint_note, verifiers, witnesses).checkpoint
    verify_inclusion(
        leaf_hash(receipt.entry),
        receipt.index,
        checkpoint.size,
        receipt.proof,
        checkpoint.root_hash,
    )
    if token is not None and not hmac.compare_digest(commit(receipt.salt, token), leaf.commitment):
        raise InvalidReceipt("The receipt is for another statement.")
    return VerifiedReceipt(leaf, receipt.index, checkpoint, opened=token is not None)
