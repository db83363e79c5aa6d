"""What the log can show: its newest checkpoint, and a receipt for one entry under it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from ledger.deriving import open_event
from ledger.errors import ContentErased, LedgerCorrupt, LedgerError, ReceiptUnpublished
from ledger.identity.platform import require_scope
from ledger.judging import own_report
from ledger.log.merkle import inclusion_proof
from ledger.log.receipt import Receipt, render_receipt, verify_receipt
from ledger.store import entries
from ledger.store.engine import begin_read
from ledger.store.waiting import stream_publications

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


def prove_incident(
    ledger: Ledger, caller: Caller, incident_id: str, *, wait_seconds: float = 0
) -> str:
    """Give the receipt of the report of one of the caller's incidents, verified first.

    *Shape*: C2SP tlog-proof text. Where nothing covers the entry yet it waits for the next
    publications. *Raises*: UnknownIncident, ContentErased, ReceiptUnpublished while no published
    checkpoint covers the entry, LedgerCorrupt where our own proof fails.
    """
    require_scope(caller, "incidents:read")
    try:
        return _prove(ledger, caller, incident_id)
    except ReceiptUnpublished:
        for _ in stream_publications(ledger.database, wait_seconds):
            with suppress(ReceiptUnpublished):
                return _prove(ledger, caller, incident_id)
        raise


def _prove(ledger: Ledger, caller: Caller, incident_id: str) -> str:
    with begin_read(ledger.database) as connection:
        history = entries.select_incident_events(connection, incident_id)
        report = own_report(caller, history)
        if report.salt is None:
            raise ContentErased("The report was erased, and with it what opens its entry.")
        index = report.entry_index
        published = None
        if index is not None:
            published = entries.find_checkpoint(connection, at_least=index + 1)
        if index is None or published is None:
            raise ReceiptUnpublished("No published checkpoint covers the entry yet.")
        size, note = published
        hashes = entries.select_leaf_hashes(connection, size)
        entry = entries.find_entry(connection, index)
    if entry is None or len(hashes) != size:
        raise LedgerCorrupt("Entries under a published checkpoint are missing.")
    receipt = render_receipt(
        Receipt(
            entry=entry,
            salt=report.salt,
            index=index,
            proof=inclusion_proof(hashes, index),
            checkpoint_note=note,
        )
    )
    try:
        verify_receipt(receipt, (ledger.verifier,), token=open_event(ledger, report))
    except LedgerError as error:
        raise LedgerCorrupt("A receipt doesn't verify against the log.") from error
    return receipt
