"""Signed checkpoints held against the entries, against each other, and what witnesses said.

Each names the size that was signed before it and the log's state names the newest, so that none
goes without a trace. Which policy of witnesses was in force when isn't kept: what is asked of
an older checkpoint is what every policy asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.errors import InvalidNote, LedgerError, QuorumMissing
from ledger.examining import Finding
from ledger.log.checkpoint import Checkpoint, read_checkpoint
from ledger.log.merkle import EMPTY_ROOT, extend_frontier, frontier_root, leaf_hash
from ledger.log.note import open_note
from ledger.log.witness import QUORUM_MIN, open_witnessed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ledger.examining import Snapshot
    from ledger.ledger import Ledger
    from ledger.log.note import NoteVerifier
    from ledger.store.witnesses import SignedCheckpoint


def examine_checkpoints(ledger: Ledger, snapshot: Snapshot) -> list[Finding]:
    """Examine every signed checkpoint; each is named by the last entry under it."""
    return [
        *_examine_notes(ledger, snapshot),
        *_examine_order(snapshot),
        *_examine_publication(ledger, snapshot),
    ]


def _examine_notes(ledger: Ledger, snapshot: Snapshot) -> Iterator[Finding]:
    """Check that every note opens and names the root of its size.

    Of cosignatures those are checked whose witnesses are known now.
    """
    known = (ledger.verifier, *(ledger.witnesses.verifiers if ledger.witnesses else ()))
    frontier = b""
    size = 0
    hashes = [leaf_hash(entry) for entry, _ in snapshot.rows.values()]
    for signed in snapshot.checkpoints:
        index = signed.size - 1
        checkpoint = _open(signed, known)
        if checkpoint is None:
            yield Finding(index, "checkpoint-forged", "A checkpoint doesn't open.")
            continue
        frontier = extend_frontier(size, frontier, hashes[size : signed.size])
        size = max(size, min(signed.size, len(hashes)))
        root = frontier_root(size, frontier) if size else EMPTY_ROOT
        if checkpoint != Checkpoint(ledger.origin, signed.size, root) or size != signed.size:
            yield Finding(index, "checkpoint-root", "A checkpoint isn't of these entries.")


def _open(signed: SignedCheckpoint, known: Collection[NoteVerifier]) -> Checkpoint | None:
    """Open a note of the log's own line, and no two lines of one key among the cosignatures.

    None where it is no such note, or a line has a known name or key id, but not both.
    """
    try:
        opened = open_note(signed.shown, known)
        checkpoint = read_checkpoint(opened)
    except LedgerError:
        return None
    names, key_ids = {one.name for one in known}, {one.key_id for one in known}
    strange = any(name in names or key_id in key_ids for name, key_id in opened.passed_over)
    own, added = signed.note.partition("\n\n")[2].count("\n"), signed.cosignatures.count("\n")
    read = len(opened.signers) + len(opened.passed_over)  # the first of each known key
    return None if strange or own != 1 or own + added != read else checkpoint


def _examine_order(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that no checkpoint is missing that another one, the state or a witness tells of."""
    sizes = [one.size for one in snapshot.checkpoints]
    newest = sizes[-1] if sizes else 0
    named = [one.previous_size for one in snapshot.checkpoints]
    told = [
        *zip(named, [0, *sizes], strict=False),
        *((size, newest) for size in snapshot.newest_signed),
        *((size, size if size in sizes else 0) for size in snapshot.witness_sizes.values()),
    ]
    for size, found in told:
        if size > found:
            yield Finding(size - 1, "checkpoint-missing", "A signed checkpoint is missing.")
        elif size < found:
            detail = "A checkpoint is kept that nobody signed then."
            yield Finding(found - 1, "checkpoint-unknown", detail)


def _examine_publication(ledger: Ledger, snapshot: Snapshot) -> Iterator[Finding]:
    """Check that what was cosigned is published, and what was published is cosigned."""
    lines = {one.size: one.cosignatures.count("\n") for one in snapshot.checkpoints}
    was_witnessed = bool(snapshot.witness_sizes) or any(lines.values())
    begun = False
    for one in snapshot.checkpoints:
        count = lines[one.size]
        if one.published_at is None:
            if count or not (was_witnessed or ledger.witnesses):
                detail = "A checkpoint that was published isn't any more."
                yield Finding(one.size - 1, "checkpoint-unpublished", detail)
        elif count < QUORUM_MIN and (count or (begun and ledger.witnesses)):
            yield _unwitnessed(one)
        begun = begun or count > 0
    published = [one for one in snapshot.checkpoints if one.published_at is not None]
    # A policy that no checkpoint meets is new: the worker's next publication is the first under it.
    meeting = [_has_quorum(ledger, one) for one in reversed(published)]
    if any(meeting) and not meeting[0]:
        yield _unwitnessed(published[-1])


def _unwitnessed(signed: SignedCheckpoint) -> Finding:
    detail = "A checkpoint is published without the cosignatures of a quorum."
    return Finding(signed.size - 1, "checkpoint-unwitnessed", detail)


def _has_quorum(ledger: Ledger, signed: SignedCheckpoint) -> bool:
    if ledger.witnesses is None:
        return False
    try:
        open_witnessed(signed.shown, (ledger.verifier,), ledger.witnesses)
    except (InvalidNote, QuorumMissing):
        return False
    return True
