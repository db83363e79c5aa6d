"""Whether this ledger can serve: its database answers and its newest checkpoint fits its log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.errors import LedgerCorrupt, LedgerError
from ledger.log.checkpoint import open_checkpoint
from ledger.store import entries
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from ledger.ledger import Ledger


def check_ready(ledger: Ledger) -> None:
    """Check that the ledger can serve.

    *Raises*: LedgerUnavailable where the database can't be reached, LedgerCorrupt where the
    newest checkpoint doesn't open or contradicts the log.
    """
    with begin_read(ledger.database) as connection:
        state = entries.read_state(connection)
        found = entries.find_checkpoint(connection)
    if found is None:
        return
    try:
        checkpoint = open_checkpoint(found[1], (ledger.verifier,))
    except LedgerError as error:
        raise LedgerCorrupt("The newest checkpoint doesn't open.") from error
    if checkpoint.size > state.size or (
        checkpoint.size == state.size and checkpoint.root_hash != state.root
    ):
        raise LedgerCorrupt("The newest checkpoint contradicts the log.")
