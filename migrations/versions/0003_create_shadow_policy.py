"""Create the policies that are tried beside the live one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003_create_shadow_policy"
down_revision = "0002_create_overrides"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "shadow_policy",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_shadow_policy")),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("shadow_policy")
