"""Connections and transactions on SQLite and PostgreSQL.

It knows how each engine is opened and how its writers take turns; it knows no table. On SQLite
every writer holds one `flock` beside the database file, which is fair where SQLite's own busy
wait is not, and `BEGIN IMMEDIATE` inside it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, OperationalError
from sqlalchemy.pool import NullPool, StaticPool

from ledger.errors import InvalidInput, LedgerCorrupt, LedgerUnavailable
from ledger.store.tree_cache import TreeCache

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Engine

__all__ = [  # Connection: what a use case passes on, so that none needs the library's name
    "Connection",
    "Database",
    "begin_read",
    "begin_write",
    "check_reachable",
    "lasting_cursor",
    "open_database",
    "take_turn",
]

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",
    "PRAGMA busy_timeout=5000",
    "PRAGMA cache_size=-65536",  # KiB at most: a batch touches more than the 2 MB of the default
    "PRAGMA wal_autocheckpoint=4000",  # pages: a batch writes hundreds, many of them again soon
)
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# What the drivers raise by themselves when their own cursor is used.
_UNREACHABLE = (OperationalError, sqlite3.OperationalError, psycopg.OperationalError)


@dataclass(frozen=True, slots=True)
class Database:
    """An engine, where SQLite's writers queue, and what was read of the tree.

    *Shape*: `autocommit` opens connections to PostgreSQL whose every statement stands alone, and
    `idle` holds those that nobody uses; `lock_path` is None elsewhere than on SQLite.
    """

    engine: Engine
    autocommit: Engine | None
    lock_path: str | None
    idle: deque[Connection] = field(default_factory=deque, repr=False)
    cache: TreeCache = field(default_factory=TreeCache, repr=False)

    @property
    def embedded(self) -> bool:
        """Whether this is SQLite, where the accepting transaction sequences inline."""
        return self.engine.dialect.name == "sqlite"


def open_database(url: str) -> Database:
    """Open a database without touching its schema.

    *Shape*: `sqlite:///PATH`, `sqlite://` (in memory, one connection) or
    `postgresql+psycopg://…`. *Raises*: InvalidInput where the URL isn't one.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise InvalidInput("The database's address isn't a URL.") from error
    if parsed.get_backend_name() != "sqlite":
        same: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "hide_parameters": True}
        engine = create_engine(parsed, **same)
        event.listen(engine, "begin", _begin)
        database = Database(engine, create_engine(parsed, poolclass=NullPool, **same), None)
        event.listen(engine, "engine_disposed", lambda _: _close_idle(database))
        return database
    in_memory = parsed.database in {None, "", ":memory:"}
    options: dict[str, Any] = {"connect_args": {"isolation_level": None}}
    if in_memory:
        options = {
            "connect_args": {"isolation_level": None, "check_same_thread": False},
            "poolclass": StaticPool,
        }
    engine = create_engine(parsed, hide_parameters=True, **options)
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return Database(engine, None, None if in_memory else f"{parsed.database}.lock")


def _set_pragmas(dbapi_connection: Any, record: object) -> None:  # noqa: ANN401 - a DBAPI object
    del record
    for pragma in _PRAGMAS:
        dbapi_connection.execute(pragma)


def _begin(connection: Connection) -> None:
    """Begin a transaction in words: both drivers are left in autocommit."""
    statement = connection.get_execution_options().get("begin", "BEGIN")
    if statement:
        connection.exec_driver_sql(statement)


@contextmanager
def begin_read(database: Database, *, snapshot: bool = False) -> Iterator[Connection]:
    """Open a transaction that only reads: on SQLite of one snapshot, elsewhere with `snapshot`.

    Elsewhere and without it every statement stands alone, which saves two round trips.

    *Raises*: LedgerUnavailable where the database can't be reached, LedgerCorrupt where its file
    is damaged.
    """
    try:
        if database.autocommit is not None and not snapshot:
            with _hold(database, database.autocommit) as connection:
                yield connection
            return
        with database.engine.connect() as connection:
            if not database.embedded:
                connection.execution_options(begin=_SNAPSHOT)
            with connection.begin():
                yield connection
    except LedgerCorrupt:
        database.cache.clear()  # whether it came from there or not: once mended it is read anew
        raise
    except _UNREACHABLE as error:
        _forget_connections(database, error)
        raise LedgerUnavailable("The database can't be reached.") from error
    except DatabaseError as error:
        _refuse_damage(error)
        raise


