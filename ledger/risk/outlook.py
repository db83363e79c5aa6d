"""What would clear a score, and when: the decay solved month by month, in the score's integers.

No score rises with time alone, so that the first month whose last day is below a level is found
by halving. Beyond the time that records may be kept nothing is left to fade.
"""

from __future__ import annotations

from calendar import monthrange
from collections import Counter
from datetime import date
from functools import lru_cache
from itertools import count
from math import log2
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ledger.graph.link import ADDR
from ledger.graph.posting import UNIT, UNIX_ORDINAL, day_number, decayed_mass
from ledger.risk.score import (
    GROUP_CAP,
    combine_links,
    has_finding,
    least_evidence,
    may_be_high,
    saturate,
    weigh_kinds,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.graph.neighbourhood import Bearer, Neighbourhood
    from ledger.risk.policy import RiskPolicy
    from ledger.risk.score import RiskScore

_MONTHS = 12
_MONTH_DAYS = 30
_OVERTURNED_MAX = 10
_ONE_POINT = least_evidence(1)  # by itself


class Outlook(NamedTuple):
    """What would clear a score: months as "2027-05", None where nothing is to be cleared.

    *Shape*: `direct_ends` and `links_end` are the months from which nothing of the direct, or of
    the linked evidence adds a point; `if_overturned` is how many of the incidents that count,
    the weightiest first, would have to be overturned to bring the score below MEDIUM.
    """

    below_high: str | None
    below_medium: str | None
    if_overturned: int | None
    direct_ends: str | None
    links_end: str | None


# What fades of one posting: its mass, its half-life in days, how many incidents it sums.
_Rows: TypeAlias = "list[tuple[int, int, int]]"


class _Fading(NamedTuple):
    """A neighbourhood with all that time doesn't change worked out once.

    *Shape*: `groups` have a reliability and rows each, `links` the strength of the link too.
    *Units*: `half_life` in days, the longest.
    """

    policy: RiskPolicy
    half_life: int
    groups: list[tuple[int, _Rows]]
    links: list[tuple[int, int, _Rows]]
    kinds: list[set[int]]
    has_finding: bool

    def direct_at(self, day: int) -> int:
        """Give H_D on a day."""
        h, epoch = 0, self.policy.epoch_day
        for rel, rows in self.groups:
            h += _bear(rel, rows, day, epoch)
        return h

    def linked_at(self, day: int) -> int:
        """Give H_L on a day."""
        if not self.links:
            return 0
        x, kinds, epoch = 0, set(), self.policy.epoch_day
        for place, (strength, rel, rows) in enumerate(self.links):
            weight = strength * _bear(rel, rows, day, epoch) // GROUP_CAP
            if weight:
                x += weight
                kinds |= self.kinds[place]
        return combine_links(x, kinds) if x else 0

    def evidence_at(self, day: int) -> int:
        """Give H on a day."""
        return self.direct_at(day) + self.linked_at(day)

    def high_at(self, day: int) -> int:
        """Give H on a day, 0 where the direct evidence doesn't allow HIGH any more."""
        epoch = self.policy.epoch_day
        groups = sum([_bear(*one, day, epoch) > 0 for one in self.groups])
        return self.evidence_at(day) if may_be_high(groups, finding=self.has_finding) else 0

    def without(self, gone: Counter[int]) -> _Fading:
        """Take incidents away: how many of which row, by its place in `all_rows`."""
        place = count()
        return self._replace(
            groups=[
                (rel, [_less(*row, gone[next(place)]) for row in rows]) for rel, rows in self.groups
            ],
            links=[
                (strength, rel, [_less(*row, gone[next(place)]) for row in rows])
                for strength, rel, rows in self.links
            ],
        )

    def all_rows(self) -> list[tuple[bool, tuple[int, int, int]]]:
        """Give every row, and whether it is direct evidence."""
        direct = [(True, row) for _, rows in self.groups for row in rows]
        return direct + [(False, row) for _, _, rows in self.links for row in rows]


def _fade(neighbourhood: Neighbourhood, policy: RiskPolicy) -> _Fading:
    """Work out reliabilities and the strengths of links."""
    own, same, associated, _, _ = neighbourhood
    direct = (own, *same) if own else same
    groups: dict[str, tuple[int, _Rows]] = {}
    for bearer in direct:
        rows = _rows(bearer, policy)
        known = groups.setdefault(bearer.group, (_reliability(bearer, policy), rows))[1]
        if known is not rows:
            known.extend(rows)
    bearers = (*direct, *associated)
    return _Fading(
        policy,
        max([policy.half_lives[row.half_life] for one in bearers for row in one.rows]),
        list(groups.values()),
        [
            (weigh_kinds(bearer, policy)[0], _reliability(bearer, policy), _rows(bearer, policy))
            for bearer in associated
        ],
        [{kind for kind, _ in bearer.shared if kind != ADDR} for bearer in associated],
        has_finding(direct),
    )


def _bear(reliability: int, rows: _Rows, day: int, epoch: int) -> int:
    mass = 0
    for stored, half_life, _ in rows:
        mass += decayed_mass(stored, day, half_life, epoch)
    return reliability * saturate(GROUP_CAP, mass) // UNIT


def _reliability(bearer: Bearer, policy: RiskPolicy) -> int:
    return policy.reliability(bearer.rows[0].upheld, bearer.rows[0].overturned)


def _rows(bearer: Bearer, policy: RiskPolicy) -> _Rows:
    return [
        (row.mass, policy.half_lives[row.half_life], row.incidents)
        for row in bearer.rows
        if row.mass
    ]


def _less(mass: int, half_life: int, incidents: int, number: int) -> tuple[int, int, int]:
    return mass - mass * number // incidents, half_life, incidents


def foresee(
    neighbourhood: Neighbourhood,
    score: RiskScore,
    policy: RiskPolicy,
    day: int,
    retention_years: int,
) -> Outlook:
    """Foresee how a score fades. *Units*: `day` since 1970-01-01."""
    if score.score == 0:
        return Outlook(None, None, None, None, None)
    fading = _fade(neighbourhood, policy)
    begin = _month_of(day)
    end = begin + _MONTHS * retention_years

    def find(value_at: Callable[[int], int], least: int) -> str:
        expected = begin + _expect_months(value_at(day), least, fading.half_life)
        return _text(_first_month(lambda at: value_at(at) >= least, begin, end, expected))

    below_high = below_medium = overturned = None
    if score.level == "HIGH":
        below_high = find(fading.high_at, least_evidence(policy.level_high))
    if score.score >= policy.level_medium:
        medium = least_evidence(policy.level_medium)
        below_medium = find(fading.evidence_at, medium)
        overturned = _count_overturned(fading, medium, day)
    direct_ends = find(fading.direct_at, _ONE_POINT) if score.groups else None
    links_end = find(fading.linked_at, _ONE_POINT) if score.links else None
    return Outlook(below_high, below_medium, overturned, direct_ends, links_end)


def _expect_months(now: int, least: int, half_life: int) -> int:
    """Expect how long it takes to fade to a least: right for one incident, near for others."""
    if not least < now < GROUP_CAP:
        return 0
    mass, rest = now / (GROUP_CAP - now), least / (GROUP_CAP - least)
    return int(half_life * log2(mass / rest) / _MONTH_DAYS)


def _first_month(holds: Callable[[int], bool], begin: int, end: int, expected: int) -> int:
    """Give the first month on whose last day something that fades holds no more.

    Where the month is as expected two looks find it, otherwise halving does. *Shape*: at `end`
    everything is gone, whatever has faded by then.
    """
    low, high = begin, end
    look = max(low, min(expected, high - 1))
    for number in count():
        if holds(_last_day(look)):
            low = near = look + 1
        else:
            high, near = look, look - 1
        if low == high:
            break
        look = (low + high) // 2 if number else near
    return low


def _count_overturned(fading: _Fading, medium: int, day: int) -> int | None:
    """Count how many incidents, the weightiest first, keep a score from being LOW.

    Direct ones weigh more than linked ones; those of one account and half-life are counted as
    equals. None means more than ten.
    """
    epoch = fading.policy.epoch_day
    each = [
        (is_direct, decayed_mass(mass, day, half_life, epoch) // incidents, place)
        for place, (is_direct, (mass, half_life, incidents)) in enumerate(fading.all_rows())
        for _ in range(min(incidents, _OVERTURNED_MAX))
    ]
    if len(each) == 1:
        return 1
    each.sort(reverse=True)
    del each[_OVERTURNED_MAX:]
    for number in range(1, len(each) + 1):
        gone = Counter(place for _, _, place in each[:number])
        if fading.without(gone).evidence_at(day) < medium:
            return number
    return None


def _month_of(day: int) -> int:
    """Give a day's month, counted from the year 0."""
    at = date.fromordinal(day + UNIX_ORDINAL)
    return at.year * _MONTHS + at.month - 1


@lru_cache(maxsize=1024)
def _last_day(month: int) -> int:
    year, number = divmod(month, _MONTHS)
    return day_number(date(year, number + 1, monthrange(year, number + 1)[1]))


def _text(month: int) -> str:
    year, number = divmod(month, _MONTHS)
    return f"{year}-{number + 1:02}"
