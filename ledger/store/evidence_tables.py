"""The tables of the exchange of forged evidence: what is derived, who was told, who is told again.

`evidence` and `evidence_band` follow from the entries in log order and are the sequencer's alone.
A match names the record that was found and never what was asked.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
)

from ledger.store.columns import METADATA, Instant, RowId

# One piece of evidence. Its id is the index of its statement and its place there.
evidence = Table(
    "evidence",
    METADATA,
    Column("id", RowId, primary_key=True, autoincrement=False),
    Column("record", String(40), nullable=False, index=True),
    Column("platform", Integer, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("pdq", LargeBinary),
    Column("original", SmallInteger, nullable=False),
    Column("seen_day", Integer, nullable=False),
    Index("ix_evidence_digest", "digest", "platform", "seen_day", "id"),
)

# Each hash once a band, beside the bits to count: a question reads nothing but the key's index.
# What lies aside has its place above every place of a band (ledger/incident/evidence.py), each
# member's apart: its next piece is found without a look at anybody else's.
evidence_band = Table(
    "evidence_band",
    METADATA,
    Column("slot", RowId, nullable=False),
    Column("evidence", BigInteger, nullable=False),
    Column("pdq", LargeBinary, nullable=False),
    PrimaryKeyConstraint("slot", "evidence", postgresql_include=["pdq"]),
    sqlite_with_rowid=False,
)

# Which records an answer told of, to whom, when; without any hash of what was asked.
evidence_match = Table(
    "evidence_match",
    METADATA,
    Column("answer", String(40), nullable=False),
    Column("record", String(40), nullable=False, index=True),
    Column("platform", Integer, nullable=False),
    Column("matched_at", Instant, nullable=False),
    PrimaryKeyConstraint("answer", "record"),
    sqlite_with_rowid=False,
)

# Answers that rest on what was taken back since. `kind` says what of the answer: its evidence.
recall = Table(
    "recall",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("platform", Integer, nullable=False),
    Column("answer", String(40), nullable=False, index=True),
    Column("kind", String(20), nullable=False),
    Column("recalled_at", Instant, nullable=False),
    Column("acknowledged_at", Instant),
    Index("ix_recall_platform_id", "platform", "id"),
)
