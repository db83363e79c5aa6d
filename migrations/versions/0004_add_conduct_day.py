"""Keep the day that retention counts by, and keep what may be erased out of the statistics.

No report was kept by a release before this: none needs its day filled in.

PostgreSQL's planner samples the values of a column into `pg_statistic`, where an erasure wouldn't
find them: salts, keys and lookup keys aren't sampled.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_add_conduct_day"
down_revision = "0003_create_shadow_policy"
branch_labels = None
depends_on = None

UNSAMPLED = {"event_content": ("token", "entry_key", "salt"), "identifier": ("token",)}


def upgrade() -> None:
    """Add the column with its index."""
    op.add_column("event", sa.Column("conduct_day", sa.Integer(), nullable=True))
    op.create_index(
        op.f("ix_event_conduct_day"),
        "event",
        ["conduct_day"],
        unique=False,
        sqlite_where=sa.text("conduct_day IS NOT NULL"),
        postgresql_where=sa.text("conduct_day IS NOT NULL"),
    )
    _sample(0)


def downgrade() -> None:
    """Drop both."""
    _sample(-1)
    op.drop_index(op.f("ix_event_conduct_day"), table_name="event")
    op.drop_column("event", "conduct_day")


def _sample(target: int) -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table, columns in UNSAMPLED.items():
            for column in columns:
                op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS {target}")
