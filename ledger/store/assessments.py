"""Statements about answered queries, on the driver's own cursor where every claim waits for them.

The read gives the log's size, the multiplicities and the postings of an asker's tokens in one
statement. Postings of a token with 500 accounts or more at one platform are left out: such a
token is a hub by every policy, and reading them would make the answer's cost grow with it. Only a
national id, which is never a hub, is always read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from sqlalchemy import select, update

from ledger.errors import LedgerCorrupt, LedgerUnavailable
from ledger.graph.neighbourhood import Evidence
from ledger.graph.posting import Multiplicity, Posting
from ledger.identity.identifier import Kind
from ledger.store.columns import to_microseconds
from ledger.store.engine import lasting_cursor
from ledger.store.tables import assessed_order, assessment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection

ValueT = TypeVar("ValueT")


class StoredAssessment(NamedTuple):
    """One answered query, in the order of its columns. `identifiers` as `bind_claims` writes."""

    id: str
    platform: int
    assessed_at: datetime
    purpose: str
    order_commitment: str
    account: bytes
    identifiers: bytes
    log_size: int
    policy_version: int
    score: int
    answer: str
    idempotency_key: str | None
    request_hash: bytes
    amount_minor: int | None = None
    amount_currency: str | None = None
    shadow: str | None = None


class GivenAnswer(NamedTuple):
    """An answer as it is recorded and given: its id and its JSON text, byte for byte."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Shelf:
    """What one read gave for many questions, by lookup key. `known` are the keys of any row."""

    known: frozenset[bytes]
    log_size: int
    policy_version: int
    shadow_version: int
    postings: Mapping[bytes, Sequence[Posting]]
    multiplicities: Mapping[bytes, Sequence[Multiplicity]]
    separated: Mapping[bytes, Sequence[int]]
    markers: Mapping[bytes, Sequence[tuple[int, int, int]]]

    def select(self, keys: Sequence[bytes]) -> Evidence:
        """Give what one question's read would have given; its account's own key comes first."""
        if self.known.isdisjoint(keys):  # as for most
            shadow = self.shadow_version
            return Evidence(self.log_size, self.policy_version, (), (), shadow_version=shadow)
        own, keys = keys[0], list(dict.fromkeys(keys))
        return Evidence(
            self.log_size,
            self.policy_version,
            [row for key in keys for row in self.postings.get(key, ())],
            [row for key in keys for row in self.multiplicities.get(key, ())],
            frozenset(self.separated.get(own, ())),
            [row for key in keys for row in self.markers.get(key, ())],
            self.shadow_version,
        )


# The branches are numbered. Each puts its values into columns of their very type, and leaves the
# others null, so that nothing is cast, written or read that nobody needs. The first names types.
_READ = """
WITH t AS MATERIALIZED (
    SELECT id, token, kind, kind <> {nid} AND EXISTS (
        SELECT 1 FROM multiplicity h WHERE h.identifier = identifier.id AND h.accounts >= 500
    ) AS crowded
    FROM identifier WHERE token {among})
SELECT 0, t.token, t.kind, p.account, p.platform, g.group_name, p.half_life, p.mass, p.count,
       p.disputed, p.level_a, p.binding, p.first_day, p.last_day, g.upheld, g.overturned
FROM t JOIN posting p ON p.identifier = t.id JOIN platform g ON g.id = p.platform
WHERE NOT t.crowded
UNION ALL
SELECT 1, t.token, t.kind, NULL, m.platform, g.group_name, m.bucket, m.bucket_index, m.accounts,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM t JOIN multiplicity m ON m.identifier = t.id JOIN platform g ON g.id = m.platform
UNION ALL
SELECT 2, NULL, NULL, size, policy_version, NULL, NULL, NULL, shadow_version,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM log_state WHERE id = 1
UNION ALL
SELECT 3, t.token, NULL, s.other, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM t JOIN separation s ON s.account = t.id
UNION ALL
SELECT 4, t.token, m.kind, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL, NULL, m.first_day, m.last_day, NULL, NULL
FROM t JOIN marker m ON m.identifier = t.id
"""
_POSTING, _MULTIPLICITY, _STATE, _SEPARATION = range(4)
_BIND = """
INSERT INTO assessed_order (platform, order_commitment, account, identifiers)
{} ON CONFLICT DO NOTHING
"""
_BIND_ORDER = _BIND.format("VALUES (?, ?, ?, ?)")
_BIND_ORDERS = _BIND.format("SELECT %s, * FROM unnest(%b::text[], %b::bytea[], %b::bytea[])")
_COLUMNS = f"assessment ({', '.join(StoredAssessment._fields)})"
_RECORD = "INSERT INTO {columns} VALUES ({values})"
_RECORD_BOUND = (
    "WITH bound AS ({bind} RETURNING 1) INSERT INTO {columns} SELECT {values} FROM bound"
)
# In binary a server that cancels it writes a line's number into its log, and nothing of the line.
_COPY = f"COPY {_COLUMNS} FROM STDIN (FORMAT BINARY)"
_COPIED = (
    *("text", "int4", "int8", "text", "text", "bytea", "bytea", "int8", "int4", "int4"),
    *("text", "text", "bytea", "int8", "text", "text"),
)


