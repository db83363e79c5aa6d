"""What a process keeps of the tree in memory: bounded, right, and no cover for a changed row."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from damage import allow_everything
from growing import extend, grow_log
from sqlalchemy import select, update

from ledger.errors import LedgerCorrupt, LedgerUnavailable
from ledger.log.tile import FULL_BYTES
from ledger.proving import prove_entries, prove_growth
from ledger.retiling import examine_tiles
from ledger.sequencing import publish_checkpoint
from ledger.store import tables
from ledger.store.engine import begin_read, begin_write
from ledger.store.entries import stream_entries
from ledger.store.tree_cache import TILES_BYTES_MAX, Recent, TreeCache

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.ledger import Ledger
    from ledger.store.engine import Connection

TILE = tables.log_tile
FIRST = (TILE.c.level == 0) & (TILE.c.index == 0)


@pytest.fixture
def grown(ledger: Ledger, now: datetime) -> Ledger:
    grow_log(ledger, 600, now)
    with begin_write(ledger.database) as connection:
        allow_everything(connection)
    return ledger


def swap_first_tile(ledger: Ledger, hashes: bytes) -> bytes:
    """Put other bytes into the first tile's row and give what was there."""
    with begin_write(ledger.database) as connection:
        before = connection.execute(select(TILE.c.hashes).where(FIRST)).scalar_one()
        assert connection.execute(update(TILE).where(FIRST).values(hashes=hashes)).rowcount == 1
    return bytes(before)


def extend_and_fail(connection: Connection, size: int) -> None:
    extend(connection, size)
    raise LedgerUnavailable("Somebody was faster.")


def test_tile_that_was_read_before_it_changed_proves_and_the_row_is_found(
    grown: Ledger, now: datetime
) -> None:
    before = prove_entries(grown, [7])
    swap_first_tile(grown, bytes(FULL_BYTES))
    assert prove_entries(grown, [7]) == before
    with begin_read(grown.database) as connection:
        rows = {index: (entry, hashed) for index, entry, hashed in stream_entries(connection)}
        found = [(one.code, one.index) for one in examine_tiles(connection, 600, rows)]
    assert found == [("tile-differs", 0)]
    grow_log(grown, 601, now, publish=False)
    with pytest.raises(LedgerCorrupt):
        publish_checkpoint(grown, now)


def test_tile_that_was_read_changed_is_read_again_once_it_is_mended(grown: Ledger) -> None:
    right = swap_first_tile(grown, bytes(FULL_BYTES))
    for _ in range(2):
        with pytest.raises(LedgerCorrupt):
            prove_entries(grown, [7])
    swap_first_tile(grown, right)
    assert [one.index for one in prove_entries(grown, [7])] == [7]


class Forgetful(Recent[tuple[int, int], bytes]):
    """Forgets all after so many tiles, as where another thread's proof turned out corrupt."""

    def __init__(self, after: int) -> None:
        super().__init__(TILES_BYTES_MAX // FULL_BYTES)
        self.after = after

    def find(self, key: tuple[int, int]) -> bytes | None:
        """Find a tile, or forget it."""
        self.after -= 1
        if not self.after:
            self.clear()
        return super().find(key)


@pytest.mark.parametrize("after", range(1, 4))
def test_proof_is_the_one_that_was_verified_whoever_empties_the_cache_meanwhile(
    grown: Ledger, after: int
) -> None:
    honest = prove_growth(grown, [(7, 600)])
    cache = grown.database.cache
    cache.tiles = Forgetful(after)
    cache.tiles.keep((0, 0), swap_first_tile(grown, bytes(FULL_BYTES)))
    with suppress(LedgerCorrupt):
        assert prove_growth(grown, [(7, 600)]) == honest


def test_writer_that_is_rolled_back_leaves_nothing_behind(grown: Ledger, now: datetime) -> None:
    """Its tiles and sizes are another's tomorrow."""
    prove_entries(grown, [7])
    kept = grown.database.cache
    with (
        pytest.raises(LedgerUnavailable),
        begin_write(grown.database) as connection,
    ):
        extend_and_fail(connection, 800)
    assert kept.tiles.find((0, 2)) is None
    grow_log(grown, 800, now)
    proved = prove_entries(grown, [700])
    assert prove_growth(grown, [(600, 800)])
    assert proved[0].size == 800
    assert kept.tiles.find((0, 2)) is not None


def test_cache_forgets_what_was_not_asked_for_longest() -> None:
    recent: Recent[int, str] = Recent(2)
    recent.keep(1, "one")
    recent.keep(2, "two")
    assert recent.find(1) == "one"
    recent.keep(3, "three")
    assert [recent.find(key) for key in (1, 2, 3)] == ["one", None, "three"]
    recent.clear()
    assert recent.find(1) is None


def test_cache_is_bounded() -> None:
    cache = TreeCache()
    most = TILES_BYTES_MAX // FULL_BYTES
    for index in range(most + 1):
        cache.tiles.keep((0, index), b"tile")
    assert cache.tiles.find((0, 0)) is None
    assert cache.tiles.find((0, 1)) is not None
    assert most * FULL_BYTES <= TILES_BYTES_MAX
