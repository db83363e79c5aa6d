"""What is derived all at once is what the sequencer kept row by row, and its hash says so.

Random ledgers on both databases, arrays against a plain reading in dictionaries, and the stored
rows tampered with, column by column. The bytes of the state hash are laid out here once more.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from contextlib import ExitStack
from random import Random
from typing import TYPE_CHECKING, Any

import damage
import numpy as np
import pytest
from conftest import BACKENDS, clone_database, founded
from damage import SQLITE, History, change, damaged
from exact import settle
from simulator import Simulator, phone_and_device
from sqlalchemy import delete, insert, select, text, update
from worlds import World

from ledger.errors import LedgerCorrupt
from ledger.graph.rebuild import derive_index, rank_numbers
from ledger.identity.identifier import Kind
from ledger.rebuilding import rebuild_index
from ledger.store import tables
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from damage import Profiles
    from sqlalchemy import Column, Table

    from ledger.graph.rebuild import Columns
    from ledger.ledger import Ledger, LedgerKeys
    from ledger.rebuilding import Rebuilt
    from ledger.store.engine import Connection

history = damage.history
WORLDS = {"sqlite": 30, "postgresql": 5}
INDEX = (tables.posting, tables.multiplicity)


def rebuild(ledger: Ledger) -> Rebuilt:
    """Rebuild behind a progress that must end where it said it would."""
    told: list[tuple[int, int]] = []
    rebuilt = rebuild_index(ledger, lambda done, of: told.append((done, of)))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    return rebuilt


def enrol(ledger: Ledger, now: datetime) -> list[Simulator]:
    """Enrol three platforms."""
    platforms = [Simulator(ledger, f"shop-{name}") for name in "abc"]
    for one in platforms:
        one.enrol(now)
    settle(ledger, now)
    return platforms


def live_on(ledger: Ledger, world: World, now: datetime) -> None:
    """Let a world report, and take back, correct or recycle something now and then."""
    reports = []
    for _ in range(world.random.randint(1, 14)):
        stated = world.draw_report()
        platform = world.reporter_of(stated.issuer)
        reports.append((platform, platform.send(stated, now)))
        settle(ledger, now)
        platform, sent = reports[world.random.randrange(len(reports))]
        chance = world.random.random()
        if chance < 0.3:
            platform.retract(sent, now)
            reports.remove((platform, sent))
        elif chance < 0.4:
            platform.send(platform.correction(sent.report, now), now)
        elif chance < 0.5:
            given = (one.identifier for one in sent.report.identifiers)
            for one in [one for one in given if one.kind is not Kind.NID][:1]:
                platform.send(platform.recycling(one, now), now)
        settle(ledger, now)
        if not reports:
            break


def read_rows(ledger: Ledger, table: Table) -> list[tuple[Any, ...]]:
    """Read a table, with lookup keys in the place of row ids."""
    with begin_read(ledger.database) as connection:
        keys = {row.id: bytes(row.token) for row in connection.execute(select(tables.identifier))}
        rows = connection.execute(select(table)).all()
    named = ("identifier", "account") if table is tables.posting else ("identifier",)
    return sorted((*(keys[n] for n in row[: len(named)]), *row[len(named) :]) for row in rows)


def hash_state(ledger: Ledger) -> bytes:
    """Hash the stored index as docs/format.md says, row by row."""
    with begin_read(ledger.database) as connection:
        found = select(tables.identifier.c.token, tables.identifier.c.kind)
        kinds = {bytes(token): kind for token, kind in connection.execute(found)}
    keys = sorted(kinds)
    rank = {key: place for place, key in enumerate(keys)}
    postings = [
        struct.pack(">iiihqiiihii", rank[i], rank[a], *rest)
        for i, a, *rest in read_rows(ledger, INDEX[0])
    ]
    counted = [struct.pack(">iiihq", rank[i], *rest) for i, *rest in read_rows(ledger, INDEX[1])]
    parts = (
        b"".join(keys),
        b"".join(struct.pack(">h", kinds[key]) for key in keys),
        b"".join(postings),
        b"".join(counted),
    )
    hashes = (hashlib.sha256(part).digest() for part in parts)
    return hashlib.sha256(b"bcl/state\x00" + b"".join(hashes)).digest()


# --- The same as the sequencer keeps ---------------------------------------------------------


def test_derived_index_is_the_live_one_in_random_worlds(
    ledger: Ledger, backend: str, now: datetime
) -> None:
    platforms = enrol(ledger, now)
    assert rebuild(ledger).is_equal, "an empty index"
    seen = set()
    for number in range(WORLDS[backend]):
        live_on(ledger, World(number, platforms, now, crowded=number % 2 == 0), now)
        rebuilt = rebuild(ledger)
        assert rebuilt.is_equal, rebuilt.differences
        assert rebuilt.live.whole == hash_state(ledger)
        assert rebuilt.postings == len(read_rows(ledger, tables.posting))
        assert rebuilt.multiplicities == len(read_rows(ledger, tables.multiplicity))
        seen.add(rebuilt.live.whole)
    assert len(seen) > WORLDS[backend] * 0.7


def test_both_databases_give_the_same_hash_for_the_same_statements(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    keys: LedgerKeys,
    profiles: Profiles,
    policy_text: str,
    now: datetime,
) -> None:
    told = []
    for backend in BACKENDS:
        with ExitStack() as stack:
            url = stack.enter_context(clone_database(backend, request, tmp_path))
            ledger = stack.enter_context(founded(url, keys, profiles, policy_text, now))
            platforms = enrol(ledger, now)
            hashes = []
            for number in range(5):
                live_on(ledger, World(number, platforms, now, crowded=True), now)
                hashes.append(rebuild(ledger).live)
            told.append(hashes)
    assert told[0] == told[1]
    assert len(set(told[0])) == 5


def test_history_of_every_statement_is_derived_as_it_is_kept(history: History) -> None:
    rebuilt = rebuild(history.ledger)
    assert rebuilt.is_equal
    assert rebuilt.live.whole == hash_state(history.ledger)
    assert min(rebuilt.incidents, rebuilt.edges, rebuilt.postings) > 3


# --- Whatever is changed is seen -------------------------------------------------------------

COLUMNS = [column for table in INDEX for column in table.c]


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_every_changed_column_changes_the_live_hash_and_is_told(
    history: History, column: Column[Any]
) -> None:
    whole = rebuild(history.ledger)
    with damaged(history.ledger, change(column, column.table.c.identifier > 0)):
        harmed = rebuild(history.ledger)
    assert harmed.derived == whole.derived
    assert harmed.live.whole != whole.live.whole
    assert {one.table for one in harmed.differences} == {column.table.name}
    if column.primary_key:
        assert {one.how for one in harmed.differences} == {"unexpected", "missing"}
    else:
        assert [(one.how, one.fields) for one in harmed.differences] == [
            ("changed", (column.name,))
        ]
    assert all(one.indexes for one in harmed.differences if one.how != "unexpected")
    assert rebuild(history.ledger) == whole


@pytest.mark.parametrize("table", INDEX, ids=str)
def test_dropped_and_planted_rows_are_told_with_their_entries(
    history: History, table: Table
) -> None:
    with damaged(history.ledger, lambda connection: connection.execute(delete(table))):
        emptied = rebuild(history.ledger)
    numbers = {"posting": emptied.postings, "multiplicity": emptied.multiplicities}
    assert emptied.differing == numbers[table.name]
    assert {one.how for one in emptied.differences} == {"missing"}
    assert all(one.indexes for one in emptied.differences)
    planted = dict.fromkeys(table.c.keys(), 7) | {"identifier": 424_242}
    many = [planted | {"platform": number} for number in range(40)]
    with damaged(history.ledger, lambda connection: connection.execute(insert(table), many)):
        planted_on = rebuild(history.ledger)
    assert planted_on.differing == 40
    assert {one.how for one in planted_on.differences} == {"unexpected"}
    assert len(planted_on.differences) == 20
    keys = [bytes(row[0]) for row in read_rows(history.ledger, tables.multiplicity)]
    shown = repr((emptied, planted_on))
    assert not [key for key in keys if repr(key)[2:-1] in shown or key.hex() in shown]


def test_changed_source_is_told_as_rows_that_should_be_others(history: History) -> None:
    heavier = change(tables.incident.c.mass, tables.incident.c.account.is_not(None))
    with damaged(history.ledger, heavier):
        harmed = rebuild(history.ledger)
    assert not harmed.is_equal
    assert {one.fields for one in harmed.differences} == {("mass",)}


def test_index_without_any_source_is_all_unexpected(history: History) -> None:
    def forget(connection: Connection) -> None:
        connection.execute(delete(tables.edge))
        connection.execute(update(tables.incident).values(account=None))

    whole = rebuild(history.ledger)
    with damaged(history.ledger, forget):
        left = rebuild(history.ledger)
    assert left.live == whole.live
    assert (left.postings, left.multiplicities) == (0, 0)
    assert left.differing == whole.postings + whole.multiplicities
    assert {(one.how, one.indexes) for one in left.differences} == {("unexpected", ())}


@SQLITE
@pytest.mark.parametrize("value", ["abc", 1.5, 2**40])
@pytest.mark.parametrize("column", ["disputed", "binding"])
def test_value_that_no_column_can_hold_is_refused(
    history: History, column: str, value: object
) -> None:
    harm = text(f"UPDATE posting SET {column} = :value")
    with (
        damaged(history.ledger, lambda connection: connection.execute(harm, {"value": value})),
        pytest.raises(LedgerCorrupt),
    ):
        rebuild(history.ledger)


@SQLITE
def test_lookup_key_of_another_length_is_refused(history: History) -> None:
    with (
        damaged(
            history.ledger, change(tables.identifier.c.token, tables.identifier.c.id > 0, b"x")
        ),
        pytest.raises(LedgerCorrupt),
    ):
        rebuild(history.ledger)


# --- What the hash doesn't depend on ---------------------------------------------------------


def test_unrelated_reports_give_the_same_postings_in_either_order(
    ledger: Ledger, now: datetime
) -> None:
    platforms = enrol(ledger, now)
    told = []
    for order in (1, -1):
        sent = [
            platforms[number % 3].report(f"buyer {number}", phone_and_device(str(number // 2)), now)
            for number in range(6)[::order]
        ]
        settle(ledger, now)
        told.append((rebuild(ledger).live, [row[:-1] for row in read_rows(ledger, INDEX[1])]))
        for one in sent:
            next(p for p in platforms if p.uri == one.report.issuer).retract(one, now)
        settle(ledger, now)
    (first, counted), (second, counted_again) = told
    assert (first.keys, first.kinds, first.postings) == (second.keys, second.kinds, second.postings)
    assert counted == counted_again
    assert first.multiplicities != second.multiplicities, "a declaration keeps its place in the log"


# --- Arrays against dictionaries -------------------------------------------------------------


def draw_columns(seed: int) -> tuple[Columns, Columns]:
    """Draw incidents of accounts 0…39 and their edges to identifiers 40…69, in any order."""
    random = Random(seed)
    accounts = {account: random.randrange(1, 4) for account in range(40)}
    incidents, edges = [], []
    for index in random.sample(range(10**6), 120):
        account = random.randrange(random.choice([5, 40]))
        mass = random.choice([5, 10**12])
        days = sorted(random.sample(range(20_000, 20_100), 2))
        borne = (random.randrange(1, 5), mass, 1, random.randrange(2), *days)
        incidents.append((index, account, accounts[account], *borne))
        bound = random.sample(range(40, random.choice([45, 70])), random.randrange(4))
        at = accounts[account], index, account
        edges += [(token, *at, random.randrange(5), random.randrange(6)) for token in bound]
    random.shuffle(edges)
    names = "reported_index account platform half_life mass count level_a first_day last_day"
    return _columns(names, incidents), _columns(
        "identifier platform event_index account binding declared", edges
    )


def _columns(names: str, rows: Sequence[tuple[int, ...]]) -> Columns:
    wide = ("mass", "reported_index", "event_index")
    values = zip(*rows, strict=True) if rows else [()] * len(names.split())
    return {
        name: np.array(column, np.int64 if name in wide else np.int32)
        for name, column in zip(names.split(), values, strict=True)
    }


def read_plainly(incidents: Columns, edges: Columns) -> tuple[set[Any], set[Any]]:
    """Derive postings and multiplicities by dictionaries, one row after the other."""
    bindings: dict[tuple[int, int], tuple[int, int]] = {}
    latest: dict[tuple[int, int], tuple[int, int]] = {}
    seen: dict[tuple[int, int], set[int]] = {}
    for token, platform, index, account, binding, declared in zip(*edges.values(), strict=True):
        bindings[token, account] = max(bindings.get((token, account), (-1, -1)), (index, binding))
        latest[token, platform] = max(latest.get((token, platform), (-1, -1)), (index, declared))
        seen.setdefault((token, platform), set()).add(account)
    sums: dict[tuple[int, int, int], list[int]] = {}
    for _, account, platform, half_life, *borne in zip(*incidents.values(), strict=True):
        known = sums.setdefault((account, platform, half_life), [0, 0, 0, *borne[3:]])
        known[:3] = (x + y for x, y in zip(known[:3], borne[:3], strict=True))
        known[3:] = min(known[3], borne[3]), max(known[4], borne[4])
    bound = {(account, account): (0, 0) for account, _, _ in sums} | bindings
    postings = {
        (token, account, *key[1:], mass, count, 0, level_a, binding, first, last)
        for (token, account), (_, binding) in bound.items()
        for key, (mass, count, level_a, first, last) in sums.items()
        if key[0] == account
    }
    crowd = Counter(token for token, _ in bindings)
    counted = {(*at, len(seen[at]), *last[::-1]) for at, last in latest.items() if crowd[at[0]] > 1}
    return postings, counted


@pytest.mark.parametrize("seed", range(12))
def test_arrays_are_derived_as_dictionaries_are_in_pieces_of_any_size(seed: int) -> None:
    incidents, edges = draw_columns(seed)
    expected = read_plainly(incidents, edges)
    for rows in (1, 7, 50, 10**6):
        pieces = list(derive_index(incidents, edges).stream_pieces(rows))
        postings = [row for piece in pieces for row in piece.postings.tolist()]
        counted = [row for piece in pieces for row in piece.multiplicities.tolist()]
        assert (set(postings), set(counted)) == expected
        assert (sorted(postings), sorted(counted)) == (postings, counted)
        assert [piece.bound for piece in pieces] == sorted({piece.bound for piece in pieces})
        assert len(pieces) > 1 or rows > len(postings)


def test_mass_beyond_64_bits_is_refused_and_not_wrapped() -> None:
    incidents, edges = draw_columns(0)
    incidents["mass"] = np.full_like(incidents["mass"], 2**62)
    with pytest.raises(LedgerCorrupt):
        derive_index(incidents, edges)
    few = {name: column[:1] for name, column in incidents.items()}
    assert derive_index(few, edges).borne["mass"].tolist() == [2**62]


@pytest.mark.parametrize("numbers", [[], [3, 1, 9], [5, 8, -4], [5, 2**61, 8, -4]])
def test_row_numbers_have_ranks_and_others_none(numbers: list[int]) -> None:
    ranks = rank_numbers(np.array(numbers, np.int64))
    asked = np.array([*numbers, 2, -1, 2**62, 2**63 - 1], np.int64)
    assert ranks.look_up(asked).tolist() == [*range(len(numbers)), -1, -1, -1, -1]
