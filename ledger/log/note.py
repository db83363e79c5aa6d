"""Signed notes (C2SP signed-note): a text, and Ed25519 signature lines under named keys.

It knows two types of keys: a log's (0x01), which sign the text, and a witness's (0x04, C2SP
tlog-cosignature), which sign when they saw it as well. One key has one type.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from ledger.errors import InvalidNote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ED25519_TYPE = 1
COSIGNATURE_TYPE = 4
NOTE_BYTES_MAX = 1_000_000
SIGNATURES_MAX = 100
_KEY_BYTES = 32
_ID_BYTES = 4
_TIME_BYTES = 8
_DASH = "\u2014 "


@dataclass(frozen=True, slots=True)
class NoteVerifier:
    """A key that signatures are checked with, under the name that it signs as."""

    name: str
    key_id: bytes
    public_key_bytes: bytes
    kind: int = ED25519_TYPE


@dataclass(frozen=True, slots=True)
class NoteSigner:
    """A key that signs notes under a name. `vkey` is what verifiers configure."""

    name: str
    key_id: bytes
    vkey: str
    private_key: Ed25519PrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A note's text, and the verifiers whose signatures it carries.

    *Shape*: `passed_over` are name and key id of each line of an unknown key. *Units*:
    `cosigned_at` has the Unix seconds that each witness signed, by its name.
    """

    body: str
    signers: tuple[NoteVerifier, ...]
    cosigned_at: Mapping[str, int]
    passed_over: tuple[tuple[str, bytes], ...] = ()


def _key_id(name: str, typed_key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + typed_key).digest()[:_ID_BYTES]


def _check_name(name: str) -> None:
    if not name or "+" in name or any(character.isspace() for character in name):
        raise InvalidNote("A key name has no spaces and no plus sign.")


def signer_from_seed(name: str, seed: bytes, *, kind: int = ED25519_TYPE) -> NoteSigner:
    """Make the signer of a name from an Ed25519 seed of 32 bytes."""
    _check_name(name)
    private = Ed25519PrivateKey.from_private_bytes(seed)
    typed = bytes([kind]) + private.public_key().public_bytes_raw()
    key_id = _key_id(name, typed)
    vkey = f"{name}+{key_id.hex()}+{base64.b64encode(typed).decode()}"
    return NoteSigner(name, key_id, vkey, private)


def parse_vkey(text: str, *, kind: int = ED25519_TYPE) -> NoteVerifier:
    """Parse a verifier key: name+hex id+base64(type ‖ key). *Raises*: InvalidNote."""
    name, _, rest = text.partition("+")
    id_hex, _, key_b64 = rest.partition("+")
    _check_name(name)
    try:
        typed = base64.b64decode(key_b64, validate=True)
        key_id = _key_id(name, typed)
    except ValueError as error:  # characters that ASCII or UTF-8 doesn't have are among them
        raise InvalidNote("The verifier key isn't a name and base64.") from error
    if len(typed) != 1 + _KEY_BYTES or typed[0] != kind:
        raise InvalidNote(
            "The verifier key isn't an Ed25519 key."
            if kind == ED25519_TYPE
            else "The verifier key isn't a witness's Ed25519 key."
        )
    if re.fullmatch("[0-9a-f]{8}", id_hex) is None or key_id.hex() != id_hex:
        raise InvalidNote("The verifier key's id isn't that of its key.")
    return NoteVerifier(name, key_id, typed[1:], kind)


def sign_note(body: str, signer: NoteSigner) -> str:
    """Sign a text. *Raises*: InvalidNote unless it ends with a newline."""
    _check_body(body)
    return f"{body}\n{_render_line(signer, signer.private_key.sign(body.encode()))}"


def cosign_note(body: str, signer: NoteSigner, cosigned_at: int) -> str:
    """Sign that a witness saw a text, and give the signature line.

    *Units*: Unix seconds. *Source*: C2SP tlog-cosignature. *Raises*: InvalidNote.
    """
    _check_body(body)
    time = cosigned_at.to_bytes(_TIME_BYTES)
    signature = signer.private_key.sign(_cosigned(body, cosigned_at))
    return _render_line(signer, time + signature)


def _cosigned(body: str, cosigned_at: int) -> bytes:
    """Give the bytes that a witness signs."""
    return f"cosignature/v1\ntime {cosigned_at}\n{body}".encode()


def _render_line(signer: NoteSigner, signature: bytes) -> str:
    return f"{_DASH}{signer.name} {base64.b64encode(signer.key_id + signature).decode()}\n"


def _check_body(body: str) -> None:
    if not body.endswith("\n") or any(ord(c) < ord(" ") and c != "\n" for c in body):
        raise InvalidNote("A note's text ends with a newline and holds no control characters.")


def open_note(text: str, verifiers: Iterable[NoteVerifier]) -> OpenedNote:
    """Open a note under known keys.

    Lines of unknown keys are passed over; a bad signature of a known key refuses the note, and
    so does the lack of any good one. *Raises*: InvalidNote.
    """
    if len(text) > NOTE_BYTES_MAX:
        raise InvalidNote("The note is too long.")
    split = text.rfind("\n\n")
    if split < 0 or not text.endswith("\n"):
        raise InvalidNote("The note has no signature.")
    body, lines = text[: split + 1], text[split + 2 : -1].split("\n")
    _check_body(body)
    if len(lines) > SIGNATURES_MAX:
        raise InvalidNote("The note has too many signatures.")
    known = {(one.name, one.key_id): one for one in verifiers}
    signers: dict[tuple[str, bytes], NoteVerifier] = {}
    cosigned_at: dict[str, int] = {}
    passed_over: list[tuple[str, bytes]] = []
    for line in lines:
        name, key_id, signature = _parse_line(line)
        verifier = known.get((name, key_id))
        if verifier is None:
            passed_over.append((name, key_id))
        if verifier is None or (name, key_id) in signers:
            continue
        try:
            message = body.encode()
            if verifier.kind == COSIGNATURE_TYPE:
                cosigned_at[name] = int.from_bytes(signature[:_TIME_BYTES])
                message, signature = _cosigned(body, cosigned_at[name]), signature[_TIME_BYTES:]
            Ed25519PublicKey.from_public_bytes(verifier.public_key_bytes).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise InvalidNote("A known key's signature doesn't verify.") from error
        signers[name, key_id] = verifier
    if not signers:
        raise InvalidNote("No known key signed the note.")
    return OpenedNote(body, tuple(signers.values()), cosigned_at, tuple(passed_over))


def _parse_line(line: str) -> tuple[str, bytes, bytes]:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise InvalidNote("A signature line isn't of the form '— name base64'.")
    _check_name(name)
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidNote("A signature isn't base64.") from error
    if base64.b64encode(raw).decode() != encoded:  # the last bits of a line count too
        raise InvalidNote("A signature isn't canonical base64.")
    if len(raw) <= _ID_BYTES:
        raise InvalidNote("A signature is too short.")
    return name, raw[:_ID_BYTES], raw[_ID_BYTES:]
