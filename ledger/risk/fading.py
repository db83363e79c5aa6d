"""What bears evidence around a question, with all that time doesn't change worked out once.

The score reads it as of one day, the outlook as of many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ledger.graph.link import ADDR
from ledger.graph.posting import UNIT, UNIX_ORDINAL, decayed_mass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.graph.neighbourhood import Bearer, Neighbourhood
    from ledger.risk.policy import RiskPolicy

GROUP_CAP = 2 * UNIT  # what a group's direct evidence stays below
NOTHING_GONE = -UNIX_ORDINAL  # the day before any date
# What fades of one posting: its mass, its half-life in days, how many incidents it sums, and the
# last day of them all.
Rows: TypeAlias = "list[tuple[int, int, int, int]]"


class FadingGroup(NamedTuple):
    """What one platform group reported of a person, by the group's lowest platform id."""

    group: str
    platform: int
    reliability: int
    rows: Rows


class FadingLink(NamedTuple):
    """One associated account: λ, the strongest kind that is shared with its n, what it bears.

    *Shape*: `kinds` are all that are shared but for addresses.
    """

    bearer: Bearer
    strength: int
    kind: int
    accounts: int
    kinds: set[int]
    reliability: int
    rows: Rows


class Fading(NamedTuple):
    """A neighbourhood whose evidence fades.

    *Shape*: `finding_day` is the last day of direct evidence with a finding of level A, if any.
    """

    epoch_day: int
    groups: list[FadingGroup]
    links: list[FadingLink]
    finding_day: int | None


def fade(neighbourhood: Neighbourhood, policy: RiskPolicy) -> Fading:
    """Work out reliabilities and the strengths of links."""
    own, same, associated, _, _ = neighbourhood
    direct = (own, *same) if own else same
    return Fading(
        policy.epoch_day,
        fade_groups(direct, policy),
        [_fade_link(bearer, policy) for bearer in associated],
        last_finding(direct),
    )


def fade_groups(bearers: Sequence[Bearer], policy: RiskPolicy) -> list[FadingGroup]:
    """Give the groups of some accounts of one person, the lowest platform id first."""
    groups: dict[str, FadingGroup] = {}
    for bearer in bearers:
        known = groups.get(bearer.group)
        rows = _rows(bearer, policy)
        if known is None or bearer.platform < known.platform:
            reliability = _reliability(bearer, policy)
            earlier = known.rows if known else []
            groups[bearer.group] = FadingGroup(
                bearer.group, bearer.platform, reliability, earlier + rows
            )
        else:
            known.rows.extend(rows)
    if len(groups) > 1:
        return sorted(groups.values(), key=_platform_of)
    return list(groups.values())


def _platform_of(one: FadingGroup) -> int:
    return one.platform


def _fade_link(bearer: Bearer, policy: RiskPolicy) -> FadingLink:
    return FadingLink(
        bearer,
        *weigh_kinds(bearer, policy),
        {kind for kind, _ in bearer.shared if kind != ADDR},
        _reliability(bearer, policy),
        _rows(bearer, policy),
    )


def _reliability(bearer: Bearer, policy: RiskPolicy) -> int:
    row = bearer.rows[0]
    return policy.reliability(row.upheld, row.overturned)


def _rows(bearer: Bearer, policy: RiskPolicy) -> Rows:
    half_lives = policy.half_lives
    return [
        (row.mass, half_lives[row.half_life], row.incidents, row.last_day)
        for row in bearer.rows
        if row.mass
    ]


def last_finding(bearers: Sequence[Bearer]) -> int | None:
    """Give the last day of what these accounts bear with a finding of level A, None without."""
    last = None
    for bearer in bearers:
        for row in bearer.rows:
            if row.level_a and (last is None or row.last_day > last):
                last = row.last_day
    return last


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


def saturate(cap: int, x: int) -> int:
    """Give cap·x / (cap + x), floored: grows like x and stays below the cap."""
    return cap * x // (cap + x)


def bear(reliability: int, rows: Rows, day: int, epoch_day: int, gone: int = NOTHING_GONE) -> int:
    """Give rel·sat_2U(S) // U of what was borne, on a day.

    *Shape*: rows whose last day is `gone` or before weigh nothing.
    """
    mass = 0
    for stored, half_life, _, last_day in rows:
        if last_day > gone:
            mass += decayed_mass(stored, day, half_life, epoch_day)
    return reliability * saturate(GROUP_CAP, mass) // UNIT