def _for_drivers(statement: str) -> dict[str, str]:
    """Give a statement in the parameter style of each dialect."""
    return {"sqlite": statement, "postgresql": statement.replace("?", "%s")}


_READ_BY_COUNT = {
    n: _for_drivers(_READ.format(among=f"IN ({', '.join('?' * n)})", nid=Kind.NID.code))
    for n in range(1, 18)
}
_VALUES = ", ".join("?" * len(StoredAssessment._fields))
_RECORD_FOR = _for_drivers(_RECORD.format(columns=_COLUMNS, values=_VALUES))
_RECORD_FIRST = _for_drivers(
    _RECORD_BOUND.format(bind=_BIND_ORDER, columns=_COLUMNS, values=_VALUES)
)


class _Rows(NamedTuple):
    """The rows of the read by their branches; what has no key of its own comes with it."""

    postings: list[Posting]
    multiplicities: list[Multiplicity]
    separated: list[tuple[bytes, int]]
    markers: list[tuple[bytes, tuple[int, int, int]]]
    log_size: int
    policy_version: int
    shadow_version: int


def _sort(rows: Iterable[tuple[Any, ...]]) -> _Rows:
    """Sort the rows of the read by their branches."""
    size = version = shadow = 0
    postings, multiplicities, separated, markers = [], [], [], []
    for row in rows:
        branch = row[0]
        if branch == _POSTING:
            postings.append(Posting._make(row[1:]))
        elif branch == _MULTIPLICITY:
            _, key, kind, _, platform, group, bucket, bucket_index, accounts = row[:9]
            known = Multiplicity(key, kind, accounts, platform, group, bucket, bucket_index)
            multiplicities.append(known)
        elif branch == _STATE:
            size, version, shadow = row[3], row[4], row[8]
        elif branch == _SEPARATION:
            separated.append((row[1], row[3]))
        else:
            markers.append((row[1], (row[2], *row[12:14])))
    return _Rows(postings, multiplicities, separated, markers, size, version, shadow)


def read_evidence(connection: Connection, keys: tuple[bytes, ...]) -> Evidence:
    """Read everything that a score needs, in one statement.

    *Shape*: `keys` are 1 to 17 lookup keys, the account's own among them.
    """
    cursor = lasting_cursor(connection)
    cursor.execute(_READ_BY_COUNT[len(keys)][connection.dialect.name], keys)
    rows = _sort(cursor.fetchall())
    return Evidence(
        rows.log_size,
        rows.policy_version,
        rows.postings,
        rows.multiplicities,
        frozenset([other for _, other in rows.separated]),
        [marker for _, marker in rows.markers],
        rows.shadow_version,
    )


def read_shelf(connection: Connection, questions: Sequence[Sequence[bytes]]) -> Shelf:
    """Read what the scores of many questions need, in one statement."""
    keys = sorted({key for one in questions for key in one})  # as the index has them
    embedded = connection.dialect.name == "sqlite"
    among = f"IN ({', '.join('?' * len(keys))})" if embedded else "= ANY(%b)"
    cursor = connection.connection.cursor()
    statement = _READ.format(among=among, nid=Kind.NID.code)
    cursor.execute(statement, tuple(keys) if embedded else (keys,))
    rows = _sort(cursor.fetchall())
    cursor.close()
    by_key = (
        _by_key((row.key, row) for row in rows.postings),
        _by_key((row.key, row) for row in rows.multiplicities),
        _by_key(rows.separated),
        _by_key(rows.markers),
    )
    known = frozenset[bytes]().union(*by_key)
    return Shelf(known, rows.log_size, rows.policy_version, rows.shadow_version, *by_key)


def _by_key(pairs: Iterable[tuple[bytes, ValueT]]) -> dict[bytes, list[ValueT]]:
    grouped: dict[bytes, list[ValueT]] = {}
    for key, value in pairs:
        grouped.setdefault(key, []).append(value)
    return grouped


