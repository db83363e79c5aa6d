"""What was erased is in no file any more, byte by byte, once the documented procedure was run.

The files are searched as they lie on the disk: on SQLite the database, its write-ahead log and
what lies beside it, on PostgreSQL the whole cluster with heaps, TOAST, indexes, statistics and
segments of the write-ahead log. Everything is found before and nothing after.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import BACKENDS, clone_database, founded, migrate
from erasing import decide, hashes_of, stored_of, traces_of
from exact import settle
from exchanging import forgery, withdrawal
from kept import audit
from postgres import run_postgres
from reports import NOW, digest
from simulator import Simulator, phone_and_device
from sqlalchemy import create_engine, text

from ledger.expiring import expire_due
from ledger.identity.identifier import account_key, lookup_key
from ledger.store import entries
from ledger.store.engine import begin_read, open_database
from ledger.store.scrubbing import scrub_database

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from simulator import Sent

    from ledger.incident.statement import Statement
    from ledger.ledger import Ledger, LedgerKeys
    from ledger.rights.jurisdiction import JurisdictionProfile
    from ledger.store.entries import StoredEvent

FORGED, LIKENESS = digest("forged"), digest("likeness")
PEOPLE = ("retracted", "erased", "expired")


@pytest.fixture(params=BACKENDS)
def place(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    keys: LedgerKeys,
    profiles: Mapping[str, JurisdictionProfile],
    policy_text: str,
) -> Iterator[tuple[Ledger, Path]]:
    """Give a ledger in a database of its own, and the folder that holds all of its files."""
    if request.param == "sqlite":
        with (
            clone_database("sqlite", request, tmp_path) as url,
            founded(url, keys, profiles, policy_text, NOW) as ledger,
        ):
            yield ledger, tmp_path
        return
    # As the page says: old segments of the write-ahead log are removed, not kept for new ones.
    with run_postgres(durable=True, options=("-c", "wal_recycle=off")) as address:
        engine = create_engine(address.format("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("CREATE DATABASE scrubbed TEMPLATE template0"))
            folder = Path(connection.execute(text("SHOW data_directory")).scalar_one())
        engine.dispose()
        url = address.format("scrubbed")
        migrate(url)
        with founded(url, keys, profiles, policy_text, NOW) as ledger:
            yield ledger, folder


def find_stored(ledger: Ledger, said: Statement) -> StoredEvent:
    """Give a statement as it is stored."""
    with begin_read(ledger.database) as connection:
        return next(one for one in entries.select_sequenced(connection) if one.jti == said.jti)


def read_files(folder: Path) -> bytes:
    """Read every file, as it lies on the disk."""
    return b"".join(one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file())


def found_in(folder: Path, traces: Mapping[str, bytes]) -> set[str]:
    """Name the traces of which some file holds a half: a page or a chunk may end within one."""
    dump = read_files(folder)
    halves = {
        name: (trace[: len(trace) // 2], trace[len(trace) // 2 :]) for name, trace in traces.items()
    }
    return {name for name, both in halves.items() if any(half in dump for half in both)}


def keys_of(ledger: Ledger, shop: Simulator, person: str) -> dict[str, bytes]:
    """Give the lookup keys under which an index holds a person."""
    key = ledger.keys.index_key
    tokens = {
        f"{person}'s {one.identifier.kind}": lookup_key(key, one.identifier)
        for one in phone_and_device(person)
    }
    return {f"{person}'s account": account_key(key, shop.account(person)), **tokens}


def say_of_nobody(shop: Simulator) -> dict[str, Any]:
    """State, about no incident, what is withdrawn or what ended five years ago."""
    ended = NOW - timedelta(days=5 * 365)
    marked, recycled = (phone_and_device(who)[0].identifier for who in ("marked", "recycled"))
    marking = replace(
        shop.marking("marked", (marked,), NOW), begins=ended - timedelta(days=9), until=ended
    )
    said: dict[str, Any] = {
        "forgery": forgery(shop, FORGED, LIKENESS, NOW),
        "recycling": replace(shop.recycling(recycled, NOW), recycled_at=ended),
        "marker": marking,
    }
    for one in said.values():
        shop.send(one, NOW)
    return said


def test_nothing_erased_is_in_any_file_after_the_procedure(place: tuple[Ledger, Path]) -> None:
    ledger, folder = place
    shop = Simulator(ledger, "shop-a")
    shop.enrol(NOW)
    sent: dict[str, Sent] = {}
    many = [shop.report(f"crowd {n}", phone_and_device(f"crowd {n}"), NOW) for n in range(40)]
    for person in (*PEOPLE, "kept"):
        ended = NOW - timedelta(days=5 * 365) if person == "expired" else NOW - timedelta(days=1)
        sent[person] = shop.report(person, phone_and_device(person), NOW, conduct_ended_at=ended)
    settle(ledger, NOW)
    corrected = shop.send(
        shop.correction(sent["erased"].report, NOW, identifiers=phone_and_device("corrected")), NOW
    )
    others = say_of_nobody(shop)
    settle(ledger, NOW)

    doomed = {name: stored_of(ledger, sent[name]) for name in PEOPLE}
    doomed["correction"] = stored_of(ledger, corrected)
    doomed |= {name: find_stored(ledger, said) for name, said in others.items()}
    traces = {"digest of a forgery": FORGED, "its likeness": LIKENESS}
    hashes: dict[str, bytes] = {}
    _analyse(ledger)
    for name, stored in doomed.items():
        traces |= {f"{name}: {part}": one for part, one in traces_of(stored).items()}
        hashes |= {f"{name}: {part}": one for part, one in hashes_of(ledger, stored).items()}
    for person in (*PEOPLE, "corrected", "recycled", "marked"):
        traces |= keys_of(ledger, shop, person)
    for made_up in (
        "corrected's account",
        "recycled's account",
        "recycled's device",
        "marked's device",
    ):
        del traces[made_up]  # nothing was said of it
    lasting = traces_of(stored_of(ledger, sent["kept"])) | keys_of(ledger, shop, "kept")
    assert found_in(folder, traces | lasting) == set(traces) | set(lasting)
    assert found_in(folder, hashes) == set(), "no hash of a token is ever kept"

    shop.retract(sent["retracted"], NOW)
    settle(ledger, NOW)
    decide(ledger, sent["erased"].incident_id, NOW)
    assert expire_due(ledger, NOW + timedelta(days=20)) == 1 + len({"recycled", "marked"})
    shop.send(withdrawal(shop, others["forgery"], NOW), NOW)
    settle(ledger, NOW)
    assert found_in(folder, traces), "erased rows still lie in logs or pages: the search finds them"
    for one in many:
        shop.retract(one, NOW)
    settle(ledger, NOW)

    assert not ledger.database.embedded or _count_free(ledger), "there is something to give up"
    scrubbed = scrub_database(ledger.database)
    assert scrubbed.complete, scrubbed.left
    if ledger.database.embedded:
        assert (folder / "ledger.sqlite3-wal").stat().st_size == 0
        assert _count_free(ledger) == 0
    assert found_in(folder, traces | hashes) == set()
    assert found_in(folder, lasting) == set(lasting)
    assert audit(ledger) == ()


def _count_free(ledger: Ledger) -> int:
    """Count the pages of an SQLite file that were freed and not given up."""
    with begin_read(ledger.database) as connection:
        return int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())


def _analyse(ledger: Ledger) -> None:
    """Let PostgreSQL's planner take its samples, none of which may be of a salt or a key."""
    if ledger.database.embedded:
        return
    with ledger.database.engine.connect() as connection:
        connection.execution_options(begin="")
        connection.exec_driver_sql("ANALYZE")
        sampled = connection.exec_driver_sql(
            "SELECT tablename, attname FROM pg_stats WHERE schemaname = 'public'"
        )
        known = {tuple(row) for row in sampled}
    secret = {("event_content", name) for name in ("token", "entry_key", "salt")}
    assert ("event", "jti") in known
    assert not known & (secret | {("identifier", "token")})


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_role_that_may_not_is_told_what_was_not_done(ledger: Ledger, database_url: str) -> None:
    with ledger.database.engine.connect() as connection:
        connection.execution_options(begin="")
        connection.exec_driver_sql("DROP ROLE IF EXISTS reader")
        connection.exec_driver_sql("CREATE ROLE reader LOGIN")
    poor = open_database(database_url.replace("postgres@", "reader@"))
    scrubbed = scrub_database(poor)
    poor.engine.dispose()
    assert not scrubbed.complete
    assert any(one.startswith("Not done (CHECKPOINT") for one in scrubbed.left)
    (stayed,) = [one for one in scrubbed.left if one.startswith("Not rewritten")]
    assert "event_content" in stayed
    assert "pg_statistic" in stayed


def test_setting_that_keeps_old_segments_is_told(ledger: Ledger) -> None:
    scrubbed = scrub_database(ledger.database)
    if ledger.database.embedded:
        assert scrubbed.complete
        return
    assert not scrubbed.complete
    assert any(one.startswith("wal_recycle is on") for one in scrubbed.left)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_every_connection_zeroes_what_it_deletes(ledger: Ledger) -> None:
    seen = set()
    with begin_read(ledger.database) as one, begin_read(ledger.database) as another:
        for connection in (one, another):
            seen.add(connection.exec_driver_sql("PRAGMA secure_delete").scalar_one())
    assert seen == {1}
