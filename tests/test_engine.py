"""Connections and transactions: lost servers, queues of writers, snapshots."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql
from simulator import Simulator, phone_and_device
from sqlalchemy import create_engine, text

from ledger.assessing import assess_risk
from ledger.errors import LedgerUnavailable
from ledger.store.engine import begin_read, begin_write, open_database

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    import psycopg

    from ledger.ledger import Ledger


def cut_connections(url: str) -> int:
    """Cut every connection to a PostgreSQL database but the one that asks."""
    engine = create_engine(url)
    with engine.connect() as connection:
        cut = connection.execute(
            text(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        ).scalar_one()
    engine.dispose()
    return int(cut)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_a_lost_database_is_told_once_and_then_answers_go_on(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime, database_url: str
) -> None:
    platform = simulator("shop-a")
    caller = platform.caller(now)

    def ask(number: int) -> bool:
        question = platform.request(f"buyer {number}", phone_and_device(str(number)))
        try:
            assess_risk(ledger, caller, question, now)
        except LedgerUnavailable:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(20)))
    assert cut_connections(database_url) >= 1
    assert ask(100) is False
    assert [ask(number) for number in range(200, 210)] == [True] * 10


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_a_database_lost_in_the_middle_of_a_transaction_is_unavailable_and_nothing_is_kept(
    ledger: Ledger, database_url: str
) -> None:
    statement = text("UPDATE platform SET name = 'half written'")

    def write_half() -> None:
        with begin_write(ledger.database) as connection:
            connection.execute(statement)
            cut_connections(database_url)
            connection.execute(statement)

    with pytest.raises(LedgerUnavailable):
        write_half()
    with begin_read(ledger.database) as connection:
        assert connection.execute(text("SELECT name FROM platform")).scalars().all() == [
            "the ledger"
        ]


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_a_connection_that_cannot_be_opened_costs_none_that_is_open(
    ledger: Ledger, postgres_admin: psycopg.Connection[Any]
) -> None:
    whole = sql.Identifier(ledger.database.engine.url.database or "")
    forbid = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(whole)
    ledger.database.engine.dispose()
    with begin_read(ledger.database) as first:
        pass
    postgres_admin.execute(forbid)
    with pytest.raises(LedgerUnavailable), begin_write(ledger.database):
        pass
    with begin_read(ledger.database) as again:
        assert again is first


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    database = open_database(f"postgresql+psycopg://nobody@/nothing?host={tmp_path}")
    with pytest.raises(LedgerUnavailable), begin_read(database):
        pass
    missing = open_database(f"sqlite:///{tmp_path / 'no' / 'folder.sqlite'}")
    with pytest.raises(LedgerUnavailable), begin_read(missing):
        pass
