"""The tables of the ledger as SQLAlchemy Core metadata, which Alembic compares with the migrations.

It knows columns, keys and indexes. It holds no ORM class.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from ledger.store import columns, evidence_tables
from ledger.store.columns import Instant, RowId

METADATA = columns.METADATA
# What is exchanged of evidence stands in a file of its own.
evidence = evidence_tables.evidence
evidence_band = evidence_tables.evidence_band
evidence_match = evidence_tables.evidence_match
recall = evidence_tables.recall

# What this ledger is. One row.
ledger_identity = Table(
    "ledger_identity",
    METADATA,
    Column("id", SmallInteger, primary_key=True),
    Column("origin", String(200), nullable=False),
    Column("jurisdiction", String(20), nullable=False),
    Column("sandbox", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
)

policy = Table(
    "policy",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
    Column("published_at", Instant, nullable=False),
)

# Policies that are tried beside the live one and were never published.
shadow_policy = Table(
    "shadow_policy",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
    Column("begun_at", Instant, nullable=False),
)

# Platform 0 is the ledger itself: it signs the clock's and the operator's statements.
platform = Table(
    "platform",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("uri", String(200), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("group_name", String(200), nullable=False),
    Column("jurisdictions", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("tag_key", LargeBinary, nullable=False),
    Column("tag_key_wrap", LargeBinary, nullable=False),
    Column("enrolled_at", Instant, nullable=False),
    # Derived: how many reports of its whole group were decided, and how.
    Column("upheld", Integer, nullable=False, server_default="0"),
    Column("overturned", Integer, nullable=False, server_default="0"),
)

platform_key = Table(
    "platform_key",
    METADATA,
    Column("kid", String(64), primary_key=True),
    Column("platform", Integer, ForeignKey("platform.id"), nullable=False, index=True),
    Column("algorithm", String(10), nullable=False),
    Column("jwk", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("not_before", Instant, nullable=False),
    Column("not_after", Instant),
)

client_assertion = Table(
    "client_assertion",
    METADATA,
    Column("platform", Integer, ForeignKey("platform.id"), nullable=False),
    Column("jti", String(128), nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
    PrimaryKeyConstraint("platform", "jti"),
)

# Signed statements in the order in which they were accepted. `txn` is set on reports only, so
# that one platform reports one case once.
event = Table(
    "event",
    METADATA,
    Column("id", RowId, primary_key=True),
    Column("platform", Integer, ForeignKey("platform.id"), nullable=False),
    Column("jti", String(128), nullable=False),
    Column("txn", String(128)),
    Column("incident", String(40), nullable=False),
    Column("op", SmallInteger, nullable=False),
    Column("kid", String(64), nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("response_until", Instant),
    Column("active_from", Instant),
    # The local day from which retention counts (ledger/rights/retention.py): of a report or a
    # correction the day on which the conduct ended.
    Column("retention_day", Integer),
    Column("entry_index", BigInteger, unique=True),
    UniqueConstraint("platform", "jti"),
    UniqueConstraint("platform", "txn"),
    Index("ix_event_incident", "incident"),
    Index(
        "ix_event_pending",
        "id",
        sqlite_where=text("entry_index IS NULL"),
        postgresql_where=text("entry_index IS NULL"),
    ),
    Index(
        "ix_event_retention_day",
        "retention_day",
        sqlite_where=text("retention_day IS NOT NULL"),
        postgresql_where=text("retention_day IS NOT NULL"),
    ),
)

# The erasable part: without it an entry keeps its place and its commitment, and says nothing.
event_content = Table(
    "event_content",
    METADATA,
    Column("event", RowId, ForeignKey("event.id"), primary_key=True, autoincrement=False),
    Column("token", LargeBinary, nullable=False),
    Column("entry_key", LargeBinary, nullable=False),
    Column("salt", LargeBinary, nullable=False),
)

log_entry = Table(
    "log_entry",
    METADATA,
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    Column("entry", LargeBinary, nullable=False),
    Column("leaf_hash", LargeBinary, nullable=False),
)

# Full tiles of the tree, each with every node above its hashes (ledger/log/tile.py). Partial ones
# are derived from what is below them.
log_tile = Table(
    "log_tile",
    METADATA,
    Column("level", SmallInteger, nullable=False),
    Column("index", BigInteger, nullable=False),
    Column("hashes", LargeBinary, nullable=False),
    PrimaryKeyConstraint("level", "index"),
)

log_state = Table(
    "log_state",
    METADATA,
    Column("id", SmallInteger, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("policy_version", Integer, nullable=False),
    # Which policy is scored beside the live one, 0 for none; not the log's to say.
    Column("shadow_version", Integer, nullable=False, server_default="0"),
    # Of the newest checkpoint that was signed, 0 before the first.
    Column("signed_size", BigInteger, nullable=False, server_default="0"),
)

# One signed root for each size, for ever. It is shown to members from `published_at` on, with what
# witnesses added to it. Each names the size that was signed before it, 0 for none.
log_checkpoint = Table(
    "log_checkpoint",
    METADATA,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
    Column("published_at", Instant),
    Column("cosignatures", Text),
    Column("previous_size", BigInteger, nullable=False, server_default="0"),
)

# How many entries each witness said last that it cosigned.
witness_size = Table(
    "witness_size",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("told_at", Instant, nullable=False),
)

# From here to `multiplicity`: derived from the entries in log order, by the sequencer alone.
# `token` is a lookup key, by which alone a row is found; `id` stands for it in all other tables.
identifier = Table(
    "identifier",
    METADATA,
    Column("token", LargeBinary, primary_key=True),
    Column("id", RowId, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    sqlite_with_rowid=False,
)

incident = Table(
    "incident",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("platform", Integer, ForeignKey("platform.id"), nullable=False),
    Column("state", String(10), nullable=False),
    Column("reported_index", BigInteger, nullable=False, unique=True),
    Column("changed_index", BigInteger, nullable=False),
    Column("content_index", BigInteger, nullable=False),
    Column("relief", SmallInteger, nullable=False),
    Column("account", RowId),
    Column("half_life", SmallInteger, nullable=False),
    Column("mass", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("level_a", SmallInteger, nullable=False),
    Column("first_day", Integer, nullable=False),
    Column("last_day", Integer, nullable=False),
    Index("ix_incident_account", "account"),
    Index(
        "ix_incident_held",
        "id",
        sqlite_where=text("state = 'held'"),
        postgresql_where=text("state = 'held'"),
    ),
)

# What a counting incident links its account to, by the index of its report.
edge = Table(
    "edge",
    METADATA,
    Column("event_index", BigInteger, nullable=False),
    Column("identifier", RowId, nullable=False),
    Column("binding", SmallInteger, nullable=False),
    Column("declared", SmallInteger, nullable=False),
    PrimaryKeyConstraint("event_index", "identifier"),
    sqlite_with_rowid=False,
)

posting = Table(
    "posting",
    METADATA,
    Column("identifier", RowId, nullable=False),
    Column("account", RowId, nullable=False),
    Column("platform", Integer, nullable=False),
    Column("half_life", SmallInteger, nullable=False),
    Column("mass", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("disputed", Integer, nullable=False),
    Column("level_a", Integer, nullable=False),
    Column("binding", SmallInteger, nullable=False),
    Column("first_day", Integer, nullable=False),
    Column("last_day", Integer, nullable=False),
    PrimaryKeyConstraint("identifier", "account", "platform", "half_life"),
    sqlite_with_rowid=False,
)

# Of identifiers with two accounts or more; a single one's postings say as much.
multiplicity = Table(
    "multiplicity",
    METADATA,
    Column("identifier", RowId, nullable=False),
    Column("platform", Integer, nullable=False),
    Column("accounts", Integer, nullable=False),
    Column("bucket", SmallInteger, nullable=False),
    Column("bucket_index", BigInteger, nullable=False),
    PrimaryKeyConstraint("identifier", "platform"),
    sqlite_with_rowid=False,
)

# What overrides a link: two accounts that aren't one person's, stated for both directions.
separation = Table(
    "separation",
    METADATA,
    Column("account", RowId, nullable=False),
    Column("other", RowId, nullable=False),
    Column("platform", Integer, nullable=False),
    Column("event_index", BigInteger, nullable=False),
    PrimaryKeyConstraint("account", "other", "event_index"),
    Index("ix_separation_event_index", "event_index"),
    Index("ix_separation_other", "other"),
    sqlite_with_rowid=False,
)

# Who asks to be identified with care: an account or an identifier, from day to day. None of a
# platform's times of one kind lies within another.
marker = Table(
    "marker",
    METADATA,
    Column("identifier", RowId, nullable=False),
    Column("platform", Integer, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("event_index", BigInteger, nullable=False),
    Column("first_day", Integer, nullable=False),
    Column("last_day", Integer, nullable=False),
    PrimaryKeyConstraint("identifier", "platform", "kind", "first_day"),
    Index("ix_marker_event_index", "event_index"),
    sqlite_with_rowid=False,
)

# Since when an identifier belongs to somebody else, by whose word.
recycling = Table(
    "recycling",
    METADATA,
    Column("identifier", RowId, nullable=False),
    Column("platform", Integer, nullable=False),
    Column("recycled_day", Integer, nullable=False),
    Column("event_index", BigInteger, nullable=False),
    PrimaryKeyConstraint("identifier", "event_index"),
    Index("ix_recycling_event_index", "event_index"),
    sqlite_with_rowid=False,
)

# Who asked, for which order and purpose, when, and what was answered. No foreign key to the
# platform: PostgreSQL would lock and rewrite that one row for every answer.
assessment = Table(
    "assessment",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("platform", Integer, nullable=False),
    Column("assessed_at", Instant, nullable=False),
    Column("purpose", String(40), nullable=False),
    Column("order_commitment", String(100), nullable=False),
    Column("account", LargeBinary, nullable=False),
    Column("identifiers", LargeBinary, nullable=False),
    Column("log_size", BigInteger, nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("score", Integer, nullable=False),
    Column("answer", Text, nullable=False),
    Column("idempotency_key", String(255)),
    Column("request_hash", LargeBinary, nullable=False),
    Column("amount_minor", BigInteger),
    Column("amount_currency", String(3)),
    Column("shadow", Text),
    Index(
        "ix_assessment_idempotency_key",
        "platform",
        "idempotency_key",
        unique=True,
        sqlite_where=text("idempotency_key IS NOT NULL"),
        postgresql_where=text("idempotency_key IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

assessed_order = Table(
    "assessed_order",
    METADATA,
    Column("platform", Integer, nullable=False),
    Column("order_commitment", String(100), nullable=False),
    Column("account", LargeBinary, nullable=False),
    Column("identifiers", LargeBinary, nullable=False),
    PrimaryKeyConstraint("platform", "order_commitment"),
    sqlite_with_rowid=False,
)

assessment_outcome = Table(
    "assessment_outcome",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("assessment", String(40), ForeignKey("assessment.id"), nullable=False, index=True),
    Column("platform", Integer, ForeignKey("platform.id"), nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("action", String(40), nullable=False),
    Column("decided_by", String(20), nullable=False),
    Column("merchant_heard", Boolean, nullable=False),
    Column("listing_compared", Boolean, nullable=False),
    Column("reversed_on_appeal", Boolean, nullable=False),
    Column("loss_minor", BigInteger),
    Column("loss_currency", String(3)),
    Column("idempotency_key", String(255)),
    Column("request_hash", LargeBinary, nullable=False),
    UniqueConstraint("platform", "idempotency_key"),
)
