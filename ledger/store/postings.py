"""Statements about the inverted index: identifiers, edges, postings, multiplicities.

Under its own key and under every token that it is linked to, an account bears all its incidents.
Adding is incremental; taking back recomputes the account's rows from the incidents that remain,
so that the state equals one in which the incident never was. A report touches the rows of its
own account and its live tokens only. Bindings and buckets follow the latest active event.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, or_, select, text

from ledger.store.tables import (
    edge,
    identifier,
    incident,
    marker,
    posting,
    recycling,
    separation,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Row
    from sqlalchemy.engine import Connection

    from ledger.store.incidents import StoredIncident


@dataclass(frozen=True, slots=True)
class TokenClaim:
    """One identifier as an event bound it: lookup key and the stable codes of its claims."""

    key: bytes
    kind: int
    binding: int
    bucket: int


@dataclass(frozen=True, slots=True)
class LostEdge:
    """An edge that is gone; `left` where its account has no other link to the token."""

    token: int
    platform: int
    event_index: int
    left: bool


_UPSERT_POSTING = text("""
    INSERT INTO posting (identifier, account, platform, half_life, mass, count, disputed,
                         level_a, binding, first_day, last_day)
    VALUES (:identifier, :account, :platform, :half_life, :mass, :count, 0,
            :level_a, :binding, :first_day, :last_day)
    ON CONFLICT (identifier, account, platform, half_life) DO UPDATE SET
        mass = posting.mass + excluded.mass,
        count = posting.count + excluded.count,
        level_a = posting.level_a + excluded.level_a, binding = excluded.binding,
        first_day = CASE WHEN excluded.first_day < posting.first_day
                         THEN excluded.first_day ELSE posting.first_day END,
        last_day = CASE WHEN excluded.last_day > posting.last_day
                        THEN excluded.last_day ELSE posting.last_day END
""")
# A token that is new to an account gets everything that the account bears.
_COPY_POSTINGS = text("""
    INSERT INTO posting (identifier, account, platform, half_life, mass, count, disputed,
                         level_a, binding, first_day, last_day)
    SELECT :identifier, account, platform, half_life, mass, count, disputed,
           level_a, :binding, first_day, last_day
    FROM posting WHERE identifier = :account AND account = :account
""")
_REBIND = text("""
    UPDATE posting SET binding = :binding
    WHERE identifier = :identifier AND account = :account AND binding <> :binding
""")
_EDGES_ON = """
    FROM posting p JOIN incident i ON i.account = p.account
                   JOIN edge e ON e.event_index = i.reported_index AND e.identifier = p.identifier
    WHERE p.identifier =
"""
# A token's only account isn't counted until another comes. The postings of a crowd aren't read.
_BEGIN = text(f"""
    INSERT INTO multiplicity (identifier, platform, accounts, bucket, bucket_index)
    SELECT e.identifier, p.platform, 1, e.declared, e.event_index {_EDGES_ON} (
        SELECT :identifier WHERE NOT EXISTS (
            SELECT 1 FROM multiplicity WHERE identifier = :identifier))
    ORDER BY e.event_index DESC LIMIT 1
""")  # noqa: S608 - constants
_COUNT = text("""
    INSERT INTO multiplicity (identifier, platform, accounts, bucket, bucket_index)
    SELECT :identifier, :platform, :added, :bucket, :bucket_index
    WHERE EXISTS (SELECT 1 FROM posting WHERE identifier = :identifier AND account <> :account)
    ON CONFLICT (identifier, platform) DO UPDATE SET
        accounts = multiplicity.accounts + excluded.accounts,
        bucket = CASE WHEN excluded.bucket_index > multiplicity.bucket_index
                      THEN excluded.bucket ELSE multiplicity.bucket END,
        bucket_index = CASE WHEN excluded.bucket_index > multiplicity.bucket_index
                            THEN excluded.bucket_index ELSE multiplicity.bucket_index END
""")
_LATEST_EDGE = text(f"""
    SELECT e.declared, e.event_index {_EDGES_ON} :identifier AND p.platform = :platform
    ORDER BY e.event_index DESC LIMIT 1
