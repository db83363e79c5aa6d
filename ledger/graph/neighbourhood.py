"""The bounded surroundings of a query: own account, same person's accounts, associated accounts.

Built from the rows of one read. Nothing here weighs; a neighbourhood says who is linked by what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ledger.graph.link import (
    LOWER_BOUNDS,
    NID,
    VERIFIED,
    GroupCount,
    Presented,
    count_accounts,
    is_hub,
    is_same_person,
)
from ledger.identity.identifier import Bucket, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ledger.graph.link import KindRule
    from ledger.graph.posting import Multiplicity, Posting

__all__ = ["Bearer", "Evidence", "IgnoredLink", "Neighbourhood", "Presented", "build_neighbourhood"]


_ONE = Bucket.ONE.code


class Evidence(NamedTuple):
    """What one read gave: the log's size, the policy in force there, the rows under some keys.

    *Shape*: `separated` are the accounts that were stated not to be the asked account's person,
    `markers` the kinds of the markers on the account or its identifiers, with first and last day.
    `shadow_version` names the policy to score beside the one in force, 0 for none.
    """

    log_size: int
    policy_version: int
    postings: Sequence[Posting]
    multiplicities: Sequence[Multiplicity]
    separated: frozenset[int] = frozenset()
    markers: Sequence[tuple[int, int, int]] = ()
    shadow_version: int = 0


class SharedKind(NamedTuple):
    """A kind that an account shares with the asker, and the accounts on its rarest token."""

    kind: int
    accounts: int


class Bearer(NamedTuple):
    """An account that bears incidents, with its rows and what it shares with the asker."""

    account: int
    platform: int
    group: str
    rows: Sequence[Posting]
    shared: tuple[SharedKind, ...]
    has_nid: bool


class IgnoredLink(NamedTuple):
    """A token that linked nobody, by its kind, and why."""

    kind: Kind
    reason: str


class Neighbourhood(NamedTuple):
    """Who bears what around a query. `own` is None where the account itself bears nothing."""

    own: Bearer | None
    same_person: tuple[Bearer, ...]
    associated: tuple[Bearer, ...]
    ignored: tuple[IgnoredLink, ...]
    markers: Sequence[tuple[int, int, int]] = ()


def build_neighbourhood(
    account_key: bytes,
    asker_group: str,
    presented: Sequence[Presented],
    evidence: Evidence,
    rules: Mapping[int, KindRule],
) -> Neighbourhood:
    """Build the neighbourhood of an account from the rows under its own key and its tokens.

    *Shape*: an account's rows are the same under each of its tokens. A token that has rows and no
    multiplicity has one account, and one that has a multiplicity and no rows was too crowded to
    be read. What the asker itself declares above a
    cap is named whether or not anybody bears incidents there, so that this tells nothing. Tokens
    stored with other accounts add nothing, so that no link is ever chained. A separated account
    is never found, by whichever token. In which order tokens are presented makes no difference.
    """
    by_key: dict[bytes, dict[int, list[Posting]]] = {}
    for row in evidence.postings:
        by_key.setdefault(row.key, {}).setdefault(row.account, []).append(row)
    own = _find_own(by_key.pop(account_key, {}))
    own_account = own.account if own else None
    counts = count_groups(evidence.multiplicities)
    rows_of: dict[int, list[Posting]] = {}
    links: dict[int, dict[int, int]] = {}
    proven: dict[int, set[int]] = {}
    ignored: list[int] = []
    for key, kind, binding, bucket in presented:
        rule = rules[kind]
        accounts = by_key.get(key, {})
        groups = counts.get(key) or (accounts and _count_single(accounts))
        if not groups:  # nobody bears anything here
            if rule.cap is not None and LOWER_BOUNDS[bucket] > rule.cap:
                ignored.append(kind)
            continue
        counted = count_accounts(groups, asker_group, bucket, absent=own_account not in accounts)
        n = max(counted.values())
        if rule.cap is not None and n > rule.cap:
            if not accounts or is_hub(groups, counted, asker_group, bucket, rule.cap):
                ignored.append(kind)
                continue
            n = rule.cap
        proves = (kind, binding) in VERIFIED and (n <= rule.free or kind == NID)
        for account, rows in accounts.items():
            if account == own_account or account in evidence.separated:
                continue
            rows_of[account] = rows
            kinds = links.setdefault(account, {})
            kinds[kind] = min(n, kinds.get(kind, n))
            if proves and (kind, rows[0].binding) in VERIFIED:
                proven.setdefault(account, set()).add(kind)
    same: list[Bearer] = []
    associated: list[Bearer] = []
    for account in sorted(links):
        kinds = links[account]
        rows, verified = rows_of[account], proven.get(account, ())
        shared = tuple([SharedKind(kind, kinds[kind]) for kind in sorted(kinds)])
        bearer = Bearer(account, rows[0].platform, rows[0].group, rows, shared, NID in verified)
        (same if is_same_person(verified) else associated).append(bearer)
    hubs = tuple([IgnoredLink(Kind.from_code(kind), "hub") for kind in sorted(ignored)])
    return Neighbourhood(own, tuple(same), tuple(associated), hubs, evidence.markers)


def _find_own(accounts: Mapping[int, Sequence[Posting]]) -> Bearer | None:
    for account, rows in accounts.items():
        return Bearer(account, rows[0].platform, rows[0].group, rows, (), has_nid=False)
    return None


def _count_single(accounts: Mapping[int, Sequence[Posting]]) -> dict[str, GroupCount]:
    """Count a token's only account; what was declared of it alone counts for nobody."""
    return {rows[0].group: GroupCount(1, _ONE) for rows in accounts.values()}


def count_groups(multiplicities: Sequence[Multiplicity]) -> dict[bytes, dict[str, GroupCount]]:
    """Sum the platforms of each group; its latest declaration stands."""
    counts: dict[bytes, dict[str, GroupCount]] = {}
    for key, _, accounts, _, group, bucket, bucket_index in multiplicities:
        groups = counts.setdefault(key, {})
        before = groups.get(group)
        if before is None:
            groups[group] = GroupCount(accounts, bucket, bucket_index)
        else:
            latest = max((before.bucket_index, before.bucket), (bucket_index, bucket))
            groups[group] = GroupCount(before.seen + accounts, latest[1], latest[0])
    return counts
