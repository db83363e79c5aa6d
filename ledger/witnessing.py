"""What a witness does: it cosigns a checkpoint that continues what it cosigned before.

It knows logs by their keys and remembers one checkpoint of each; it knows nothing of entries and
holds no other secret than its own key. There is no trust on first use: a log is known by the key
that the witness's operator was given, or it isn't known.

What is true when: after the commit this witness never cosigns another history of that size, whether
or not anybody got the cosignature. If we die right before it, nothing was cosigned.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledger.errors import (
    AccessDenied,
    InvalidInput,
    InvalidNote,
    InvalidProof,
    NotFound,
    SizeConflict,
)
from ledger.log.checkpoint import open_checkpoint, parse_checkpoint
from ledger.log.merkle import EMPTY_ROOT, verify_consistency
from ledger.log.witness import cosign, parse_request
from ledger.store import cosigned
from ledger.store.engine import Database, begin_write, open_database

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from ledger.log.checkpoint import Checkpoint
    from ledger.log.note import NoteSigner, NoteVerifier
    from ledger.log.witness import AddCheckpoint


@dataclass(frozen=True, slots=True)
class OwnWitness:
    """A witness: its key, its file, and the keys of the logs that it cosigns, by origin."""

    signer: NoteSigner = field(repr=False)
    database: Database = field(repr=False)
    logs: Mapping[str, NoteVerifier]


def create_witness(path: str) -> None:
    """Create the file of a new witness."""
    database = open_database(f"sqlite:///{path}")
    try:
        cosigned.create_tables(database)
    finally:
        database.engine.dispose()


def index_logs(logs: Iterable[NoteVerifier]) -> Mapping[str, NoteVerifier]:
    """Give the keys of logs by origin. *Raises*: InvalidInput where a log has two."""
    known = list(logs)
    by_origin = {one.name: one for one in known}
    if len(by_origin) != len(known):
        raise InvalidInput("A log's name stands twice among those that are known.")
    return by_origin


def open_witness(path: str, signer: NoteSigner, logs: Iterable[NoteVerifier]) -> OwnWitness:
    """Open a witness. *Raises*: as `index_logs`."""
    return OwnWitness(signer, open_database(f"sqlite:///{path}"), index_logs(logs))


def cosign_checkpoint(witness: OwnWitness, raw: bytes, at: datetime) -> str:
    """Answer an add-checkpoint request with the line of a cosignature.

    *Source*: C2SP tlog-witness. *Raises*: InvalidInput for a malformed request, NotFound for an
    unknown log, AccessDenied where the log didn't sign, SizeConflict where another size or root was
    cosigned last, InvalidProof, LedgerUnavailable where the file can't be written now.
    """
    request = parse_request(raw)
    checkpoint = _open(witness, request.note)
    if request.old_size > checkpoint.size:
        raise InvalidInput("The old size is beyond the checkpoint's.")
    with begin_write(witness.database) as connection:
        last = cosigned.find_cosigned(connection, checkpoint.origin)
        _check_continues(request, checkpoint, last)
        cosigned.replace_cosigned(connection, checkpoint, request.note, at)
    # Committed: no other history of this size is ever cosigned. Only now is the cosignature made.
    body = request.note[: request.note.rindex("\n\n") + 1]
    return cosign(body, witness.signer, int(at.timestamp()))


def _open(witness: OwnWitness, note: str) -> Checkpoint:
    """Open a checkpoint under its own log's key. *Raises*: InvalidInput, NotFound, AccessDenied."""
    try:
        origin = parse_checkpoint(note[: note.rfind("\n\n") + 1]).origin
    except InvalidNote as error:
        raise InvalidInput("The request holds no checkpoint.") from error
    if origin not in witness.logs:
        raise NotFound("This witness doesn't know the log.")
    try:
        return open_checkpoint(note, (witness.logs[origin],))
    except InvalidNote as error:
        raise AccessDenied("The log didn't sign the checkpoint.") from error


def _check_continues(
    request: AddCheckpoint, checkpoint: Checkpoint, last: cosigned.Cosigned | None
) -> None:
    """Check that a checkpoint continues the last one. *Raises*: SizeConflict, InvalidProof."""
    size, root = (last.size, last.root_hash) if last else (0, EMPTY_ROOT)
    if request.old_size != size:
        raise SizeConflict("Another size was cosigned last.", size=size)
    if size == checkpoint.size and checkpoint.root_hash != root:
        raise SizeConflict("Another root of this size was cosigned.", size=size)
    if size in {0, checkpoint.size}:
        if request.proof:
            raise InvalidProof("There is nothing to prove.")
        return
    verify_consistency(size, root, checkpoint.size, checkpoint.root_hash, request.proof)
