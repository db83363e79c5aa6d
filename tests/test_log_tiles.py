"""The tree as it is stored and served: tiles over HTTP, proofs, and what is refused to be signed.

The log has entries without statements, so that it is long at once; nothing here is audited.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

import pytest
from damage import allow_everything
from exact import settle
from growing import grow_log, numbered_entry
from simulator import phone_and_device
from sqlalchemy import delete, select, update
from test_merkle import naive_mth

from api.app import create_app
from ledger.authorizing import grant_access
from ledger.errors import InvalidInput, LedgerCorrupt, ReceiptUnpublished
from ledger.log.checkpoint import open_checkpoint
from ledger.log.merkle import verify_consistency, verify_inclusion
from ledger.log.tile import parse_path
from ledger.proving import latest_checkpoint, prove_entries, prove_growth, prove_incident
from ledger.sequencing import publish_checkpoint
from ledger.store import tables, tiles
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Simulator
    from sqlalchemy import Update
    from werkzeug.test import TestResponse

    from ledger.ledger import Ledger

FOR_EVER = "public, max-age=31536000, immutable"


class Served:
    """A ledger behind a WSGI application, read as a stranger would."""

    def __init__(self, ledger: Ledger, now: datetime) -> None:
        """Serve it."""
        self.ledger = ledger
        app = create_app(
            ledger, public_url="https://api.example", body_max_bytes=1, now=lambda: now
        )
        self.http = app.test_client()

    def get(self, path: str) -> TestResponse:
        """Fetch something of the log."""
        return self.http.get(f"/log/{path}")

    def entries(self) -> list[bytes]:
        """Read the entries straight from the table."""
        with begin_read(self.ledger.database) as connection:
            rows = connection.execute(select(tables.log_entry).order_by(tables.log_entry.c.index))
            return [bytes(row.entry) for row in rows]


@pytest.fixture
def served(ledger: Ledger, now: datetime) -> Served:
    grow_log(ledger, 300, now)
    grow_log(ledger, 500, now, publish=False)
    grow_log(ledger, 600, now)
    return Served(ledger, now)


def chop(raw: bytes) -> list[bytes]:
    return [raw[at : at + 32] for at in range(0, len(raw), 32)]


def test_tiles_of_published_sizes_are_served_and_hash_to_the_signed_root(served: Served) -> None:
    entries = served.entries()
    checkpoint = open_checkpoint(served.get("checkpoint").text, (served.ledger.verifier,))
    assert checkpoint.size == 600 == len(entries)
    assert checkpoint.root_hash == naive_mth(entries)
    read: list[bytes] = []
    for path, count in (("000", 256), ("001", 256), ("002.p/88", 88), ("001.p/44", 44)):
        tile, bundle = served.get(f"tile/0/{path}"), served.get(f"tile/entries/{path}")
        for answer in (tile, bundle):
            assert answer.status_code == 200
            assert answer.content_type == "application/octet-stream"
            assert answer.headers["Cache-Control"] == FOR_EVER
            assert answer.headers["ETag"]
        begin = (parse_path(path) or (0, 0))[0] * 256
        under = entries[begin : begin + count]
        assert chop(tile.data) == [hashlib.sha256(b"\x00" + one).digest() for one in under]
        assert bundle.data == b"".join(b"\x00\x50" + one for one in under)
        read += under if path != "001.p/44" else []
    assert read == entries
    above = served.get("tile/1/000.p/2")
    assert chop(above.data) == [naive_mth(entries[:256]), naive_mth(entries[256:512])]
    assert served.get("tile/1/000.p/1").data == above.data[:32]  # of size 300


UNKNOWN = (
    "tile/0/001.p/244",  # of size 500, which was never published
    "tile/0/002.p/89",
    "tile/0/002",
    "tile/0/003.p/1",
    "tile/1/000",
    "tile/1/000.p/3",
    "tile/2/000.p/1",
    "tile/7/x999/x999/x999/x999/x999/x999/999",
    "tile/7/000.p/255",
    "tile/entries/002",
    "tile/entries/x999/x999/x999/x999/x999/x999/999.p/255",
)
NO_PATHS = (
    "tile/8/000",
    "tile/00/000",
    "tile/-1/000",
    "tile/0/0",
    "tile/0/000/",
    "tile/0/x000/000",
    "tile/0/000.p/0",
    "tile/0/000.p/256",
    "tile/0/000.p/088",
    "tile/entries/000.p/",
    "tile/data/000",
)


def test_other_tiles_are_refused_and_the_refusal_is_not_kept(served: Served) -> None:
    codes = {**dict.fromkeys(UNKNOWN, "unknown-tile"), **dict.fromkeys(NO_PATHS, "not-found")}
    for path, code in codes.items():
        answer = served.get(path)
        assert answer.status_code == 404, path
        assert answer.get_json()["type"] == f"urn:bcl:problem:{code}", path
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_log_of_two_levels_is_kept_served_and_proved(ledger: Ledger, now: datetime) -> None:
    for size in (7, 300, 65_535, 65_537, 66_000):
        grow_log(ledger, size, now)
    served = Served(ledger, now)
    entries = served.entries()
    assert served.get("tile/1/000").data == b"".join(
        naive_mth(entries[at : at + 256]) for at in range(0, 65_536, 256)
    )
    assert served.get("tile/2/000.p/1").data == naive_mth(entries[:65_536])
    assert served.get("tile/1/001.p/1").data == naive_mth(entries[65_536:65_792])
    indexes = [0, 6, 255, 256, 40_000, 65_535, 65_536, 65_999]
    root = naive_mth(entries)
    for one in prove_entries(ledger, indexes):
        assert one.root_hash == root
        leaf = hashlib.sha256(b"\x00" + entries[one.index]).digest()
        verify_inclusion(leaf, one.index, 66_000, one.proof, root)
    (one,) = prove_entries(ledger, [256], 300)
    assert (one.size, one.root_hash) == (300, naive_mth(entries[:300]))
    pairs = [(1, 66_000), (300, 65_537), (65_536, 66_000), (65_535, 65_536), (9, 9)]
    for growth in prove_growth(ledger, pairs):
        root1, root2 = naive_mth(entries[: growth.size1]), naive_mth(entries[: growth.size2])
        assert (growth.root1_hash, growth.root2_hash) == (root1, root2)
        verify_consistency(growth.size1, root1, growth.size2, root2, growth.proof)


def test_proof_beyond_what_is_published_is_refused(served: Served, now: datetime) -> None:
    grow_log(served.ledger, 700, now, publish=False)
    for indexes, size in (([600], None), ([0, -1], None), ([300], 300), ([0], 601), ([0], 0)):
        with pytest.raises(InvalidInput):
            prove_entries(served.ledger, indexes, size)
    for pair in ((0, 5), (600, 601), (6, 5), (-1, 5)):
        with pytest.raises(InvalidInput):
            prove_growth(served.ledger, [pair])


def test_nothing_is_proved_before_anything_is_published(ledger: Ledger) -> None:
    with begin_write(ledger.database) as connection:
        connection.execute(delete(tables.log_checkpoint))
    for ask in (lambda: prove_entries(ledger, [0]), lambda: prove_growth(ledger, [(1, 1)])):
        with pytest.raises(ReceiptUnpublished):
            ask()


# --- What was changed in the database isn't signed, proved or given away ------------------------

ENTRY, TILE = tables.log_entry.c, tables.log_tile.c
LEAF = update(tables.log_entry).where(ENTRY.index == 520).values(leaf_hash=bytes(32))
FIRST_TILE = update(tables.log_tile).where(TILE.index == 0).values(hashes=bytes(16_352))
SHORT_TILE = update(tables.log_tile).where(TILE.index == 0).values(hashes=bytes(32))


def harm(ledger: Ledger, statement: Update) -> None:
    with begin_write(ledger.database) as connection:
        allow_everything(connection)
        assert connection.execute(statement).rowcount == 1


@pytest.mark.parametrize("statement", [LEAF, FIRST_TILE, SHORT_TILE], ids=["leaf", "tile", "short"])
def test_root_is_not_signed_over_changed_hashes(
    served: Served, now: datetime, statement: Update
) -> None:
    before = latest_checkpoint(served.ledger)
    grow_log(served.ledger, 601, now, publish=False)
    harm(served.ledger, statement)
    with pytest.raises(LedgerCorrupt):
        publish_checkpoint(served.ledger, now)
    assert latest_checkpoint(served.ledger) == before
    with pytest.raises(LedgerCorrupt):
        prove_entries(served.ledger, [520])
    with pytest.raises(LedgerCorrupt):
        prove_growth(served.ledger, [(520, 600)])


def test_entry_that_was_changed_is_not_proved(served: Served) -> None:
    """Its stored hash is the right one still: only the entry itself gives it away."""
    wrong = update(tables.log_entry).where(ENTRY.index == 7).values(entry=numbered_entry(8))
    harm(served.ledger, wrong)
    prove_entries(served.ledger, [6, 8])
    with pytest.raises(LedgerCorrupt):
        prove_entries(served.ledger, [7])


def test_receipt_that_would_not_verify_never_leaves(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    shop = simulator("shop-a")
    sent = shop.report("buyer", phone_and_device("buyer"), now)
    settle(ledger, now)
    caller = shop.caller(now)
    app = create_app(ledger, public_url="https://api.example", body_max_bytes=9, now=lambda: now)
    token = grant_access(ledger, shop.assertion(now), None, None, now).token
    ask = partial(
        app.test_client().get,
        f"/v1/incidents/{sent.incident_id}/receipt",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert ask().text == prove_incident(ledger, caller, sent.incident_id)
    harm(ledger, update(tables.log_entry).where(ENTRY.index == 1).values(leaf_hash=bytes(32)))
    ledger.database.cache.clear()  # as a process that hasn't read it yet
    with pytest.raises(LedgerCorrupt):
        prove_incident(ledger, caller, sent.incident_id)
    refused = ask()
    assert refused.status_code == 500
    assert refused.content_type == "application/problem+json"
    assert b"tlog-proof" not in refused.data


def test_missing_rows_are_corruption_and_no_answer(served: Served) -> None:
    with begin_write(served.ledger.database) as connection:
        allow_everything(connection)
        connection.execute(delete(tables.log_entry).where(ENTRY.index == 3))
        connection.execute(delete(tables.log_tile).where(TILE.index == 1))
    for path in ("tile/entries/000", "tile/0/001", "tile/1/000.p/2"):
        assert served.get(path).status_code == 500
    assert served.get("tile/0/000").status_code == 200
    with begin_read(served.ledger.database) as connection, pytest.raises(LedgerCorrupt):
        tiles.select_edge(connection, 600)