""")
_EMPTY = text("""
    DELETE FROM multiplicity WHERE identifier = :identifier AND platform = :platform
""")
# Only the latest event's edge says what the bucket is.
_LEAVE = text("""
    UPDATE multiplicity SET accounts = accounts - :left
    WHERE identifier = :identifier AND platform = :platform AND bucket_index <> :event_index
""")
_LEAVE_LATEST = text("""
    UPDATE multiplicity SET accounts = accounts - :left, bucket = :bucket,
                            bucket_index = :bucket_index
    WHERE identifier = :identifier AND platform = :platform
""")
_END = text("""
    DELETE FROM multiplicity WHERE identifier = :identifier
       AND (SELECT sum(accounts) FROM multiplicity WHERE identifier = :identifier) < 2
""")

_IDENTIFIERS_OF = select(identifier.c.token, identifier.c.id).where(
    identifier.c.token.in_(bindparam("keys", expanding=True))
)
# Every identifier is referred to, and each of these columns is the first of a key.
_LAST_IDENTIFIER = text("""
    SELECT max(id) FROM (
        SELECT max(identifier) AS id FROM posting UNION ALL
        SELECT max(account) FROM separation UNION ALL
        SELECT max(identifier) FROM marker UNION ALL
        SELECT max(identifier) FROM recycling) AS used
""")
_INSERT_IDENTIFIER = insert(identifier)
_INSERT_EDGE = insert(edge)
_TOKENS_OF = select(edge.c.identifier).where(edge.c.event_index == bindparam("report"))
_EDGES_OF = (
    select(edge.c.identifier, edge.c.event_index, edge.c.binding)
    .join(incident, incident.c.reported_index == edge.c.event_index)
    .where(incident.c.account == bindparam("bearer"))
    .order_by(edge.c.event_index)
)
_UNBEAR = delete(posting).where(
    posting.c.identifier.in_(bindparam("identifiers", expanding=True)),
    posting.c.account == bindparam("bearer"),
)


def find_identifiers(connection: Connection, keys: Collection[bytes]) -> dict[bytes, int]:
    """Give the row ids of those lookup keys that are known."""
    rows = connection.execute(_IDENTIFIERS_OF, {"keys": list(keys)})
    return {bytes(row.token): row.id for row in rows}


def ensure_identifiers(connection: Connection, kinds: Mapping[bytes, int]) -> dict[bytes, int]:
    """Give the row ids of lookup keys with their kinds' codes, inserting what is new."""
    if not kinds:
        return {}
    wanted = {"keys": list(kinds)}
    found = {bytes(row.token): row.id for row in connection.execute(_IDENTIFIERS_OF, wanted)}
    new = [key for key in kinds if key not in found]
    if new:
        last = connection.execute(_LAST_IDENTIFIER).scalar_one() or 0
        added = {key: id_ for id_, key in enumerate(new, last + 1)}
        rows = [{"token": key, "id": id_, "kind": kinds[key]} for key, id_ in added.items()]
        connection.execute(_INSERT_IDENTIFIER, rows)
        found |= added
    return found


