"""Statements about what surrounds one account: who else bears incidents under its identifiers.

For an analyst alone; a question reads its own rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select, text

from ledger.graph.ego import EgoCount, EgoRow
from ledger.graph.posting import Multiplicity
from ledger.identity.identifier import Kind
from ledger.store.tables import identifier, posting

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.engine import Connection

_OWN = select(identifier).where(
    identifier.c.token.in_(bindparam("keys", expanding=True)),
    select(posting.c.account)
    .where(posting.c.identifier == identifier.c.id, posting.c.account == bindparam("bearer"))
    .exists(),
)
# Of an account's identifiers: those that aren't too crowded to be read, as a question reads them.
_EGO = text("""
    SELECT p.identifier, p.account, p.platform, SUM(p.count) AS incidents,
           MIN(p.first_day) AS first_day, MAX(p.last_day) AS last_day
    FROM posting p
    WHERE p.identifier IN :identifiers
      AND (p.identifier IN :nids OR NOT EXISTS (
        SELECT 1 FROM multiplicity m WHERE m.identifier = p.identifier AND m.accounts >= 500))
      AND NOT EXISTS (
        SELECT 1 FROM separation s WHERE s.account = :account AND s.other = p.account)
    GROUP BY p.identifier, p.account, p.platform
    ORDER BY p.identifier, p.account LIMIT 10000
""").bindparams(bindparam("identifiers", expanding=True), bindparam("nids", expanding=True))
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


def select_ego(
    connection: Connection, account: int, keys: Collection[bytes]
) -> tuple[list[EgoRow], list[EgoCount]]:
    """Give who bears incidents under the identifiers of an account, and how many each platform has.

    *Shape*: `keys` are all that its incidents name; the account's links choose among them. Without
    the rows of crowds, and without whom was stated to be another person.
    """
    found = connection.execute(_OWN, {"keys": list(keys), "bearer": account}).all()
    own = {row.id: row for row in found if row.id != account}
    nids = [row.id for row in own.values() if row.kind == Kind.NID.code]
    wanted = {"account": account, "identifiers": list(own), "nids": nids}
    rows = [
        EgoRow(row[0], own[row[0]].kind, row[1], row[2], int(row[3]), row[4], row[5])
        for row in connection.execute(_EGO, wanted)
    ]
    counts = {}  # of an account alone its latest report's
    for number, *counted in connection.execute(_EGO_COUNTS, wanted):
        row = own[number]
        one = EgoCount(number, Multiplicity(bytes(row.token), row.kind, *counted))
        counts[number, one.counted.platform] = one
    return rows, list(counts.values())
