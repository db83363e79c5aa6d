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
    score_evidence,
    weigh_kinds,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.graph.neighbourhood import Bearer, Neighbourhood
    from ledger.risk.policy import RiskPolicy
    from ledger.risk.score import RiskScore

_MONTHS = 12
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
    """

    policy: RiskPolicy
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

    def is_high_at(self, day: int) -> bool:
        """Tell whether the level is HIGH on a day."""
        if score_evidence(self.evidence_at(day)) < self.policy.level_high:
            return False
        epoch = self.policy.epoch_day
        groups = sum([_bear(*one, day, epoch) > 0 for one in self.groups])
        return may_be_high(groups, finding=self.has_finding)

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
    return _Fading(
        policy,
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
    month = _month_of(day)
    kept = month + _MONTHS * retention_years
    below_high = below_medium = overturned = None
    if score.level == "HIGH":
        below_high = _first_month(fading.is_high_at, month, kept)
    if score.score >= policy.level_medium:
        medium = least_evidence(policy.level_medium)
        below_medium = _first_month(lambda at: fading.evidence_at(at) >= medium, month, kept)
        overturned = _count_overturned(fading, medium, day)
    direct_ends = links_end = None
    if score.groups:
        direct_ends = _first_month(lambda at: fading.direct_at(at) >= _ONE_POINT, month, kept)
    if score.links:
        links_end = _first_month(lambda at: fading.linked_at(at) >= _ONE_POINT, month, kept)
    return Outlook(
        _text(below_high), _text(below_medium), overturned, _text(direct_ends), _text(links_end)
    )


def _first_month(holds: Callable[[int], bool], month: int, kept: int) -> int:
    """Give the first month on whose last day something that fades holds no more.

    *Shape*: at the end of `kept` everything is gone, whatever has faded by then.
    """
    if holds(_last_day(kept - 1)):
        return kept
    low, high = month, kept - 1  # it doesn't hold at the end of `high`
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if holds(_last_day(middle)) else (low, middle)
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


def _text(month: int | None) -> str | None:
    if month is None:
        return None
    year, number = divmod(month, _MONTHS)
    return f"{year}-{number + 1:02}"
