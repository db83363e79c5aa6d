"""Create what overrides links: separated accounts, markers, recycled identifiers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_create_overrides"
down_revision = "0001_create_ledger"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the three tables."""
    op.create_table(
        "separation",
        sa.Column("account", ROW_ID, nullable=False),
        sa.Column("other", ROW_ID, nullable=False),
        sa.Column("platform", sa.Integer(), nullable=False),
        sa.Column("event_index", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "other", "platform", name=op.f("pk_separation")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_separation_other", "separation", ["other"], unique=False)
    op.create_table(
        "marker",
        sa.Column("identifier", ROW_ID, nullable=False),
        sa.Column("platform", sa.Integer(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("event_index", sa.BigInteger(), nullable=False),
        sa.Column("first_day", sa.Integer(), nullable=False),
        sa.Column("last_day", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "identifier", "platform", "kind", "first_day", name=op.f("pk_marker")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "recycling",
        sa.Column("identifier", ROW_ID, nullable=False),
        sa.Column("platform", sa.Integer(), nullable=False),
        sa.Column("recycled_day", sa.Integer(), nullable=False),
        sa.Column("event_index", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("identifier", "platform", name=op.f("pk_recycling")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("recycling", "marker", "separation"):
        op.drop_table(table)
