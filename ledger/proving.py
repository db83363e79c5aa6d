"""What the log can show: checkpoints, tiles, proofs, and a receipt for one entry.

Nothing leaves here beyond a published size, and no proof that wasn't verified first.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.deriving import open_event
from ledger.errors import (
    ContentErased,
    InvalidInput,
    InvalidProof,
    LedgerCorrupt,
    LedgerError,
    ReceiptUnpublished,
    UnknownTile,
)
from ledger.identity.platform import require_scope
from ledger.judging import own_report
from ledger.log.checkpoint import open_checkpoint
from ledger.log.merkle import HASH_BYTES, leaf_hash, verify_consistency, verify_inclusion
from ledger.log.receipt import Receipt, render_receipt, verify_receipt
from ledger.log.tile import HEIGHT, SIZE_MAX, WIDTH, TileAddress, first_size, render_bundle
from ledger.store import entries, tiles
from ledger.store.engine import begin_read
from ledger.store.waiting import stream_publications
from ledger.tiling import recall_consistency, recall_edge, recall_inclusion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.identity.platform import Caller
    from ledger.ledger import Ledger
    from ledger.log.tile import Edge
    from ledger.store.engine import Connection
    from ledger.store.tree_cache import TreeCache


def latest_checkpoint(ledger: Ledger) -> str:
    """Give the newest published checkpoint as a signed note (C2SP tlog-checkpoint).

    *Raises*: ReceiptUnpublished while nothing is published.
    """
    with begin_read(ledger.database) as connection:
        found = entries.find_checkpoint(connection)
    if found is None:
        raise ReceiptUnpublished("No checkpoint is published yet.")
    return found[1]


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That a leaf is at an index under the root of a size. `proof` has the leaf's sibling first."""

    index: int
    size: int
    leaf_hash: bytes
    root_hash: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """That the log of a size is a prefix of itself at a later one."""

    size1: int
    size2: int
    root1_hash: bytes
    root2_hash: bytes
    proof: tuple[bytes, ...]


def prove_entries(
    ledger: Ledger, indexes: Sequence[int], size: int | None = None
) -> list[InclusionProof]:
    """Prove that entries are in the log of a size, the newest published by default.

    *Raises*: InvalidInput beyond it, ReceiptUnpublished while nothing is published, LedgerCorrupt
    where what is stored doesn't lead to the signed root.
    """
    proofs = []
    cache = ledger.database.cache
    with begin_read(ledger.database, snapshot=True) as connection:
        newest = _recall_signed_edge(ledger, connection)
        wanted = newest.size if size is None else size
        edge, _ = _recall_earlier_edge(connection, cache, newest, wanted)
        for index in indexes:
            entry = entries.find_entry(connection, index) if 0 <= index < edge.size else None
            if entry is None:
                raise InvalidInput("An index lies beyond the size.")
            proof = tuple(recall_inclusion(connection, cache, edge, index))
            made = InclusionProof(index, edge.size, leaf_hash(entry), edge.root_hash, proof)
            try:
                verify_inclusion(made.leaf_hash, index, edge.size, proof, edge.root_hash)
            except InvalidProof as error:
                raise LedgerCorrupt("An entry doesn't lead to the root of the log.") from error
            proofs.append(made)
    return proofs


def prove_growth(ledger: Ledger, sizes: Sequence[tuple[int, int]]) -> list[ConsistencyProof]:
    """Prove for pairs of sizes, published or before it, that the first is a prefix of the second.

    *Raises*: as `prove_entries`.
    """
    proofs = []
    cache = ledger.database.cache
    with begin_read(ledger.database, snapshot=True) as connection:
        newest = _recall_signed_edge(ledger, connection)
        for size1, size2 in sizes:
            second, _ = _recall_earlier_edge(connection, cache, newest, size2)
            first, proof = _recall_earlier_edge(connection, cache, second, size1)
            roots = first.root_hash, second.root_hash
            proofs.append(ConsistencyProof(size1, size2, *roots, tuple(proof)))
    return proofs


def _recall_signed_edge(ledger: Ledger, connection: Connection) -> Edge:
    """Give the right edge of the newest published size, which must lead to the signed root."""
    found = entries.find_checkpoint(connection)
    if found is None:
        raise ReceiptUnpublished("No checkpoint is published yet.")
    try:
        checkpoint = open_checkpoint(found[1], (ledger.verifier,))
    except LedgerError as error:
        raise LedgerCorrupt("The newest checkpoint doesn't open.") from error
    edge = recall_edge(connection, ledger.database.cache, checkpoint.size)
    if (found[0], edge.root_hash) != (checkpoint.size, checkpoint.root_hash):
        raise LedgerCorrupt("What is stored doesn't lead to the signed root.")
    return edge


def _recall_earlier_edge(
    connection: Connection, cache: TreeCache, later: Edge, size: int
) -> tuple[Edge, list[bytes]]:
    """Give the right edge of a size from 1 to that of an edge, and the proof that it is a prefix.

    *Raises*: InvalidInput for other sizes, LedgerCorrupt where it is no prefix.
    """
    if not 0 < size <= later.size:
        raise InvalidInput("A size lies beyond what is published, or is 0.")
    edge = recall_edge(connection, cache, size)
    proof = recall_consistency(connection, cache, later, size)
    try:
        verify_consistency(size, edge.root_hash, later.size, later.root_hash, proof)
    except InvalidProof as error:
        raise LedgerCorrupt("An earlier size doesn't lead to the signed root.") from error
    return edge, proof


def read_tile(ledger: Ledger, address: TileAddress) -> bytes:
    """Give the hashes of a tile of a published size (C2SP tlog-tiles).

    *Raises*: UnknownTile where no published size has it.
    """
    with begin_read(ledger.database) as connection:
        _require_published(connection, address)
        if address.width < WIDTH:
            return tiles.select_hashes(connection, address)
        return tiles.select_tile(connection, address)[: WIDTH * HASH_BYTES]


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
        cache = ledger.database.cache
        edge = recall_edge(connection, cache, size)
        proof = recall_inclusion(connection, cache, edge, index)
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
