"""The score of a neighbourhood: exact integers, rounded as docs/scoring.md says.

Direct evidence of the asker's own and the same person's accounts counts by platform group; one
associative link counts half, and a single kind of link stays below MEDIUM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ledger.graph.posting import UNIT
from ledger.identity.identifier import Kind
from ledger.risk.fading import (
    GROUP_CAP,
    NOTHING_GONE,
    bear,
    fade,
    fade_groups,
    last_finding,
    saturate,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.graph.neighbourhood import Bearer, IgnoredLink, Neighbourhood
    from ledger.risk.fading import Fading, FadingGroup, FadingLink
    from ledger.risk.policy import RiskPolicy


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
    """One associated account that weighs: X_a."""

    link: FadingLink
    weight: int


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
    """Score a neighbourhood as of a day since 1970-01-01."""
    return score_fading(neighbourhood, fade(neighbourhood, policy), policy, day)


def score_fading(
    neighbourhood: Neighbourhood, fading: Fading, policy: RiskPolicy, day: int
) -> RiskScore:
    """Score a neighbourhood, of which is worked out already what time doesn't change.

    *Source*: docs/scoring.md, normative down to each floor.
    """
    own, same, associated, ignored, markers = neighbourhood
    direct = (own, *same) if own else same
    certain = [bearer for bearer in direct if bearer is own or bearer.has_nid]
    groups = sure = _weigh_groups(fading.groups, fading.epoch_day, day)
    is_sure = len(certain) == len(direct)
    finding = sure_finding = fading.finding_day is not None
    if not is_sure:
        sure = _weigh_groups(fade_groups(certain, policy), fading.epoch_day, day)
        sure_finding = last_finding(certain) is not None
    h_direct = sum([weight for _, weight in groups])
    h_certain = h_direct if is_sure else sum([weight for _, weight in sure])
    links, h_linked, kinds = weigh_links(fading, day)
    score = score_evidence(h_direct + h_linked)
    parts: list[tuple[int, tuple[int, ...]]]
    parts = [(weight, (one.platform,)) for one, weight in groups]
    if links:
        x = sum([weight for _, weight in links])
        for one, weight in links:
            order = (one.bearer.platform, one.kind, one.bearer.account)
            parts.append((h_linked * weight // x, order))
    points = share_points(score, parts)
    linked = len(groups)  # where the links begin among the parts
    protected = bool(markers) and any(first <= day <= last for _, first, last in markers)
    return RiskScore(
        score,
        score_evidence(h_direct),
        score_evidence(h_linked),
        score_evidence(h_certain),
        _level(score, policy, allowed_high=may_be_high(linked, finding=finding)),
        may_be_high(len(sure), finding=sure_finding),
        "protected" if protected else _basis(neighbourhood, h_direct, h_linked),
        tuple(
            [
                GroupPart(one.group, one.platform, weight, points[place])
                for place, (one, weight) in enumerate(groups)
            ]
        ),
        tuple(
            [
                LinkPart(
                    link.bearer.account,
                    Kind.from_code(link.kind),
                    link.accounts,
                    parts[place][0],
                    points[place],
                )
                for place, (link, _) in enumerate(links, linked)
            ]
        ),
        len(kinds),
        *_summarise((*direct, *associated)),
        any(row.disputed for bearer in direct for row in bearer.rows),
        ignored,
        protected,
    )


def weigh_links(
    fading: Fading, day: int, gone: int = NOTHING_GONE
) -> tuple[list[WeighedLink], int, set[int]]:
    """Give X_a = λ·H_D(a) // 2U of the associated accounts that weigh, H_L, and their kinds.

    Addresses aren't among the kinds. *Shape*: what ended by the day `gone` weighs nothing.
    """
    links, kinds, x = [], set[int](), 0
    for link in fading.links:
        borne = bear(link.reliability, link.rows, day, fading.epoch_day, gone)
        weight = link.strength * borne // GROUP_CAP
        if weight:
            links.append(WeighedLink(link, weight))
            kinds |= link.kinds
            x += weight
    return links, combine_links(x, kinds), kinds


def _weigh_groups(
    groups: Sequence[FadingGroup], epoch_day: int, day: int
) -> list[tuple[FadingGroup, int]]:
    """Give D_g of every group that weighs."""
    weighed = [(one, bear(one.reliability, one.rows, day, epoch_day)) for one in groups]
    return [one for one in weighed if one[1]]


def _summarise(bearers: Sequence[Bearer]) -> tuple[int, int, int, int | None, int | None]:
    """Count incidents, groups and disputed incidents, and give the first and the last day."""
    rows = [row for bearer in bearers for row in bearer.rows]
    if not rows:
        return 0, 0, 0, None, None
    if len(rows) == 1:
        row = rows[0]
        return row.incidents, 1, row.disputed, row.first_day, row.last_day
    return (
        sum([row.incidents for row in rows]),
        len({row.group for row in rows}),
        sum([row.disputed for row in rows]),
        min([row.first_day for row in rows]),
        max([row.last_day for row in rows]),
    )


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


def share_points(total: int, weighted: Sequence[tuple[int, tuple[int, ...]]]) -> list[int]:
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
