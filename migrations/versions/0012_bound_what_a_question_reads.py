"""Bound what a question about evidence reads: of one member's pieces alike, the first."""

from __future__ import annotations

from alembic import op

revision = "0012_bound_what_a_question_reads"
down_revision = "0011_chain_checkpoints"
branch_labels = None
depends_on = None

_ASIDE, _CROWD_MAX = 1 << 20, 128


def upgrade() -> None:
    """Index who reported a file, and which answer is recalled; lay aside what is too much."""
    op.drop_index("ix_evidence_digest", "evidence")
    op.create_index("ix_evidence_digest", "evidence", ["digest", "platform", "seen_day", "id"])
    op.create_index("ix_recall_answer", "recall", ["answer"])
    op.execute(
        f"UPDATE evidence_band SET slot = slot + {_ASIDE} WHERE (slot, evidence) IN ("
        "SELECT slot, evidence FROM (SELECT b.slot, b.evidence, row_number() OVER ("
        "PARTITION BY b.slot, e.platform ORDER BY b.evidence) AS place "
        "FROM evidence_band AS b JOIN evidence AS e ON e.id = b.evidence) AS placed "
        f"WHERE place > {_CROWD_MAX})"
    )


def downgrade() -> None:
    """Bring all back to its place, and drop both."""
    op.execute(f"UPDATE evidence_band SET slot = slot - {_ASIDE} WHERE slot >= {_ASIDE}")
    op.drop_index("ix_recall_answer", "recall")
    op.drop_index("ix_evidence_digest", "evidence")
    op.create_index("ix_evidence_digest", "evidence", ["digest"])
