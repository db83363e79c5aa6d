"""How long a statement may be kept, counted from a day that it names, by the jurisdiction. Pure.

What takes something back, or is about an incident, has no time of its own: it goes with the rest.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from ledger.incident.incident import IncidentReport
from ledger.incident.statement import Correction, Forgery, Marking, Recycling, Unlinking
from ledger.log.leaf import Op

if TYPE_CHECKING:
    from ledger.incident.statement import Statement
    from ledger.rights.jurisdiction import JurisdictionProfile

_UNIX_DAY = date(1970, 1, 1)


def retention_end(conduct_ended_at: datetime, profile: JurisdictionProfile) -> datetime:
    """Give the local midnight at which a record must be gone, counted from the conduct's end."""
    day = conduct_ended_at.astimezone(profile.time_zone).date()
    end = _shift_years(day, profile.retention_years)
    return datetime.combine(end, time(), profile.time_zone).astimezone(conduct_ended_at.tzinfo)


def retention_day(statement: Statement, profile: JurisdictionProfile) -> int | None:
    """Give the day from which a statement's retention counts, or None where it has none.

    A marker's is the day after its last, by UTC as its effect goes: no incident that it names can
    have ended on a later day anywhere, and markers end in the order in which they stop to count.

    *Units*: local days since 1970-01-01.
    """
    if isinstance(statement, Marking):
        return _number(statement.until.astimezone(UTC).date()) + 1
    if isinstance(statement, IncidentReport):
        at = statement.conduct_ended_at
    elif isinstance(statement, Correction):
        at = statement.report.conduct_ended_at
    elif isinstance(statement, Recycling):
        at = statement.recycled_at
    elif isinstance(statement, Forgery | Unlinking):
        at = statement.issued_at
    else:
        return None
    return local_day(at, profile)


def local_day(at: datetime, profile: JurisdictionProfile) -> int:
    """Give the local day of an instant. *Units*: days since 1970-01-01."""
    return _number(at.astimezone(profile.time_zone).date())


def last_expired_day(
    now: datetime, profile: JurisdictionProfile, op: Op = Op.INCIDENT_CONFIRMED
) -> int:
    """Give the last local day of which nothing of a kind may be kept, as days since 1970-01-01.

    A conduct of that day or before has reached its `retention_end`, one of the next day hasn't.
    """
    years = {
        Op.INCIDENT_CONFIRMED: profile.retention_years,
        Op.EVIDENCE_SEEN: profile.evidence_retention_years,
        Op.LINK_STATED: profile.link_retention_years,
        Op.MARKED: profile.marker_retention_years,
    }[op]
    return day_years_before(now.astimezone(profile.time_zone).date(), years)


def day_years_before(today: date, years: int) -> int:
    """Give the last day that is so many years ago, as days since 1970-01-01."""
    last = _shift_years(today, -years)
    following = last + timedelta(days=1)  # a leap day ends with the day before it
    if _shift_years(following, years) <= today:
        last = following
    return _number(last)


def _number(day: date) -> int:
    return (day - _UNIX_DAY).days


def _shift_years(day: date, years: int) -> date:
    """Give the same day of another year, and the 28th where that has no 29 February."""
    leap_day = (day.month, day.day) == (2, 29)
    return day.replace(year=day.year + years, day=28 if leap_day else day.day)
