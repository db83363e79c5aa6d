"""The score of a neighbourhood: exact integers, rounded as docs/scoring.md says.

Direct evidence of the asker's own and the same person's accounts counts by platform group; one
associative link counts half, and a single kind of link stays below MEDIUM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ledger.graph.link import ADDR
from ledger.graph.posting import UNIT, decayed_mass
from ledger.identity.identifier import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.graph.neighbourhood import Bearer, IgnoredLink, Neighbourhood
    from ledger.risk.policy import RiskPolicy

GROUP_CAP = 2 * UNIT  # what a group's direct evidence stays below


class GroupPart(NamedTuple):
    """What one platform group contributes. *Units*: `weight` in micro-units."""

    group: str
    platform: int
    weight: int
    points: int


class LinkPart(NamedTuple):
    """What one associated account contributes, under the strongest kind that is shared."""

    account: int
    kind: Kind
    accounts: int
    weight: int
    points: int


class WeighedLink(NamedTuple):
    """One associated account, X_a, and the strongest kind that is shared with its n."""

    bearer: Bearer
    weight: int
    kind: int
    accounts: int


class RiskScore(NamedTuple):
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
    first_day: int | None
    last_day: int | None
    was_active_disputed: bool
    ignored: tuple[IgnoredLink, ...]
    protected: bool = False


def saturate(cap: int, x: int) -> int:
    """Give cap·x / (cap + x), floored: grows like x and stays below the cap."""
    return cap * x // (cap + x)


def score_evidence(h: int) -> int:
    """Give the score of evidence h, floored: 1000·h / (U + h)."""
    return 1000 * h // (UNIT + h)


def least_evidence(score: int) -> int:
    """Give the least evidence that scores as much, the inverse of `score_evidence`."""
    return -(-score * UNIT // (1000 - score))


def combine_links(x: int, kinds: set[int]) -> int:
    """Give H_L of the sum of X_a: a single kind of link but for addresses stays below MEDIUM."""
    return saturate(UNIT if len(kinds) > 1 else UNIT // 3, x) if x else 0


def may_be_high(groups: int, *, finding: bool) -> bool:
    """Tell whether direct evidence allows HIGH: of two groups, or a finding of level A."""
    return finding or groups > 1


def score_on_day(neighbourhood: Neighbourhood, policy: RiskPolicy, day: int) -> RiskScore:
    """Score a neighbourhood as of a day since 1970-01-01.

    *Source*: docs/scoring.md, normative down to each floor.
    """
    own, same, associated, ignored, markers = neighbourhood
    direct = (own, *same) if own else same
    certain = [bearer for bearer in direct if bearer is own or bearer.has_nid]
    groups = _weigh_groups(direct, policy, day)
    sure = groups if len(certain) == len(direct) else _weigh_groups(certain, policy, day)
    h_direct = sum([weight for _, _, weight in groups])
    h_certain = sum([weight for _, _, weight in sure])
    links, h_linked, kinds = weigh_links(neighbourhood, policy, day)
    x = sum([one.weight for one in links])
    h = h_direct + h_linked
    score = score_evidence(h)
    parts = [(weight, (platform, 0)) for _, platform, weight in groups]
    for one in links:
        bearer = one.bearer
        parts.append((h_linked * one.weight // x, (bearer.platform, bearer.account)))
    points = share_points(score, parts)
    linked = len(groups)  # where the links begin among the parts
    seen = _summarise((*direct, *associated))
    protected = any(first <= day <= last for _, first, last in markers)
    return RiskScore(
        score,
        score_evidence(h_direct),
        score_evidence(h_linked),
        score_evidence(h_certain),
        _level(score, policy, allowed_high=may_be_high(len(groups), finding=has_finding(direct))),
        may_be_high(len(sure), finding=has_finding(certain)),
        "protected" if protected else _basis(neighbourhood, h_direct, h_linked),
        tuple([GroupPart(*one, points[place]) for place, one in enumerate(groups)]),
        tuple(
            [_share_link(*one) for one in zip(links, parts[linked:], points[linked:], strict=True)]
        ),
        len(kinds),
        *seen,
        any(row.disputed for bearer in direct for row in bearer.rows),
        ignored,
        protected,
    )


def _share_link(one: WeighedLink, part: tuple[int, tuple[int, int]], points: int) -> LinkPart:
    kind = Kind.from_code(one.kind)
    return LinkPart(one.bearer.account, kind, one.accounts, part[0], points)


def weigh_links(
    neighbourhood: Neighbourhood, policy: RiskPolicy, day: int
) -> tuple[list[WeighedLink], int, set[int]]:
    """Give X_a of the associated accounts that weigh, H_L, and the kinds but for addresses."""
    links = [
        one
        for bearer in neighbourhood.associated
        if (one := _weigh_link(bearer, policy, day)).weight
    ]
    kinds = {kind for one in links for kind, _ in one.bearer.shared if kind != ADDR}
    x = sum([one.weight for one in links])
    return links, combine_links(x, kinds), kinds


def _summarise(bearers: Sequence[Bearer]) -> tuple[int, int, int, int | None, int | None]:
    """Count incidents, groups and disputed incidents, and give the first and the last day."""
    rows = [row for bearer in bearers for row in bearer.rows]
    if not rows:
        return 0, 0, 0, None, None
    return (
        sum([row.incidents for row in rows]),
        len({row.group for row in rows}),
        sum([row.disputed for row in rows]),
        min([row.first_day for row in rows]),
        max([row.last_day for row in rows]),
    )


def _mass(bearer: Bearer, policy: RiskPolicy, day: int) -> int:
    mass = 0
    for row in bearer.rows:
        if row.mass:
            half_life = policy.half_lives[row.half_life]
            mass += decayed_mass(row.mass, day, half_life, policy.epoch_day)
    return mass


def _weigh_groups(
    bearers: Sequence[Bearer], policy: RiskPolicy, day: int
) -> list[tuple[str, int, int]]:
    """Give D_g = rel·sat_2U(S_g) // U of every group that weighs, by its lowest platform id."""
    sums: dict[str, int] = {}
    lowest: dict[str, tuple[int, int, int]] = {}
    for bearer in bearers:
        group, row = bearer.group, bearer.rows[0]
        place = (bearer.platform, row.upheld, row.overturned)
        sums[group] = sums.get(group, 0) + _mass(bearer, policy, day)
        lowest[group] = min(place, lowest.get(group, place))
    weighed = []
    for group, (platform, upheld, overturned) in lowest.items():
        weight = policy.reliability(upheld, overturned) * saturate(GROUP_CAP, sums[group]) // UNIT
        if weight:
            weighed.append((group, platform, weight))
    weighed.sort(key=_platform_of)
    return weighed


