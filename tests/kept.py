"""What a ledger keeps: the rows of every table, the entries of its log, how an incident stands."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from exact import settle
from simulator import phone_and_device
from sqlalchemy import func, select

from ledger.auditing import audit_ledger
from ledger.incident.incident import IncidentReport
from ledger.log.leaf import Leaf, parse_leaf
from ledger.store import entries, witnesses
from ledger.store.engine import begin_read
from ledger.store.tables import METADATA

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from simulator import Sent, Simulator

    from ledger.examining import Finding
    from ledger.ledger import Ledger

BUYER = phone_and_device("buyer")


def count_rows(ledger: Ledger) -> dict[str, int]:
    """Count the rows of every table."""
    with begin_read(ledger.database) as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in METADATA.sorted_tables
        }


@contextmanager
def nothing_kept(ledger: Ledger) -> Iterator[None]:
    """Check that no row of any table comes or goes."""
    before = count_rows(ledger)
    yield
    assert count_rows(ledger) == before


def read_log(ledger: Ledger) -> list[Leaf]:
    with begin_read(ledger.database) as connection:
        return [parse_leaf(entry) for _, entry, _ in entries.stream_entries(connection)]


def read_notes(ledger: Ledger) -> dict[int, str]:
    """Give every signed checkpoint with its cosignatures, by size."""
    with begin_read(ledger.database) as connection:
        return {one.size: one.shown for one in witnesses.stream_signed(connection)}


def see(shop: Simulator, sent: Sent, at: datetime) -> tuple[str, int | None]:
    """Settle the log and look an incident up: its state and its place."""
    settle(shop.ledger, at)
    seen = shop.look_up(sent.incident_id, at)
    return seen.state, seen.log_index


def report_of(sent: Sent) -> IncidentReport:
    assert isinstance(sent.statement, IncidentReport)
    return sent.statement


def hold(shop: Simulator, at: datetime, *, until: datetime) -> Sent:
    return shop.send(shop.held_incident("buyer", BUYER, at, until), at)


def audit(ledger: Ledger) -> tuple[Finding, ...]:
    """Audit a ledger, which writes nothing, and give what was found."""
    told: list[tuple[int, int]] = []
    with nothing_kept(ledger):
        report = audit_ledger(ledger, lambda done, of: told.append((done, of)))
    assert told == [(done, len(told)) for done in range(1, len(told) + 1)]
    return report.findings
