"""Statements about what surrounds one account: who else bears incidents under its identifiers.

For an analyst alone; a question reads its own rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from ledger.graph.ego import EgoCount, EgoRow
from ledger.graph.posting import Multiplicity
from ledger.identity.identifier import Kind

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

# Of an account's identifiers: those that aren't too crowded to be read, as a question reads them.
_EGO = text("""
    SELECT p.identifier, t.kind, p.account, p.platform, SUM(p.count) AS incidents,
           MIN(p.first_day) AS first_day, MAX(p.last_day) AS last_day
    FROM posting own JOIN posting p ON p.identifier = own.identifier
                     JOIN identifier t ON t.id = own.identifier
    WHERE own.account = :account AND own.identifier <> own.account
      AND (t.kind = :nid OR NOT EXISTS (
        SELECT 1 FROM multiplicity m WHERE m.identifier = own.identifier AND m.accounts >= 500))
      AND NOT EXISTS (
        SELECT 1 FROM separation s WHERE s.account = :account AND s.other = p.account)
    GROUP BY p.identifier, t.kind, p.account, p.platform
    ORDER BY p.identifier, p.account LIMIT 10000
""")
_EGO_COUNTS = text("""
    SELECT t.token, t.kind, m.accounts, m.platform, g.group_name, m.bucket, m.bucket_index,
           own.identifier
    FROM posting own JOIN multiplicity m ON m.identifier = own.identifier
                     JOIN identifier t ON t.id = own.identifier
                     JOIN platform g ON g.id = m.platform
    WHERE own.account = :account AND own.identifier <> own.account
    ORDER BY own.identifier, m.platform
""")


def select_ego(connection: Connection, account: int) -> tuple[list[EgoRow], list[EgoCount]]:
    """Give who bears incidents under the identifiers of an account, and how many each platform has.

    *Shape*: without the rows of crowds, and without whom was stated to be another person.
    """
    at = {"account": account}
    wanted = at | {"nid": Kind.NID.code}
    rows = [
        EgoRow._make(row)._replace(incidents=int(row.incidents))
        for row in connection.execute(_EGO, wanted)
    ]
    counts = dict.fromkeys(
        EgoCount(row[7], Multiplicity(bytes(row[0]), *row[1:7]))
        for row in connection.execute(_EGO_COUNTS, at)
    )
    return rows, list(counts)
