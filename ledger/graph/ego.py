"""The surroundings of one account for an analyst: bounded, pseudonymous, cut at hubs.

Nodes are numbered afresh in every answer, so that two answers can't be joined. It says whose own
an account is and never whose else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ledger.graph.link import count_accounts, is_hub
from ledger.graph.neighbourhood import count_groups
from ledger.graph.posting import month_text
from ledger.identity.identifier import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ledger.graph.link import KindRule
    from ledger.graph.posting import Multiplicity

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


class EgoCount(NamedTuple):
    """How many accounts of one platform are on an identifier of the account in the middle."""

    identifier: int
    counted: Multiplicity


class EgoAccount(NamedTuple):
    """An account: how many incidents it bears, in which months, whether the asker's own."""

    name: str
    middle: bool
    own: bool
    incidents: int
    first_month: str
    last_month: str


class EgoIdentifier(NamedTuple):
    """An identifier of the account in the middle. A hub is named and leads nowhere.

    *Shape*: `accounts` is n, the most of any platform group, as the score counts it.
    """

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
    rows: Sequence[EgoRow],
    counts: Sequence[EgoCount],
    middle: int,
    asker: tuple[int, str],
    rules: Mapping[int, KindRule],
) -> EgoNetwork:
    """Build the network around an account: its identifiers, and who else bears incidents there.

    *Shape*: `rows` and `counts` of the account's own identifiers; `asker` is whose account it is,
    platform and group. What is a hub to a score is one here: the asker declares what the latest
    active report of its group did.
    """
    by_identifier: dict[int, list[EgoRow]] = {}
    for row in rows:
        by_identifier.setdefault(row.identifier, []).append(row)
    counted: dict[int, list[Multiplicity]] = {}
    for one in counts:
        counted.setdefault(one.identifier, []).append(one.counted)
    platform, group = asker
    names = {middle: "account-1"}
    described = {row.account: row for row in rows}
    identifiers = []
    links = []
    truncated = False
    order = sorted(counted, key=lambda one: (len(by_identifier.get(one, ())), one))
    for number, identifier in enumerate(order, 1):
        among = by_identifier.get(identifier, [])
        kind = counted[identifier][0].kind_code
        n, hub = _judge(counted[identifier], group, rules[kind].cap, crowded=not among)
        name = f"identifier-{number}"
        identifiers.append(EgoIdentifier(name, Kind.from_code(kind), n, hub))
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


def _judge(
    counted: Sequence[Multiplicity], group: str, cap: int | None, *, crowded: bool
) -> tuple[int, bool]:
    """Count the accounts on an identifier, and tell whether it is a hub, as a question would."""
    (groups,) = count_groups(counted).values()
    declared = groups[group].bucket
    numbers = count_accounts(groups, group, declared, absent=False)
    n = max(numbers.values())
    if cap is None or n <= cap:
        return n, False
    return n, crowded or is_hub(groups, numbers, group, declared, cap)
