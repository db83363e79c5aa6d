"""Notice before effect, and the other rules of filing that depend on the jurisdiction."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING

from ledger.errors import Fault, StandardNotMet, WrongJurisdiction
from ledger.incident.taxonomy import LegalBasisKind
from ledger.rights.retention import retention_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.incident.incident import IncidentReport
    from ledger.rights.jurisdiction import JurisdictionProfile


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
