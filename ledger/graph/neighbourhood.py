"""The bounded surroundings of a query: own account, same person's accounts, associated accounts.

Built from the rows of one read. Nothing here weighs; a neighbourhood says who is linked by what.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.graph.link import (
    GroupCount,
    Presented,
    count_accounts,
    is_hub,
    is_same_person,
    is_verified,
)
from ledger.identity.identifier import Binding, Bucket, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ledger.graph.link import KindRule
    from ledger.graph.posting import Multiplicity, Posting

__all__ = ["Bearer", "IgnoredLink", "Neighbourhood", "Presented", "build_neighbourhood"]


@dataclass(frozen=True, slots=True)
class SharedKind:
    """The best token of one kind that an account shares with the asker."""

    kind: Kind
    accounts: int


@dataclass(frozen=True, slots=True)
class Bearer:
    """An account that bears incidents, with its rows and what it shares with the asker."""

    account: int
    platform: int
    group: str
    rows: tuple[Posting, ...]
    shared: tuple[SharedKind, ...]
    has_nid: bool


@dataclass(frozen=True, slots=True)
class IgnoredLink:
    """A token that linked nobody, and why."""

    kind: Kind
    reason: str


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Who bears what around a query. `own` is None where the account itself bears nothing."""

    own: Bearer | None
    same_person: tuple[Bearer, ...]
    associated: tuple[Bearer, ...]
    ignored: tuple[IgnoredLink, ...]


def build_neighbourhood(
    account_key: bytes,
    asker_group: str,
    presented: Sequence[Presented],
    postings: Sequence[Posting],
    multiplicities: Sequence[Multiplicity],
    rules: Mapping[Kind, KindRule],
) -> Neighbourhood:
    """Build the neighbourhood of an account from the rows under its own key and its tokens.

    *Shape*: an account's rows are the same under each of its tokens. A token that has a
    multiplicity and no rows was too crowded to be read. What the asker itself declares above a
    cap is named whether or not anybody bears incidents there, so that this tells nothing. Tokens
    stored with other accounts add nothing, so that no link is ever chained.
    """
    by_key: dict[bytes, list[Posting]] = {}
    for row in postings:
        by_key.setdefault(row.key, []).append(row)
    own_rows = by_key.pop(account_key, [])
    own_account = own_rows[0].account if own_rows else None
    own = _bearer(own_rows, (), has_nid=False) if own_rows else None
    counts = _count_groups(multiplicities)
    links: dict[int, dict[Kind, int]] = {}
    verified: dict[int, set[Kind]] = {}
    rows_of: dict[int, list[Posting]] = {}
    ignored = []
    for one in presented:
        groups = counts.get(one.key, {})
        rows = by_key.get(one.key, [])
        absent = all(row.account != own_account for row in rows)
        n = _count_unless_hub(one, groups, asker_group, rules[one.kind].cap, absent=absent)
        if n is None or (groups and not rows):
            ignored.append(IgnoredLink(one.kind, "hub"))
            continue
        proves = is_verified(one.kind, one.binding) and (
            n <= rules[one.kind].free or one.kind is Kind.NID
        )
        seen: dict[int, list[Posting]] = {}
        for row in rows:
            if row.account != own_account:
                seen.setdefault(row.account, []).append(row)
        for account, borne in seen.items():
            rows_of.setdefault(account, borne)
            kinds = links.setdefault(account, {})
            kinds[one.kind] = min(n, kinds.get(one.kind, n))
            if proves and is_verified(one.kind, Binding.from_code(borne[0].binding)):
                verified.setdefault(account, set()).add(one.kind)
    same: list[Bearer] = []
    associated: list[Bearer] = []
    for account in sorted(links):
        kinds = links[account]
        proven = verified.get(account, set())
        shared = tuple(SharedKind(kind, kinds[kind]) for kind in Kind if kind in kinds)
        bearer = _bearer(rows_of[account], shared, has_nid=Kind.NID in proven)
        (same if is_same_person(proven) else associated).append(bearer)
    return Neighbourhood(own, tuple(same), tuple(associated), tuple(ignored))


def _count_unless_hub(
    one: Presented,
    groups: Mapping[str, GroupCount],
    asker_group: str,
    cap: int | None,
    *,
    absent: bool,
) -> int | None:
    """Count the accounts on a token, at most its cap; None where it is a hub."""
    n, tested = count_accounts(groups, asker_group, one.bucket, absent=absent)
    if cap is None or n <= cap:
        return n
    return None if is_hub(groups, tested, asker_group, one.bucket, cap) else cap


def _count_groups(multiplicities: Sequence[Multiplicity]) -> dict[bytes, dict[str, GroupCount]]:
    """Sum the platforms of each group; its latest declaration stands."""
    latest: dict[tuple[bytes, str], int] = {}
    counts: dict[bytes, dict[str, GroupCount]] = {}
    for row in multiplicities:
        groups = counts.setdefault(row.key, {})
        before = groups.get(row.group)
        seen = row.accounts + (before.seen if before else 0)
        newer = row.bucket_index > latest.get((row.key, row.group), -1)
        declared = before.bucket if before else None
        bucket = Bucket.from_code(row.bucket) if newer else declared
        latest[row.key, row.group] = max(row.bucket_index, latest.get((row.key, row.group), -1))
        groups[row.group] = GroupCount(seen, bucket)
    return counts


def _bearer(rows: Sequence[Posting], shared: tuple[SharedKind, ...], *, has_nid: bool) -> Bearer:
    first = rows[0]
    return Bearer(first.account, first.platform, first.group, tuple(rows), shared, has_nid)
