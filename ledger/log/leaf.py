"""The 80 bytes of an entry: what they say, and how they commit to a statement they don't show.

Layout v1, big-endian: "BCL1", op, reason, policy version (u16), ref (u64), issuer tag, commitment.
An entry holds no personal data, no pseudonym and no time (docs/format.md).
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from enum import IntEnum

from ledger.errors import InvalidEntry

LEAF_BYTES = 80
HASH_BYTES = 32
NO_REF = 2**64 - 1
_MAGIC = b"BCL1"
_LAYOUT = struct.Struct(">4sBBHQ32s32s")


class Op(IntEnum):
    """What an entry does."""

    INCIDENT_CONFIRMED = 1
    ACTIVATED = 2
    DISPUTED = 3
    DISPUTE_REJECTED = 4
    CORRECTED = 5
    RETRACTED = 6
    RESTITUTED = 7
    EXPUNGED = 8
    EXPIRED = 9
    ERASED = 10
    PLATFORM_CHANGED = 11
    POLICY_PUBLISHED = 12
    LINK_STATED = 13
    MAP_ROOT = 14
    NOTED = 15
    MARKED = 16
    KEYS_PUBLISHED = 17
    QUARANTINE_CHANGED = 18
    EVIDENCE_SEEN = 19
    EVIDENCE_WITHDRAWN = 20
    DISPUTE_STATED = 21
    DISPUTE_ANSWERED = 22
    ERASURE_ACKNOWLEDGED = 23


class EntryReason(IntEnum):
    """Why, as far as the public may know."""

    NONE = 0
    NO_EFFECT = 1
    WINDOW_PASSED = 2
    FIRST_OF_TWO = 3
    RETENTION_ENDED = 4
    BUYER_REQUESTED = 5
    CONSENT_WITHDRAWN = 6
    ORDERED = 7
    UNFOUNDED = 8
    NOT_VERIFIABLE = 9


@dataclass(frozen=True, slots=True)
class Leaf:
    """One entry, parsed. `ref` is the index it refers to, or NO_REF."""

    op: Op
    reason: EntryReason
    policy_version: int
    ref: int
    issuer_tag: bytes
    commitment: bytes


def encode_leaf(leaf: Leaf) -> bytes:
    """Give the exact 80 bytes of an entry. *Raises*: InvalidEntry where a field doesn't fit."""
    if len(leaf.issuer_tag) != HASH_BYTES or len(leaf.commitment) != HASH_BYTES:
        raise InvalidEntry("Issuer tag and commitment have 32 bytes each.")
    try:
        return _LAYOUT.pack(
            _MAGIC,
            leaf.op,
            leaf.reason,
            leaf.policy_version,
            leaf.ref,
            leaf.issuer_tag,
            leaf.commitment,
        )
    except struct.error as error:
        raise InvalidEntry("A field of the entry is out of range.") from error


def parse_leaf(raw: bytes) -> Leaf:
    """Parse an entry. *Raises*: InvalidEntry for other lengths, versions, ops or reasons."""
    if len(raw) != LEAF_BYTES:
        raise InvalidEntry("An entry has 80 bytes.")
    magic, op, reason, policy_version, ref, tag, commitment = _LAYOUT.unpack(raw)
    if magic != _MAGIC:
        raise InvalidEntry("An entry begins with BCL1.")
    try:
        return Leaf(Op(op), EntryReason(reason), policy_version, ref, tag, commitment)
    except ValueError as error:
        raise InvalidEntry("The op or the reason isn't in the public table.") from error


def commit(salt: bytes, token: bytes) -> bytes:
    """Commit to a compact JWS as it was received: HMAC-SHA256(salt, "bcl/leaf/v1" 00 ‖ JWS)."""
    return hmac.digest(salt, b"bcl/leaf/v1\x00" + token, "sha256")


def tag_issuer(tag_key: bytes, commitment: bytes) -> bytes:
    """Tag a commitment so that its issuer alone recognises the entry as its own."""
    return hmac.digest(tag_key, b"bcl/issuer/v1\x00" + commitment, "sha256")
