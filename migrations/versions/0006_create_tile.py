"""Create the tiles of the tree, and build those of the entries that are there."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0006_create_tile"
down_revision = "0005_create_witness_sizes"
branch_labels = None
depends_on = None

WIDTH, HASH_BYTES = 256, 32


def upgrade() -> None:
    """Create the table, fill it, then forbid any change of it as of the entries."""
    op.create_table(
        "log_tile",
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("index", sa.BigInteger(), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "index", name=op.f("pk_log_tile")),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Hashes don't compress; kept plain, a few of their bytes are read without all of them.
        op.execute("ALTER TABLE log_tile ALTER COLUMN hashes SET STORAGE EXTERNAL")
    _fill()
    _protect()


def downgrade() -> None:
    """Drop it; its protection goes with it."""
    op.drop_table("log_tile")


def _fill() -> None:
    """Build the full tiles of the log as it stands."""
    connection = op.get_bind()
    rows = connection.execute(sa.text('SELECT leaf_hash FROM log_entry ORDER BY "index"'))
    hashes = [bytes(row[0]) for row in rows]
    insert = sa.text('INSERT INTO log_tile (level, "index", hashes) VALUES (:level, :index, :tile)')
    level = 0
    while len(hashes) >= WIDTH:
        above = []
        for index in range(len(hashes) // WIDTH):
            tile = _build(hashes[index * WIDTH : (index + 1) * WIDTH])
            connection.execute(insert, {"level": level, "index": index, "tile": tile})
            above.append(tile[-HASH_BYTES:])
        hashes, level = above, level + 1


def _build(row: list[bytes]) -> bytes:
    """Build one tile: its hashes and every node above them (RFC 6962)."""
    parts = list(row)
    while len(row) > 1:
        pairs = zip(row[::2], row[1::2], strict=True)
        row = [hashlib.sha256(b"\x01" + left + right).digest() for left, right in pairs]
        parts += row
    return b"".join(parts)


def _protect() -> None:
    """Refuse UPDATE, DELETE and TRUNCATE of tiles inside the database itself."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER log_tile_no_{verb.lower()} BEFORE {verb} ON log_tile "
                "BEGIN SELECT RAISE(ABORT, 'log entries never change'); END"
            )
        # REPLACE deletes the row in its way without firing any DELETE trigger.
        op.execute(
            "CREATE TRIGGER log_tile_no_replace BEFORE INSERT ON log_tile WHEN EXISTS "
            '(SELECT 1 FROM log_tile WHERE level = NEW.level AND "index" = NEW."index") '
            "BEGIN SELECT RAISE(ABORT, 'log entries never change'); END"
        )
        return
    op.execute(
        "CREATE TRIGGER log_tile_no_change BEFORE UPDATE OR DELETE ON log_tile "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER log_tile_no_truncate BEFORE TRUNCATE ON log_tile "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
