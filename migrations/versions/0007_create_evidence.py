"""Create the exchange of forged evidence: pieces, their bands, matches that were told, recalls."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_create_evidence"
down_revision = "0006_create_tile"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the four tables."""
    op.create_table(
        "evidence",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("record", sa.String(40), nullable=False),
        sa.Column("platform", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("pdq", sa.LargeBinary(), nullable=True),
        sa.Column("original", sa.SmallInteger(), nullable=False),
        sa.Column("seen_day", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evidence")),
    )
    op.create_index("ix_evidence_record", "evidence", ["record"], unique=False)
    op.create_index("ix_evidence_digest", "evidence", ["digest"], unique=False)
    op.create_table(
        "evidence_band",
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("evidence", sa.BigInteger(), nullable=False),
        sa.Column("pdq", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("slot", "evidence", name=op.f("pk_evidence_band")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "evidence_match",
        sa.Column("answer", sa.String(40), nullable=False),
        sa.Column("record", sa.String(40), nullable=False),
        sa.Column("platform", sa.Integer(), nullable=False),
        sa.Column("matched_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("answer", "record", name=op.f("pk_evidence_match")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_evidence_match_record", "evidence_match", ["record"], unique=False)
    op.create_table(
        "recall",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("platform", sa.Integer(), nullable=False),
        sa.Column("answer", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("recalled_at", sa.BigInteger(), nullable=False),
        sa.Column("acknowledged_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recall")),
    )
    op.create_index("ix_recall_platform_id", "recall", ["platform", "id"], unique=False)


def downgrade() -> None:
    """Drop them."""
    for table in ("recall", "evidence_match", "evidence_band", "evidence"):
        op.drop_table(table)
