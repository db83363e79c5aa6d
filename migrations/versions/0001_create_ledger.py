"""Create the ledger: members, statements, the log, what follows from it, and who asked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001_create_ledger"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table, then forbid any change of the entries."""
    _create_members()
    _create_log()
    _create_incidents()
    _create_postings()
    _create_assessments()
    _create_outcomes()
    _protect_entries()


def downgrade() -> None:
    """Drop everything; the log's protection goes with its table."""
    for table in (
        "assessment_outcome",
        "assessed_order",
        "assessment",
        "multiplicity",
        "posting",
        "edge",
        "incident",
        "identifier",
        "log_checkpoint",
        "log_state",
        "log_entry",
        "event_content",
        "event",
        "client_assertion",
        "platform_key",
        "platform",
        "policy",
        "ledger_identity",
    ):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change()")


def _create_members() -> None:
    """Create what the ledger is, its policies and its members."""
    op.create_table(
        "ledger_identity",
        sa.Column("id", sa.SmallInteger(), nullable=False),
        sa.Column("origin", sa.String(length=200), nullable=False),
        sa.Column("jurisdiction", sa.String(length=20), nullable=False),
        sa.Column("sandbox", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_identity")),
    )
    op.create_table(
        "policy",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_policy")),
    )
    op.create_table(
        "platform",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uri", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("group_name", sa.String(length=200), nullable=False),
        sa.Column("jurisdictions", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("tag_key", sa.LargeBinary(), nullable=False),
        sa.Column("tag_key_wrap", sa.LargeBinary(), nullable=False),
        sa.Column("enrolled_at", sa.BigInteger(), nullable=False),
        sa.Column("upheld", sa.Integer(), server_default="0", nullable=False),
        sa.Column("overturned", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_platform")),
        sa.UniqueConstraint("uri", name=op.f("uq_platform_uri")),
    )
    op.create_table(
        "platform_key",
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("platform", sa.Integer(), nullable=False),
        sa.Column("algorithm", sa.String(length=10), nullable=False),
        sa.Column("jwk", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("not_after", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["platform"], ["platform.id"], name=op.f("fk_platform_key_platform")
        ),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_platform_key")),
    )
    op.create_index(op.f("ix_platform_key_platform"), "platform_key", ["platform"], unique=False)
    op.create_table(
        "client_assertion",
        sa.Column("platform", sa.Integer(), nullable=False),
        sa.Column("jti", sa.String(length=128), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["platform"], ["platform.id"], name=op.f("fk_client_assertion_platform")
        ),
        sa.PrimaryKeyConstraint("platform", "jti", name=op.f("pk_client_assertion")),
    )
    op.create_index(
        op.f("ix_client_assertion_expires_at"),
        "client_assertion",
        ["expires_at"],
        unique=False,
    )


def _create_log() -> None:
    """Create the accepted statements and the log over them."""
    op.create_table(
        "event",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("platform", sa.Integer(), nullable=False),
        sa.Column("jti", sa.String(length=128), nullable=False),
        sa.Column("txn", sa.String(length=128), nullable=True),
        sa.Column("incident", sa.String(length=40), nullable=False),
        sa.Column("op", sa.SmallInteger(), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("response_until", sa.BigInteger(), nullable=True),
        sa.Column("active_from", sa.BigInteger(), nullable=True),
        sa.Column("entry_index", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["platform"], ["platform.id"], name=op.f("fk_event_platform")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint("entry_index", name=op.f("uq_event_entry_index")),
        sa.UniqueConstraint("platform", "jti", name=op.f("uq_event_platform_jti")),
        sa.UniqueConstraint("platform", "txn", name=op.f("uq_event_platform_txn")),
    )
    op.create_index("ix_event_incident", "event", ["incident"], unique=False)
    op.create_index(
        "ix_event_pending",
        "event",
        ["id"],
        unique=False,
        sqlite_where=sa.text("entry_index IS NULL"),
        postgresql_where=sa.text("entry_index IS NULL"),
    )
    op.create_table(
        "event_content",
        sa.Column("event", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("entry_key", sa.LargeBinary(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["event"], ["event.id"], name=op.f("fk_event_content_event")),
        sa.PrimaryKeyConstraint("event", name=op.f("pk_event_content")),
    )
    op.create_table(
        "log_entry",
        sa.Column("index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("index", name=op.f("pk_log_entry")),
    )
    op.create_table(
        "log_state",
        sa.Column("id", sa.SmallInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("shadow_version", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_state")),
    )
    op.create_table(
        "log_checkpoint",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_log_checkpoint")),
    )


def _create_incidents() -> None:
    """Create what follows from the log: how incidents stand, who bears them."""
    op.create_table(
        "identifier",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identifier")),
        sa.UniqueConstraint("token", name=op.f("uq_identifier_token")),
    )
    op.create_table(
        "incident",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("platform", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("reported_index", sa.BigInteger(), nullable=False),
        sa.Column("changed_index", sa.BigInteger(), nullable=False),
        sa.Column("content_index", sa.BigInteger(), nullable=False),
        sa.Column("relief", sa.SmallInteger(), nullable=False),
        sa.Column("account", ROW_ID, nullable=True),
        sa.Column("half_life", sa.SmallInteger(), nullable=False),
        sa.Column("mass", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("level_a", sa.SmallInteger(), nullable=False),
        sa.Column("first_day", sa.Integer(), nullable=False),
        sa.Column("last_day", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["platform"], ["platform.id"], name=op.f("fk_incident_platform")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incident")),
        sa.UniqueConstraint("reported_index", name=op.f("uq_incident_reported_index")),
    )
    op.create_index("ix_incident_account", "incident", ["account"], unique=False)
    op.create_index(
        "ix_incident_held",
        "incident",
        ["id"],
        unique=False,
        sqlite_where=sa.text("state = 'held'"),
        postgresql_where=sa.text("state = 'held'"),
    )


def _create_postings() -> None:
    """Create what follows from the log: the index that answers queries."""
    op.create_table(
        "edge",
        sa.Column("identifier", ROW_ID, nullable=False),
        sa.Column("platform", sa.Integer(), nullable=False),
        sa.Column("event_index", sa.BigInteger(), nullable=False),
        sa.Column("account", ROW_ID, nullable=False),
        sa.Column("binding", sa.SmallInteger(), nullable=False),
        sa.Column("declared", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("identifier", "platform", "event_index", name=op.f("pk_edge")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "posting",
        sa.Column("identifier", ROW_ID, nullable=False),
        sa.Column("account", ROW_ID, nullable=False),
        sa.Column("platform", sa.Integer(), nullable=False),
        sa.Column("half_life", sa.SmallInteger(), nullable=False),
        sa.Column("mass", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("disputed", sa.Integer(), nullable=False),
        sa.Column("level_a", sa.Integer(), nullable=False),
        sa.Column("binding", sa.SmallInteger(), nullable=False),
        sa.Column("first_day", sa.Integer(), nullable=False),
        sa.Column("last_day", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "identifier", "account", "platform", "half_life", name=op.f("pk_posting")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_posting_account", "posting", ["account"], unique=False)
    op.create_table(
        "multiplicity",
        sa.Column("identifier", ROW_ID, nullable=False),
        sa.Column("platform", sa.Integer(), nullable=False),
        sa.Column("accounts", sa.Integer(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), nullable=False),
        sa.Column("bucket_index", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("identifier", "platform", name=op.f("pk_multiplicity")),
        sqlite_with_rowid=False,
    )


def _create_assessments() -> None:
    """Create the record of who asked and what was answered."""
    op.create_table(
        "assessment",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("platform", sa.Integer(), nullable=False),
        sa.Column("assessed_at", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.String(length=40), nullable=False),
        sa.Column("order_commitment", sa.String(length=100), nullable=False),
        sa.Column("account", sa.LargeBinary(), nullable=False),
        sa.Column("identifiers", sa.LargeBinary(), nullable=False),
        sa.Column("log_size", sa.BigInteger(), nullable=False),
        sa.Column("policy_version", sa.Integer(), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("amount_currency", sa.String(length=3), nullable=True),
        sa.Column("shadow", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assessment")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_assessment_idempotency_key",
        "assessment",
        ["platform", "idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_table(
        "assessed_order",
        sa.Column("platform", sa.Integer(), nullable=False),
        sa.Column("order_commitment", sa.String(length=100), nullable=False),
        sa.Column("account", sa.LargeBinary(), nullable=False),
        sa.Column("identifiers", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("platform", "order_commitment", name=op.f("pk_assessed_order")),
        sqlite_with_rowid=False,
    )


def _create_outcomes() -> None:
    """Create the record of what platforms did after an answer."""
    op.create_table(
        "assessment_outcome",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("assessment", sa.String(length=40), nullable=False),
        sa.Column("platform", sa.Integer(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("decided_by", sa.String(length=20), nullable=False),
        sa.Column("merchant_heard", sa.Boolean(), nullable=False),
        sa.Column("listing_compared", sa.Boolean(), nullable=False),
        sa.Column("reversed_on_appeal", sa.Boolean(), nullable=False),
        sa.Column("loss_minor", sa.BigInteger(), nullable=True),
        sa.Column("loss_currency", sa.String(length=3), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["assessment"],
            ["assessment.id"],
            name=op.f("fk_assessment_outcome_assessment"),
        ),
        sa.ForeignKeyConstraint(
            ["platform"], ["platform.id"], name=op.f("fk_assessment_outcome_platform")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assessment_outcome")),
        sa.UniqueConstraint(
            "platform",
            "idempotency_key",
            name=op.f("uq_assessment_outcome_platform_idempotency_key"),
        ),
    )
    op.create_index(
        op.f("ix_assessment_outcome_assessment"),
        "assessment_outcome",
        ["assessment"],
        unique=False,
    )


def _protect_entries() -> None:
    """Refuse UPDATE, DELETE and TRUNCATE of log entries inside the database itself."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER log_entry_no_{verb.lower()} BEFORE {verb} ON log_entry "
                "BEGIN SELECT RAISE(ABORT, 'log entries never change'); END"
            )
        # REPLACE deletes the row in its way without firing any DELETE trigger.
        op.execute(
            "CREATE TRIGGER log_entry_no_replace BEFORE INSERT ON log_entry "
            'WHEN EXISTS (SELECT 1 FROM log_entry WHERE "index" = NEW."index") '
            "BEGIN SELECT RAISE(ABORT, 'log entries never change'); END"
        )
        return
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'log entries never change'; END $$"
    )
    op.execute(
        "CREATE TRIGGER log_entry_no_change BEFORE UPDATE OR DELETE ON log_entry "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER log_entry_no_truncate BEFORE TRUNCATE ON log_entry "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