@contextmanager
def begin_write(database: Database, *, autocommit: bool = False) -> Iterator[Connection]:
    """Open the one writing transaction of a use case; it commits when the block ends.

    *Shape*: with `autocommit` every statement of the block stands alone on PostgreSQL and has
    taken effect when it returns: for a block whose only writing statement is its last.
    *Raises*: LedgerUnavailable where the database can't be reached or is locked for too long,
    LedgerCorrupt where its file is damaged.
    """
    try:
        if database.autocommit is not None and autocommit:
            with _hold(database, database.autocommit) as connection:
                yield connection
            return
        with _turn(database.lock_path), database.engine.connect() as connection:
            if database.embedded:
                connection.execution_options(begin="BEGIN IMMEDIATE")
            with connection.begin():
                yield connection
    except _UNREACHABLE as error:
        _forget_connections(database, error)
        raise LedgerUnavailable("The database can't be reached or is busy.") from error
    except DatabaseError as error:
        _refuse_damage(error)
        raise


@contextmanager
def _hold(database: Database, autocommit: Engine) -> Iterator[Connection]:
    """Hold a connection in autocommit, and leave it open for the next.

    The pool's ceremony would cost a twentieth of every answer; there are as many as threads.
    """
    try:
        connection = database.idle.pop()
    except IndexError:
        connection = autocommit.connect()
    try:
        yield connection
    finally:
        driver: Any = None if connection.invalidated else connection.connection.dbapi_connection
        if driver is not None and driver.pgconn.transaction_status == TransactionStatus.IDLE:
            if connection.in_transaction():  # the library's own notion: nothing is sent
                connection.rollback()
            database.idle.append(connection)
        else:
            connection.close()


def _close_idle(database: Database) -> None:
    with suppress(IndexError):  # another thread may take the last one, or drop them too
        while True:
            database.idle.pop().close()


def lasting_cursor(connection: Connection) -> Any:  # noqa: ANN401 - a DBAPI object
    """Give the one cursor that a driver's connection keeps, for what every claim waits for.

    *Shape*: for one statement at a time, whose rows are fetched at once.
    """
    kept = connection.info
    if "cursor" not in kept:
        kept["cursor"] = connection.connection.cursor()
    return kept["cursor"]


def _forget_connections(database: Database, error: Exception) -> None:
    """Drop every connection after the loss of one, so that one loss is told once.

    Asking each whether it lives before its use would cost a fifth of every answer. One that
    couldn't be opened is no loss: the library tells which it was, the driver doesn't.
    """
    if not database.embedded and getattr(error, "connection_invalidated", True):
        database.engine.dispose()


def _refuse_damage(error: DatabaseError) -> None:
    """Raise the alarm where SQLite says that its file is none: by this class, not a subclass."""
    if type(error.orig) is sqlite3.DatabaseError:
        raise LedgerCorrupt("The database file is damaged, or isn't a database.") from error


@contextmanager
def take_turn(database: Database) -> Iterator[None]:
    """Keep every writer of an SQLite file out for the length of a block; elsewhere nobody."""
    with _turn(database.lock_path):
        yield


@contextmanager
def _turn(lock_path: str | None) -> Iterator[None]:
    """Wait for this writer's turn; the kernel gives the lock back when the process dies."""
    if lock_path is None:
        yield
        return
    descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def check_reachable(database: Database) -> None:
    """Run the smallest query, or raise LedgerUnavailable."""
    try:
        with database.engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
    except DBAPIError as error:
        raise LedgerUnavailable("The database can't be reached.") from error
