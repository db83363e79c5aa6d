"""Starts the real server and the real commands in processes that die when they are told to.

Our own code runs unchanged: listeners on SQLAlchemy's classes see every statement and every
COMMIT, and at the moment that a plan names they kill the whole process group with SIGKILL, as a
power cut would, or make the database's answer to a COMMIT get lost. A plan is a file, so that a
process which is serving already can be given one. Children are forked from a server process that
has imported everything and opened nothing, which makes a start cost a tenth of what it would.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import sys
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from granian.cli import cli as serve
from psycopg.pq import TransactionStatus
from sqlalchemy import Engine, Pool, event

import api.app
import cli.main
import cli.members
import cli.serving

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flask import Flask
    from sqlalchemy.engine import Connection

_LOADED = (api.app, cli.main, cli.members, cli.serving)  # imported for the sake of the children
_SEEN = "statements of the transaction"
_COMMITTED = "statements of the committed transaction"


class Moment(StrEnum):
    """Where a process may die, or lose what the database answers."""

    STATEMENT = "right before a statement is sent"
    BEFORE_COMMIT = "right before COMMIT is sent"
    AFTER_COMMIT = "right after COMMIT was answered"
    COMMIT_FAILED = "COMMIT fails: nothing is kept"
    COMMIT_UNANSWERED = "COMMIT succeeds, but its answer is lost"


@dataclass(frozen=True, slots=True)
class Plan:
    """When it happens: at the `number`th such moment that has to do with `about`.

    *Shape*: `about` is a part of the statement, or of one in the transaction; all have "".
    """

    moment: Moment
    about: str = ""
    number: int = 1


class Fate:
    """Watches every connection of this process until the moment that a plan file names."""

    def __init__(self, path: Path) -> None:
        """Watch for a plan at a path; without one, nothing happens."""
        self._path = path
        self._read = ""
        self._numbers = count(1)

    def watch(self) -> None:
        """Listen to every engine and pool that will ever be opened here."""
        event.listen(Engine, "begin", self._begin)
        event.listen(Engine, "before_cursor_execute", self._execute)
        event.listen(Engine, "commit", self._commit)
        event.listen(Pool, "checkin", self._check_in)
        event.listen(Pool, "connect", self._connect)

    def _connect(self, driver: object, record: object) -> None:
        """Watch the driver's own cursors, of the class that PostgreSQL's driver is given."""
        del record
        if isinstance(driver, psycopg.Connection):
            driver.cursor_factory = self._make_cursor()

    def _make_cursor(self) -> type[psycopg.Cursor[Any]]:
        """Make a class of cursors for which a writing statement outside BEGIN is its own COMMIT."""
        strikes = self._strikes

        class WatchedCursor(psycopg.Cursor[Any]):
            def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
                is_alone = self.connection.info.transaction_status == TransactionStatus.IDLE
                if not is_alone or "INSERT INTO" not in str(query):
                    return super().execute(query, *arguments, **options)
                if strikes(Moment.BEFORE_COMMIT, [query]):
                    os.killpg(0, signal.SIGKILL)
                if strikes(Moment.COMMIT_FAILED, [query]):
                    raise psycopg.OperationalError("disk I/O error")
                done = super().execute(query, *arguments, **options)
                if strikes(Moment.COMMIT_UNANSWERED, [query]):
                    raise psycopg.OperationalError("server closed the connection unexpectedly")
                if strikes(Moment.AFTER_COMMIT, [query]):
                    os.killpg(0, signal.SIGKILL)
                return done

        return WatchedCursor

    def _begin(self, connection: Connection) -> None:
        connection.info[_SEEN] = []

    def _execute(
        self,
        connection: Connection,
        cursor: object,
        statement: str,
        parameters: object,
        context: object,
        executemany: bool,
    ) -> None:
        del cursor, parameters, context, executemany
        connection.info.setdefault(_SEEN, []).append(statement)
        if self._strikes(Moment.STATEMENT, [statement]):
            os.killpg(0, signal.SIGKILL)

    def _commit(self, connection: Connection) -> None:
        """COMMIT is about to be sent."""
        statements = connection.info.pop(_SEEN, [])
        connection.info[_COMMITTED] = statements
        if self._strikes(Moment.BEFORE_COMMIT, statements):
            os.killpg(0, signal.SIGKILL)
        driver = sqlite3 if connection.dialect.name == "sqlite" else psycopg
        if self._strikes(Moment.COMMIT_FAILED, statements):
            connection.connection.rollback()
            raise driver.OperationalError("disk I/O error")
        if self._strikes(Moment.COMMIT_UNANSWERED, statements):
            connection.connection.commit()
            raise driver.OperationalError("server closed the connection unexpectedly")

    def _check_in(self, driver: object, record: Any) -> None:
        """Take a connection back: if its transaction was committed, the answer has come."""
        del driver
        statements = record.info.pop(_COMMITTED, None)
        if statements is not None and self._strikes(Moment.AFTER_COMMIT, statements):
            os.killpg(0, signal.SIGKILL)

    def _strikes(self, moment: Moment, statements: Sequence[str]) -> bool:
        """Count a moment and tell whether it is the one; it never comes twice."""
        try:
            text = self._path.read_text("utf-8")
        except FileNotFoundError:
            text = ""
        if text != self._read:
            self._read, self._numbers = text, count(1)
        if not text:
            return False
        plan = json.loads(text)
        if plan["moment"] != moment or not any(plan["about"] in one for one in statements or [""]):
            return False
        if next(self._numbers) != plan["number"]:
            return False
        self._path.unlink()
        return True


def set_plan(path: Path, plan: Plan) -> None:
    """Give a plan to whoever watches a path, whole or not at all."""
    half = path.with_suffix(".half")
    half.write_text(json.dumps(asdict(plan)), "utf-8")
    half.replace(path)


def run_child(
    run: Callable[..., None], environment: Mapping[str, str], log: Path, *arguments: Any
) -> None:
    """Run one of the functions below in a child, which gets a process group of its own."""
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(environment)
    run(*arguments)


def run_command(plan: Path, *arguments: str) -> None:
    """Run a command of `bcl`; a server that it starts watches for the plan too."""
    multiprocessing.set_start_method("fork", force=True)
    Fate(plan).watch()
    cli.main.main(arguments, prog_name="bcl")


def run_server(plan: Path, port: int, threads: int) -> None:
    """Run the server as `bcl serve` does; its worker process watches for the plan."""
    multiprocessing.set_start_method("fork", force=True)  # how the server starts its worker
    os.environ["CRASH_PLAN"] = str(plan)
    options = {
        "--interface": "wsgi",
        "--host": "127.0.0.1",
        "--port": str(port),
        "--workers": "1",
        "--blocking-threads": str(threads),
        "--log-level": "warning",
        "--http": "1",
    }
    parts = [part for pair in options.items() for part in pair]
    sys.argv = ["granian", *parts, "--no-ws", "--factory", f"{__name__}:build_application"]
    serve()


def build_application() -> Flask:
    """Build the server's own application in a process that watches for a plan."""
    Fate(Path(os.environ["CRASH_PLAN"])).watch()
    from wsgi import application  # noqa: PLC0415 - its opening of the ledger is watched too

    return application
