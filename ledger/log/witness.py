"""Witnesses: who they are, how many must agree, and the words in which they are asked (C2SP).

A witness cosigns a checkpoint only where it continues what it cosigned before, so that a log can't
show two histories to two members. It signs what it saw and when; it knows nothing of what entries
say. This module knows cosignatures, policies and requests; it sends nothing and keeps nothing.
"""

from __future__ import annotations

import base64
import binascii
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.errors import InvalidInput, InvalidNote, QuorumMissing
from ledger.log.checkpoint import parse_size, read_checkpoint
from ledger.log.merkle import HASH_BYTES
from ledger.log.note import COSIGNATURE_TYPE, cosign_note, open_note, parse_vkey, signer_from_seed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ledger.log.checkpoint import Checkpoint
    from ledger.log.note import NoteSigner, NoteVerifier

REQUEST_BYTES_MAX = 65_536
SIZE_TYPE = "text/x.tlog.size"
_PROOF_MAX = 63
_SPARE_GROUPS = 2
QUORUM_MIN = _SPARE_GROUPS + 1  # so that k + 2 groups are fewer than 2k
_OLD = "old "
_URL = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?", re.ASCII)
_MEMBERS = {"vkey": str, "url": str, "group": str}


@dataclass(frozen=True, slots=True)
class Witness:
    """Whom a checkpoint is shown to.

    *Shape*: `url` is the prefix of its service, without a trailing slash; `group` is who stands
    behind it, all of whose witnesses count as one.
    """

    verifier: NoteVerifier
    url: str
    group: str

    @property
    def name(self) -> str:
        """The name under which it cosigns."""
        return self.verifier.name


@dataclass(frozen=True, slots=True)
class WitnessPolicy:
    """Which witnesses are known, and of how many groups a checkpoint needs a cosignature."""

    quorum: int
    witnesses: tuple[Witness, ...]

    @property
    def verifiers(self) -> tuple[NoteVerifier, ...]:
        """The keys of all witnesses."""
        return tuple(one.verifier for one in self.witnesses)


@dataclass(frozen=True, slots=True)
class WitnessedCheckpoint:
    """A checkpoint that a quorum cosigned.

    *Units*: `quorum_at` is the Unix second since which the newest cosignatures of a quorum stand.
    """

    checkpoint: Checkpoint
    quorum_at: int


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request to cosign: the size that the witness is believed to know, a proof, the note."""

    old_size: int
    proof: tuple[bytes, ...]
    note: str


def witness_from_seed(name: str, seed: bytes) -> NoteSigner:
    """Make the signer of a witness from an Ed25519 seed of 32 bytes."""
    return signer_from_seed(name, seed, kind=COSIGNATURE_TYPE)


def parse_witness_key(vkey: str) -> NoteVerifier:
    """Parse a witness's verifier key, of type 04. *Raises*: InvalidNote."""
    return parse_vkey(vkey, kind=COSIGNATURE_TYPE)


def cosign(body: str, signer: NoteSigner, cosigned_at: int) -> str:
    """Cosign a checkpoint's text and give the line. *Units*: Unix seconds."""
    return cosign_note(body, signer, cosigned_at)


# --- Policies ---------------------------------------------------------------------------------


