"""Sealed content: it comes back whole under its own key and context, and in no other way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.deriving import event_context
from ledger.errors import LedgerCorrupt
from ledger.privacy.sealing import NONCE_BYTES, SealedToken, seal, unseal
from ledger.sequencing import tag_key_context

if TYPE_CHECKING:
    from collections.abc import Iterator

WRAP_KEY = bytes(range(32))
ENTRY_KEY = bytes(range(32, 64))
NONCE = bytes(range(64, 76))
CONTEXT = event_context(7, "evt-1")
PLAINTEXT = b"eyJ0eXAiOiJzZWNldmVudCtqd3QifQ.e30.c2lnbmF0dXJl"

keys = st.binary(min_size=32, max_size=32)


def sealed(plaintext: bytes = PLAINTEXT, context: bytes = CONTEXT) -> SealedToken:
    """Seal under the keys of this file."""
    return seal(WRAP_KEY, plaintext, entry_key=ENTRY_KEY, nonce=NONCE, context=context)


def flips(raw: bytes) -> Iterator[bytes]:
    """Give every text that differs from some bytes in one bit."""
    for bit in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


@settings(deadline=None)
@given(
    wrap_key=keys,
    entry_key=keys,
    nonce=st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES),
    plaintext=st.binary(max_size=300),
    context=st.binary(max_size=60),
)
def test_what_was_sealed_is_unsealed(
    wrap_key: bytes, entry_key: bytes, nonce: bytes, plaintext: bytes, context: bytes
) -> None:
    kept = seal(wrap_key, plaintext, entry_key=entry_key, nonce=nonce, context=context)
    assert unseal(wrap_key, kept, context=context) == plaintext


def test_sealed_form_has_the_published_lengths() -> None:
    kept = sealed()
    assert len(kept.ciphertext) == len(PLAINTEXT) + 16
    assert kept.wrapped_key[:12] == NONCE
    assert len(kept.wrapped_key) == 12 + 32 + 16


def test_neither_plaintext_nor_key_shows() -> None:
    kept = sealed()
    for secret in (PLAINTEXT[:8], ENTRY_KEY[:8], WRAP_KEY[:8]):
        assert secret not in kept.ciphertext + kept.wrapped_key


def test_every_flipped_bit_of_the_ciphertext_is_noticed() -> None:
    kept = sealed()
    for changed in flips(kept.ciphertext):
        with pytest.raises(LedgerCorrupt):
            unseal(WRAP_KEY, replace(kept, ciphertext=changed), context=CONTEXT)


def test_every_flipped_bit_of_the_wrapped_key_is_noticed() -> None:
    kept = sealed()
    for changed in flips(kept.wrapped_key):
        with pytest.raises(LedgerCorrupt):
            unseal(WRAP_KEY, replace(kept, wrapped_key=changed), context=CONTEXT)


@pytest.mark.parametrize("length", [0, 1, 11, 12, 13, 28, 59])
def test_sealed_form_cut_short_is_noticed(length: int) -> None:
    kept = sealed()
    with pytest.raises(LedgerCorrupt):
        unseal(WRAP_KEY, replace(kept, wrapped_key=kept.wrapped_key[:length]), context=CONTEXT)
    with pytest.raises(LedgerCorrupt):
        unseal(WRAP_KEY, replace(kept, ciphertext=kept.ciphertext[:length]), context=CONTEXT)


def test_every_wrong_wrapping_key_is_noticed() -> None:
    kept = sealed()
    for key in (*flips(WRAP_KEY), ENTRY_KEY, WRAP_KEY[:16], WRAP_KEY[:31], b""):
        with pytest.raises(LedgerCorrupt):
            unseal(key, kept, context=CONTEXT)


def test_two_sealed_contents_cannot_change_places() -> None:
    first = sealed(b"first", event_context(1, "a"))
    second = sealed(b"second", event_context(1, "b"))
    with pytest.raises(LedgerCorrupt):
        unseal(WRAP_KEY, first, context=event_context(1, "b"))
    for mixed in (
        SealedToken(first.ciphertext, second.wrapped_key),
        SealedToken(second.ciphertext, first.wrapped_key),
    ):
        for jti in ("a", "b"):
            with pytest.raises(LedgerCorrupt):
                unseal(WRAP_KEY, mixed, context=event_context(1, jti))


def test_contexts_of_different_things_differ() -> None:
    contexts = [
        event_context(1, "1"),
        event_context(11, ""),
        event_context(1, "11"),
        event_context(11, "1"),
        event_context(0, "https://shop-a.example"),
        tag_key_context("https://shop-a.example"),
        tag_key_context("https://shop-b.example"),
    ]
    assert len(set(contexts)) == len(contexts)
    assert event_context(12, "é") == b"bcl/event\x0012\x00\xc3\xa9"
    assert tag_key_context("https://shop-a.example") == b"bcl/tag-key\x00https://shop-a.example"


def test_destroyed_key_leaves_the_ciphertext_closed_to_the_ledger_itself() -> None:
    kept = sealed()
    other = seal(WRAP_KEY, PLAINTEXT, entry_key=bytes(32), nonce=NONCE, context=CONTEXT)
    with pytest.raises(LedgerCorrupt):
        unseal(WRAP_KEY, SealedToken(kept.ciphertext, other.wrapped_key), context=CONTEXT)


def test_alarm_never_repeats_what_was_sealed() -> None:
    with pytest.raises(LedgerCorrupt) as alarm:
        unseal(ENTRY_KEY, sealed(), context=CONTEXT)
    assert PLAINTEXT.decode() not in str(alarm.value)
    assert "evt-1" not in str(alarm.value)
