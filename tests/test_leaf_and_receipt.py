"""The 80 bytes of an entry, its commitment and its issuer's tag, and receipts that open them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import InvalidEntry, InvalidNote, InvalidProof, InvalidReceipt, LedgerError
from ledger.log.checkpoint import Checkpoint, sign_checkpoint
from ledger.log.leaf import (
    NO_REF,
    EntryReason,
    Leaf,
    Op,
    commit,
    encode_leaf,
    parse_leaf,
    tag_issuer,
)
from ledger.log.merkle import inclusion_proof, leaf_hash, root_hash
from ledger.log.note import parse_vkey, sign_note, signer_from_seed
from ledger.log.receipt import Receipt, parse_receipt, render_receipt, verify_receipt

SALT = bytes(range(32))
TAG_KEY = bytes(range(32, 64))
TOKEN = b"eyJ0eXAiOiJzZWNldmVudCtqd3QifQ.e30.c2lnbmF0dXJl"

PACKED = (
    b"BCL1"  # magic
    b"\x06"  # op 6: retracted
    b"\x01"  # reason 1: no effect
    b"\x01\x02"  # policy version 258
    b"\x00\x00\x00\x00\x00\x01\x86\xa0"  # ref 100,000
    b"TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTT"  # issuer tag
    b"CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC"  # commitment
)
LEAF = Leaf(Op.RETRACTED, EntryReason.NO_EFFECT, 258, 100_000, b"T" * 32, b"C" * 32)

ORIGIN = "ledger.example/sandbox"
SIGNER = signer_from_seed(ORIGIN, bytes(32))
VERIFIER = parse_vkey(SIGNER.vkey)
INDEX = 4


# --- The leaf -------------------------------------------------------------------------------


def test_leaf_is_laid_out_byte_by_byte_as_published() -> None:
    assert len(PACKED) == 80
    assert encode_leaf(LEAF) == PACKED
    assert parse_leaf(PACKED) == LEAF


def test_no_reference_is_eight_bytes_of_ones() -> None:
    packed = encode_leaf(replace(LEAF, ref=NO_REF))
    assert packed[8:16] == b"\xff" * 8
    assert parse_leaf(packed).ref == NO_REF == 18_446_744_073_709_551_615


@settings(deadline=None)
@given(
    st.builds(
        Leaf,
        op=st.sampled_from(Op),
        reason=st.sampled_from(EntryReason),
        policy_version=st.integers(0, 65_535),
        ref=st.integers(0, NO_REF),
        issuer_tag=st.binary(min_size=32, max_size=32),
        commitment=st.binary(min_size=32, max_size=32),
    )
)
def test_leaf_is_parsed_as_it_was_encoded(leaf: Leaf) -> None:
    assert parse_leaf(encode_leaf(leaf)) == leaf


@pytest.mark.parametrize(
    "leaf",
    [
        replace(LEAF, policy_version=-1),
        replace(LEAF, policy_version=65_536),
        replace(LEAF, ref=-1),
        replace(LEAF, ref=2**64),
        replace(LEAF, issuer_tag=b"T" * 31),
        replace(LEAF, issuer_tag=b"T" * 33),
        replace(LEAF, commitment=b""),
        replace(LEAF, commitment=b"C" * 33),
    ],
)
def test_field_that_does_not_fit_is_refused(leaf: Leaf) -> None:
    with pytest.raises(InvalidEntry):
        encode_leaf(leaf)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        PACKED[:-1],
        PACKED + b"\x00",
        b"BCL2" + PACKED[4:],
        b"bcl1" + PACKED[4:],
        PACKED[:4] + b"\x00" + PACKED[5:],
        PACKED[:4] + b"\x18" + PACKED[5:],
        PACKED[:4] + b"\xff" + PACKED[5:],
        PACKED[:5] + b"\x0a" + PACKED[6:],
        PACKED[:5] + b"\xff" + PACKED[6:],
    ],
)
def test_entry_of_another_length_version_op_or_reason_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidEntry):
        parse_leaf(raw)


# --- Commitment and tag ---------------------------------------------------------------------


def test_commitment_is_the_keyed_hash_of_context_and_token() -> None:
    literal = b"\x62\x63\x6c\x2f\x6c\x65\x61\x66\x2f\x76\x31\x00"  # "bcl/leaf/v1" 00
    assert commit(SALT, TOKEN) == hmac.new(SALT, literal + TOKEN, hashlib.sha256).digest()


def test_issuer_tag_is_the_keyed_hash_of_context_and_commitment() -> None:
    literal = b"\x62\x63\x6c\x2f\x69\x73\x73\x75\x65\x72\x2f\x76\x31\x00"  # "bcl/issuer/v1" 00
    commitment = bytes(range(64, 96))
    expected = hmac.new(TAG_KEY, literal + commitment, hashlib.sha256).digest()
    assert tag_issuer(TAG_KEY, commitment) == expected


def test_commitment_differs_by_salt_and_by_every_byte_of_the_token() -> None:
    commitments = {commit(SALT, TOKEN), commit(TAG_KEY, TOKEN), commit(SALT, TOKEN + b"=")}
    for place in range(len(TOKEN)):
        changed = bytearray(TOKEN)
        changed[place] ^= 1
        commitments.add(commit(SALT, bytes(changed)))
    assert len(commitments) == 3 + len(TOKEN)


def test_tag_and_commitment_never_meet_though_keys_and_content_are_the_same() -> None:
    content = bytes(32)
    assert commit(SALT, content) != tag_issuer(SALT, content)


# --- Receipts -------------------------------------------------------------------------------


def entry_of(token: bytes) -> bytes:
    """Build the entry of a report."""
    commitment = commit(SALT, token)
    tag = tag_issuer(TAG_KEY, commitment)
    return encode_leaf(Leaf(Op.INCIDENT_CONFIRMED, EntryReason.NONE, 1, NO_REF, tag, commitment))


LEAVES = [leaf_hash(b"entry %d" % number) for number in range(7)]
LEAVES[INDEX] = leaf_hash(entry_of(TOKEN))
TREE = Checkpoint(ORIGIN, len(LEAVES), root_hash(LEAVES))
RECEIPT = Receipt(
    entry=entry_of(TOKEN),
    salt=SALT,
    index=INDEX,
    proof=inclusion_proof(LEAVES, INDEX),
    checkpoint_note=sign_checkpoint(TREE, SIGNER),
)
TEXT = render_receipt(RECEIPT)


def b64(raw: bytes) -> str:
    """Give bytes as base64."""
    return base64.b64encode(raw).decode()


def test_receipt_is_a_tlog_proof_line_by_line() -> None:
    assert TEXT.split("\n") == [
        "c2sp.org/tlog-proof@v1",
        f"extra {b64(entry_of(TOKEN) + SALT)}",
        "index 4",
        b64(LEAVES[5]),
        b64(LEAVES[6]),
        b64(root_hash(LEAVES[:4])),
        "",
        ORIGIN,
        "7",
        b64(root_hash(LEAVES)),
        "",
        RECEIPT.checkpoint_note.splitlines()[-1],
        "",
    ]


def test_receipt_is_parsed_as_it_was_rendered() -> None:
    assert parse_receipt(TEXT) == RECEIPT


def test_receipt_opens_the_statement_that_it_is_for() -> None:
    verified = verify_receipt(TEXT, [VERIFIER], token=TOKEN)
    assert verified.leaf == parse_leaf(RECEIPT.entry)
    assert (verified.index, verified.checkpoint, verified.opened) == (INDEX, TREE, True)


def test_receipt_without_the_statement_proves_inclusion_alone() -> None:
    opened = verify_receipt(TEXT, [VERIFIER], token=TOKEN)
    assert verify_receipt(TEXT, [VERIFIER], token=None) == replace(opened, opened=False)


def test_receipt_of_the_only_entry_needs_no_hash() -> None:
    tree = Checkpoint(ORIGIN, 1, LEAVES[INDEX])
    note = sign_checkpoint(tree, SIGNER)
    text = render_receipt(replace(RECEIPT, index=0, proof=(), checkpoint_note=note))
    assert verify_receipt(text, [VERIFIER], token=TOKEN).checkpoint == tree


def test_every_flipped_bit_of_a_receipt_is_refused_or_changes_nothing_claimed() -> None:
    raw = TEXT.encode()
    claimed = verify_receipt(TEXT, [VERIFIER], token=TOKEN)
    harmless = []
    for bit in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        text = changed.decode("utf-8", "surrogateescape")
        try:
            assert verify_receipt(text, [VERIFIER], token=TOKEN) == claimed
        except LedgerError:
            continue
        harmless.append(bit // 8)
    # Only bits that base64 leaves without meaning, before the padding of the signature.
    assert set(harmless) <= {len(raw) - 3}


@pytest.mark.parametrize("token", [b"", TOKEN + b"=", TOKEN[:-1], TOKEN.swapcase()])
def test_receipt_for_another_statement_is_refused(token: bytes) -> None:
    with pytest.raises(InvalidReceipt):
        verify_receipt(TEXT, [VERIFIER], token=token)


def test_receipt_with_another_salt_opens_nothing() -> None:
    text = render_receipt(replace(RECEIPT, salt=TAG_KEY))
    with pytest.raises(InvalidReceipt):
        verify_receipt(text, [VERIFIER], token=TOKEN)


def test_receipt_under_another_logs_key_is_refused() -> None:
    same_name = signer_from_seed(ORIGIN, bytes([1]) * 32)
    other_name = signer_from_seed("ledger.example/other", bytes(32))
    for verifiers in ([parse_vkey(same_name.vkey)], [parse_vkey(other_name.vkey)], []):
        with pytest.raises(InvalidNote):
            verify_receipt(TEXT, verifiers, token=TOKEN)


def test_receipt_whose_checkpoint_only_another_log_signed_is_refused() -> None:
    other = signer_from_seed("ledger.example/other", bytes(32))
    body = RECEIPT.checkpoint_note.partition("\n\n")[0] + "\n"
    text = render_receipt(replace(RECEIPT, checkpoint_note=sign_note(body, other)))
    with pytest.raises(InvalidNote):
        verify_receipt(text, [VERIFIER, parse_vkey(other.vkey)], token=TOKEN)


@pytest.mark.parametrize("index", [*range(INDEX), *range(INDEX + 1, 9), 2**62])
def test_receipt_with_its_index_moved_is_refused(index: int) -> None:
    with pytest.raises(InvalidProof):
        verify_receipt(render_receipt(replace(RECEIPT, index=index)), [VERIFIER], token=TOKEN)


def test_receipt_with_another_entry_is_refused() -> None:
    text = render_receipt(replace(RECEIPT, entry=entry_of(b"another")))
    with pytest.raises(InvalidProof):
        verify_receipt(text, [VERIFIER], token=None)


def test_receipt_of_what_is_no_entry_is_refused_though_it_is_in_the_tree() -> None:
    alien = bytes(80)
    tree = Checkpoint(ORIGIN, 1, leaf_hash(alien))
    note = sign_checkpoint(tree, SIGNER)
    text = render_receipt(Receipt(alien, SALT, 0, (), note))
    with pytest.raises(InvalidEntry):
        verify_receipt(text, [VERIFIER], token=None)


EXTRA = b64(RECEIPT.entry + SALT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("@v1", "@v2"),
        f"\n{TEXT}",
        TEXT.removeprefix("c2sp.org/tlog-proof@v1\n"),
        TEXT.replace("extra ", "extra  "),
        TEXT.replace("extra ", "Extra "),
        TEXT.replace(f"extra {EXTRA}\n", ""),
        TEXT.replace(EXTRA, ""),
        TEXT.replace(EXTRA, b64(RECEIPT.entry)),
        TEXT.replace(EXTRA, b64(RECEIPT.entry + SALT + b"\x00")),
        TEXT.replace(EXTRA, f"{EXTRA[:-1]}\n="),
        TEXT.replace(EXTRA, f"\u00e9{EXTRA[1:]}"),
        TEXT.replace("index 4", "index 04"),
        TEXT.replace("index 4", "index +4"),
        TEXT.replace("index 4", "index -4"),
        TEXT.replace("index 4", "index 4 "),
        TEXT.replace("index 4", "index \u0664"),
        TEXT.replace("index 4", f"index {10**19}"),
        TEXT.replace("index 4\n", ""),
        TEXT.replace(b64(LEAVES[5]), f" {b64(LEAVES[5])}"),
        TEXT.replace(b64(LEAVES[5]), "not base64!"),
        TEXT.replace(b64(LEAVES[5]), "\n".join([b64(LEAVES[5])] * 64)),
        TEXT.partition("\n\n")[0],
        "c2sp.org/tlog-proof@v1\n\n",
        TEXT + "a" * 1_000_000,
    ],
)
def test_text_that_is_no_canonical_receipt_is_refused(text: str) -> None:
    with pytest.raises(InvalidReceipt):
        parse_receipt(text)


def test_hash_in_a_receipt_with_bits_that_carry_nothing_is_refused() -> None:
    canonical = b64(LEAVES[5])
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = f"{canonical[:-2]}{alphabet[alphabet.index(canonical[-2]) + 1]}="
    assert base64.b64decode(other) == LEAVES[5]
    with pytest.raises(InvalidReceipt):
        parse_receipt(TEXT.replace(canonical, other))
