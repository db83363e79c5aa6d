"""Checkpoints (C2SP tlog-checkpoint): origin, size and root of a log, as a signed note."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.errors import InvalidNote
from ledger.log.note import ED25519_TYPE, open_note, sign_note
from ledger.log.tile import SIZE_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ledger.log.note import NoteSigner, NoteVerifier, OpenedNote

_HASH_BYTES = 32
_BODY_LINES = 3
_SIZE = re.compile("0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log claims to be: its name, how many entries, and their root."""

    origin: str
    size: int
    root_hash: bytes


def parse_size(text: str) -> int | None:
    """Parse a size of a log; None where it isn't the one spelling of any up to SIZE_MAX."""
    if _SIZE.fullmatch(text) is None or int(text) > SIZE_MAX:
        return None
    return int(text)


def render_checkpoint(checkpoint: Checkpoint) -> str:
    """Render the three lines of a checkpoint's text."""
    root = base64.b64encode(checkpoint.root_hash).decode()
    return f"{checkpoint.origin}\n{checkpoint.size}\n{root}\n"


def parse_checkpoint(body: str) -> Checkpoint:
    """Parse a checkpoint's text: three lines, no extensions. *Raises*: InvalidNote."""
    lines = body.split("\n")
    if len(lines) != _BODY_LINES + 1 or lines[-1] or not lines[0]:
        raise InvalidNote("A checkpoint has exactly three lines.")
    origin, size_text, root = lines[:_BODY_LINES]
    size = parse_size(size_text)
    try:
        root_hash = base64.b64decode(root, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidNote("The checkpoint's root isn't base64.") from error
    if size is None or len(root_hash) != _HASH_BYTES:
        raise InvalidNote("The checkpoint's size or root is malformed.")
    checkpoint = Checkpoint(origin, size, root_hash)
    if render_checkpoint(checkpoint) != body:
        raise InvalidNote("The checkpoint's root isn't canonical base64.")
    return checkpoint


def sign_checkpoint(checkpoint: Checkpoint, signer: NoteSigner) -> str:
    """Sign a checkpoint under its origin. *Raises*: InvalidNote for another name."""
    if signer.name != checkpoint.origin:
        raise InvalidNote("A checkpoint is signed under its origin.")
    return sign_note(render_checkpoint(checkpoint), signer)


def open_checkpoint(note: str, verifiers: Iterable[NoteVerifier]) -> Checkpoint:
    """Open a checkpoint that its own log signed. *Raises*: InvalidNote."""
    return read_checkpoint(open_note(note, verifiers))


def read_checkpoint(opened: OpenedNote) -> Checkpoint:
    """Read the checkpoint in an opened note. *Raises*: InvalidNote unless its log signed it."""
    checkpoint = parse_checkpoint(opened.body)
    signers = {one.name for one in opened.signers if one.kind == ED25519_TYPE}
    if checkpoint.origin not in signers:
        raise InvalidNote("The log itself didn't sign the checkpoint.")
    return checkpoint
