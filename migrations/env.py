"""Alembic's door: runs the migrations on the connection or address that it is given.

It knows the metadata for drift checks only; versions never import the application.
"""

from __future__ import annotations

from alembic import context

from ledger.store.engine import open_database
from ledger.store.tables import METADATA


def run() -> None:
    """Migrate over `attributes["connection"]` when given, else over the configured address."""
    connection = context.config.attributes.get("connection")
    if connection is not None:
        context.configure(connection=connection, target_metadata=METADATA)
        with context.begin_transaction():
            context.run_migrations()
        return
    url = context.config.get_main_option("sqlalchemy.url")
    if not url:
        message = "alembic needs a connection or sqlalchemy.url; use `bcl db upgrade`"
        raise RuntimeError(message)
    engine = open_database(url).engine
    try:
        with engine.connect() as opened, opened.begin():
            context.configure(connection=opened, target_metadata=METADATA)
            with context.begin_transaction():
                context.run_migrations()
    finally:
        engine.dispose()


run()
