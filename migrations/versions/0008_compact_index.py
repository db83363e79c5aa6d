"""Keep the index in half the space: shorter lookup keys, each stored once, and edges by event.

Lookup keys and account keys are cut to 16 bytes, wherever they stand. An identifier is found by its
key alone. An edge takes its account and its platform from the incident that it follows from, and
is found through it, so that postings need no index by account.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008_compact_index"
down_revision = "0007_create_evidence"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LONG, SHORT = 32, 16
CLAIM = 3  # kind, binding and bucket follow each key in what an order is bound to
ROWS_AT_ONCE = 10_000
BOUND = {"assessment": ("id",), "assessed_order": ("platform", "order_commitment")}


def upgrade() -> None:
    """Write the tables anew in the order of their new keys."""
    op.drop_index("ix_posting_account", table_name="posting")
    _set_aside("edge")
    _create_edge("event_index", "identifier")
    op.execute(
        "INSERT INTO edge (event_index, identifier, binding, declared) "
        "SELECT event_index, identifier, binding, declared FROM former ORDER BY 1, 2"
    )
    op.drop_table("former")
    _set_aside("identifier")
    op.create_table(
        "identifier",
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_identifier")),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO identifier (token, id, kind) "
        f"SELECT substr(token, 1, {SHORT}), id, kind FROM former ORDER BY token"
    )
    op.drop_table("former")
    _leave_unsampled()
    for table in BOUND:
        _cut_bound(table)


def downgrade() -> None:
    """Give the tables their former keys; lookup keys that were cut can't be made whole again."""
    for table in ("identifier", *BOUND):
        if op.get_bind().execute(sa.text(f"SELECT 1 FROM {table} LIMIT 1")).first():
            raise RuntimeError(f"Table {table} has keys of {SHORT} bytes: restore a backup.")
    op.drop_table("identifier")
    op.create_table(
        "identifier",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identifier")),
        sa.UniqueConstraint("token", name=op.f("uq_identifier_token")),
    )
    _leave_unsampled()
    op.drop_table("edge")
    _create_edge("identifier", "platform", "event_index")
    op.create_index("ix_posting_account", "posting", ["account"], unique=False)


def _set_aside(table: str) -> None:
    """Give a table, and the index of its primary key on PostgreSQL, another name."""
    op.rename_table(table, "former")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER INDEX pk_{table} RENAME TO pk_former")


def _create_edge(*key: str) -> None:
    columns = {
        "identifier": ROW_ID,
        "platform": sa.Integer(),
        "event_index": sa.BigInteger(),
        "account": ROW_ID,
        "binding": sa.SmallInteger(),
        "declared": sa.SmallInteger(),
    }
    if "platform" not in key:
        columns = {name: columns[name] for name in (*key, "binding", "declared")}
    op.create_table(
        "edge",
        *[sa.Column(name, kind, nullable=False) for name, kind in columns.items()],
        sa.PrimaryKeyConstraint(*key, name=op.f("pk_edge")),
        sqlite_with_rowid=False,
    )


def _leave_unsampled() -> None:
    """Keep lookup keys out of PostgreSQL's statistics, where an erasure wouldn't find them."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE identifier ALTER COLUMN token SET STATISTICS 0")


def _cut_bound(table: str) -> None:
    """Cut the keys of recorded answers and bound orders, some rows at a time."""
    connection = op.get_bind()
    key = ", ".join(BOUND[table])
    same = " AND ".join(f"{name} = :{name}" for name in BOUND[table])
    after = f"WHERE ({key}) > ({', '.join(f':{name}' for name in BOUND[table])})"
    change = sa.text(f"UPDATE {table} SET account = :account, identifiers = :bound WHERE {same}")
    last: dict[str, object] = {}
    while True:
        rows = connection.execute(
            sa.text(
                f"SELECT {key}, account, identifiers FROM {table} {after if last else ''} "
                f"ORDER BY {key} LIMIT {ROWS_AT_ONCE}"
            ),
            last,
        ).all()
        if not rows:
            return
        for row in rows:
            last = {name: getattr(row, name) for name in BOUND[table]}
            cut = {"account": bytes(row.account)[:SHORT], "bound": _cut(bytes(row.identifiers))}
            connection.execute(change, last | cut)


def _cut(bound: bytes) -> bytes:
    """Cut the keys of what an order is bound to; what follows each of them stays."""
    width = LONG + CLAIM
    claims = [bound[at : at + width] for at in range(0, len(bound), width)]
    return b"".join([claim[:SHORT] + claim[LONG:] for claim in claims])
