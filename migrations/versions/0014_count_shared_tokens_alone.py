"""Keep multiplicities of tokens with two accounts or more: a single one's postings say as much."""

from __future__ import annotations

from alembic import op

revision = "0014_count_shared_tokens_alone"
down_revision = "0013_lay_members_aside_apart"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Delete what counts a token's only account."""
    op.execute(
        "DELETE FROM multiplicity WHERE identifier IN ("
        "SELECT identifier FROM multiplicity GROUP BY identifier HAVING sum(accounts) < 2)"
    )


def downgrade() -> None:
    """Count each again, by the latest of its account's edges: nothing is lost."""
    op.execute(
        "INSERT INTO multiplicity (identifier, platform, accounts, bucket, bucket_index) "
        "SELECT e.identifier, i.platform, 1, e.declared, e.event_index "
        "FROM edge AS e JOIN incident AS i ON i.reported_index = e.event_index JOIN ("
        "SELECT identifier, max(event_index) AS last FROM edge GROUP BY identifier"
        ") AS latest ON latest.identifier = e.identifier AND latest.last = e.event_index "
        "WHERE NOT EXISTS (SELECT 1 FROM multiplicity AS m WHERE m.identifier = e.identifier)"
    )
