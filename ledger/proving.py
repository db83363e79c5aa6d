"""What the log can show: checkpoints, tiles, proofs, and a receipt for one entry.

Nothing leaves here beyond a published size, and no proof that wasn't verified first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.deriving import open_event
from ledger.errors import (
    LedgerCorrupt,
    LedgerError,
    ReceiptUnpublished,
    UnknownIncident,
    UnknownTile,
)
from ledger.identity.platform import require_scope
from ledger.judging import own_report
from ledger.log.merkle import HASH_BYTES
from ledger.log.receipt import Receipt, render_receipt, verify_receipt
from ledger.log.tile import HEIGHT, SIZE_MAX, WIDTH, TileAddress, first_size, render_bundle
from ledger.store import entries, tiles
from ledger.store.engine import begin_read
from ledger.tiling import read_edge, read_inclusion

if TYPE_CHECKING:
    from ledger.identity.platform import Caller
    from ledger.ledger import Ledger
    from ledger.store.engine import Connection


def latest_checkpoint(ledger: Ledger) -> str:
    """Give the newest published checkpoint as a signed note (C2SP tlog-checkpoint).

    *Raises*: ReceiptUnpublished while nothing is published.
    """
    with begin_read(ledger.database) as connection:
        found = entries.find_checkpoint(connection)
    if found is None:
        raise ReceiptUnpublished("No checkpoint is published yet.")
    return found[1]


def read_tile(ledger: Ledger, address: TileAddress) -> bytes:
    """Give the hashes of a tile of a published size (C2SP tlog-tiles).

    *Raises*: UnknownTile where no published size has it.
    """
    with begin_read(ledger.database) as connection:
        _require_published(connection, address)
        if address.width < WIDTH:
            return tiles.select_hashes(connection, address)
        (tile,) = tiles.select_tiles(connection, [address])
        return tile[: WIDTH * HASH_BYTES]


def read_bundle(ledger: Ledger, index: int, width: int) -> bytes:
    """Give the entries under a tile of level 0 of a published size (C2SP tlog-tiles).

    *Raises*: UnknownTile where no published size has it.
    """
    with begin_read(ledger.database) as connection:
        _require_published(connection, TileAddress(0, index, width))
        begin = index * WIDTH
        return render_bundle(tiles.select_entries(connection, begin, begin + width))


def _require_published(connection: Connection, address: TileAddress) -> None:
    """Check that a published size has this tile: a full one any later size, a partial one its own.

    *Raises*: UnknownTile.
    """
    begin = first_size(address)
    stop = begin + (1 << HEIGHT * address.level) if address.width < WIDTH else SIZE_MAX
    if begin > SIZE_MAX or not tiles.has_checkpoint(connection, begin, min(stop, SIZE_MAX)):
        raise UnknownTile("No published checkpoint has this tile.")


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
