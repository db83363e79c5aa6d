"""Signed notes and checkpoints against the examples of their specifications and of others' logs."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT

from ledger.errors import InvalidNote
from ledger.log.checkpoint import (
    Checkpoint,
    open_checkpoint,
    parse_checkpoint,
    render_checkpoint,
    sign_checkpoint,
)
from ledger.log.merkle import EMPTY_ROOT, leaf_hash, root_hash
from ledger.log.note import (
    NOTE_BYTES_MAX,
    SIGNATURES_MAX,
    open_note,
    parse_vkey,
    sign_note,
    signer_from_seed,
)

if TYPE_CHECKING:
    from pathlib import Path

VECTORS = ROOT.parent / "shared" / "vectors" / "merkle"

# The example key and note of the Go package that the format comes from
# (golang.org/x/mod/sumdb/note, package documentation and note_test.go).
PETER_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
PETER_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER_LINE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuG"
    "UgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
PETER_NOTE = f"{PETER_TEXT}\n{PETER_LINE}"
PETER = parse_vkey(PETER_VKEY)

ORIGIN = "ledger.example/sandbox"
SIGNER = signer_from_seed(ORIGIN, bytes(range(32)))
VERIFIER = parse_vkey(SIGNER.vkey)
OTHER = signer_from_seed("witness.example", bytes(range(1, 33)))
TREE = Checkpoint(ORIGIN, 7, bytes(range(32)))


def signature_line(note: str) -> str:
    """Give the last line of a note."""
    return note.splitlines(keepends=True)[-1]


def published(name: str) -> Path:
    """Find a published file, or skip."""
    path = VECTORS / name
    if not path.exists():
        pytest.skip("The published notes aren't beside this checkout.")
    return path


# --- Notes ----------------------------------------------------------------------------------


def test_example_of_the_go_package_is_made_and_opened() -> None:
    signer = signer_from_seed("PeterNeumann", PETER_SEED)
    assert signer.vkey == PETER_VKEY
    assert sign_note(PETER_TEXT, signer) == PETER_NOTE
    opened = open_note(PETER_NOTE, [PETER])
    assert (opened.body, opened.signers) == (PETER_TEXT, (PETER,))


def test_key_id_is_the_hash_of_name_newline_type_and_key() -> None:
    typed = base64.b64decode(PETER_VKEY.split("+", 2)[2])
    assert PETER.key_id == hashlib.sha256(b"PeterNeumann\n" + typed).digest()[:4]
    assert PETER.public_key_bytes == typed[1:]


def test_example_of_the_specification_is_opened() -> None:
    example = json.loads(published("c2sp-examples.json").read_text("utf-8"))
    opened = open_note(example["note"], [parse_vkey(example["vkey"])])
    assert opened.body == "This is an example message.\n"
    assert [one.name for one in opened.signers] == ["example.com/foo"]


def test_lines_of_unknown_keys_are_passed_over() -> None:
    other = signature_line(sign_note(PETER_TEXT, OTHER))
    same_name = signature_line(sign_note(PETER_TEXT, signer_from_seed("PeterNeumann", bytes(32))))
    note = f"{PETER_TEXT}\n{other}{same_name}{PETER_LINE}"
    assert open_note(note, [PETER]).signers == (PETER,)


def test_unknown_key_may_have_signed_with_any_algorithm() -> None:
    line = f"\u2014 witness.example {base64.b64encode(bytes(4 + 8 + 64)).decode()}\n"
    assert open_note(PETER_NOTE + line, [PETER]).signers == (PETER,)


def test_every_known_signer_is_named() -> None:
    other = parse_vkey(OTHER.vkey)
    note = PETER_NOTE + signature_line(sign_note(PETER_TEXT, OTHER))
    assert open_note(note, [other, PETER]).signers == (PETER, other)
    assert open_note(PETER_NOTE + PETER_LINE, [PETER]).signers == (PETER,)


def test_bad_signature_of_a_known_key_refuses_the_note_beside_a_good_one() -> None:
    bad = signature_line(sign_note("Another text.\n", OTHER))
    assert open_note(PETER_NOTE + bad, [PETER]).signers == (PETER,)
    for note in (PETER_NOTE + bad, f"{PETER_TEXT}\n{bad}{PETER_LINE}"):
        with pytest.raises(InvalidNote):
            open_note(note, [PETER, parse_vkey(OTHER.vkey)])


def test_note_without_any_known_signature_is_refused() -> None:
    for verifiers in ([], [parse_vkey(OTHER.vkey)]):
        with pytest.raises(InvalidNote):
            open_note(PETER_NOTE, verifiers)


def test_signature_by_a_key_under_another_name_is_refused() -> None:
    renamed = PETER_NOTE.replace("\u2014 PeterNeumann", "\u2014 PeterNewmann")
    with pytest.raises(InvalidNote):
        open_note(renamed, [PETER])


def test_every_changed_character_of_a_note_refuses_it() -> None:
    assert open_note(PETER_NOTE, [PETER]).body == PETER_TEXT
    for place, character in enumerate(PETER_NOTE):
        for bit in range(8):
            changed = (
                f"{PETER_NOTE[:place]}{chr(ord(character) ^ 1 << bit)}{PETER_NOTE[place + 1 :]}"
            )
            with pytest.raises(InvalidNote):
                open_note(changed, [PETER])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\n\n",
        PETER_TEXT,
        PETER_NOTE.removesuffix("\n"),
        f"{PETER_NOTE}\n",
        PETER_NOTE.replace("\n\n", "\n"),
        PETER_NOTE.replace("\u2014 ", "- "),
        PETER_NOTE.replace("\u2014 ", "\u2014"),
        PETER_NOTE.replace("\u2014 ", "\u2014  "),
        PETER_NOTE.replace("PeterNeumann x", "PeterNeumannx"),
        PETER_NOTE.replace("PeterNeumann x", "Peter+Neumann x"),
        PETER_NOTE.replace("PeterNeumann x", "PeterNeumann\tx"),
        PETER_NOTE.replace("PeterNeumann x", "PeterNeumann  x"),
        PETER_NOTE.replace("AM=\n", "AM\n"),
        PETER_NOTE.replace("AM=\n", "AM==\n"),
        PETER_NOTE.replace("AM=\n", "AM= \n"),
        PETER_NOTE.replace("x08g", "x08\u00e9"),
        PETER_NOTE.replace("x08g", "x08-"),
        PETER_NOTE.replace("\n", "\r\n"),
        PETER_NOTE.replace("cryptography", "crypto\x00graphy"),
        PETER_NOTE.replace("cryptography", "crypto\tgraphy"),
        PETER_NOTE.replace("cryptography", "crypto\ud800graphy"),
        f"{PETER_NOTE}\u2014 unknown.example AAAA\n",
        f"{PETER_NOTE}\u2014 unknown.example {base64.b64encode(bytes(4)).decode()}\n",
        f"{PETER_NOTE}no signature line\n",
        PETER_NOTE + PETER_LINE * SIGNATURES_MAX,
        "a" * NOTE_BYTES_MAX + PETER_NOTE,
    ],
)
def test_malformed_note_is_refused(text: str) -> None:
    with pytest.raises(InvalidNote):
        open_note(text, [PETER])


def test_as_many_signatures_as_the_limit_are_read() -> None:
    note = PETER_NOTE + PETER_LINE * (SIGNATURES_MAX - 1)
    assert open_note(note, [PETER]).signers == (PETER,)


def test_text_may_hold_blank_lines_and_what_looks_like_signatures() -> None:
    body = f"First.\n\n{PETER_LINE}\nLast.\n"
    assert open_note(sign_note(body, SIGNER), [VERIFIER, PETER]).signers == (VERIFIER,)


@pytest.mark.parametrize("body", ["", "no newline", "tab\t\n", "return\r\n", "null\x00\n"])
def test_text_that_no_verifier_would_open_is_not_signed(body: str) -> None:
    with pytest.raises(InvalidNote):
        sign_note(body, SIGNER)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\tb", "a\n", "a\u00a0b", "a\u2003b", "+"])
def test_name_with_a_space_or_a_plus_is_refused(name: str) -> None:
    with pytest.raises(InvalidNote):
        signer_from_seed(name, bytes(32))
    with pytest.raises(InvalidNote):
        parse_vkey(PETER_VKEY.replace("PeterNeumann", name))


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        PETER_VKEY.replace("c74f20a3", "c74f20a4"),
        PETER_VKEY.replace("c74f20a3", "C74F20A3"),
        PETER_VKEY.replace("c74f20a3", ""),
        PETER_VKEY.replace("PeterNeumann", "PeterNewmann"),
        PETER_VKEY[:-4],
        f"{PETER_VKEY}\n",
        f"{PETER_VKEY}AAAA",
        PETER_VKEY.replace("ARpc", "-_pc"),
        PETER_VKEY.replace("ARpc", "\u00e9Rpc"),
        PETER_VKEY.replace("PeterNeumann", "Peter\ud800Neumann"),
        # The same key as type 0x04 (cosignature/v1) with the id that it would have.
        "PeterNeumann+{}+{}".format(
            hashlib.sha256(b"PeterNeumann\n\x04" + PETER.public_key_bytes).digest()[:4].hex(),
            base64.b64encode(b"\x04" + PETER.public_key_bytes).decode(),
        ),
    ],
)
def test_malformed_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(InvalidNote):
        parse_vkey(vkey)


def test_signer_never_shows_its_private_key() -> None:
    assert bytes(range(32)).hex() not in repr(SIGNER)
    assert "private" not in repr(SIGNER)


# --- Checkpoints ----------------------------------------------------------------------------


def test_checkpoint_is_three_lines() -> None:
    body = f"{ORIGIN}\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    assert render_checkpoint(TREE) == body
    assert parse_checkpoint(body) == TREE


def test_checkpoint_of_an_empty_log_is_known_text() -> None:
    body = f"{ORIGIN}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    assert parse_checkpoint(body) == Checkpoint(ORIGIN, 0, EMPTY_ROOT)


def test_signed_checkpoint_is_opened_as_it_was_signed() -> None:
    assert open_checkpoint(sign_checkpoint(TREE, SIGNER), [VERIFIER]) == TREE


def test_checkpoint_is_signed_under_its_own_origin_alone() -> None:
    with pytest.raises(InvalidNote):
        sign_checkpoint(TREE, OTHER)


def test_checkpoint_that_only_a_witness_signed_is_refused() -> None:
    witnessed = sign_note(render_checkpoint(TREE), OTHER)
    with pytest.raises(InvalidNote):
        open_checkpoint(witnessed, [VERIFIER, parse_vkey(OTHER.vkey)])
    both = sign_checkpoint(TREE, SIGNER) + signature_line(witnessed)
    assert open_checkpoint(both, [VERIFIER, parse_vkey(OTHER.vkey)]) == TREE


@pytest.mark.parametrize(
    "size", ["", "07", "00", "-1", "+7", " 7", "7 ", "0x7", "\u0667", "7" * 20]
)
def test_size_that_is_no_plain_number_is_refused(size: str) -> None:
    with pytest.raises(InvalidNote):
        parse_checkpoint(render_checkpoint(TREE).replace("\n7\n", f"\n{size}\n"))


@pytest.mark.parametrize(
    "root",
    [
        "",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=",  # a bit set that carries nothing
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8==",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= ",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh_=",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==",  # 31 bytes
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g",  # 33 bytes
        "\u00e9AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    ],
)
def test_root_that_is_not_32_bytes_of_canonical_base64_is_refused(root: str) -> None:
    with pytest.raises(InvalidNote):
        parse_checkpoint(f"{ORIGIN}\n7\n{root}\n")


@pytest.mark.parametrize(
    "body",
    [
        f"{render_checkpoint(TREE)}an extension\n",
        f"{render_checkpoint(TREE)}\n",
        render_checkpoint(TREE).removesuffix("\n"),
        render_checkpoint(TREE).removeprefix(ORIGIN),
        render_checkpoint(TREE).removeprefix(f"{ORIGIN}\n"),
        render_checkpoint(TREE).replace("\n", "\r\n"),
        f"\n{render_checkpoint(TREE)}",
        "",
    ],
)
def test_checkpoint_with_more_or_fewer_than_three_lines_is_refused(body: str) -> None:
    with pytest.raises(InvalidNote):
        parse_checkpoint(body)
    if body.endswith("\n"):
        with pytest.raises(InvalidNote):
            open_checkpoint(sign_note(body, SIGNER), [VERIFIER])


def test_every_published_checkpoint_of_another_log_opens_to_the_root_of_its_tiles() -> None:
    log = published("tessera/testdata/log")
    vkey = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
    for size in range(16):
        note = (log / f"checkpoint.{size}").read_text("utf-8")
        checkpoint = open_checkpoint(note, [parse_vkey(vkey)])
        tile = (log / f"tile/0/000.p/{size}").read_bytes() if size else b""
        bundle = (log / f"tile/entries/000.p/{size}").read_bytes() if size else b""
        leaves = [tile[start : start + 32] for start in range(0, len(tile), 32)]
        assert checkpoint == Checkpoint("example.com/log/testdata", size, root_hash(leaves))
        assert [leaf_hash(entry) for entry in unbundle(bundle)] == leaves


def unbundle(bundle: bytes) -> list[bytes]:
    """Split an entry bundle: a 16-bit length before each entry (C2SP tlog-tiles)."""
    entries, start = [], 0
    while start < len(bundle):
        stop = start + 2 + int.from_bytes(bundle[start : start + 2])
        entries.append(bundle[start + 2 : stop])
        start = stop
    return entries
