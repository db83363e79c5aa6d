"""Keep what each statement says of links by itself, so that it can go by itself when it is old.

The day that retention counts by is no longer that of a conduct alone, and is named so.

No statement was kept by a release before this: none needs its day of retention filled in.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009_keep_each_override"
down_revision = "0008_compact_index"
branch_labels = None
depends_on = None

# The columns that told rows apart before.
KEYS = {"separation": ("account", "other"), "recycling": ("identifier",)}
INDEXED = ("separation", "recycling", "marker")


def upgrade() -> None:
    """Tell rows apart by their statement, and find them by it."""
    _rename_day("conduct_day", "retention_day")
    for table, columns in KEYS.items():
        _replace_key(table, [*columns, "event_index"])
    for table in INDEXED:
        op.create_index(f"ix_{table}_event_index", table, ["event_index"], unique=False)


def downgrade() -> None:
    """Keep one statement of a platform's: the first separation, the latest recycling."""
    for table in INDEXED:
        op.drop_index(f"ix_{table}_event_index", table_name=table)
    op.execute("""
        DELETE FROM separation WHERE EXISTS (SELECT 1 FROM separation o
            WHERE o.account = separation.account AND o.other = separation.other
              AND o.platform = separation.platform AND o.event_index < separation.event_index)
    """)
    op.execute("""
        DELETE FROM recycling WHERE EXISTS (SELECT 1 FROM recycling o
            WHERE o.identifier = recycling.identifier AND o.platform = recycling.platform
              AND (o.recycled_day > recycling.recycled_day
                   OR o.recycled_day = recycling.recycled_day
                      AND o.event_index < recycling.event_index))
    """)
    for table, columns in KEYS.items():
        _replace_key(table, [*columns, "platform"])
    _rename_day("retention_day", "conduct_day")


def _rename_day(old: str, new: str) -> None:
    op.drop_index(f"ix_event_{old}", table_name="event")
    op.execute(f"ALTER TABLE event RENAME COLUMN {old} TO {new}")
    op.create_index(
        f"ix_event_{new}",
        "event",
        [new],
        unique=False,
        sqlite_where=sa.text(f"{new} IS NOT NULL"),
        postgresql_where=sa.text(f"{new} IS NOT NULL"),
    )


def _replace_key(table: str, columns: list[str]) -> None:
    name = op.f(f"pk_{table}")
    with op.batch_alter_table(table, table_kwargs={"sqlite_with_rowid": False}) as batch:
        batch.drop_constraint(name, type_="primary")
        batch.create_primary_key(name, columns)