def parse_witness_policy(text: str) -> WitnessPolicy:
    """Parse a policy of witnesses (docs/format.md).

    *Raises*: InvalidInput for another shape, names or keys that stand twice, fewer than two groups
    more than the quorum, or a quorum that two histories could reach at once.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput("The policy of witnesses isn't TOML.") from error
    quorum, rows = table.get("quorum"), table.get("witness")
    if set(table) != {"quorum", "witness"} or type(quorum) is not int or not isinstance(rows, list):
        raise InvalidInput("A policy of witnesses has a quorum and witnesses, nothing else.")
    policy = WitnessPolicy(quorum, tuple(_parse_witness(row) for row in rows))
    for column in ("name", "public_key_bytes"):
        if len({getattr(one, column) for one in policy.verifiers}) != len(rows):
            raise InvalidInput("A witness's name or key stands twice in the policy.")
    groups = len({one.group for one in policy.witnesses})
    if quorum < 1 or groups < quorum + _SPARE_GROUPS:
        raise InvalidInput("A quorum of k needs witnesses of at least k + 2 groups.")
    if 2 * quorum <= groups:
        raise InvalidInput(
            "More than half of the groups must be the quorum: two histories could each reach it."
        )
    return policy


def _parse_witness(row: object) -> Witness:
    if not isinstance(row, dict) or {name: type(value) for name, value in row.items()} != _MEMBERS:
        raise InvalidInput("A witness has a vkey, a url and a group, all of them text.")
    url = row["url"].rstrip("/")
    if _URL.fullmatch(url) is None or not row["group"]:
        raise InvalidInput("A witness's url isn't an http or https URL, or its group is empty.")
    try:
        return Witness(parse_witness_key(row["vkey"]), url, row["group"])
    except InvalidNote as error:
        raise InvalidInput("A witness's vkey isn't one.") from error


def open_witnessed(
    note: str, verifiers: Iterable[NoteVerifier], policy: WitnessPolicy
) -> WitnessedCheckpoint:
    """Open a checkpoint that its log signed and a quorum of witnesses cosigned.

    Lines of unknown keys are passed over, a bad one of a known key refuses the note.
    *Raises*: InvalidNote, QuorumMissing.
    """
    opened = open_note(note, (*verifiers, *policy.verifiers))
    checkpoint = read_checkpoint(opened)
    newest: dict[str, int] = {}
    for one in policy.witnesses:
        at = opened.cosigned_at.get(one.name)
        if at is not None:
            newest[one.group] = max(at, newest.get(one.group, 0))
    if len(newest) < policy.quorum:
        raise QuorumMissing("Too few witnesses cosigned the checkpoint.")
    return WitnessedCheckpoint(checkpoint, sorted(newest.values())[-policy.quorum])


# --- The request and its answer -----------------------------------------------------------------


def render_request(request: AddCheckpoint) -> bytes:
    """Render an add-checkpoint request. *Source*: C2SP tlog-witness."""
    lines = [f"{_OLD}{request.old_size}", *_render_hashes(request.proof), "", request.note]
    return "\n".join(lines).encode()


def _render_hashes(hashes: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(one).decode() for one in hashes]


def parse_request(raw: bytes) -> AddCheckpoint:
    """Parse an add-checkpoint request. *Raises*: InvalidInput unless it is canonical."""
    try:
        head, separator, note = raw.decode().partition("\n\n")
        first, *lines = head.split("\n")
        proof = tuple(base64.b64decode(line, validate=True) for line in lines)
    except (ValueError, binascii.Error) as error:
        raise InvalidInput("The request isn't an add-checkpoint.") from error
    old_size = parse_size(first.removeprefix(_OLD)) if first.startswith(_OLD) else None
    if old_size is None or not separator or len(raw) > REQUEST_BYTES_MAX or len(proof) > _PROOF_MAX:
        raise InvalidInput("The request isn't an add-checkpoint.")
    if any(len(one) != HASH_BYTES for one in proof) or _render_hashes(proof) != lines:
        raise InvalidInput("A line of the proof isn't the base64 of a hash.")
    return AddCheckpoint(old_size, proof, note)


def read_cosignature(answer: str, body: str, witness: Witness) -> tuple[str, int]:
    """Find a witness's own cosignature of a text in its answer: the line, and when it signed.

    *Units*: Unix seconds. *Raises*: InvalidNote where there is no good one.
    """
    for line in answer.split("\n")[:_PROOF_MAX]:
        try:
            opened = open_note(f"{body}\n{line}\n", (witness.verifier,))
        except InvalidNote:
            continue
        return f"{line}\n", opened.cosigned_at[witness.name]
    raise InvalidNote("The witness's answer holds no good cosignature of its own.")
