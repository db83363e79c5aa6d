"""The migrations lead to the very tables that the code declares, up and down, on both databases."""

from __future__ import annotations

import ast
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from conftest import ROOT, migrate, migration_config
from sqlalchemy import Connection, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError

from ledger.log.merkle import extend_frontier, leaf_hash
from ledger.log.tile import TileAddress, build_tile
from ledger.store.engine import open_database
from ledger.store.tables import METADATA
from ledger.store.tiles import stream_tiles
from ledger.store.witnesses import select_newest_signed, stream_signed
from ledger.tiling import read_edge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSIONS = ROOT / "migrations" / "versions"


@contextmanager
def connect(url: str) -> Iterator[Connection]:
    database = open_database(url)
    try:
        with database.engine.connect() as connection:
            yield connection
    finally:
        database.engine.dispose()


def table_names(url: str) -> set[str]:
    with connect(url) as connection:
        return set(inspect(connection).get_table_names())


def test_there_is_a_single_head_and_the_head_file_names_it() -> None:
    heads = ScriptDirectory.from_config(migration_config()).get_heads()
    assert heads == [(ROOT / "migrations" / "HEAD").read_text("utf-8").strip()]


def test_every_revision_is_named_like_its_file() -> None:
    scripts = ScriptDirectory.from_config(migration_config())
    revisions = {revision.revision for revision in scripts.walk_revisions()}
    assert revisions == {path.stem for path in VERSIONS.glob("[0-9]*.py")}


def test_no_migration_imports_the_application() -> None:
    ours = {path.name for path in ROOT.iterdir() if path.is_dir()} | {"wsgi"}
    for path in VERSIONS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "."]
            assert not {name.split(".")[0] for name in names} & ours, path.name


def test_upgrading_an_empty_database_creates_every_declared_table(empty_database_url: str) -> None:
    assert table_names(empty_database_url) == set()
    migrate(empty_database_url)
    assert table_names(empty_database_url) == set(METADATA.tables) | {"alembic_version"}


def test_downgrading_leaves_nothing_and_upgrading_again_works(empty_database_url: str) -> None:
    migrate(empty_database_url)
    migrate(empty_database_url, "base")
    assert table_names(empty_database_url) <= {"alembic_version"}
    with connect(empty_database_url) as connection:
        if connection.dialect.name == "postgresql":
            left = connection.execute(
                text("SELECT count(*) FROM pg_proc WHERE proname = 'refuse_change'")
            )
        else:
            left = connection.execute(
                text("SELECT count(*) FROM sqlite_master WHERE type = 'trigger'")
            )
        assert left.scalar_one() == 0
    migrate(empty_database_url)
    assert table_names(empty_database_url) == set(METADATA.tables) | {"alembic_version"}


def test_migrated_tables_do_not_drift_from_the_declared_ones(database_url: str) -> None:
    with connect(database_url) as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, METADATA) == []


def test_tiles_of_entries_that_were_there_before_are_built(empty_database_url: str) -> None:
    migrate(empty_database_url, "0003_create_shadow_policy")
    hashes = [leaf_hash(b"%d" % number) for number in range(700)]
    rows = [{"index": n, "entry": b"e" * 80, "leaf_hash": one} for n, one in enumerate(hashes)]
    with connect(empty_database_url) as connection, connection.begin():
        connection.execute(insert(METADATA.tables["log_entry"]), rows)
    migrate(empty_database_url)
    with connect(empty_database_url) as connection, connection.begin():
        kept = list(stream_tiles(connection))
        edge = read_edge(connection, 700)
    expected = [build_tile(b"".join(hashes[at : at + 256])) for at in (0, 256)]
    assert kept == [(TileAddress(0, 0), expected[0]), (TileAddress(0, 1), expected[1])]
    assert b"".join(edge.peaks) == extend_frontier(0, b"", hashes)


def test_checkpoints_that_were_there_before_are_chained(empty_database_url: str) -> None:
    migrate(empty_database_url, "0007_create_evidence")
    with connect(empty_database_url) as connection, connection.begin():
        for size in (9, 1, 4):
            connection.execute(
                text("INSERT INTO log_checkpoint (size, note) VALUES (:size, 'note')"),
                {"size": size},
            )
        state = "INSERT INTO log_state (id, size, root, frontier, policy_version) "
        connection.execute(text(f"{state} VALUES (1, 12, '', '', 1)"))
    migrate(empty_database_url)
    with connect(empty_database_url) as connection, connection.begin():
        chained = [(one.size, one.previous_size) for one in stream_signed(connection)]
        assert (chained, select_newest_signed(connection)) == ([(1, 0), (4, 1), (9, 4)], [9])


def describe_constraints(connection: Connection, table: str) -> dict[str, object]:
    """Give what Alembic doesn't compare: primary keys, names, and how SQLite stores rows."""
    inspector = inspect(connection)
    return {
        "primary key": inspector.get_pk_constraint(table)["constrained_columns"],
        "unique": sorted(
            (one["name"] or "", tuple(one["column_names"]))
            for one in inspector.get_unique_constraints(table)
        ),
        "foreign keys": sorted(
            (tuple(one["constrained_columns"]), one["referred_table"])
            for one in inspector.get_foreign_keys(table)
        ),
        "not null": {one["name"]: one["nullable"] for one in inspector.get_columns(table)},
        "options": inspector.get_table_options(table),
    }


def test_migrated_keys_and_constraints_are_the_declared_ones(
    database_url: str, tmp_path: Path
) -> None:
    """Here alone the declared tables are created, to be compared with the migrated ones."""
    declared = open_database(f"sqlite:///{tmp_path / 'declared.sqlite3'}")
    METADATA.create_all(declared.engine)
    with declared.engine.connect() as expected, connect(database_url) as connection:
        for table in METADATA.tables:
            migrated = describe_constraints(connection, table)
            wanted = describe_constraints(expected, table)
            if connection.dialect.name != "sqlite":
                del migrated["options"], wanted["options"]
            assert migrated == wanted, table
    declared.engine.dispose()


ROWS: dict[str, dict[str, object]] = {
    "log_entry": {"index": 0, "entry": b"e" * 80, "leaf_hash": b"h" * 32},
    "log_tile": {"level": 0, "index": 0, "hashes": b"h" * 511 * 32},
}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log_entry SET entry = 'x'",
        'UPDATE log_entry SET "index" = "index" + 1',
        "DELETE FROM log_entry",
        "TRUNCATE log_entry",
        "REPLACE INTO log_entry VALUES (0, 'x', 'y')",
        "UPDATE log_tile SET hashes = 'x'",
        'UPDATE log_tile SET "index" = "index" + 1',
        "DELETE FROM log_tile",
        "TRUNCATE log_tile",
        "REPLACE INTO log_tile VALUES (0, 0, 'x')",
    ],
)
def test_the_database_itself_refuses_to_change_an_entry_or_a_tile(
    database_url: str, statement: str
) -> None:
    table = METADATA.tables["log_tile" if "log_tile" in statement else "log_entry"]
    with connect(database_url) as connection:
        only = {"TRUNCATE": "postgresql", "REPLACE": "sqlite"}.get(statement.split(maxsplit=1)[0])
        if only not in {None, connection.dialect.name}:
            pytest.skip(f"only {only} knows this statement")
        with connection.begin():
            connection.execute(insert(table).values(ROWS[table.name]))
        with (
            pytest.raises(DBAPIError, match="log entries never change"),
            connection.begin(),
        ):
            connection.execute(text(statement))
        with connection.begin():
            kept = connection.execute(select(table)).one()
            assert dict(kept._mapping) == ROWS[table.name]
