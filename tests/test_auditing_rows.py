"""Rows that are planted, dropped, swapped or re-pointed: an audit finds them at their entries.

And what it can't find: what no statement says, and what a whole log that was set back doesn't show.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import damage
import pytest
from damage import (
    DAY,
    SQLITE,
    History,
    at,
    change,
    content_of,
    damaged,
    entry_at,
    find,
    incident_at,
    named,
)
from kept import audit
from reports import NOW
from sqlalchemy import delete, func, insert, select, update

from ledger.identity.key import Algorithm, generate_signing_jwk, parse_jwk, public_jwk
from ledger.ledger import mint_id, open_ledger
from ledger.log.merkle import extend_frontier, frontier_root
from ledger.store import entries, tables
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from damage import Profiles
    from sqlalchemy import Column, ColumnElement, Table

    from ledger.ledger import LedgerKeys
    from ledger.store.engine import Connection

history = damage.history

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
EDGE = {"event_index": damage.REPORT, "identifier": 1, "binding": 2, "declared": 0}
MULTIPLICITY = {
    "identifier": 424_242,
    "platform": 2,
    "accounts": 500,
    "bucket": 5,
    "bucket_index": 99,
}
ALONE = {"identifier": 4, "platform": 2, "accounts": 1, "bucket": 0, "bucket_index": damage.REPORT}
NOBODY = "https://nobody.example"
LATE = {"event": 10**6, "token": b"x", "entry_key": b"x", "salt": b"x"}
PLANTED: dict[str, tuple[Table, dict[str, Any]]] = {
    "posting-of-no-account": (tables.posting, POSTING),
    "posting-of-a-known-account": (tables.posting, POSTING | {"account": 2, "half_life": 3}),
    "posting-under-no-identifier": (tables.posting, POSTING | {"identifier": 424_242}),
    "edge-to-its-own-account": (tables.edge, EDGE),
    "edge-of-no-incident": (tables.edge, EDGE | {"event_index": 99}),
    "edge-of-no-identifier": (tables.edge, EDGE | {"identifier": 424_242}),
    "multiplicity-of-no-identifier": (tables.multiplicity, MULTIPLICITY),
    "multiplicity-of-an-only-account": (tables.multiplicity, ALONE),
    "identifier": (tables.identifier, {"token": bytes(16), "id": 424_242, "kind": 5}),
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


LAST = damage.SIZE - 1
DROPPED: dict[str, tuple[Table, ColumnElement[bool], set[int | None]]] = {
    "content": (tables.event_content, content_of(damage.THEIRS), {damage.THEIRS}),
    "entry": (tables.log_entry, tables.log_entry.c.index == damage.THEIRS, {damage.THEIRS}),
    "last entry": (
        tables.log_entry,
        tables.log_entry.c.index == damage.SIZE - 1,
        {damage.SIZE - 1},
    ),
    "incident": (tables.incident, tables.incident.c.reported_index == 6, {damage.THEIRS}),
    "retracted incident": (tables.incident, tables.incident.c.reported_index == 9, {9}),
    "edge": (tables.edge, tables.edge.c.event_index == 6, {4, 6, 16}),
    "postings": (tables.posting, tables.posting.c.platform == 2, {4, 6, 12, 16}),
    "multiplicities": (tables.multiplicity, tables.multiplicity.c.platform == 2, {4, 6, 12, 16}),
    "state": (tables.log_state, tables.log_state.c.id == 1, {None}),
    "policy": (tables.policy, tables.policy.c.version > 0, {0}),
    "key": (tables.platform_key, tables.platform_key.c.platform == 2, {2, 6, 8, 12, 19, 20}),
}


@SQLITE
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


@SQLITE
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


# --- Statements and members that say something else --------------------------------------------


def test_statement_re_pointed_to_another_incident_is_misfiled(history: History) -> None:
    with begin_read(history.ledger.database) as connection:
        rows = connection.execute(select(tables.event.c.entry_index, tables.event.c.incident))
        incident_of = {row.entry_index: row.incident for row in rows}
    elsewhere = incident_of[damage.THEIRS]
    for index in (damage.ACTIVATION, damage.RETRACTION, damage.CLOCK, damage.HELD):
        harm = change(tables.event.c.incident, at(index), elsewhere)
        assert {index} <= {one.index for one in find(history, harm)}
    renamed = mint_id("inc_", NOW + DAY)  # held: nothing else names the incident
    harm = change(tables.event.c.incident, at(damage.HELD), renamed)
    assert named(find(history, harm)) == {("statement-misfiled", damage.HELD)}


def test_moved_window_is_misfiled(history: History) -> None:
    for column in (tables.event.c.active_from, tables.event.c.response_until):
        for moved in (-DAY, DAY, 3650 * DAY):
            harm = change(column, at(damage.HELD), NOW + 2 * DAY + moved)
            assert named(find(history, harm)) == {("statement-misfiled", damage.HELD)}


@SQLITE
@pytest.mark.parametrize(
    ("column", "value", "index"),
    [
        (tables.platform.c.group_name, "group of shop-b", damage.KEY_REVOKED),
        (tables.platform.c.scopes, "", damage.KEY_REVOKED),
        (tables.platform.c.jurisdictions, "SANDBOX CN", damage.KEY_REVOKED),
        (tables.platform.c.state, "suspended", damage.KEY_REVOKED),
    ],
    ids=str,
)
def test_changed_member_is_found_at_its_last_statement(
    history: History, column: Column[Any], value: str, index: int
) -> None:
    harm = change(column, tables.platform.c.uri == "https://shop-a.example", value)
    assert named(find(history, harm)) == {("member-differs", index)}


def test_member_whose_suspension_is_lifted_in_secret_is_found(history: History) -> None:
    harm = change(tables.platform.c.state, tables.platform.c.state == "suspended", "active")
    assert named(find(history, harm)) == {("member-differs", damage.SUSPENDED)}


def test_key_whose_revocation_is_undone_in_secret_is_found(history: History) -> None:
    def undo(connection: Connection) -> None:
        revoked = update(tables.platform_key).where(tables.platform_key.c.state == "revoked")
        connection.execute(revoked.values(state="active", not_after=None))

    assert named(find(history, undo)) == {("member-differs", damage.KEY_REVOKED)}


def test_key_that_signs_under_another_s_thumbprint_is_found_before_it_signs(
    history: History,
) -> None:
    """Shop A's new key is exchanged for a stranger's; what it signed no longer verifies either."""
    stranger = json.dumps(public_jwk(generate_signing_jwk(Algorithm.ED25519)))
    for owner, code in ((3, "member-differs"), (0, "statement-invalid")):
        where = tables.platform_key.c.platform == owner
        assert code in {
            one.code for one in find(history, change(tables.platform_key.c.jwk, where, stranger))
        }


@pytest.mark.parametrize("owner", [0, 1, 2])
def test_planted_key_is_found(history: History, owner: int) -> None:
    kid, algorithm, jwk = parse_jwk(public_jwk(generate_signing_jwk(Algorithm.ED25519)))
    row = {
        "kid": kid,
        "platform": owner,
        "algorithm": algorithm.value,
        "jwk": json.dumps(jwk),
        "state": "active",
        "not_before": NOW,
    }
    harm = insert(tables.platform_key).values(row)
    findings = find(history, lambda connection: connection.execute(harm))
    assert {one.code for one in findings} == {"member-differs"}


def test_planted_member_is_found(history: History) -> None:
    def plant(connection: Connection) -> None:
        columns = [one for one in tables.platform.c if one.name not in {"id", "uri"}]
        row = connection.execute(select(*columns).where(tables.platform.c.id == 1)).one()
        values = {**row._mapping, "id": 99, "uri": "https://nobody.example"}
        connection.execute(insert(tables.platform).values(values))

    assert named(find(history, plant)) == {("member-differs", None)}


def test_policy_that_was_never_published_is_found_at_its_entry(history: History) -> None:
    """Changed thresholds change no posting: only the signed text tells."""
    with begin_read(history.ledger.database) as connection:
        body = connection.execute(select(tables.policy.c.body)).scalar_one()
    lenient = body.replace("high = 600", "high = 999")
    harm = change(tables.policy.c.body, tables.policy.c.version > 0, lenient)
    assert named(find(history, harm)) == {("policy-differs", 0)}


@SQLITE
def test_ledger_that_is_opened_as_another_one_is_found(
    history: History, keys: LedgerKeys, profiles: Profiles
) -> None:
    identity = tables.ledger_identity.c
    url = str(history.ledger.database.engine.url)
    for column, value, code in (
        (identity.jurisdiction, "CN", "statement-misfiled"),
        (identity.origin, "ledger.example/other", "checkpoint-forged"),
    ):
        with damaged(history.ledger, change(column, identity.id == 1, value)):
            other = open_ledger(url, keys, profiles)
            assert code in {one.code for one in audit(other)}
            other.database.engine.dispose()


# --- What an audit can't see -------------------------------------------------------------------


def test_what_no_statement_says_is_not_found(history: History) -> None:
    later = NOW + timedelta(hours=1)
    for harm in (
        change(tables.platform.c.name, tables.platform.c.id == 1, "Another name"),
        change(tables.event.c.received_at, at(damage.RETRACTION), later),
    ):
        assert find(history, harm) == ()


def test_tail_that_was_cut_off_with_its_checkpoints_is_not_found(history: History) -> None:
    """A log that was set back is sound in itself: its receipts and other copies contradict it."""

    def set_back(connection: Connection) -> None:
        _cut_off(connection, damage.SIZE - 2)  # a held report and its retraction
        connection.execute(delete(tables.incident).where(incident_at(damage.SIZE - 2)))

    assert find(history, set_back) == ()


def test_log_that_is_set_back_before_an_erasure_lacks_what_was_erased(history: History) -> None:
    def set_back(connection: Connection) -> None:
        _cut_off(connection, damage.SIZE - 1)
        held = {"state": "held", "changed_index": damage.SIZE - 2}
        connection.execute(update(tables.incident).where(incident_at(damage.SIZE - 2)).values(held))

    assert named(find(history, set_back)) == {("content-unreadable", damage.SIZE - 2)}


def _cut_off(connection: Connection, size: int) -> None:
    """Set a log back to a size, as if what came later had never been."""
    hashes = [hashed for index, _, hashed in entries.stream_entries(connection) if index < size]
    frontier = extend_frontier(0, b"", hashes)
    for index in range(size, damage.SIZE):
        connection.execute(delete(tables.event_content).where(content_of(index)))
        connection.execute(delete(tables.event).where(at(index)))
        connection.execute(delete(tables.log_entry).where(entry_at(index)))
    later = tables.log_checkpoint.c.size > size
    connection.execute(delete(tables.log_checkpoint).where(later))
    connection.execute(
        update(tables.log_state).values(
            size=size,
            root=frontier_root(size, frontier),
            frontier=frontier,
            signed_size=select(func.max(tables.log_checkpoint.c.size)).scalar_subquery(),
        )
    )
