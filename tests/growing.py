"""Logs that are long at once: entries without statements, tiles and checkpoints by our own code."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ledger.log.merkle import leaf_hash
from ledger.sequencing import extend_log, publish_checkpoint
from ledger.store import entries
from ledger.store.engine import begin_write

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.ledger import Ledger
    from ledger.store.engine import Connection


def numbered_entry(index: int) -> bytes:
    """Give 80 bytes that differ from each other; they aren't a leaf of any statement."""
    return hashlib.shake_128(b"%d" % index).digest(80)


def extend(connection: Connection, size: int) -> None:
    """Let the log grow to a size in an open transaction."""
    state = entries.read_state(connection, lock=True)
    written = [
        (index, entry, leaf_hash(entry))
        for index, entry in ((index, numbered_entry(index)) for index in range(state.size, size))
    ]
    entries.insert_entries(connection, written)
    hashes = [hashed for _, _, hashed in written]
    advanced = extend_log(connection, state, hashes, state.policy_version)
    entries.advance_state(connection, state, advanced)


def grow_log(ledger: Ledger, size: int, at: datetime, *, publish: bool = True) -> None:
    """Let the log grow to a size in one step, and publish it."""
    with begin_write(ledger.database) as connection:
        extend(connection, size)
    if publish:
        publish_checkpoint(ledger, at)
