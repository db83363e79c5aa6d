"""Waiting for the next publication, so that nobody has to ask again and again.

On PostgreSQL whoever publishes tells all who listen, at the commit (NOTIFY). SQLite tells nobody:
there a statement has its checkpoint as soon as it is accepted, or when witnesses have answered.
"""

from __future__ import annotations

from threading import BoundedSemaphore
from typing import TYPE_CHECKING

import psycopg

from ledger.errors import LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.store.engine import Connection, Database

_CHANNEL = "bcl_published"
# As many may wait in one process; whoever comes after them is told to come again.
_PLACES = BoundedSemaphore(2)


def announce_publication(connection: Connection) -> None:
    """Tell all who wait, once this transaction is committed."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"NOTIFY {_CHANNEL}")


def stream_publications(database: Database, seconds: float) -> Iterator[None]:
    """Yield once when listening has begun, and again after each publication, for some seconds.

    Yields nothing where there is nothing to listen to, or too many are listening already.
    *Raises*: LedgerUnavailable.
    """
    if database.embedded or seconds <= 0 or not _PLACES.acquire(blocking=False):
        return
    try:
        url = database.engine.url.set(drivername="postgresql")
        address = url.render_as_string(hide_password=False)
        with psycopg.connect(address, autocommit=True) as listener:
            listener.execute(f"LISTEN {_CHANNEL}")
            yield  # what was published before is found by whoever looks now
            for _ in listener.notifies(timeout=seconds):
                yield
    except psycopg.OperationalError as error:
        raise LedgerUnavailable("The database can't be reached.") from error
    finally:
        _PLACES.release()
