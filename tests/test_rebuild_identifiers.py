"""Which identifiers there must be follows from what refers to them; their numbers tell nothing.

What only an audit sees is told here too, so that nobody takes a rebuild for one.
"""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING

import damage
import pytest
from damage import MARKED, RECYCLED, REPORT, SEPARATED, History, damaged
from kept import audit
from sqlalchemy import delete, insert, select, update
from test_rebuild import INDEX, hash_state, rebuild

from ledger.graph.rebuild import DIFFERENCES_MAX
from ledger.identity.identifier import Kind
from ledger.rebuilding import DifferingRow
from ledger.store import tables
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Executable

    from ledger.store.engine import Connection

history = damage.history
OVERRIDES = (tables.separation, tables.marker, tables.recycling)
REFERRING = (tables.edge, tables.incident, *INDEX, *OVERRIDES)
TOKEN = b"a key of nobody."


def renumber(connection: Connection) -> None:
    """Give every identifier another row number, and write the index's rows in another order."""
    random = Random(4)
    ids = list(connection.execute(select(tables.identifier.c.id)).scalars())
    numbers = dict(zip(ids, random.sample(range(10**6, 10**9), len(ids)), strict=True))
    for table in (tables.identifier, *REFERRING):
        rows = [dict(row._mapping) for row in connection.execute(select(table))]
        connection.execute(delete(table))
        random.shuffle(rows)
        for row in rows:
            named = {"id"} if table is tables.identifier else {"identifier", "account", "other"}
            row |= {name: numbers.get(row[name]) for name in named & row.keys()}
            connection.execute(insert(table).values(row))


def test_hash_depends_on_no_row_number_and_no_order_of_writing(history: History) -> None:
    whole = rebuild(history.ledger)
    with damaged(history.ledger, renumber):
        assert rebuild(history.ledger) == whole
        assert hash_state(history.ledger) == whole.live.whole


def plant(connection: Connection) -> None:
    """Store a lookup key to which nothing refers."""
    planted = {"token": TOKEN, "id": 424_242, "kind": Kind.PHONE.code}
    connection.execute(insert(tables.identifier), planted)


def plant_beside(connection: Connection) -> None:
    """Store a lookup key under the number of another."""
    number = connection.execute(select(tables.edge.c.identifier).limit(1)).scalar_one()
    planted = {"token": TOKEN, "id": number, "kind": Kind.PHONE.code}
    connection.execute(insert(tables.identifier), planted)


@pytest.mark.parametrize("harm", [plant, plant_beside])
def test_identifier_that_nothing_refers_to_is_unexpected(
    history: History, harm: Callable[[Connection], None]
) -> None:
    whole = rebuild(history.ledger)
    with damaged(history.ledger, harm):
        harmed = rebuild(history.ledger)
        assert audit(history.ledger)
    assert not harmed.is_equal
    assert harmed.differences == (DifferingRow("identifier", "unexpected", (), ()),)
    assert (harmed.differing, harmed.identifiers) == (1, whole.identifiers + 1)
    assert harmed.live.keys != whole.live.keys
    if harm is plant:
        assert (harmed.derived.keys, harmed.derived.kinds) == (whole.live.keys, whole.live.kinds)


def test_no_more_than_a_few_identifiers_are_named_and_all_are_counted(history: History) -> None:
    many = [{"token": bytes([n]) * 16, "id": 424_242 + n, "kind": 1} for n in range(40)]
    with damaged(history.ledger, partial(run, insert(tables.identifier).values(many))):
        harmed = rebuild(history.ledger)
    assert (harmed.differing, len(harmed.differences)) == (40, DIFFERENCES_MAX)


def run(statement: Executable, connection: Connection) -> None:
    """Run one statement."""
    connection.execute(statement)


def refer(connection: Connection) -> dict[int, set[int]]:
    """Give the entries that say that there is an identifier, for each row number."""
    separation, recycling, marker = tables.separation.c, tables.recycling.c, tables.marker.c
    said: dict[int, set[int]] = {}
    for number, entry in (
        (tables.incident.c.account, tables.incident.c.reported_index),
        (tables.edge.c.identifier, tables.edge.c.event_index),
        (separation.account, separation.event_index),
        (separation.other, separation.event_index),
        (marker.identifier, marker.event_index),
        (recycling.identifier, recycling.event_index),
    ):
        for one, index in connection.execute(select(number, entry).where(number.is_not(None))):
            said.setdefault(one, set()).add(index)
    return said


def test_identifier_that_is_gone_is_missing_and_named_by_what_refers_to_it(
    history: History,
) -> None:
    whole = rebuild(history.ledger)
    with begin_read(history.ledger.database) as connection:
        said = refer(connection)
        assert set(said) == set(connection.execute(select(tables.identifier.c.id)).scalars())
    assert {SEPARATED, RECYCLED, MARKED, REPORT} <= {one for some in said.values() for one in some}
    for number, entries in said.items():
        statement = delete(tables.identifier).where(tables.identifier.c.id == number)
        with damaged(history.ledger, partial(run, statement)):
            harmed = rebuild(history.ledger)
        assert not harmed.is_equal
        named = DifferingRow("identifier", "missing", (), tuple(sorted(entries)))
        assert harmed.differences == (named,)
        assert (harmed.differing, harmed.identifiers) == (1, whole.identifiers - 1)
        assert harmed.derived.keys != harmed.live.keys
        assert harmed.derived.kinds != harmed.live.kinds
    with damaged(history.ledger, partial(run, delete(tables.identifier))):
        told = rebuild(history.ledger).differences
    assert sum(one.table == "identifier" for one in told) == len(said)


def test_kinds_are_taken_as_stored_and_only_an_audit_holds_them_against_statements(
    history: History,
) -> None:
    whole = rebuild(history.ledger)
    others = update(tables.identifier).values(kind=7 - tables.identifier.c.kind)
    with damaged(history.ledger, partial(run, others)):
        changed = rebuild(history.ledger)
        found = audit(history.ledger)
    assert changed.is_equal
    assert changed.live.kinds != whole.live.kinds
    assert len({one.index for one in found}) > 1
