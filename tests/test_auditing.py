"""An audit finds whatever was changed in the database, and names the entry that it concerns.

First every column of every table is changed in turn: either the audit finds it, or the column is
listed as one that no statement vouches for. Then rows are planted, dropped, swapped and re-pointed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import damage
import pytest
from damage import (
    SQLITE,
    History,
    at,
    change,
    content_of,
    damaged,
    find,
    named,
)
from kept import audit
from simulator import Simulator, phone_and_device
from sqlalchemy import select, update

from ledger.auditing import audit_ledger
from ledger.ledger import mint_id
from ledger.sequencing import sequence
from ledger.store import tables
from ledger.store.engine import begin_read, begin_write
from ledger.store.tables import METADATA

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Column, Table

    from ledger.ledger import Ledger

history = damage.history


def test_mixed_history_is_clean_and_stays_so_when_it_is_made_whole(history: History) -> None:
    with begin_read(history.ledger.database) as connection:
        events = connection.execute(select(tables.event.c.op).order_by(tables.event.c.entry_index))
        assert list(events.scalars()) == [
            *(12, 11, 11, 11, 1, 2, 1, 2, 1, 1, 2, 6),
            *(1, 2, 11, 11, 1, 2, 11, 13, 13, 16, 19, 19, 20, 1, 6),
        ]
    assert audit(history.ledger) == ()
    assert find(history, lambda connection: connection) == ()


# --- Every column -------------------------------------------------------------------------------

# What a ledger was opened as, what only its members see, and what nobody derives from entries.
UNSEEN = {
    "ledger_identity.id",
    "ledger_identity.sandbox",
    "ledger_identity.created_at",
    "ledger_identity.origin",
    "ledger_identity.jurisdiction",
    "platform.name",
    "platform.enrolled_at",
    "policy.published_at",
    "log_state.shadow_version",
    "log_checkpoint.published_at",
}
UNSEEN_TABLES = {
    "log_tile",  # which this history doesn't fill: tests/test_auditing_tiles.py
    "client_assertion",
    "shadow_policy",
    "assessment",
    "assessed_order",
    "assessment_outcome",
    "evidence_match",  # who asked
    "recall",
    "witness_size",
}
REFERRED = {"event.id", "event_content.event", "platform.id", "event.platform"}
REPORTED = {4, 6, 12, 16}  # reports that count
OF_REPORT = {
    "event": at(damage.REPORT),
    "platform": tables.platform.c.uri == "https://shop-b.example",
    "platform_key": tables.platform_key.c.platform == 2,
    "log_entry": tables.log_entry.c.index == damage.REPORT,
    "log_checkpoint": tables.log_checkpoint.c.size == damage.SIZE,
    "incident": tables.incident.c.reported_index == damage.REPORT,
    "identifier": tables.identifier.c.id == 1,
}
COLUMNS = [
    column
    for table in METADATA.sorted_tables
    if table.name not in UNSEEN_TABLES
    for column in table.c
    if f"{table.name}.{column.name}" not in REFERRED
]
OTHERS: dict[str, Any] = {
    "platform.state": "suspended",
    "platform_key.state": "revoked",
    "platform_key.platform": 1,
    "platform_key.algorithm": "ES256",
    "incident.platform": 2,
    "incident.state": "expired",
}


@SQLITE
@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_changed_column_is_found_and_named(history: History, column: Column[Any]) -> None:
    table: Table = column.table
    where = OF_REPORT.get(table.name, column.is_not(None))
    if table is tables.event_content:
        where = content_of(damage.REPORT)
    harm = change(column, where, OTHERS.get(str(column)))
    with damaged(history.ledger, harm):
        findings = audit(history.ledger)
    if str(column) in UNSEEN:
        assert findings == (), "what is found needs no place in the list"
        return
    assert findings
    indexes = {one.index for one in findings if one.index is not None}
    if table.name in {"event", "event_content", "log_entry", "incident"}:
        assert indexes & {damage.REPORT, damage.ACTIVATION}
    elif table.name in {"posting", "edge", "multiplicity", "identifier"}:
        assert indexes & REPORTED
    elif table.name.startswith("evidence"):
        assert "evidence-differs" in {one.code for one in findings}


@SQLITE
@pytest.mark.parametrize(
    ("column", "value"),
    [
        (tables.platform.c.state, "gone"),
        (tables.platform_key.c.state, "gone"),
        (tables.platform_key.c.algorithm, "none"),
        (tables.platform_key.c.jwk, "{"),
        (tables.platform_key.c.jwk, "{}"),
        (tables.incident.c.state, "gone"),
        (tables.event.c.received_at, datetime(2199, 1, 1, tzinfo=UTC)),
        (tables.event.c.op, 99),
        (tables.log_state.c.size, 2**60),
        (tables.log_state.c.root, b""),
        (tables.log_state.c.frontier, b"x"),
        (tables.log_entry.c.index, 2**60),
        (tables.log_entry.c.entry, b""),
        (tables.log_checkpoint.c.size, 2**60),
        (tables.log_checkpoint.c.note, ""),
        (tables.event_content.c.token, b""),
        (tables.event_content.c.entry_key, b""),
        (tables.event_content.c.salt, b""),
        (tables.policy.c.version, 99),
        (tables.policy.c.body, ""),
    ],
    ids=lambda value: str(value)[:24],
)
def test_value_that_cannot_be_is_a_finding_and_no_crash(
    history: History, column: Column[Any], value: object
) -> None:
    assert find(history, change(column, column.is_not(None), value))


@SQLITE
def test_every_field_of_an_entry_counts(history: History) -> None:
    column, where = tables.log_entry.c.entry, OF_REPORT["log_entry"]
    with begin_read(history.ledger.database) as connection:
        entry = bytes(connection.execute(select(column).where(where)).scalar_one())
    for place in (0, 4, 5, 7, 15, 47, 79):
        wrong = entry[:place] + bytes([entry[place] ^ 1]) + entry[place + 1 :]
        findings = find(history, change(column, where, wrong))
        assert ("leaf-hash", damage.REPORT) in named(findings)


def test_held_report_that_is_postponed_with_a_new_id_is_named(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    platform = simulator("shop-a")
    until = now + timedelta(days=3)
    sent = platform.send(platform.held_incident("p", phone_and_device("p"), now, until), now)
    sequence(ledger, now)
    assert audit_ledger(ledger, lambda *_: None).findings == ()
    later = now + timedelta(days=40_000)
    postponed = mint_id("inc_", later)
    with begin_write(ledger.database) as connection:
        of_report = tables.event.c.incident == sent.incident_id
        changed = {"received_at": later, "active_from": later, "incident": postponed}
        connection.execute(update(tables.event).where(of_report).values(changed))
        of_incident = tables.incident.c.id == sent.incident_id
        connection.execute(update(tables.incident).where(of_incident).values(id=postponed))
    (index,) = {one.index for one in audit_ledger(ledger, lambda *_: None).findings}
    assert index is not None
