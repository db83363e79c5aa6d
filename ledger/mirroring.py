"""The published log as static files, the very paths and bytes of `/log/` over HTTP.

For a CDN, or for anybody who keeps a copy. Each file appears whole or not at all, and the
checkpoint last: whenever we die, the folder holds an earlier checkpoint with all its tiles. The
next export goes on from the checkpoint that it finds. What is written is hashed first, from the
entries up to the signed root.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.errors import InvalidInput, InvalidNote, LedgerCorrupt, ReceiptUnpublished
from ledger.log.checkpoint import open_checkpoint
from ledger.log.merkle import HASH_BYTES, leaf_hashes
from ledger.log.tile import WIDTH, build_tile, list_addresses, render_bundle, render_path
from ledger.store import entries, tiles
from ledger.store.engine import begin_read
from ledger.tiling import read_edge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ledger.ledger import Ledger
    from ledger.log.tile import TileAddress
    from ledger.store.engine import Connection

_HALF = ".half"  # where files are written before they have their places
_CHECKPOINT = "checkpoint"
_FILE_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Mirrored:
    """The size that the folder holds now, and how many files were written for it."""

    size: int
    files: int


@dataclass(slots=True)
class _Folder:
    """A folder that is being written to, and the folders in it that must reach the disk."""

    path: Path
    written: int = 0
    unsynced: set[Path] = field(default_factory=set)

    def put(self, place: str, content: bytes) -> None:
        """Put a file into its place, whole."""
        target = self.path / place
        for parent in reversed(target.parents):
            if not parent.is_dir():
                parent.mkdir(exist_ok=True)
                self.unsynced.add(parent.parent)
        descriptor, name = tempfile.mkstemp(dir=self.path / _HALF)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), _FILE_MODE)
            os.fsync(file.fileno())
        Path(name).replace(target)
        self.unsynced.add(target.parent)
        self.written += 1

    def sync(self) -> None:
        """Make sure that the names of all files survive a power cut."""
        for folder in self.unsynced:
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        self.unsynced.clear()


def export_log(ledger: Ledger, target: Path, on_progress: Callable[[int, int], None]) -> Mirrored:
    """Write what is published since the last export into a folder, which may be new.

    One export at a time writes there: another waits. *Raises*: ReceiptUnpublished while nothing
    is published, InvalidInput where the folder holds another log, LedgerCorrupt where it holds
    more of this log, or another history, or where what is stored doesn't lead to the signed root.
    """
    target.mkdir(parents=True, exist_ok=True)
    with _locked(target), begin_read(ledger.database) as connection:
        found = entries.find_checkpoint(connection)
        if found is None:
            raise ReceiptUnpublished("No checkpoint is published yet.")
        size, note = found
        _check_root(ledger, connection, note, size)
        begin = _find_exported(ledger, connection, target, size)
        shutil.rmtree(target / _HALF, ignore_errors=True)  # what somebody left who was killed
        (target / _HALF).mkdir()
        folder = _Folder(target, unsynced={target.parent})
        addresses = list(list_addresses(size, begin))
        for done, address in enumerate(addresses, 1):
            _put_tile(connection, folder, address)
            on_progress(done, len(addresses))
        folder.sync()
        # If we die right before this line, the folder is as it was, with files that none needs.
        folder.put(_CHECKPOINT, note.encode())
        folder.sync()
        shutil.rmtree(target / _HALF)
    return Mirrored(size, folder.written)


def _put_tile(connection: Connection, folder: _Folder, address: TileAddress) -> None:
    """Write a tile, and on level 0 the entries under it.

    *Raises*: LedgerCorrupt where a tile isn't that of what lies below it.
    """
    hashes = tiles.select_hashes(connection, address)
    if address.width == WIDTH:
        kept = tiles.select_tile(connection, address)
        if kept != build_tile(hashes):
            raise LedgerCorrupt("A tile isn't that of its hashes.")
    path = render_path(address.index, address.width)
    if address.level == 0:
        begin = address.index * WIDTH
        bundled = tiles.select_entries(connection, begin, begin + address.width)
        if b"".join(leaf_hashes(bundled)) != hashes:
            raise LedgerCorrupt("A leaf hash isn't its entry's.")
        folder.put(f"tile/entries/{path}", render_bundle(bundled))
    folder.put(f"tile/{address.level}/{path}", hashes[: address.width * HASH_BYTES])


def _check_root(ledger: Ledger, connection: Connection, note: str, size: int) -> None:
    """Check that a checkpoint is the log's own, of a size, and of what is stored."""
    checkpoint = open_checkpoint(note, (ledger.verifier,))
    root = read_edge(connection, size).root_hash
    if (checkpoint.size, checkpoint.root_hash) != (size, root):
        raise LedgerCorrupt("What is stored doesn't lead to the signed root.")


def _find_exported(ledger: Ledger, connection: Connection, target: Path, size: int) -> int:
    """Find the size that a folder holds already, 0 where it holds none."""
    try:
        note = (target / _CHECKPOINT).read_bytes().decode()
        exported = open_checkpoint(note, (ledger.verifier,)).size
    except FileNotFoundError:
        return 0
    except (InvalidNote, UnicodeDecodeError) as error:
        raise InvalidInput("The folder holds something else than this log.") from error
    if exported > size:
        raise LedgerCorrupt("The folder holds more of this log than the ledger: a backup?")
    _check_root(ledger, connection, note, exported)
    return exported


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; the kernel gives it back when the process dies."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
