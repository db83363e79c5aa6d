"""Lay aside what is too much by members, so that the next piece of one is found at once."""

from __future__ import annotations

from alembic import op

revision = "0013_lay_members_aside_apart"
down_revision = "0012_bound_what_a_question_reads"
branch_labels = None
depends_on = None

_ASIDE = 1 << 20
_BY_MEMBER = f"CAST({_ASIDE} AS bigint)"  # beyond 2,047 members a place needs more than 32 bits
_PIECE = "FROM evidence AS e WHERE e.id = evidence_band.evidence"


def upgrade() -> None:
    """Widen the place, and move what lies aside to its member's."""
    _retype("bigint")
    _move("+")


def downgrade() -> None:
    """Move it back, and narrow the place again."""
    _move("-")
    _retype("integer")


def _retype(kind: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE evidence_band ALTER COLUMN slot TYPE {kind}")


def _move(sign: str) -> None:
    op.execute(
        "UPDATE evidence_band "
        f"SET slot = slot {sign} {_BY_MEMBER} * (SELECT e.platform - 1 {_PIECE}) "
        f"WHERE slot >= {_ASIDE} AND EXISTS (SELECT 1 {_PIECE})"
    )
