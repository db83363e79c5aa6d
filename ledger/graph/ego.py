"""The surroundings of one account for an analyst: bounded, pseudonymous, cut at hubs.

Nodes are numbered afresh in every answer, so that two answers can't be joined. It says whose own
an account is and never whose else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ledger.graph.posting import month_text
from ledger.identity.identifier import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ledger.graph.link import KindRule

NODES_MAX = 200


class EgoRow(NamedTuple):
    """One account under one identifier of the account in the middle."""

    identifier: int
    kind: int
    account: int
    platform: int
    incidents: int
    first_day: int
    last_day: int


class EgoAccount(NamedTuple):
    """An account: how many incidents it bears, in which months, whether the asker's own."""

    name: str
    middle: bool
    own: bool
    incidents: int
    first_month: str
    last_month: str


class EgoIdentifier(NamedTuple):
    """An identifier of the account in the middle. A hub is named and leads nowhere."""

    name: str
    kind: Kind
    accounts: int
    hub: bool


class EgoNetwork(NamedTuple):
    """Accounts, identifiers and which of them go together; `truncated` where some are left out."""

    accounts: tuple[EgoAccount, ...]
    identifiers: tuple[EgoIdentifier, ...]
    links: tuple[tuple[str, str], ...]
    truncated: bool


def build_ego(
    rows: Sequence[EgoRow], middle: int, platform: int, rules: Mapping[int, KindRule]
) -> EgoNetwork:
    """Build the network around an account: its identifiers, and who else bears incidents there.

    *Shape*: `rows` of the account's own identifiers; `platform` is the asker's. An identifier on
    more accounts than its kind's cap is a hub.
    """
    by_identifier: dict[int, list[EgoRow]] = {}
    for row in rows:
        by_identifier.setdefault(row.identifier, []).append(row)
    names = {middle: "account-1"}
    described = {row.account: row for row in rows}
    identifiers = []
    links = []
    truncated = False
    order = sorted(by_identifier, key=lambda one: (len(by_identifier[one]), one))
    for number, identifier in enumerate(order, 1):
        among = by_identifier[identifier]
        kind = among[0].kind
        cap = rules[kind].cap
        hub = cap is not None and len(among) > cap
        name = f"identifier-{number}"
        identifiers.append(EgoIdentifier(name, Kind.from_code(kind), len(among), hub))
        links.append(("account-1", name))
        for row in [] if hub else sorted(among, key=lambda one: one.account):
            if row.account not in names and len(names) + len(order) >= NODES_MAX:
                truncated = True
                continue
            names.setdefault(row.account, f"account-{len(names) + 1}")
            if row.account != middle:
                links.append((names[row.account], name))
    accounts = tuple(
        EgoAccount(
            name,
            account == middle,
            described[account].platform == platform,
            described[account].incidents,
            month_text(described[account].first_day),
            month_text(described[account].last_day),
        )
        for account, name in names.items()
        if account in described
    )
    return EgoNetwork(accounts, tuple(identifiers), tuple(links), truncated)
