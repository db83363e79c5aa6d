"""A ledger with a mixed history, what it looks like damaged, and whole again.

The history has every kind of statement there is. Damage is done to the stored rows themselves,
with the log's triggers switched off, as somebody would who holds the database and no key.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from conftest import BACKENDS, clone_database, founded
from exact import settle
from kept import BUYER, audit, hold
from reports import NOW, claim, digest
from simulator import Simulator, phone_and_device
from sqlalchemy import Column, Table, select, text

from ledger.activating import activate_due
from ledger.enrolling import revoke_key, rotate_key, suspend_platform
from ledger.identity.identifier import AccountRef, Kind
from ledger.identity.key import Algorithm, generate_signing_jwk
from ledger.store import tables
from ledger.store.engine import begin_read, begin_write
from ledger.store.tables import METADATA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import ColumnElement

    from ledger.examining import Finding
    from ledger.incident.statement import Statement
    from ledger.ledger import Ledger, LedgerKeys
    from ledger.rights.jurisdiction import JurisdictionProfile
    from ledger.store.engine import Connection

DAY = timedelta(days=1)
SQLITE = pytest.mark.parametrize("history", ["sqlite"], indirect=True)
Profiles: TypeAlias = "Mapping[str, JurisdictionProfile]"
# The indexes of the history's entries.
REPORT, ACTIVATION, THEIRS, HELD, TAKEN_BACK, RETRACTION = 4, 5, 6, 8, 9, 11
BY_CLOCK, CLOCK, KEY_ADDED, KEY_REVOKED, AGAIN, SUSPENDED = 12, 13, 14, 15, 16, 18
SIZE = 27
SEPARATED, RECYCLED, MARKED, SEEN, WITHDRAWN = 19, 20, 21, 22, 24


@dataclass(frozen=True)
class History:
    """A ledger that has seen everything, and its members."""

    ledger: Ledger
    shops: tuple[Simulator, Simulator, Simulator]
    now: datetime


def live_through(ledger: Ledger, now: datetime) -> History:
    """Let three members do everything that members do, one entry after the other."""
    a, b, c = shops = tuple(Simulator(ledger, f"shop-{name}") for name in "abc")
    until = now + DAY

    def step(*calls: Callable[[], object]) -> None:
        for call in calls:
            call()
            settle(ledger, now)

    step(*(lambda shop=shop: shop.enrol(now) for shop in shops))
    step(lambda: a.report("buyer", (*BUYER, claim(Kind.ADDR, "somewhere")), now))
    step(lambda: b.report("else", BUYER, now), lambda: hold(a, now, until=until + DAY))
    sent = c.report("third", (BUYER[1], *phone_and_device("third")), now)
    step(lambda: c.retract(sent, now), lambda: hold(b, now, until=until))
    step(lambda: activate_due(ledger, until))
    old_kid, a.private_jwk = a.kid, generate_signing_jwk(Algorithm.ES256)
    step(
        lambda: rotate_key(ledger, a.uri, a.key, now),
        lambda: revoke_key(ledger, a.uri, old_kid, now),
    )
    step(lambda: a.report("buyer", BUYER, now), lambda: suspend_platform(ledger, c.uri, now))
    step(*(lambda said=said: b.send(said, now) for said in override_links(b, now)))
    seen, false = (b.forgery(digest(name), digest(name), now) for name in ("seen", "false"))
    withdrawal = b.withdrawal(false, now)
    step(*(lambda said=said: b.send(said, now) for said in (seen, false, withdrawal)))
    held = hold(b, now, until=until)
    step(lambda: b.retract(held, now))
    with begin_write(ledger.database) as connection:
        allow_everything(connection)
    return History(ledger, (a, b, c), now)


def override_links(shop: Simulator, now: datetime) -> list[Statement]:
    """State everything that overrides a link, about people whom nothing else is known of."""
    return [
        shop.unlinking("one", AccountRef(shop.uri, "acct-other"), now),
        shop.recycling(claim(Kind.PHONE, "given away").identifier, now),
        shop.marking("victim", (claim(Kind.EMAIL, "taken").identifier,), now),
    ]


def allow_everything(connection: Connection) -> None:
    """Switch off what protects entries and tiles inside the database."""
    if connection.dialect.name == "sqlite":
        for verb in ("update", "delete", "replace"):
            for table in ("log_entry", "log_tile"):
                connection.execute(text(f"DROP TRIGGER {table}_no_{verb}"))
    else:
        for table in ("log_entry", "log_tile"):
            connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))


@contextmanager
def damaged(ledger: Ledger, damage: Callable[[Connection], object]) -> Iterator[None]:
    """Damage a ledger for the length of the block, and make it whole again."""
    with begin_read(ledger.database) as connection:
        whole = {
            table: [dict(row._mapping) for row in connection.execute(select(table))]
            for table in METADATA.sorted_tables
        }
    try:
        with begin_write(ledger.database) as connection:
            damage(connection)
        yield
    finally:
        with begin_write(ledger.database) as connection:
            for table in reversed(METADATA.sorted_tables):
                connection.execute(table.delete())
            for table, rows in whole.items():
                if rows:
                    connection.execute(table.insert(), rows)


def flip(value: Any, column: Column[Any]) -> Any:
    """Give another value that the column might hold."""
    if value is None:
        return {int: 1, str: "x"}.get(column.type.python_type, datetime(2026, 1, 1, tzinfo=UTC))
    if isinstance(value, bool):
        return not value
    if isinstance(value, datetime):
        return value + timedelta(milliseconds=1)
    if isinstance(value, bytes):
        middle = len(value) // 2
        return value[:middle] + bytes([value[middle] ^ 1]) + value[middle + 1 :]
    if isinstance(value, int):
        return value + 1000
    return f"{value[:-1]}{'x' if value[-1] != 'x' else 'y'}"


def change(
    column: Column[Any], where: ColumnElement[bool], to: Any = None
) -> Callable[[Connection], None]:
    """Give the damage that changes one column of one row."""

    def damage(connection: Connection) -> None:
        table: Table = column.table
        chosen = select(*table.primary_key, column.label("chosen")).where(where)
        row = connection.execute(chosen.order_by(*table.primary_key).limit(1)).one()
        key = [own == value for own, value in zip(table.primary_key, row, strict=False)]
        value = flip(row.chosen, column) if to is None else to
        assert value != row.chosen
        done = connection.execute(table.update().where(*key).values({column.name: value}))
        assert done.rowcount == 1

    return damage


@pytest.fixture(scope="module", params=BACKENDS)
def history(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    keys: LedgerKeys,
    profiles: Profiles,
    policy_text: str,
) -> Iterator[History]:
    """Give one ledger for all tests of a file: each damages it and makes it whole again.

    A file takes this over by `history = damage.history`.
    """
    with (
        clone_database(request.param, request, tmp_path_factory.mktemp("audited")) as url,
        founded(url, keys, profiles, policy_text, NOW) as ledger,
    ):
        yield live_through(ledger, NOW)


def find(history: History, harm: Callable[[Connection], object]) -> tuple[Finding, ...]:
    with damaged(history.ledger, harm):
        return audit(history.ledger)


def named(findings: tuple[Finding, ...]) -> set[tuple[str, int | None]]:
    return {(one.code, one.index) for one in findings}


def at(index: int) -> ColumnElement[bool]:
    return tables.event.c.entry_index == index


def entry_at(index: int) -> ColumnElement[bool]:
    return tables.log_entry.c.index == index


def incident_at(index: int) -> ColumnElement[bool]:
    return tables.incident.c.reported_index == index


def content_of(index: int) -> ColumnElement[bool]:
    return tables.event_content.c.event == (
        select(tables.event.c.id).where(at(index)).scalar_subquery()
    )