def record_first(connection: Connection, new: StoredAssessment) -> bool:
    """Bind an order that was never asked about and record the answer; tell whether it was so.

    Nothing is written where the order was bound before. On PostgreSQL it is one statement.
    *Raises*: LedgerUnavailable where the same Idempotency-Key arrives twice at once.
    """
    bound = (new.platform, new.order_commitment, new.account, new.identifiers)
    cursor = lasting_cursor(connection)
    try:
        if connection.dialect.name == "postgresql":
            cursor.execute(_RECORD_FIRST["postgresql"], (*bound, *_values(new)))
        else:
            cursor.execute(_BIND_ORDER, bound)
            if cursor.rowcount == 1:
                cursor.execute(_RECORD_FOR["sqlite"], _values(new))
    except connection.dialect.loaded_dbapi.IntegrityError as error:
        raise LedgerUnavailable("The same request is being answered right now.") from error
    return bool(cursor.rowcount == 1)


def _values(new: StoredAssessment) -> tuple[object, ...]:
    return (*new[:2], to_microseconds(new.assessed_at), *new[3:])


def lock_orders(
    connection: Connection, platform: int, new: Sequence[StoredAssessment]
) -> dict[str, tuple[bytes, bytes]]:
    """Bind the orders that were never asked about, and give what each is bound to.

    They are held until the transaction ends.
    """
    asked = {one.order_commitment: (one.account, one.identifiers) for one in reversed(new)}
    orders = [(platform, one, *asked[one]) for one in sorted(asked)]  # in one order for all
    cursor = connection.connection.cursor()
    if connection.dialect.name == "postgresql":
        _, *columns = zip(*orders, strict=True)
        cursor.execute(_BIND_ORDERS, (platform, *[list(column) for column in columns]))
    else:
        cursor.executemany(_BIND_ORDER, orders)
    are_new = cursor.rowcount == len(orders)
    cursor.close()
    if are_new:
        return asked
    order = assessed_order.c
    statement = select(order.order_commitment, order.account, order.identifiers).where(
        order.platform == platform, order.order_commitment.in_(asked)
    )
    rows = connection.execute(statement.order_by(order.order_commitment).with_for_update())
    return {row[0]: (row[1], row[2]) for row in rows}


def insert_assessments(connection: Connection, new: Sequence[StoredAssessment]) -> None:
    """Record many answered queries."""
    by_id = sorted(new)  # the table's order: rows are appended to its pages, and split none
    cursor = connection.connection.cursor()
    if connection.dialect.name == "postgresql":
        with cursor.copy(_COPY) as rows:
            rows.set_types(_COPIED)
            for one in by_id:
                rows.write_row(_values(one))
    else:
        cursor.executemany(_RECORD_FOR["sqlite"], [_values(one) for one in by_id])
    cursor.close()


def widen_order(connection: Connection, platform: int, commitment: str, identifiers: bytes) -> None:
    """Bind an order to a larger identifier set."""
    order = assessed_order.c
    connection.execute(
        update(assessed_order)
        .where(order.platform == platform, order.order_commitment == commitment)
        .values(identifiers=identifiers)
    )


def insert_assessment(connection: Connection, new: StoredAssessment) -> None:
    """Record one answered query about an order that is bound.

    *Raises*: LedgerUnavailable where the same Idempotency-Key arrives twice at once, LedgerCorrupt
    where the database keeps nothing.
    """
    cursor = connection.connection.cursor()
    try:
        cursor.execute(_RECORD_FOR[connection.dialect.name], _values(new))
    except connection.dialect.loaded_dbapi.IntegrityError as error:
        raise LedgerUnavailable("The same request is being answered right now.") from error
    if cursor.rowcount != 1:
        raise LedgerCorrupt("The database didn't keep an answer.")
    cursor.close()


def read_row(row: Any) -> StoredAssessment:  # noqa: ANN401 - a row of any select
    """Read one recorded answer."""
    return StoredAssessment(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name


def find_assessment(
    connection: Connection, platform: int | None, assessment_id: str
) -> StoredAssessment | None:
    """Find one of a platform's own assessments, or anybody's where none is given."""
    statement = select(assessment).where(assessment.c.id == assessment_id)
    if platform is not None:
        statement = statement.where(assessment.c.platform == platform)
    row = connection.execute(statement).one_or_none()
    return None if row is None else read_row(row)


def find_repeated_assessment(
    connection: Connection, platform: int, idempotency_key: str
) -> StoredAssessment | None:
    """Find the assessment that was made under an Idempotency-Key."""
    row = connection.execute(
        select(assessment).where(
            assessment.c.platform == platform, assessment.c.idempotency_key == idempotency_key
        )
    ).one_or_none()
    return None if row is None else read_row(row)


def select_answers(connection: Connection, platform: int, ids: Sequence[str]) -> dict[str, str]:
    """Give the texts of some of a platform's own answers by their ids."""
    chosen = assessment.c.platform == platform, assessment.c.id.in_(ids)
    rows = connection.execute(select(assessment.c.id, assessment.c.answer).where(*chosen))
    return {row.id: row.answer for row in rows}
