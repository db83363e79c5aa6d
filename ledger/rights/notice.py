"""Notice before effect, and the other rules of filing that depend on the jurisdiction."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

from ledger.errors import Fault, StandardNotMet, WrongJurisdiction
from ledger.incident.taxonomy import LegalBasisKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.incident.incident import IncidentReport
    from ledger.rights.jurisdiction import JurisdictionProfile


_UNIX_DAY = date(1970, 1, 1)


def window_end(sent_at: datetime, days: int, profile: JurisdictionProfile) -> datetime:
    """Give the instant at which a window of whole days ends: local midnight after the last day.

    A window of no days ends when it begins.
    """
    if days == 0:
        return sent_at
    last_day = sent_at.astimezone(profile.time_zone).date() + timedelta(days=days)
    midnight = datetime.combine(last_day + timedelta(days=1), time(), profile.time_zone)
    return midnight.astimezone(sent_at.tzinfo)


def activates_at(
    report: IncidentReport, profile: JurisdictionProfile, *, received_at: datetime
) -> datetime | None:
    """Give the instant from which a report counts, or None where it counts at once.

    The later of the window that the buyer was promised and the profile's own.
    """
    if report.notice is None or not profile.notice_before_effect:
        return None
    legal = window_end(report.notice.sent_at, profile.response_window_days, profile)
    effective = max(legal, report.notice.response_until)
    return None if effective <= received_at else effective


def check_filing(
    report: IncidentReport,
    profile: JurisdictionProfile,
    *,
    platform_jurisdictions: tuple[str, ...],
    received_at: datetime,
) -> None:
    """Refuse what may not be filed in this jurisdiction by this platform.

    *Raises*: WrongJurisdiction, StandardNotMet with every rule that is broken.
    """
    if report.jurisdiction != profile.code or profile.code not in platform_jurisdictions:
        raise WrongJurisdiction("The report's jurisdiction isn't this ledger's and platform's.")
    faults = (*_judge_notice(report, profile, received_at), *_judge_basis(report, profile))
    if faults:
        raise StandardNotMet("The report may not be filed in this jurisdiction.", faults=faults)
    if received_at >= retention_end(report.conduct_ended_at, profile):
        fault = Fault("/conduct_ended_at", "retention", "The conduct is older than may be kept.")
        raise StandardNotMet("The conduct is older than may be kept.", faults=(fault,))


def retention_end(conduct_ended_at: datetime, profile: JurisdictionProfile) -> datetime:
    """Give the local midnight at which a record must be gone, counted from the conduct's end."""
    day = conduct_ended_at.astimezone(profile.time_zone).date()
    end = _shift_years(day, profile.retention_years)
    return datetime.combine(end, time(), profile.time_zone).astimezone(conduct_ended_at.tzinfo)


def conduct_day(conduct_ended_at: datetime, profile: JurisdictionProfile) -> int:
    """Give the local day on which a conduct ended. *Units*: days since 1970-01-01."""
    return (conduct_ended_at.astimezone(profile.time_zone).date() - _UNIX_DAY).days


def last_expired_day(now: datetime, profile: JurisdictionProfile) -> int:
    """Give the last local day of which no conduct may be kept any more, as days since 1970-01-01.

    A conduct of that day or before has reached its `retention_end`, one of the next day hasn't.
    """
    today = now.astimezone(profile.time_zone).date()
    last = _shift_years(today, -profile.retention_years)
    following = last + timedelta(days=1)  # a leap day ends with the day before it
    if _shift_years(following, profile.retention_years) <= today:
        last = following
    return (last - _UNIX_DAY).days


def _shift_years(day: date, years: int) -> date:
    """Give the same day of another year, and the 28th where that has no 29 February."""
    leap_day = (day.month, day.day) == (2, 29)
    return day.replace(year=day.year + years, day=28 if leap_day else day.day)


def _judge_notice(
    report: IncidentReport, profile: JurisdictionProfile, received_at: datetime
) -> Iterator[Fault]:
    notice = report.notice
    if notice is None:
        if profile.notice_before_effect:
            yield Fault("/notice", "notice", "The buyer is told before a report counts.")
        return
    if not report.conduct_ended_at <= notice.sent_at <= min(received_at, report.issued_at):
        yield Fault("/notice/sent_at", "notice", "Notice is sent after the conduct, then reported.")
    promised = window_end(notice.sent_at, profile.response_window_days, profile)
    shortest = notice.sent_at + timedelta(days=profile.response_window_days)
    if notice.response_until < min(promised, shortest):
        yield Fault("/notice/response_until", "window", "The time to respond is too short.")


def _judge_basis(report: IncidentReport, profile: JurisdictionProfile) -> Iterator[Fault]:
    basis = report.legal_basis
    if basis.kind.value not in profile.legal_bases:
        yield Fault("/legal_basis/kind", "legal_basis", "The profile doesn't admit this basis.")
    if (
        profile.consent_receipt_required
        and basis.kind is LegalBasisKind.CONSENT
        and basis.receipt_id is None
    ):
        yield Fault("/legal_basis/receipt_id", "receipt", "Consent is shown by its receipt.")
