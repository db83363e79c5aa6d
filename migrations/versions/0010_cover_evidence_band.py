"""Keep the hash in the index of bands on PostgreSQL too: a question reads nothing else."""

from __future__ import annotations

from alembic import op

revision = "0010_cover_evidence_band"
down_revision = "0009_keep_each_override"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build the key's index anew, with the hash in it."""
    _replace_key(" INCLUDE (pdq)")


def downgrade() -> None:
    """Build it without."""
    _replace_key("")


def _replace_key(included: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE evidence_band DROP CONSTRAINT pk_evidence_band")
        op.execute(
            "ALTER TABLE evidence_band ADD CONSTRAINT pk_evidence_band"
            f" PRIMARY KEY (slot, evidence){included}"
        )
