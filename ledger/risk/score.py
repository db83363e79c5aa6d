"""The score of a neighbourhood: exact integers, rounded as docs/scoring.md says.

Direct evidence of the asker's own and the same person's accounts counts by platform group; one
associative link counts half, and a single kind of link stays below MEDIUM.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.graph.posting import UNIT, HalfLife, decayed_mass
from ledger.identity.identifier import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from ledger.graph.neighbourhood import Bearer, IgnoredLink, Neighbourhood
    from ledger.risk.policy import RiskPolicy

_UNIX_ORDINAL = 719_163
_HALF_LIVES = {member.value: member for member in HalfLife}


@dataclass(frozen=True, slots=True)
class GroupPart:
    """What one platform group contributes. *Units*: `weight` in micro-units."""

    group: str
    platform: int
    weight: int
    points: int


@dataclass(frozen=True, slots=True)
class LinkPart:
    """What one associated account contributes, under the strongest kind that is shared."""

    account: int
    kind: Kind
    accounts: int
    weight: int
    points: int


@dataclass(frozen=True, slots=True)
class RiskScore:
    """The exact result. Points of groups and links add up to `score`.

    `certain_score` is the direct score over own accounts and those that share a national id.
    """

    score: int
    direct_score: int
    linked_score: int
    certain_score: int
    level: str
    certain_high: bool
    basis: str
    groups: tuple[GroupPart, ...]
    links: tuple[LinkPart, ...]
    association_kinds: int
    incidents: int
    platforms: int
    disputed: int
    was_active_disputed: bool
    first_day: int | None
    last_day: int | None
    ignored: tuple[IgnoredLink, ...]


def saturate(cap: int, x: int) -> int:
    """Give cap·x / (cap + x), floored: grows like x and stays below the cap."""
    return cap * x // (cap + x)


def score_neighbourhood(neighbourhood: Neighbourhood, policy: RiskPolicy, today: date) -> RiskScore:
    """Score a neighbourhood as of a UTC date.

    *Source*: docs/scoring.md, normative down to each floor.
    """
    day = today.toordinal() - _UNIX_ORDINAL
    own = (neighbourhood.own,) if neighbourhood.own else ()
    direct = (*own, *neighbourhood.same_person)
    groups = _sum_groups(direct, policy, day)
    h_direct = sum(groups.values())
    links = [
        (bearer, share)
        for bearer in neighbourhood.associated
        if (share := _weigh_link(bearer, policy, day)) > 0
    ]
    x = sum(share for _, share in links)
    kinds = {one.kind for bearer, _ in links for one in bearer.shared} - {Kind.ADDR}
    h_linked = saturate(UNIT if len(kinds) > 1 else UNIT // 3, x) if x else 0
    h = h_direct + h_linked
    score = 1000 * h // (UNIT + h)
    certain = _sum_groups(
        (*own, *(one for one in neighbourhood.same_person if one.has_nid)), policy, day
    )
    level_a = any(row.level_a for bearer in direct for row in bearer.rows)
    high = sum(1 for weight in groups.values() if weight) > 1 or level_a
    certain_a = any(
        row.level_a
        for bearer in direct
        if bearer is neighbourhood.own or bearer.has_nid
        for row in bearer.rows
    )
    platforms = _lowest_platforms(direct)
    group_parts = [(weight, (platforms[group], 0)) for group, weight in groups.items() if weight]
    link_parts = [
        (h_linked * share // x, (bearer.platform, bearer.account)) for bearer, share in links
    ]
    points = share_points(score, [*group_parts, *link_parts])
    names = [group for group, weight in groups.items() if weight]
    rows = [row for bearer in (*direct, *neighbourhood.associated) for row in bearer.rows]
    return RiskScore(
        score=score,
        direct_score=1000 * h_direct // (UNIT + h_direct),
        linked_score=1000 * h_linked // (UNIT + h_linked),
        certain_score=1000 * sum(certain.values()) // (UNIT + sum(certain.values())),
        level=_level(score, policy, allowed_high=high),
        certain_high=sum(1 for weight in certain.values() if weight) > 1 or certain_a,
        basis=_basis(neighbourhood, h_direct, h_linked),
        groups=tuple(
            GroupPart(name, order[0], weight, given)
            for name, (weight, order), given in zip(names, group_parts, points, strict=False)
        ),
        links=tuple(
            _link_part(bearer, weight, given, policy)
            for (bearer, _), (weight, _), given in zip(
                links, link_parts, points[len(group_parts) :], strict=True
            )
        ),
        association_kinds=len(kinds),
        incidents=sum(row.count for row in rows),
        platforms=len({bearer.group for bearer in (*direct, *neighbourhood.associated)}),
        disputed=sum(row.disputed for row in rows),
        was_active_disputed=any(row.disputed for bearer in direct for row in bearer.rows),
        first_day=min((row.first_day for row in rows), default=None),
        last_day=max((row.last_day for row in rows), default=None),
        ignored=neighbourhood.ignored,
    )


def _mass(bearer: Bearer, policy: RiskPolicy, day: int) -> int:
    half_lives = policy.half_lives
    return sum(
        decayed_mass(row.mass, day, half_lives[_HALF_LIVES[row.half_life]], policy.epoch_day)
        for row in bearer.rows
        if row.mass
    )


def _lowest_platforms(bearers: Sequence[Bearer]) -> dict[str, int]:
    """Give the lowest platform id of each group."""
    lowest: dict[str, int] = {}
    for bearer in bearers:
        lowest[bearer.group] = min(bearer.platform, lowest.get(bearer.group, bearer.platform))
    return lowest


def _sum_groups(bearers: Sequence[Bearer], policy: RiskPolicy, day: int) -> dict[str, int]:
    """Give D_g = rel·sat_2U(S_g) // U for every group, by its lowest platform id."""
    order = _lowest_platforms(bearers)
    sums = dict.fromkeys(order, 0)
    for bearer in bearers:
        sums[bearer.group] += _mass(bearer, policy, day)
    reliability = policy.reliability(0, 0)  # decided disputes arrive with the buyer's rights
    return {
        group: reliability * saturate(2 * UNIT, sums[group]) // UNIT
        for group in sorted(sums, key=order.__getitem__)
    }


