"""An audit finds any bit that was flipped in a tile, and any that was dropped, swapped or planted.

The log is long enough for tiles and has statements behind every entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from conftest import clone_database, founded
from damage import allow_everything, damaged, named
from growing import grow_log
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from kept import audit, nothing_kept
from reports import NOW, claim
from simulator import Simulator
from sqlalchemy import delete, func, insert, select, update

from ledger.identity.identifier import Kind
from ledger.log.tile import FULL_BYTES
from ledger.retiling import examine_tiles
from ledger.store import entries, tables
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from damage import Profiles

    from ledger.ledger import Ledger, LedgerKeys
    from ledger.store.engine import Connection

TILE = tables.log_tile
FIRST = TILE.c.level == 0


@pytest.fixture(scope="module")
def history(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    keys: LedgerKeys,
    profiles: Profiles,
    policy_text: str,
) -> Iterator[Ledger]:
    """Give a ledger whose statements fill one tile."""
    with (
        clone_database("sqlite", request, tmp_path_factory.mktemp("tiled")) as url,
        founded(url, keys, profiles, policy_text, NOW) as ledger,
    ):
        shop = Simulator(ledger, "shop-a")
        shop.enrol(NOW)
        for number in range(128):
            shop.send(
                shop.marking(f"p{number}", (claim(Kind.EMAIL, f"{number}").identifier,), NOW), NOW
            )
        for number in range(128):
            shop.send(shop.recycling(claim(Kind.PHONE, f"{number}").identifier, NOW), NOW)
        with begin_write(ledger.database) as connection:
            allow_everything(connection)
        yield ledger


def tile_of(ledger: Ledger) -> bytes:
    with begin_read(ledger.database) as connection:
        return bytes(connection.execute(select(TILE.c.hashes)).scalar_one())


def replaced(raw: bytes) -> Callable[[Connection], Any]:
    return lambda connection: connection.execute(update(TILE).values(hashes=raw))


def test_log_that_fills_a_tile_is_clean(history: Ledger) -> None:
    assert len(tile_of(history)) == FULL_BYTES
    assert audit(history) == ()


@pytest.mark.parametrize(
    ("harm", "finding"),
    [
        (delete(TILE), ("tile-missing", 0)),
        (update(TILE).values(index=1), ("tile-missing", 0)),
        (update(TILE).values(level=1), ("tile-missing", 0)),
        (update(TILE).values(hashes=b""), ("tile-differs", 0)),
        (update(TILE).values(hashes=func.substr(TILE.c.hashes, 1, 999)), ("tile-differs", 31)),
        (insert(TILE).values(level=0, index=1, hashes=bytes(FULL_BYTES)), ("tile-unknown", 256)),
        (insert(TILE).values(level=1, index=0, hashes=bytes(FULL_BYTES)), ("tile-unknown", 0)),
        (insert(TILE).values(level=99, index=0, hashes=b""), ("tile-unknown", None)),
    ],
    ids=str,
)
def test_dropped_moved_or_planted_tile_is_found(
    history: Ledger, harm: Any, finding: tuple[str, int | None]
) -> None:
    with damaged(history, lambda connection: connection.execute(harm)):
        assert finding in named(audit(history))


@pytest.mark.parametrize(
    ("at", "index"), [(0, 0), (255 * 32 + 31, 255), (256 * 32, 0), (510 * 32, 0), (509 * 32, 128)]
)
def test_changed_hash_of_a_tile_is_named_by_the_first_entry_under_it(
    history: Ledger, at: int, index: int
) -> None:
    tile = tile_of(history)
    wrong = tile[:at] + bytes([tile[at] ^ 1]) + tile[at + 1 :]
    with damaged(history, replaced(wrong)):
        assert named(audit(history)) == {("tile-differs", index)}


def test_tile_and_entries_that_were_changed_together_are_found(history: Ledger) -> None:
    """Who changes an entry and everything over it still lacks the statement and the signature."""
    with begin_read(history.database) as connection:
        rows = list(entries.stream_entries(connection))

    def swap(connection: Connection) -> None:
        for here, there in ((100, 101), (101, 100)):
            _, entry, hashed = rows[there]
            changed = update(tables.log_entry).where(tables.log_entry.c.index == here)
            connection.execute(changed.values(entry=entry, leaf_hash=hashed))

    with damaged(history, swap):
        found = named(audit(history))
    assert {("tile-differs", 100), ("entry-differs", 100), ("entry-differs", 101)} <= found


class Shelf:
    """Rows of a long log, damaged and examined without deriving anything."""

    def __init__(self, ledger: Ledger) -> None:
        """Read what is stored."""
        with begin_read(ledger.database) as connection:
            stored = entries.stream_entries(connection)
            self.rows = {index: (entry, hashed) for index, entry, hashed in stored}
            self.tiles = [bytes(row.hashes) for row in connection.execute(select(TILE))]
        self.ledger = ledger

    def examine(self, harm: Any = None) -> set[tuple[str, int | None]]:
        """Examine with some damage, which is taken back."""
        with self.ledger.database.engine.connect() as connection, connection.begin() as work:
            if harm is not None:
                connection.execute(harm)
            found = examine_tiles(connection, len(self.rows), self.rows)
            work.rollback()
        return named(tuple(found))


@pytest.fixture
def shelf(ledger: Ledger, now: Any) -> Shelf:
    grow_log(ledger, 3_000, now)
    with begin_write(ledger.database) as connection:
        allow_everything(connection)
    return Shelf(ledger)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_every_flipped_bit_of_every_tile_is_found_at_an_entry_under_it(shelf: Shelf) -> None:
    assert shelf.examine() == set()
    assert len(shelf.tiles) == 11

    @settings(deadline=None, max_examples=60)
    @given(st.integers(0, 10), st.integers(0, FULL_BYTES * 8 - 1))
    def flip(index: int, bit: int) -> None:
        changed = bytearray(shelf.tiles[index])
        changed[bit // 8] ^= 1 << bit % 8
        harm = update(TILE).where(TILE.c.index == index).values(hashes=bytes(changed))
        ((code, named_index),) = shelf.examine(harm)
        assert code == "tile-differs"
        assert named_index is not None
        assert named_index // 256 == index
        if bit < 256 * 256:
            assert named_index % 256 == bit // 256

    flip()


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_every_tile_that_is_cut_moved_exchanged_or_dropped_is_found_under_it(shelf: Shelf) -> None:
    places = st.integers(0, 10)

    @settings(deadline=None, max_examples=60)
    @given(
        st.sampled_from(["cut", "exchange", "move", "drop", "copy", "end"]),
        places,
        places,
        st.data(),
    )
    def harm(act: str, one: int, other: int, data: st.DataObject) -> None:
        row, far = TILE.c.index == one, data.draw(st.integers(11, 2**40))
        cut = shelf.tiles[one][: data.draw(st.integers(0, FULL_BYTES - 1))]
        copy = {"level": 0, "index": far, "hashes": shelf.tiles[one]}
        assume(act != "exchange" or one != other)
        found = shelf.examine(
            {
                "cut": update(TILE).where(row).values(hashes=cut),
                "exchange": update(TILE).where(row).values(hashes=shelf.tiles[other]),
                "move": update(TILE).where(row).values(index=far),
                "drop": delete(TILE).where(row),
                "copy": insert(TILE).values(copy),
                "end": delete(TILE).where(TILE.c.index >= one),
            }[act]
        )
        moved = {far} if act in {"copy", "move"} else set()
        dropped = {"copy": set(), "end": set(range(one, 11))}.get(act, {one})
        assert {index // 256 for _, index in found if index is not None} == moved | dropped

    harm()


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_examining_tiles_writes_nothing(shelf: Shelf) -> None:
    with nothing_kept(shelf.ledger):
        shelf.examine()
