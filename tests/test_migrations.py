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

from ledger.graph.link import Presented, split_claims
from ledger.incident.evidence import ASIDE
from ledger.log.merkle import extend_frontier, leaf_hash
from ledger.log.tile import TileAddress, build_tile
from ledger.store.arrays import read_table
from ledger.store.engine import open_database
from ledger.store.postings import find_identifiers
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


FORMER_INDEX = """
    INSERT INTO platform (id, uri, name, group_name, jurisdictions, scopes, state, tag_key,
                          tag_key_wrap, enrolled_at)
    VALUES (7, 'https://shop.example', '', '', '', '', 'active', :key, :key, 0);
    INSERT INTO identifier (id, token, kind)
    VALUES (1, :account, 0), (2, :phone, 5), (3, :email, 4);
    INSERT INTO incident (id, platform, state, reported_index, changed_index, content_index, relief,
                          account, half_life, mass, count, level_a, first_day, last_day)
    VALUES ('inc_1', 7, 'active', 9, 9, 9, 0, 1, 1, 500, 1, 0, 20000, 20000),
           ('inc_0', 7, 'active', 4, 4, 4, 0, 1, 1, 300, 1, 0, 19000, 19000);
    INSERT INTO edge (identifier, platform, event_index, account, binding, declared)
    VALUES (2, 7, 4, 1, 2, 0), (2, 7, 9, 1, 3, 1), (3, 7, 9, 1, 2, 0);
    INSERT INTO assessed_order (platform, order_commitment, account, identifiers)
    VALUES (7, 'one', :account, :bound), (8, 'none', :phone, :nothing);
    INSERT INTO assessment (id, platform, assessed_at, purpose, order_commitment, account,
                            identifiers, log_size, policy_version, score, answer, request_hash)
    VALUES ('ras_1', 7, 0, 'claim', 'one', :account, :bound, 10, 1, 0, '', :key)
"""


def test_index_that_was_there_before_is_cut_to_its_new_keys(empty_database_url: str) -> None:
    migrate(empty_database_url, "0007_create_evidence")
    keys = {name: name.encode() * 8 for name in ("acct", "phon", "mail")}
    account, phone, email = (key[:16] for key in keys.values())
    bound = keys["mail"] + bytes((4, 2, 0)) + keys["phon"] + bytes((5, 3, 1))
    given = {"account": keys["acct"], "phone": keys["phon"], "email": keys["mail"]}
    given |= {"bound": bound, "nothing": b"", "key": b"k" * 32}
    with connect(empty_database_url) as connection, connection.begin():
        for statement in FORMER_INDEX.split(";"):
            named = {name: value for name, value in given.items() if f":{name}" in statement}
            connection.execute(text(statement), named)
    migrate(empty_database_url)
    with connect(empty_database_url) as connection, connection.begin():
        assert find_identifiers(connection, [account, phone, email, keys["acct"]]) == {
            account: 1,
            phone: 2,
            email: 3,
        }
        rows = read_table(connection, "edge", lambda _: None)
        names = ("identifier", "platform", "event_index", "account", "binding", "declared")
        edges = zip(*(rows[name].tolist() for name in names), strict=True)
        assert sorted(edges) == [(2, 7, 4, 1, 2, 0), (2, 7, 9, 1, 3, 1), (3, 7, 9, 1, 2, 0)]
        expected = (account, (Presented(email, 4, 2, 0), Presented(phone, 5, 3, 1)))
        for table in ("assessed_order", "assessment"):
            kept = connection.execute(select(METADATA.tables[table]).filter_by(platform=7)).one()
            assert (kept.account, split_claims(kept.identifiers)) == expected
        orders = METADATA.tables["assessed_order"]
        kept = connection.execute(select(orders).where(orders.c.platform == 8)).one()
        assert (kept.account, kept.identifiers) == (phone, b"")
    with pytest.raises(RuntimeError, match="16 bytes: restore a backup"):
        migrate(empty_database_url, "base")
    assert table_names(empty_database_url) == set(METADATA.tables) | {"alembic_version"}