def _weigh_link(bearer: Bearer, policy: RiskPolicy, day: int) -> int:
    """Give X_a = λ·H_D(a) // 2U of one associated account."""
    rest = UNIT
    for one in bearer.shared:
        rule = policy.kinds[one.kind]
        delta = _delta(one.accounts, rule.free, policy)
        rest = rest * (UNIT - rule.strength * delta // UNIT) // UNIT
    borne = policy.reliability(0, 0) * saturate(2 * UNIT, _mass(bearer, policy, day)) // UNIT
    return (UNIT - rest) * borne // (2 * UNIT)


def _delta(n: int, free: int, policy: RiskPolicy) -> int:
    k = policy.multiplicity_k
    return k * UNIT // (k + max(0, n - free))


def _link_part(bearer: Bearer, weight: int, points: int, policy: RiskPolicy) -> LinkPart:
    def strength(place: int) -> tuple[int, int]:
        one = bearer.shared[place]
        rule = policy.kinds[one.kind]
        return rule.strength * _delta(one.accounts, rule.free, policy), -place

    best = bearer.shared[max(range(len(bearer.shared)), key=strength)]
    return LinkPart(bearer.account, best.kind, best.accounts, weight, points)


def _level(score: int, policy: RiskPolicy, *, allowed_high: bool) -> str:
    if score >= policy.level_high and allowed_high:
        return "HIGH"
    return "MEDIUM" if score >= policy.level_medium else "LOW"


def _basis(neighbourhood: Neighbourhood, h_direct: int, h_linked: int) -> str:
    if neighbourhood.same_person and h_direct:
        return "same_person"
    if h_direct:
        return "own_account"
    return "association" if h_linked else "no_record"


def share_points(total: int, weighted: Sequence[tuple[int, tuple[int, int]]]) -> list[int]:
    """Share points by weight, by largest remainder; ties go to the lower order.

    *Shape*: pairs of weight and order; the shares add up to `total` where any weight is.
    """
    whole = sum(weight for weight, _ in weighted)
    if whole == 0:
        return [0] * len(weighted)
    shares = [total * weight // whole for weight, _ in weighted]
    left = total - sum(shares)
    by_remainder = sorted(
        range(len(weighted)),
        key=lambda i: (-(total * weighted[i][0] % whole), weighted[i][1]),
    )
    for place in by_remainder[:left]:
        shares[place] += 1
    return shares
