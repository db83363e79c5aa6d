"""Whatever bit is flipped and whatever row is moved in what the log rests on, an audit names it.

Hypothesis chooses table, row, column, bit and place. The log is published under witnesses, as
nothing else vouches for cosignatures. Tiles have a file of their own: tests/test_auditing_tiles.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from conftest import BACKENDS, clone_database, founded
from damage import History, damaged, live_through
from exact import settle
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from kept import audit
from reports import NOW, claim
from sqlalchemy import Integer, SmallInteger, String, Text, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from ledger.identity.identifier import Kind
from ledger.log.witness import cosign, parse_witness_policy, witness_from_seed
from ledger.publishing import publish_cosigned
from ledger.store import tables
from ledger.store.columns import Instant
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from damage import Profiles
    from sqlalchemy import Column, Table

    from ledger.examining import Finding
    from ledger.ledger import Ledger, LedgerKeys
    from ledger.log.witness import AddCheckpoint, Witness
    from ledger.publishing import Heard
    from ledger.store.engine import Connection

# What is left out, and why:
# event.id, event_content.event: they join two rows, and are moved by the operations on rows.
# event.received_at: the operator's word; what it may be is in tests/test_auditing.py.
# log_state.shadow_version: which policy is tried is no entry's matter.
# log_checkpoint.published_at: the operator's word; that it is there at all is tested below.
# witness_size.name, told_at: without them a proof begins elsewhere, and the witness says so.
STORED: dict[Table, tuple[str, ...]] = {
    tables.log_entry: ("index", "entry", "leaf_hash"),
    tables.log_state: ("id", "size", "root", "frontier", "policy_version", "signed_size"),
    tables.log_checkpoint: ("size", "note", "cosignatures", "previous_size"),
    tables.event: (
        *("platform", "jti", "txn", "incident", "op", "kid"),
        *("response_until", "active_from", "retention_day", "entry_index"),
    ),
    tables.event_content: ("token", "entry_key", "salt"),
    tables.witness_size: ("size",),
}
LOG = STORED.keys() - {tables.witness_size, tables.log_state}
# Nothing that was signed is left to hold these against (docs/operating.md, Audit).
UNSIGNED_ONCE_ERASED = {"jti", "txn"}
# Two rows can't share these for a moment.
HELD_APART: dict[str, Any] = {"jti": "elsewhere", "txn": None, "entry_index": None}
EXAMPLES = {"sqlite": 15, "postgresql": 3}
WITNESSES = [witness_from_seed(f"w{n}.example/w", bytes([n]) * 32) for n in range(5)]
Draw: TypeAlias = "Callable[[st.SearchStrategy[Any]], Any]"
# Statements that do harm, and the indexes of which one must be named.
Done: TypeAlias = "tuple[list[Any], set[int | None]]"


@dataclass(frozen=True)
class Target:
    """A table with its rows, and the index of the entry that each row is about.

    *Shape*: `erased` has the indexes of statements without content, by event; `content` is all
    that is left of the others; `signed` are the sizes that were signed.
    """

    table: Table
    rows: list[dict[str, Any]]
    indexes: list[int | None]
    erased: dict[int, int]
    content: list[dict[str, Any]]
    signed: frozenset[int]

    def key_of(self, row: dict[str, Any]) -> list[Any]:
        """Give the condition that names a row."""
        return [column == row[column.name] for column in self.table.primary_key]

    def find_companions(self, row: dict[str, Any]) -> set[int | None]:
        """Find the entries about the same incident, by some of which a changed id is found."""
        if self.table is not tables.event or not row["incident"]:
            return set()
        return {one["entry_index"] for one in self.rows if one["incident"] == row["incident"]}

    def columns(self, *indexes: int | None) -> list[str]:
        """Name the columns that count in the rows about some entries."""
        erased = self.table is tables.event and set(indexes) & set(self.erased.values())
        passed_over = UNSIGNED_ONCE_ERASED if erased else set()
        return [name for name in STORED[self.table] if name not in passed_over]


@pytest.fixture(scope="module", params=BACKENDS)
def history(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    keys: LedgerKeys,
    profiles: Profiles,
    policy_text: str,
) -> Iterator[History]:
    """Give a ledger that has seen everything, its two newest checkpoints cosigned by three."""
    rows = [
        f'[[witness]]\nvkey = "{one.vkey}"\nurl = "http://w{number}.example"\ngroup = "{number}"\n'
        for number, one in enumerate(WITNESSES)
    ]
    policy = parse_witness_policy("quorum = 3\n" + "".join(rows))
    with (
        clone_database(request.param, request, tmp_path_factory.mktemp("mutated")) as url,
        founded(url, keys, profiles, policy_text, NOW) as ledger,
    ):
        seen = live_through(ledger, NOW)
        witnessed = replace(ledger, witnesses=policy)
        publish(witnessed)
        seen.shops[1].send(
            seen.shops[1].marking("late", (claim(Kind.EMAIL, "late").identifier,), NOW), NOW
        )
        settle(ledger, NOW)
        publish(witnessed)
        yield History(witnessed, seen.shops, NOW)


def publish(ledger: Ledger) -> None:
    """Publish with the cosignatures of the first three witnesses."""

    def ask(witness: Witness, request: AddCheckpoint) -> str:
        (signer,) = (one for one in WITNESSES if one.name == witness.name)
        return cosign(request.note.partition("\n\n")[0] + "\n", signer, int(NOW.timestamp()))

    def hear(
        tasks: Sequence[Callable[[], Heard]], is_enough: Callable[[Sequence[Heard]], bool]
    ) -> list[Heard]:
        heard = [task() for task in tasks[:3]]
        assert is_enough(heard)
        return heard

    publish_cosigned(ledger, NOW, ask, hear)


def read_target(history: History, table: Table) -> Target:
    with begin_read(history.ledger.database) as connection:

        def read(table: Table) -> list[dict[str, Any]]:
            stored = connection.execute(select(table).order_by(*table.primary_key))
            return [dict(row._mapping) for row in stored]

        rows, content, checkpoints = map(read, (table, tables.event_content, tables.log_checkpoint))
        index_of = {row["id"]: row["entry_index"] for row in read(tables.event)}
    kept = {row["event"] for row in content}
    name: Callable[[dict[str, Any]], int | None] = {
        tables.log_entry: lambda row: row["index"],
        tables.event: lambda row: row["entry_index"],
        tables.event_content: lambda row: index_of[row["event"]],
        tables.log_checkpoint: lambda row: row["size"] - 1,
        tables.witness_size: lambda _: None,  # by the size that it is changed to
        tables.log_state: lambda _: None,  # there is one
    }[table]
    return Target(
        table,
        rows,
        [name(row) for row in rows],
        {event: index for event, index in index_of.items() if event not in kept},
        content,
        frozenset([0, *(row["size"] for row in checkpoints)]),
    )


# --- What is done to a row ------------------------------------------------------------------------


def flip_bit(value: Any, column: Column[Any], bit: int) -> Any:
    """Give a stored value with one bit flipped, or something where there was nothing."""
    if value is None or value == "":
        return {Instant: NOW, Text: "x", String: "x"}.get(type(column.type), 0)
    if isinstance(value, bytes):
        at = bit // 8 % len(value)
        return value[:at] + bytes([value[at] ^ 1 << bit % 8]) + value[at + 1 :]
    if isinstance(value, str):
        at = bit // 7 % len(value)
        flipped = chr(ord(value[at]) ^ 1 << bit % 7)
        assume(flipped != "\0")  # which PostgreSQL keeps in no text
        return value[:at] + flipped + value[at + 1 :]
    if isinstance(value, datetime):
        return value + timedelta(microseconds=1 << bit % 50)
    width = 15 if isinstance(column.type, SmallInteger) else 63
    if type(column.type) is Integer:
        width = 31
    return value ^ 1 << bit % width


def flip(target: Target, draw: Draw) -> Done:
    """Flip one bit of one column of one row."""
    place = draw(st.integers(0, len(target.rows) - 1))
    row, index = target.rows[place], target.indexes[place]
    name = draw(st.sampled_from(target.columns(index)))
    changed = flip_bit(row[name], target.table.c[name], draw(st.integers(0, 2**14)))
    assume(target.table is not tables.witness_size or changed not in target.signed)
    harm = update(target.table).where(*target.key_of(row)).values({name: changed})
    if "size" in name:  # named by what it says instead, or by what nothing speaks of any more
        return [harm], {index, changed - 1, row[name] - 1}
    return [harm], {index, *target.find_companions(row)}


def truncate(target: Target, draw: Draw) -> Done:
    """Cut one value short."""
    place = draw(st.integers(0, len(target.rows) - 1))
    row, index = target.rows[place], target.indexes[place]
    long = [one for one in target.columns(index) if row[one] and isinstance(row[one], str | bytes)]
    assume(long)
    name = draw(st.sampled_from(long))
    cut = row[name][: draw(st.integers(0, len(row[name]) - 1))]
    harm = update(target.table).where(*target.key_of(row)).values({name: cut})
    return [harm], {index, *target.find_companions(row)}


def drop(target: Target, draw: Draw) -> Done:
    """Delete one row, or all rows from one on."""
    first = draw(st.integers(0, len(target.rows) - 1))
    last = draw(st.sampled_from([first, len(target.rows) - 1]))
    rows, indexes = target.rows[first : last + 1], target.indexes[first : last + 1]
    harm = [delete(target.table).where(*target.key_of(row)) for row in rows]
    if target.table is tables.event:
        content = tables.event_content
        harm = [delete(content).where(content.c.event == row["id"]) for row in rows] + harm
    return harm, set(indexes)


def swap(target: Target, draw: Draw) -> Done:
    """Let two rows change places, in one column or in all."""
    places = draw(st.lists(st.integers(0, len(target.rows) - 1), min_size=2, max_size=2))
    first, second = (target.rows[place] for place in places)
    both = {target.indexes[place] for place in places}
    indexes = both | target.find_companions(first) | target.find_companions(second)
    if target.table is tables.log_checkpoint:  # of which each names the one before it
        indexes |= {row["previous_size"] - 1 for row in (first, second)}
    keys = {column.name for column in target.table.primary_key}
    names = [one for one in target.columns(*both) if one not in keys]
    names = draw(st.sampled_from([names, *([one] for one in names)]))
    # Two erased statements that change places but for their names: as if their names did.
    assume(len(names) == 1 or not both <= set(target.erased.values()))
    assume(any(first[name] != second[name] for name in names))
    apart = {name: HELD_APART[name] for name in names if name in HELD_APART}
    harm = [update(target.table).where(*target.key_of(first)).values(apart)] if apart else []
    for row, other in ((second, first), (first, second)):
        values = {name: other[name] for name in names}
        harm.append(update(target.table).where(*target.key_of(row)).values(values))
    return harm, indexes


def plant(target: Target, draw: Draw) -> Done:
    """Insert a copy of a row at another place."""
    copy = dict(draw(st.sampled_from(target.rows)))
    beyond = draw(st.integers(1, 2**40))
    if target.table is tables.event:
        index = draw(st.sampled_from([None, len(target.rows) + beyond]))
        copy |= {"id": 10**9, "jti": f"{copy['jti']}x", "txn": None, "entry_index": index}
        harm = [insert(tables.event).values(copy)]
        if target.content and draw(st.booleans()):
            sealed = draw(st.sampled_from(target.content)) | {"event": 10**9}
            harm.append(insert(tables.event_content).values(sealed))
        return harm, {index}
    if target.table is tables.event_content:
        event, index = draw(st.sampled_from(sorted(target.erased.items())))
        return [insert(target.table).values(copy | {"event": event})], {index}
    (key,) = target.table.primary_key
    place = len(target.rows) + beyond % 2**14
    copy[key.name] = "elsewhere" if key.name == "name" else place
    if target.table is tables.witness_size:
        copy["size"] = place = max(target.signed) + beyond
    index = {tables.log_entry: place, tables.log_state: None}.get(target.table, place - 1)
    return [insert(target.table).values(copy)], {index}


# --- What an audit says of it ---------------------------------------------------------------------


def find(history: History, harm: list[Any]) -> tuple[Finding, ...] | None:
    """Audit with some damage; None where the database itself refuses it."""

    def damage(connection: Connection) -> None:
        for one in harm:
            connection.execute(one)

    try:
        with damaged(history.ledger, damage):
            return audit(history.ledger)
    except IntegrityError:
        return None


def test_ledger_that_was_cosigned_is_clean(history: History) -> None:
    assert audit(history.ledger) == ()
    target = read_target(history, tables.log_checkpoint)
    assert [row["cosignatures"].count("\n") for row in target.rows[-2:]] == [3, 3]
    assert len(read_target(history, tables.witness_size).rows) == 3
    assert set(read_target(history, tables.event).erased.values()) == {9, 11, 23, 24, 25, 26}


def _name(one: Any) -> str:
    return str(getattr(one, "name", "") or one.__name__)


# A number has no end to cut, and there is one state. Without what a witness said a proof begins
# elsewhere, and the witness says so; all of them stand at one size.
DAMAGE = [
    *((act, table) for act in (flip, plant) for table in STORED),
    *((act, table) for act in (truncate, drop, swap) for table in STORED if table in LOG),
    *((act, tables.log_state) for act in (truncate, drop)),
]


@pytest.mark.parametrize(("act", "table"), DAMAGE, ids=_name)
def test_damage_is_found_and_named(
    history: History, table: Table, act: Callable[[Target, Draw], Done]
) -> None:
    target = read_target(history, table)
    backend = history.ledger.database.engine.dialect.name

    @settings(
        deadline=None, max_examples=EXAMPLES[backend], suppress_health_check=list(HealthCheck)
    )
    @given(st.data())
    def damage(data: st.DataObject) -> None:
        harm, indexes = act(target, data.draw)
        findings = find(history, harm)
        if findings is None:
            return
        named = {one.index for one in findings}
        assert findings, "it goes unnoticed"
        assert named & indexes or {one.code for one in findings} == {"row-unreadable"}, findings

    damage()
