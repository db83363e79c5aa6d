"""Let each checkpoint name the one that was signed before it, and the log's state the newest."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011_chain_checkpoints"
down_revision = "0010_cover_evidence_band"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both columns; what was signed so far is taken to be all there was."""
    for table, column in (("log_checkpoint", "previous_size"), ("log_state", "signed_size")):
        op.add_column(table, sa.Column(column, sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE log_checkpoint SET previous_size = coalesce((SELECT max(earlier.size) "
        "FROM log_checkpoint AS earlier WHERE earlier.size < log_checkpoint.size), 0)"
    )
    op.execute(
        "UPDATE log_state SET signed_size = coalesce((SELECT max(size) FROM log_checkpoint), 0)"
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_column("log_state", "signed_size")
    op.drop_column("log_checkpoint", "previous_size")
