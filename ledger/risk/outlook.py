"""What would clear a score, and when: the decay solved month by month, in the score's integers.

No score rises with time alone, so that the first month whose last day is below a level is found
by halving; a closed form guesses where to begin. Beyond the time that records may be kept
nothing is left to fade.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from ledger.graph.posting import UNIT, decayed_mass
from ledger.risk.score import UNIX_ORDINAL, is_high, weigh_direct, weigh_links

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.graph.neighbourhood import Bearer, Neighbourhood
    from ledger.graph.posting import Posting
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
    month = _month_of(day)
    kept = month + _MONTHS * retention_years

    def total(at: int) -> int:
        groups = weigh_direct(neighbourhood, policy, at)
        _, linked, _ = weigh_links(neighbourhood, policy, at)
        h = sum([weight for _, _, weight in groups]) + linked
        return 1000 * h // (UNIT + h)

    def high(at: int) -> bool:
        return total(at) >= policy.level_high and is_high(neighbourhood, policy, at)

    def direct(at: int) -> bool:
        h = sum([weight for _, _, weight in weigh_direct(neighbourhood, policy, at)])
        return 1000 * h // (UNIT + h) > 0

    def linked(at: int) -> bool:
        h = weigh_links(neighbourhood, policy, at)[1]
        return 1000 * h // (UNIT + h) > 0

    below_high = below_medium = overturned = None
    if score.level == "HIGH":
        below_high = _first_month(high, month, kept)
    if score.score >= policy.level_medium:
        below_medium = _first_month(lambda at: total(at) >= policy.level_medium, month, kept)
        overturned = _count_overturned(neighbourhood, policy, day)
    return Outlook(
        _text(below_high),
        _text(below_medium),
        overturned,
        _text(_first_month(direct, month, kept)) if score.groups else None,
        _text(_first_month(linked, month, kept)) if score.links else None,
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


def _count_overturned(neighbourhood: Neighbourhood, policy: RiskPolicy, day: int) -> int | None:
    """Count how many incidents, the weightiest first, keep a score from being LOW.

    Direct ones weigh more than linked ones; those of one account and half-life are counted as
    equals. None means more than ten.
    """
    bearers = [neighbourhood.own] if neighbourhood.own else []
    bearers += neighbourhood.same_person
    direct = len(bearers)
    bearers += neighbourhood.associated
    each = sorted(
        (
            (place < direct, _weight_of(row, policy, day) // row.incidents, place, nth)
            for place, bearer in enumerate(bearers)
            for nth, row in enumerate(bearer.rows)
            if row.incidents
            for _ in range(min(row.incidents, _OVERTURNED_MAX))
        ),
        reverse=True,
    )
    for number in range(1, min(len(each), _OVERTURNED_MAX) + 1):
        gone: dict[tuple[int, int], int] = {}
        for _, _, place, nth in each[:number]:
            gone[place, nth] = gone.get((place, nth), 0) + 1
        if _score_without(neighbourhood, bearers, gone, policy, day) < policy.level_medium:
            return number
    return None


def _score_without(
    neighbourhood: Neighbourhood,
    bearers: list[Bearer],
    gone: dict[tuple[int, int], int],
    policy: RiskPolicy,
    day: int,
) -> int:
    left = [
        bearer._replace(
            rows=[_without(row, gone.get((place, nth), 0)) for nth, row in enumerate(bearer.rows)]
        )
        for place, bearer in enumerate(bearers)
    ]
    first = 1 if neighbourhood.own else 0
    second = first + len(neighbourhood.same_person)
    again = neighbourhood._replace(
        own=left[0] if first else None,
        same_person=tuple(left[first:second]),
        associated=tuple(left[second:]),
    )
    h = sum([weight for _, _, weight in weigh_direct(again, policy, day)])
    h += weigh_links(again, policy, day)[1]
    return 1000 * h // (UNIT + h)


def _weight_of(row: Posting, policy: RiskPolicy, day: int) -> int:
    return decayed_mass(row.mass, day, policy.half_lives[row.half_life], policy.epoch_day)


def _without(row: Posting, number: int) -> Posting:
    return row._replace(mass=row.mass - row.mass * number // row.incidents) if number else row


def _month_of(day: int) -> int:
    """Give a day's month, counted from the year 0."""
    at = date.fromordinal(day + UNIX_ORDINAL)
    return at.year * _MONTHS + at.month - 1


def _last_day(month: int) -> int:
    year, number = divmod(month, _MONTHS)
    last = date(year, number + 1, monthrange(year, number + 1)[1])
    return last.toordinal() - UNIX_ORDINAL


def _text(month: int | None) -> str | None:
    if month is None:
        return None
    year, number = divmod(month, _MONTHS)
    return f"{year}-{number + 1:02}"
