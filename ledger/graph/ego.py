"""The surroundings of one account for an analyst: bounded, pseudonymous, cut at hubs.

Nodes are numbered afresh in every answer, so that two answers can't be joined. It says whose own
an account is and never whose else. Where not all fit, the strongest links stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ledger.graph.link import count_accounts, is_hub
from ledger.graph.neighbourhood import count_groups
from ledger.graph.posting import UNIT, month_text
from ledger.identity.identifier import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ledger.graph.link import KindRule
    from ledger.graph.posting import Multiplicity

NODES_MAX = 200  # accounts and identifiers together


class EgoRow(NamedTuple):
    """One account under one identifier of the account in the middle, or that under its own key."""

    identifier: int
    account: int
    platform: int
    incidents: int
    first_day: int
    last_day: int


class EgoCount(NamedTuple):
    """How many accounts of one platform are on an identifier of the account in the middle."""

    identifier: int
    counted: Multiplicity


class EgoLink(NamedTuple):
    """An identifier as a link: n, whether it is a hub, how strongly it links, how many it counts.

    *Units*: `weight` is s·δ in micro-units.
    """

    identifier: int
    kind: int
    n: int
    hub: bool
    weight: int
    counted: int

    @property
    def leads(self) -> bool:
        """Whether there are accounts behind it, and it isn't a hub."""
        return not self.hub and self.counted > 1


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


def rank_identifiers(
    counts: Sequence[EgoCount], group: str, rules: Mapping[int, KindRule], multiplicity_k: int
) -> list[EgoLink]:
    """Judge the identifiers of an account as a question of its group would, strongest first.

    *Shape*: what leads nowhere comes last, hubs first among it. What is a hub to a score is one
    here: the asker declares what the latest active report of its group did.
    """
    counted: dict[int, list[Multiplicity]] = {}
    for one in counts:
        counted.setdefault(one.identifier, []).append(one.counted)
    links = []
    for identifier, seen in counted.items():
        kind, total = seen[0].kind_code, sum(one.accounts for one in seen)
        strength, free, cap = rules[kind]
        n, hub = _judge(seen, group, cap)
        over = max(0, min(n, cap or n) - free)
        weight = strength * (multiplicity_k * UNIT // (multiplicity_k + over)) // UNIT
        links.append(EgoLink(identifier, kind, n, hub, weight, total))
    return sorted(links, key=_order_links)


def _order_links(one: EgoLink) -> tuple[bool, bool, int, int]:
    return not one.leads, not one.hub, -one.weight, one.identifier


def choose_readable(links: Sequence[EgoLink], rows_max: int) -> tuple[list[int], bool]:
    """Choose the identifiers whose accounts are read, and tell whether others link somebody too.

    *Shape*: the strongest, as many as may be shown and count no more than so many rows in all;
    the first in any case.
    """
    linking = [one for one in links if one.leads]
    chosen: list[int] = []
    rows = 0
    for one in linking[: NODES_MAX - 1]:
        rows += one.counted
        if chosen and rows > rows_max:
            break
        chosen.append(one.identifier)
    return chosen, len(chosen) < len(linking)


def build_ego(
    links: Sequence[EgoLink], rows: Sequence[EgoRow], middle: int, platform: int, *, cut: bool
) -> EgoNetwork:
    """Build the network around an account: its identifiers, and who else bears incidents there.

    *Shape*: `links` as ranked, `rows` of those that aren't hubs and of the account's own key;
    `platform` is whose account it is, and `cut` says that rows are left out already. Identifiers
    are nearer than the accounts behind them, and take more than half of the nodes only where
    those leave room; of both the strongest linked stay.
    """
    described = {row.account: row for row in rows}
    places = {one.identifier: place for place, one in enumerate(links) if not one.hub}
    behind: dict[int, set[int]] = {}
    for row in rows:
        if row.account != middle and row.identifier in places:
            behind.setdefault(row.account, set()).add(places[row.identifier])
    # By the strongest link, then by the next one; who has no other comes after who has.
    order = sorted(behind, key=lambda one: ((*sorted(behind[one]), len(links)), one))
    kept = links[: max(NODES_MAX // 2, NODES_MAX - 1 - len(order))]
    near = [one for one in order if min(behind[one]) < len(kept)][: NODES_MAX - 1 - len(kept)]
    names = {account: f"account-{number}" for number, account in enumerate([middle, *near], 1)}
    identifiers, pairs = [], []
    for place, one in enumerate(kept):
        name = f"identifier-{place + 1}"
        identifiers.append(EgoIdentifier(name, Kind.from_code(one.kind), one.n, one.hub))
        pairs.append((names[middle], name))
        pairs += [(names[account], name) for account in near if place in behind[account]]
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
    )
    truncated = cut or len(kept) < len(links) or len(near) < len(order)
    return EgoNetwork(accounts, tuple(identifiers), tuple(pairs), truncated)


def _judge(counted: Sequence[Multiplicity], group: str, cap: int | None) -> tuple[int, bool]:
    """Count the accounts on an identifier, and tell whether it is a hub, as a question would."""
    (groups,) = count_groups(counted).values()
    declared = groups[group].bucket
    numbers = count_accounts(groups, group, declared, absent=False)
    n = max(numbers.values())
    return n, cap is not None and n > cap and is_hub(groups, numbers, group, declared, cap)