def add_incident(
    connection: Connection, added: StoredIncident, bound: Mapping[int, TokenClaim]
) -> None:
    """Let an incident count against its account and under all tokens that the account is linked to.

    *Shape*: `bound` gives the claim of each identifier by row id. Incremental: masses and counts
    are added; binding and bucket follow the event with the highest index.
    """
    account = added.account
    linked = _by_token(connection.execute(_EDGES_OF, {"bearer": account}))
    index = added.reported_index
    bindings = {
        i: linked[i].binding if i in linked and linked[i].event_index > index else claim.binding
        for i, claim in bound.items()
    }
    rows = [_mass_row(added, account, 0)]
    rows += [_mass_row(added, i, bindings.get(i, row.binding)) for i, row in linked.items()]
    connection.execute(_UPSERT_POSTING, rows)
    if not bound:
        return
    rebound = [{"identifier": i, "account": account, "binding": b} for i, b in bindings.items()]
    known = [row for row in rebound if row["identifier"] in linked]
    new = [row for row in rebound if row["identifier"] not in linked]
    if known:
        connection.execute(_REBIND, known)
    if new:
        connection.execute(_COPY_POSTINGS, new)
        connection.execute(_BEGIN, new)
    connection.execute(
        _INSERT_EDGE,
        [
            {
                "event_index": index,
                "identifier": i,
                "binding": claim.binding,
                "declared": claim.bucket,
            }
            for i, claim in bound.items()
        ],
    )
    connection.execute(
        _COUNT,
        [
            {
                "identifier": i,
                "account": account,
                "platform": added.platform,
                "added": 0 if i in linked else 1,
                "bucket": claim.bucket,
                "bucket_index": index,
            }
            for i, claim in bound.items()
        ],
    )


def cut_edge(
    connection: Connection, token: int, platform: int, event_index: int, account: int
) -> list[LostEdge]:
    """Take away the edge of one incident to a token, and the link where there is no other."""
    at = (edge.c.event_index == event_index) & (edge.c.identifier == token)
    connection.execute(delete(edge).where(at))
    latest = _by_token(connection.execute(_EDGES_OF, {"bearer": account})).get(token)
    if latest is None:
        connection.execute(_UNBEAR, {"identifiers": [token], "bearer": account})
    else:
        rebound = {"identifier": token, "account": account, "binding": latest.binding}
        connection.execute(_REBIND, rebound)
    return [LostEdge(token, platform, event_index, latest is None)]


def remove_incident(
    connection: Connection, removed: StoredIncident, remaining: Sequence[StoredIncident]
) -> list[LostEdge]:
    """Let an incident count no more, and give the edges that it had.

    *Shape*: `removed` as it stood while it counted, and the other incidents that count against
    the account. Its own row bears no account any more.
    """
    account, index = removed.account, removed.reported_index
    tokens = connection.execute(_TOKENS_OF, {"report": index}).scalars().all()
    connection.execute(delete(edge).where(edge.c.event_index == index))
    linked = _by_token(connection.execute(_EDGES_OF, {"bearer": account}))
    before = [account, *{*tokens, *linked}]
    connection.execute(_UNBEAR, {"identifiers": before, "bearer": account})
    kept = {account: 0} | {i: row.binding for i, row in linked.items()}
    rows = [_mass_row(one, i, kept[i]) for one in _sum_incidents(remaining) for i in kept]
    if rows:
        connection.execute(_UPSERT_POSTING, rows)
    return [LostEdge(one, removed.platform, index, one not in linked) for one in tokens]


def _sum_incidents(borne: Iterable[StoredIncident]) -> Iterable[StoredIncident]:
    """Sum incidents of one account by their half-lives."""
    sums: dict[int, StoredIncident] = {}
    for one in borne:
        known = sums.get(one.half_life)
        sums[one.half_life] = (
            one
            if known is None
            else replace(
                one,
                mass=known.mass + one.mass,
                count=known.count + one.count,
                level_a=known.level_a + one.level_a,
                first_day=min(known.first_day, one.first_day),
                last_day=max(known.last_day, one.last_day),
            )
        )
    return sums.values()


def _by_token(rows: Iterable[Row[Any, Any, Any]]) -> dict[int, Row[Any, Any, Any]]:
    """Give the latest edge of an account to each of its tokens."""
    return {row.identifier: row for row in rows}


def _mass_row(one: StoredIncident, identifier_id: int | None, binding: int) -> dict[str, object]:
    return {
        "identifier": identifier_id,
        "account": one.account,
        "platform": one.platform,
        "half_life": one.half_life,
        "mass": one.mass,
        "count": one.count,
        "level_a": one.level_a,
        "binding": binding,
        "first_day": one.first_day,
        "last_day": one.last_day,
    }


