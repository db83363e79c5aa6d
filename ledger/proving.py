"""What the log can show: its newest checkpoint, and a receipt for one entry under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.deriving import open_event
from ledger.errors import LedgerCorrupt, LedgerError, ReceiptUnpublished, UnknownIncident
from ledger.identity.platform import require_scope
from ledger.judging import own_report
from ledger.log.receipt import Receipt, render_receipt, verify_receipt
from ledger.store import entries
from ledger.store.engine import begin_read
from ledger.tiling import read_edge, read_inclusion

if TYPE_CHECKING:
    from ledger.identity.platform import Caller
    from ledger.ledger import Ledger


def latest_checkpoint(ledger: Ledger) -> str:
    """Give the newest published checkpoint as a signed note (C2SP tlog-checkpoint).

    *Raises*: ReceiptUnpublished while nothing is published.
    """
    with begin_read(ledger.database) as connection:
        found = entries.find_checkpoint(connection)
    if found is None:
        raise ReceiptUnpublished("No checkpoint is published yet.")
    return found[1]


def prove_incident(ledger: Ledger, caller: Caller, incident_id: str) -> str:
    """Give the receipt of the report of one of the caller's incidents, verified first.

    *Shape*: C2SP tlog-proof text. *Raises*: UnknownIncident, ReceiptUnpublished while no
    published checkpoint covers the entry, LedgerCorrupt where our own proof fails.
    """
    require_scope(caller, "incidents:read")
    with begin_read(ledger.database) as connection:
        history = entries.select_incident_events(connection, incident_id)
        report = own_report(caller, history)
        if report.salt is None:
            raise UnknownIncident("The incident's content was erased.")
        index = report.entry_index
        published = None
        if index is not None:
            published = entries.find_checkpoint(connection, at_least=index + 1)
        if index is None or published is None:
            raise ReceiptUnpublished("No published checkpoint covers the entry yet.")
        size, note = published
        proof = read_inclusion(connection, read_edge(connection, size), index)
        entry = entries.find_entry(connection, index)
    if entry is None:
        raise LedgerCorrupt("An entry under a published checkpoint is missing.")
    receipt = render_receipt(
        Receipt(
            entry=entry,
            salt=report.salt,
            index=index,
            proof=tuple(proof),
            checkpoint_note=note,
        )
    )
    try:
        verify_receipt(receipt, (ledger.verifier,), token=open_event(ledger, report))
    except LedgerError as error:
        raise LedgerCorrupt("A receipt doesn't verify against the log.") from error
    return receipt