def test_lookup_keys_stay_out_of_the_planner_s_samples(database_url: str) -> None:
    with connect(database_url) as connection:
        if connection.dialect.name == "sqlite":
            pytest.skip("only PostgreSQL samples a column's values")
        sampled = connection.execute(
            text(
                "SELECT attstattarget FROM pg_attribute WHERE attname = 'token' "
                "AND attrelid IN ('identifier'::regclass, 'event_content'::regclass)"
            )
        )
        assert list(sampled.scalars()) == [0, 0]


def test_evidence_that_was_too_much_before_is_laid_aside(empty_database_url: str) -> None:
    migrate(empty_database_url, "0011_chain_checkpoints")
    members = [(number, 1 if number <= 130 else 4000) for number in range(1, 262)]
    with connect(empty_database_url) as connection, connection.begin():
        piece = "INSERT INTO evidence (id, record, platform, digest, original, seen_day) VALUES "
        for number, member in members:
            connection.execute(text(f"{piece} ({number}, 'evd_1', {member}, '', 0, 0)"))
            band = f"VALUES (7, {number}, '')"
            connection.execute(text(f"INSERT INTO evidence_band (slot, evidence, pdq) {band}"))
    migrate(empty_database_url)
    with connect(empty_database_url) as connection:
        places = METADATA.tables["evidence_band"].c
        rows = connection.execute(select(places.slot, places.evidence)).all()
    aside = [(7 + ASIDE, n) for n in (129, 130)]
    aside += [(7 + 4000 * ASIDE, n) for n in (259, 260, 261)]
    assert sorted(row for row in rows if row[0] != 7) == aside
    assert len(rows) == len(members)


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


COUNTED = """
    INSERT INTO platform (id, uri, name, group_name, jurisdictions, scopes, state, tag_key,
                          tag_key_wrap, enrolled_at)
    VALUES (7, 'https://a.example', '', '', '', '', 'active', '', '', 0),
           (8, 'https://b.example', '', '', '', '', 'active', '', '', 0);
    INSERT INTO incident (id, platform, state, reported_index, changed_index, content_index, relief,
                          account, half_life, mass, count, level_a, first_day, last_day)
    VALUES ('inc_1', 7, 'active', 4, 4, 4, 0, 1, 1, 300, 1, 0, 19000, 19000),
           ('inc_2', 7, 'active', 9, 9, 9, 0, 1, 1, 500, 1, 0, 20000, 20000),
           ('inc_3', 8, 'active', 6, 6, 6, 0, 2, 1, 500, 1, 0, 20000, 20000),
           ('inc_4', 8, 'active', 7, 7, 7, 0, 3, 1, 500, 1, 0, 20000, 20000);
    INSERT INTO edge (event_index, identifier, binding, declared)
    VALUES (4, 11, 2, 5), (9, 11, 2, 3), (4, 12, 2, 4), (9, 13, 2, 0), (6, 13, 2, 0),
           (6, 14, 2, 1), (7, 14, 2, 2), (6, 15, 2, 0);
    INSERT INTO multiplicity (identifier, platform, accounts, bucket, bucket_index)
    VALUES (11, 7, 1, 3, 9), (12, 7, 1, 4, 4), (13, 7, 1, 0, 9), (13, 8, 1, 0, 6),
           (14, 8, 2, 2, 7), (15, 8, 1, 0, 6)
"""


def test_accounts_alone_are_counted_no_more_and_again_after_a_downgrade(
    empty_database_url: str,
) -> None:
    former = "0013_lay_members_aside_apart"
    migrate(empty_database_url, former)
    with connect(empty_database_url) as connection, connection.begin():
        for statement in COUNTED.split(";"):
            connection.execute(text(statement))

    def read() -> list[tuple[int, ...]]:
        with connect(empty_database_url) as connection:
            return sorted(map(tuple, connection.execute(select(METADATA.tables["multiplicity"]))))

    whole = read()
    for _ in range(2):
        migrate(empty_database_url)
        assert read() == [row for row in whole if row[0] in {13, 14}]
        migrate(empty_database_url, former, down=True)
        assert read() == whole


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
