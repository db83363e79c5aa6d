"""Sealing at rest: AES-256-GCM under a key per entry, itself wrapped by the ledger's key.

Destroying an entry key destroys the entry's content wherever copies of the ciphertext are. The
caller brings all randomness.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.errors import LedgerCorrupt

NONCE_BYTES = 12
# An entry key encrypts one message in its life, so that its nonce may be fixed.
_ONLY_NONCE = bytes(NONCE_BYTES)


@dataclass(frozen=True, slots=True)
class SealedToken:
    """A ciphertext, and its key wrapped: nonce ‖ AES-256-GCM(wrap key, entry key)."""

    ciphertext: bytes
    wrapped_key: bytes


def seal(
    wrap_key: bytes, plaintext: bytes, *, entry_key: bytes, nonce: bytes, context: bytes
) -> SealedToken:
    """Seal bytes, bound to a context.

    *Shape*: `wrap_key` and `entry_key` of 32 bytes, `nonce` of 12, both fresh for every call.
    """
    return SealedToken(
        ciphertext=AESGCM(entry_key).encrypt(_ONLY_NONCE, plaintext, context),
        wrapped_key=nonce + AESGCM(wrap_key).encrypt(nonce, entry_key, context),
    )


def unseal(wrap_key: bytes, sealed: SealedToken, *, context: bytes) -> bytes:
    """Give the sealed bytes back. *Raises*: LedgerCorrupt where anything was changed."""
    nonce, wrapped = sealed.wrapped_key[:NONCE_BYTES], sealed.wrapped_key[NONCE_BYTES:]
    try:
        entry_key = AESGCM(wrap_key).decrypt(nonce, wrapped, context)
        return AESGCM(entry_key).decrypt(_ONLY_NONCE, sealed.ciphertext, context)
    except (InvalidTag, ValueError) as error:
        raise LedgerCorrupt("Sealed content was changed or is of another ledger.") from error
