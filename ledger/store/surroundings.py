"""Statements about what surrounds one account: who else bears incidents under its identifiers.

For an analyst alone; a question reads its own rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select, text

from ledger.graph.ego import EgoCount, EgoRow
from ledger.graph.posting import Multiplicity
from ledger.store.tables import identifier, posting

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.engine import Connection

_PIECE = 1000  # keys in one statement; databases take some ten thousand

_OWN = select(identifier).where(
    identifier.c.token.in_(bindparam("keys", expanding=True)),
    select(posting.c.account)
    .where(posting.c.identifier == identifier.c.id, posting.c.account == bindparam("bearer"))
    .exists(),
)
# The row under the account's own key says what it bears, and is the first of all.
_EGO = text("""
    SELECT p.identifier, p.account, p.platform, SUM(p.count) AS incidents,
           MIN(p.first_day) AS first_day, MAX(p.last_day) AS last_day
    FROM posting p
    WHERE p.identifier IN :identifiers
      AND (p.account <> :account OR p.identifier = :account)
      AND NOT EXISTS (
        SELECT 1 FROM separation s WHERE s.account = :account AND s.other = p.account)
    GROUP BY p.identifier, p.account, p.platform
    ORDER BY CASE WHEN p.identifier = :account THEN 0 ELSE 1 END, p.identifier, p.account
    LIMIT :rows_max
""").bindparams(bindparam("identifiers", expanding=True))
# Where nobody is counted, the account is alone, and its own reports say what was declared.
_EGO_COUNTS = text("""
    SELECT m.identifier, m.accounts, m.platform, g.group_name, m.bucket, m.bucket_index
    FROM multiplicity m JOIN platform g ON g.id = m.platform
    WHERE m.identifier IN :identifiers
    UNION ALL
    SELECT e.identifier, 1, i.platform, g.group_name, e.declared, e.event_index
    FROM incident i JOIN edge e ON e.event_index = i.reported_index
                    JOIN platform g ON g.id = i.platform
    WHERE i.account = :account AND e.identifier IN :identifiers
      AND NOT EXISTS (SELECT 1 FROM multiplicity m WHERE m.identifier = e.identifier)
    ORDER BY 1, 3, 6
""").bindparams(bindparam("identifiers", expanding=True))


def select_ego_counts(
    connection: Connection, account: int, keys: Collection[bytes]
) -> list[EgoCount]:
    """Give how many accounts each platform has on each identifier of an account.

    *Shape*: `keys` are all that its incidents name; the account's links choose among them.
    """
    named = list(keys)
    counts = {}  # of an account alone its latest report's
    for start in range(0, len(named), _PIECE):
        piece = {"keys": named[start : start + _PIECE], "bearer": account}
        own = {row.id: row for row in connection.execute(_OWN, piece) if row.id != account}
        wanted = {"account": account, "identifiers": list(own)}
        for number, *counted in connection.execute(_EGO_COUNTS, wanted):
            row = own[number]
            one = EgoCount(number, Multiplicity(bytes(row.token), row.kind, *counted))
            counts[number, one.counted.platform] = one
    return list(counts.values())


def select_ego_rows(
    connection: Connection, account: int, identifiers: Sequence[int], rows_max: int
) -> list[EgoRow]:
    """Give who bears incidents under some identifiers of an account, and what it bears itself.

    *Shape*: no more than so many rows, those of its own key first; without whom was stated to be
    another person.
    """
    wanted = {"account": account, "identifiers": [account, *identifiers], "rows_max": rows_max}
    return [
        EgoRow(row[0], row[1], row[2], int(row[3]), row[4], row[5])
        for row in connection.execute(_EGO, wanted)
    ]