def recount_tokens(connection: Connection, lost: Iterable[LostEdge]) -> None:
    """Recount the platforms' accounts on tokens that lost an edge."""
    for one in lost:
        at = {"identifier": one.token, "platform": one.platform, "left": int(one.left)}
        if not connection.execute(_LEAVE, at | {"event_index": one.event_index}).rowcount:
            last = connection.execute(_LATEST_EDGE, at).one_or_none()
            if last is None:
                connection.execute(_EMPTY, at)
            else:
                changed = {"bucket": last.declared, "bucket_index": last.event_index}
                connection.execute(_LEAVE_LATEST, at | changed)
        if one.left:
            connection.execute(_END, at)


def forget_identifiers(connection: Connection, keys: Collection[bytes] | None = None) -> None:
    """Delete identifiers that nothing refers to any more: a kept key would be a trace.

    *Shape*: of these lookup keys, or of all, which reads the whole index.
    """
    if keys is not None and not keys:
        return
    used = [
        select(column).where(column == identifier.c.id).exists()
        for column in (
            posting.c.identifier,
            separation.c.account,
            separation.c.other,
            marker.c.identifier,
            recycling.c.identifier,
        )
    ]
    statement = delete(identifier).where(~or_(*used))
    if keys is not None:
        statement = statement.where(identifier.c.token.in_(keys))
    connection.execute(statement)


_MEMBERSHIPS = text("""
    SELECT p.account, p.platform, g.group_name, p.identifier, t.kind, p.binding, p.half_life,
           p.mass, p.first_day, p.last_day
    FROM posting p JOIN identifier t ON t.id = p.identifier JOIN platform g ON g.id = p.platform
""")


def stream_memberships(connection: Connection) -> Iterator[Row[Any]]:
    """Stream every posting with its platform's group and its identifier's kind."""
    yield from connection.execute(_MEMBERSHIPS)


# For statements that join all identifiers by row id: SQLite makes an index of these
# for the length of the statement.
NAMED = "WITH named AS MATERIALIZED (SELECT id, token, kind FROM identifier)"
_POSTINGS = """
    SELECT 'posting', t.token, t.kind, a.token, p.platform, p.half_life, p.mass, p.count,
           p.disputed, p.level_a, p.binding, p.first_day, p.last_day
    FROM posting p LEFT JOIN named t ON t.id = p.identifier
                   LEFT JOIN named a ON a.id = p.account
"""
_EDGES = """
    SELECT 'edge', t.token, t.kind, a.token, i.platform, e.event_index, e.binding, e.declared
    FROM edge e LEFT JOIN incident i ON i.reported_index = e.event_index
                LEFT JOIN named t ON t.id = e.identifier
                LEFT JOIN named a ON a.id = i.account
"""
_MULTIPLICITIES = """
    SELECT 'multiplicity', t.token, t.kind, m.platform, m.accounts, m.bucket, m.bucket_index
    FROM multiplicity m LEFT JOIN named t ON t.id = m.identifier
"""
_IDENTIFIERS = "SELECT 'identifier', t.token, t.kind FROM identifier t"


def stream_index(connection: Connection) -> Iterator[tuple[object, ...]]:
    """Stream the whole index with tokens in the place of row ids, for comparison.

    A row that refers to nothing is streamed too, without a token: a query might still read it.
    """
    for statement in (_POSTINGS, _EDGES, _MULTIPLICITIES, _IDENTIFIERS):
        for row in connection.execute(text(f"{NAMED} {statement}")):
            yield tuple(bytes(v) if isinstance(v, memoryview) else v for v in row)


_REPORTS_UNDER = text("""
    SELECT DISTINCT e.event_index
    FROM identifier t JOIN posting p ON p.identifier = t.id
                      JOIN incident i ON i.account = p.account
                      JOIN edge e ON e.event_index = i.reported_index
    WHERE t.token = :key AND t.id IN (e.identifier, i.account) ORDER BY e.event_index
""")


def find_token_incidents(connection: Connection, key: bytes) -> list[int]:
    """Give the report indexes under a token's or an account's key, to name what differs there."""
    return list(connection.execute(_REPORTS_UNDER, {"key": key}).scalars())
