"""What would clear a score, and when: the decay solved month by month, in the score's integers.

No score rises with time alone, so that the first month whose last day is below a level is found
by halving. What reaches the end of its retention weighs nothing from that day on: the score itself
doesn't know of it, since then the record is destroyed.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date
from functools import lru_cache
from itertools import count
from math import log2
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ledger.graph.posting import UNIX_ORDINAL, day_number, decayed_mass
from ledger.rights.retention import day_years_before
from ledger.risk.fading import GROUP_CAP, NOTHING_GONE, Fading, FadingGroup, FadingLink, bear
from ledger.risk.score import least_evidence, may_be_high, weigh_links

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.risk.fading import Rows
    from ledger.risk.policy import RiskPolicy
    from ledger.risk.score import RiskScore

ValueAt: TypeAlias = "Callable[[Fading, int, int], int]"  # on a day, without what ended by another
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


NOTHING = Outlook(None, None, None, None, None)


def _direct_at(fading: Fading, day: int, gone: int) -> int:
    """Give H_D on a day."""
    h, epoch = 0, fading.epoch_day
    for _, _, reliability, rows in fading.groups:
        h += bear(reliability, rows, day, epoch, gone)
    return h


def _linked_at(fading: Fading, day: int, gone: int) -> int:
    """Give H_L on a day."""
    return weigh_links(fading, day, gone)[1] if fading.links else 0


def _evidence_at(fading: Fading, day: int, gone: int) -> int:
    """Give H on a day."""
    return _direct_at(fading, day, gone) + _linked_at(fading, day, gone)


def _high_at(fading: Fading, day: int, gone: int) -> int:
    """Give H on a day, 0 where the direct evidence doesn't allow HIGH any more."""
    epoch = fading.epoch_day
    borne = [bear(rel, rows, day, epoch, gone) for _, _, rel, rows in fading.groups]
    found = fading.finding_day is not None and fading.finding_day > gone
    allowed = may_be_high(sum([h > 0 for h in borne]), finding=found)
    return sum(borne) + _linked_at(fading, day, gone) if allowed else 0


def foresee(
    fading: Fading, score: RiskScore, policy: RiskPolicy, day: int, retention_years: int
) -> Outlook:
    """Foresee how a score fades, and when what it rests on is destroyed.

    Exact for one incident where the jurisdiction's midnight is that of UTC. A sum of several of an
    account and a half-life goes with the last of them, and days are those of UTC, so that otherwise
    a month is late rather than early. Links stay as they are. *Units*: `day` since 1970-01-01.
    """
    if score.score == 0:
        return NOTHING
    bearing = [*[one.rows for one in fading.groups], *[one.rows for one in fading.links]]
    half_life = max([half_life for rows in bearing for _, half_life, _, _ in rows])
    latest = max([last_day for rows in bearing for _, _, _, last_day in rows])
    begin = _month_of(day)
    end = max(begin, _month_of(latest) + _MONTHS * retention_years)
    direct = sum([part.weight for part in score.groups])
    linked = sum([part.weight for part in score.links])

    def find(value_at: ValueAt, least: int, now: int) -> str:
        def is_below(month: int) -> bool:
            last_day, gone = _close(month, retention_years)
            return value_at(fading, last_day, gone) < least

        expected = begin + _expect_months(now, least, half_life)
        return _text(_first_month(is_below, begin, end, expected))

    below_high = below_medium = overturned = None
    if score.level == "HIGH":
        below_high = find(_high_at, least_evidence(policy.level_high), direct + linked)
    if score.score >= policy.level_medium:
        medium = least_evidence(policy.level_medium)
        below_medium = find(_evidence_at, medium, direct + linked)
        overturned = _count_overturned(fading, medium, day)
    direct_ends = find(_direct_at, _ONE_POINT, direct) if score.groups else None
    links_end = find(_linked_at, _ONE_POINT, linked) if score.links else None
    return Outlook(below_high, below_medium, overturned, direct_ends, links_end)


def _expect_months(now: int, least: int, half_life: int) -> int:
    """Expect how long it takes to fade to a least: right for one incident, near for others."""
    if not least < now < GROUP_CAP:
        return 0
    mass, rest = now / (GROUP_CAP - now), least / (GROUP_CAP - least)
    return int(half_life * log2(mass / rest) / _MONTH_DAYS)


def _first_month(is_below: Callable[[int], bool], begin: int, end: int, expected: int) -> int:
    """Give the first month by whose end evidence is below a least.

    Where the month is as expected two looks find it, otherwise halving does. *Shape*: by the end
    of `end` everything is gone, whatever has faded by then.
    """
    low, high = begin, end
    look = max(low, min(expected, high - 1))
    for number in count():
        if is_below(look):
            high, near = look, look - 1
        else:
            low = near = look + 1
        if low == high:
            break
        look = (low + high) // 2 if number else near
    return low


def _count_overturned(fading: Fading, medium: int, day: int) -> int | None:
    """Count how many incidents, the weightiest first, keep a score from being LOW.

    Direct ones weigh more than linked ones; those of one account and half-life are counted as
    equals. Ties go by what is known of them and not by row numbers, which a replay doesn't share.
    None means more than ten.
    """
    groups = [FadingGroup(*one[:-1], [*one.rows]) for one in fading.groups]
    links = [FadingLink(*one[:-1], [*one.rows]) for one in fading.links]
    left = Fading(fading.epoch_day, groups, links, fading.finding_day)
    bearing: list[tuple[bool, tuple[int, ...], Rows]]
    bearing = [(True, (one.platform,), one.rows) for one in groups]
    bearing += [(False, (one.strength, one.reliability), one.rows) for one in links]
    rows = [(*one, at, row) for one in bearing for at, row in enumerate(one[2])]
    each = []
    for place, (is_direct, known, beside, _, row) in enumerate(rows):
        mass, half_life, incidents, _ = row
        weight = decayed_mass(mass, day, half_life, fading.epoch_day) // (incidents or 1)
        like = (is_direct, weight, known, row, sorted(beside), place)
        each += [like] * min(incidents, _OVERTURNED_MAX)
    each.sort(reverse=True)
    gone = [0] * len(rows)
    for number, (*_, place) in enumerate(each[:_OVERTURNED_MAX], 1):
        _, _, beside, at, (mass, half_life, incidents, last_day) = rows[place]
        gone[place] += 1
        rest = mass - mass * gone[place] // incidents
        beside[at] = (rest, half_life, incidents, last_day)
        if _evidence_at(left, day, NOTHING_GONE) < medium:
            return number
    return None


@lru_cache(maxsize=64)
def _month_of(day: int) -> int:
    """Give a day's month, counted from the year 0."""
    at = date.fromordinal(day + UNIX_ORDINAL)
    return at.year * _MONTHS + at.month - 1


@lru_cache(maxsize=1024)
def _close(month: int, retention_years: int) -> tuple[int, int]:
    """Give a month's last day, and the last day of conduct whose retention is over by then."""
    year, number = divmod(month, _MONTHS)
    last = date(year, number + 1, monthrange(year, number + 1)[1])
    return day_number(last), day_years_before(last, retention_years)


def _text(month: int) -> str:
    year, number = divmod(month, _MONTHS)
    return f"{year}-{number + 1:02}"
