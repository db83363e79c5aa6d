"""Let a checkpoint be signed before it is published, and keep what witnesses say of the log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_create_witness_sizes"
down_revision = "0004_add_conduct_day"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Widen the checkpoints and create the table; what is published stays published."""
    with op.batch_alter_table("log_checkpoint") as batch:
        batch.alter_column("published_at", existing_type=sa.BigInteger(), nullable=True)
        batch.add_column(sa.Column("cosignatures", sa.Text(), nullable=True))
    op.create_table(
        "witness_size",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_witness_size")),
    )


def downgrade() -> None:
    """Drop it, and the checkpoints that nobody was shown."""
    op.drop_table("witness_size")
    op.execute("DELETE FROM log_checkpoint WHERE published_at IS NULL")
    with op.batch_alter_table("log_checkpoint") as batch:
        batch.drop_column("cosignatures")
        batch.alter_column("published_at", existing_type=sa.BigInteger(), nullable=False)