def _platform_of(weighed: tuple[str, int, int]) -> int:
    return weighed[1]


def weigh_kinds(bearer: Bearer, policy: RiskPolicy) -> tuple[int, int, int]:
    """Give λ over the kinds that an account shares, and the one with the largest s·δ with its n.

    The first kind of the table is the strongest on a tie.
    """
    rest, k = UNIT, policy.multiplicity_k
    best, strongest, accounts = -1, 0, 0
    for kind, n in bearer.shared:
        strength, free, _ = policy.kinds[kind]
        most = strength * (k * UNIT // (k + max(0, n - free)))
        rest = rest * (UNIT - most // UNIT) // UNIT
        if most > best:
            best, strongest, accounts = most, kind, n
    return UNIT - rest, strongest, accounts


def _weigh_link(bearer: Bearer, policy: RiskPolicy, day: int) -> WeighedLink:
    """Give X_a = λ·H_D(a) // 2U of one associated account, and its strongest kind."""
    strength, strongest, accounts = weigh_kinds(bearer, policy)
    row = bearer.rows[0]
    reliability = policy.reliability(row.upheld, row.overturned)
    borne = reliability * saturate(GROUP_CAP, _mass(bearer, policy, day)) // UNIT
    return WeighedLink(bearer, strength * borne // GROUP_CAP, strongest, accounts)


def has_finding(bearers: Sequence[Bearer]) -> bool:
    """Tell whether a finding of level A is among what these accounts bear."""
    return any(row.level_a for bearer in bearers for row in bearer.rows)


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
    if len(weighted) == 1:
        return [total if weighted[0][0] else 0]
    whole = sum([weight for weight, _ in weighted])
    if whole == 0:
        return [0] * len(weighted)
    shares = [total * weight // whole for weight, _ in weighted]
    left = total - sum(shares)
    if left:
        by_remainder = sorted(
            range(len(weighted)),
            key=lambda i: (-(total * weighted[i][0] % whole), weighted[i][1]),
        )
        for place in by_remainder[:left]:
            shares[place] += 1
    return shares
