"""What would clear a score, and when: the decay solved month by month, in the score's integers.

No score rises with time alone, so that the first month whose last day is below a level is found
by halving. Beyond the time that records may be kept nothing is left to fade.
"""

from __future__ import annotations

from calendar import monthrange
from collections import Counter
from copy import copy
from datetime import date
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from ledger.graph.link import ADDR
from ledger.graph.posting import UNIT, UNIX_ORDINAL, day_number, decayed_mass
from ledger.risk.score import has_finding, saturate, weigh_kinds

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.graph.neighbourhood import Bearer, Neighbourhood
    from ledger.risk.policy import RiskPolicy
    from ledger.risk.score import RiskScore

_MONTHS = 12
_OVERTURNED_MAX = 10


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


class _Row(NamedTuple):
    """What fades of one posting, and how many incidents it sums."""

    mass: int
    half_life: int
    incidents: int


class _Fading:
    """A neighbourhood with all that time doesn't change worked out once."""

    def __init__(self, neighbourhood: Neighbourhood, policy: RiskPolicy) -> None:
        """Work out reliabilities and the strengths of links."""
        own, same = neighbourhood.own, neighbourhood.same_person
        self.policy = policy
        self.direct = (own, *same) if own else same
        self.groups: dict[str, tuple[int, list[_Row]]] = {}
        for bearer in self.direct:
            rows = self.groups.setdefault(bearer.group, (_reliability(bearer, policy), []))[1]
            rows.extend(_rows(bearer, policy))
        self.links = [
            (weigh_kinds(bearer, policy)[0], _reliability(bearer, policy), _rows(bearer, policy))
            for bearer in neighbourhood.associated
        ]
        self.kinds = [
            {kind for kind, _ in bearer.shared if kind != ADDR}
            for bearer in neighbourhood.associated
        ]

    def direct_at(self, day: int) -> int:
        """Give H_D on a day."""
        return sum([self._borne(rel, rows, day) for rel, rows in self.groups.values()])

    def linked_at(self, day: int) -> int:
        """Give H_L on a day."""
        x, kinds = 0, set()
        for place, (strength, rel, rows) in enumerate(self.links):
            weight = strength * self._borne(rel, rows, day) // (2 * UNIT)
            if weight:
                x += weight
                kinds |= self.kinds[place]
        return saturate(UNIT if len(kinds) > 1 else UNIT // 3, x) if x else 0

    def score_at(self, day: int) -> int:
        """Give the score on a day."""
        h = self.direct_at(day) + self.linked_at(day)
        return 1000 * h // (UNIT + h)

    def is_high_at(self, day: int) -> bool:
        """Tell whether the level is HIGH on a day."""
        if self.score_at(day) < self.policy.level_high:
            return False
        weighing = [rows for rel, rows in self.groups.values() if self._borne(rel, rows, day)]
        return len(weighing) > 1 or has_finding(self.direct)

    def without(self, gone: Counter[int]) -> _Fading:
        """Take incidents away: how many of which row, by its place in `all_rows`."""
        left = copy(self)
        place = count()
        left.groups = {
            name: (rel, [_less(row, gone[next(place)]) for row in rows])
            for name, (rel, rows) in self.groups.items()
        }
        left.links = [
            (strength, rel, [_less(row, gone[next(place)]) for row in rows])
            for strength, rel, rows in self.links
        ]
        return left

    def all_rows(self) -> list[tuple[bool, _Row]]:
        """Give every row, and whether it is direct evidence."""
        direct = [(True, row) for _, rows in self.groups.values() for row in rows]
        return direct + [(False, row) for _, _, rows in self.links for row in rows]

    def mass_at(self, rows: list[_Row], day: int) -> int:
        """Give what rows weigh on a day."""
        epoch = self.policy.epoch_day
        return sum([decayed_mass(row.mass, day, row.half_life, epoch) for row in rows])

    def _borne(self, reliability: int, rows: list[_Row], day: int) -> int:
        return reliability * saturate(2 * UNIT, self.mass_at(rows, day)) // UNIT


def _reliability(bearer: Bearer, policy: RiskPolicy) -> int:
    return policy.reliability(bearer.rows[0].upheld, bearer.rows[0].overturned)


def _rows(bearer: Bearer, policy: RiskPolicy) -> list[_Row]:
    return [
        _Row(row.mass, policy.half_lives[row.half_life], row.incidents)
        for row in bearer.rows
        if row.mass
    ]


def _less(row: _Row, number: int) -> _Row:
    return row._replace(mass=row.mass - row.mass * number // row.incidents) if number else row


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
    fading = _Fading(neighbourhood, policy)
    month = _month_of(day)
    kept = month + _MONTHS * retention_years
    below_high = below_medium = overturned = None
    if score.level == "HIGH":
        below_high = _first_month(fading.is_high_at, month, kept)
    if score.score >= policy.level_medium:
        medium = policy.level_medium
        below_medium = _first_month(lambda at: fading.score_at(at) >= medium, month, kept)
        overturned = _count_overturned(fading, medium, day)
    return Outlook(
        _text(below_high),
        _text(below_medium),
        overturned,
        _text(_first_month(lambda at: _adds(fading.direct_at(at)), month, kept))
        if score.groups
        else None,
        _text(_first_month(lambda at: _adds(fading.linked_at(at)), month, kept))
        if score.links
        else None,
    )


def _adds(h: int) -> bool:
    """Tell whether evidence adds a point by itself."""
    return 1000 * h // (UNIT + h) > 0


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
    rows = fading.all_rows()
    if len(rows) == 1 and rows[0][1].incidents == 1:
        return 1
    each = sorted(
        (
            (is_direct, fading.mass_at([row], day) // row.incidents, place)
            for place, (is_direct, row) in enumerate(rows)
            for _ in range(min(row.incidents, _OVERTURNED_MAX))
        ),
        reverse=True,
    )[:_OVERTURNED_MAX]
    for number in range(1, len(each) + 1):
        gone = Counter(place for _, _, place in each[:number])
        if fading.without(gone).score_at(day) < medium:
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
