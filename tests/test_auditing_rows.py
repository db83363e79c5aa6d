"""Rows that are planted, dropped, swapped or re-pointed: an audit finds them at their entries.

And what it can't find: what no statement says, and what a whole log that was set back doesn't show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import damage
import pytest
from conftest import BACKENDS
from damage import History
from reports import NOW
from sqlalchemy import delete, insert, select, update

from ledger.store import tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Table

    from ledger.ledger import LedgerKeys
    from ledger.store.engine import Connection

SQLITE = pytest.mark.parametrize("history", ["sqlite"], indirect=True)


@pytest.fixture(scope="module", params=BACKENDS)
def history(
    request: pytest.FixtureRequest, keys: LedgerKeys, profiles: Profiles, policy_text: str
) -> Iterator[History]:
    """Give one ledger for all tests here: each damages it and makes it whole again."""
    with open_history(request, keys, profiles, policy_text) as lived:
        yield lived


POSTING = {
    "identifier": 1,
    "account": 424_242,
    "platform": 2,
    "half_life": 1,
    "mass": 10**12,
    "count": 9,
    "disputed": 0,
    "level_a": 0,
    "binding": 2,
    "first_day": 20_000,
    "last_day": 20_000,
}
EDGE = {
    "identifier": 1,
    "platform": 2,
    "event_index": 99,
    "account": 424_242,
    "binding": 2,
    "declared": 0,
}
MULTIPLICITY = {
    "identifier": 424_242,
    "platform": 2,
    "accounts": 500,
    "bucket": 5,
    "bucket_index": 99,
}
NOBODY = "https://nobody.example"
LATE = {"event": 10**6, "token": b"x", "entry_key": b"x", "salt": b"x"}
PLANTED: dict[str, tuple[Table, dict[str, Any]]] = {
    "posting-of-no-account": (tables.posting, POSTING),
    "posting-of-a-known-account": (tables.posting, POSTING | {"account": 2, "half_life": 3}),
    "posting-under-no-identifier": (tables.posting, POSTING | {"identifier": 424_242}),
    "edge-of-no-account": (tables.edge, EDGE),
    "edge-of-no-identifier": (tables.edge, EDGE | {"identifier": 424_242}),
    "multiplicity-of-no-identifier": (tables.multiplicity, MULTIPLICITY),
    "identifier": (tables.identifier, {"token": bytes(32), "kind": 5}),
    "entry": (tables.log_entry, {"index": damage.SIZE, "entry": bytes(80), "leaf_hash": bytes(32)}),
    "checkpoint": (
        tables.log_checkpoint,
        {"size": 10**6, "note": "ledger.example/sandbox\n1\n", "published_at": NOW},
    ),
    "policy": (tables.policy, {"version": 99, "body": "version = 99", "published_at": NOW}),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_row_is_found(history: History, name: str) -> None:
    table, row = PLANTED[name]
    assert find(history, lambda connection: connection.execute(insert(table).values(row)))


DROPPED: dict[str, tuple[Table, ColumnElement[bool], set[int | None]]] = {
    "content": (tables.event_content, content_of(damage.THEIRS), {damage.THEIRS}),
    "entry": (tables.log_entry, tables.log_entry.c.index == damage.THEIRS, {damage.THEIRS}),
    "last entry": (tables.log_entry, tables.log_entry.c.index == damage.SIZE - 1, {20}),
    "incident": (tables.incident, tables.incident.c.reported_index == 6, {damage.THEIRS}),
    "retracted incident": (tables.incident, tables.incident.c.reported_index == 9, {9}),
    "edge": (tables.edge, tables.edge.c.event_index == 6, {4, 6, 16}),
    "postings": (tables.posting, tables.posting.c.platform == 2, {4, 6, 12, 16}),
    "multiplicities": (tables.multiplicity, tables.multiplicity.c.platform == 2, {4, 6, 12, 16}),
    "state": (tables.log_state, tables.log_state.c.id == 1, {None}),
    "policy": (tables.policy, tables.policy.c.version > 0, {0}),
    "key": (tables.platform_key, tables.platform_key.c.platform == 2, {2, 6, 8, 12, 19, 20}),
}


@pytest.mark.parametrize("name", DROPPED)
def test_dropped_row_is_found_at_its_entry(history: History, name: str) -> None:
    table, where, indexes = DROPPED[name]
    findings = find(history, lambda connection: connection.execute(delete(table).where(where)))
    assert {one.index for one in findings} & indexes, findings


def test_dropped_statement_is_missed_at_its_entry(history: History) -> None:
    def drop(connection: Connection) -> None:
        connection.execute(delete(tables.event_content).where(content_of(damage.HELD)))
        connection.execute(delete(tables.event).where(at(damage.HELD)))

    assert ("statement-missing", damage.HELD) in named(find(history, drop))


@pytest.mark.parametrize(
    ("table", "first", "second", "columns"),
    [
        (tables.event_content, content_of(4), content_of(6), ("token", "entry_key", "salt")),
        (tables.event_content, content_of(4), content_of(16), ("salt",)),
        (tables.event, at(4), at(6), ("incident",)),
        (tables.event, at(5), at(7), ("incident",)),
        (tables.event, at(4), at(6), ("kid",)),
        (tables.log_entry, entry_at(4), entry_at(6), ("entry", "leaf_hash")),
        (tables.log_entry, entry_at(4), entry_at(6), ("leaf_hash",)),
        (tables.incident, incident_at(4), incident_at(6), ("account",)),
        (tables.incident, incident_at(4), incident_at(9), ("state",)),
        (tables.incident, incident_at(8), incident_at(12), ("state",)),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_rows_that_change_places_are_both_found(
    history: History,
    table: Table,
    first: ColumnElement[bool],
    second: ColumnElement[bool],
    columns: tuple[str, ...],
) -> None:
    def swap(connection: Connection) -> None:
        chosen = [table.c[name] for name in columns]
        rows = [connection.execute(select(*chosen).where(one)).one() for one in (first, second)]
        keys = [
            connection.execute(select(*table.primary_key).where(one)).scalar_one()
            for one in (first, second)
        ]
        (key,) = table.primary_key
        for place, row in zip(reversed(keys), rows, strict=True):
            new = dict(zip(columns, row, strict=True))
            connection.execute(update(table).where(key == place).values(new))

    findings = find(history, swap)
    assert len({one.index for one in findings}) > 1
