"""Whether a well-formed statement may be made: by whom, about which incident, with which proof.

It judges what it is given and reads nothing. What it lets pass may still lose a race; then its
entry says that it had no effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.deriving import open_event, read_report, read_statement, weigh_report
from ledger.errors import (
    EventRefused,
    EvidenceNotReported,
    IncidentClosed,
    IncidentNotReported,
    LedgerCorrupt,
    UnknownIncident,
)
from ledger.identity.identifier import check_epoch
from ledger.incident.incident import IncidentReport
from ledger.incident.lifecycle import next_state
from ledger.incident.proof_standard import judge_proof, judge_report
from ledger.incident.statement import (
    Acknowledgement,
    Correction,
    Following,
    Forgery,
    Marking,
    Recycling,
    Restitution,
    Unlinking,
    Withdrawal,
)
from ledger.incident.taxonomy import MarkerKind
from ledger.log.leaf import Op
from ledger.rights.notice import activates_at, check_filing
from ledger.rights.retention import retention_day
from ledger.store.platforms import LEDGER_PLATFORM

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ledger.identity.platform import Caller, Platform
    from ledger.incident.statement import Change
    from ledger.ledger import Ledger
    from ledger.risk.policy import RiskPolicy
    from ledger.store.entries import StoredEvent
    from ledger.store.incidents import StoredIncident


def op_of(statement: Following | Unlinking | Recycling | Marking | Forgery) -> Op:
    """Give what a statement that isn't a report does."""
    if isinstance(statement, Forgery):
        return Op.EVIDENCE_SEEN
    if isinstance(statement, Withdrawal):
        return Op.EVIDENCE_WITHDRAWN
    if isinstance(statement, Acknowledgement):
        return Op.ERASURE_ACKNOWLEDGED
    if isinstance(statement, Correction):
        return Op.CORRECTED
    if isinstance(statement, Restitution):
        return Op.RESTITUTED
    if isinstance(statement, Marking):
        return Op.MARKED
    return Op.LINK_STATED if isinstance(statement, Unlinking | Recycling) else Op.RETRACTED


def own_report(caller: Caller, history: list[StoredEvent]) -> StoredEvent:
    """Give the report that an incident begins with; another's incident is as unknown as none.

    *Raises*: UnknownIncident.
    """
    if not history or history[0].platform != caller.platform.id:
        raise UnknownIncident("No incident of yours has this id.")
    return history[0]


def judge_new_report(
    ledger: Ledger,
    policy: RiskPolicy,
    report: IncidentReport,
    platform: Platform,
    received_at: datetime,
) -> None:
    """Refuse a report that breaks a rule, or is too heavy under the policy in force.

    If another is in force when it gets its place, it weighs by that one, and at most `MASS_MAX`.

    *Raises*: InvalidIdentifier, WrongJurisdiction, StandardNotMet, EvidenceTooHeavy.
    """
    for claim in report.identifiers:
        check_epoch(claim.identifier, sandbox=ledger.sandbox)
    check_filing(
        report,
        ledger.jurisdiction,
        platform_jurisdictions=platform.jurisdictions,
        received_at=received_at,
    )
    judge_report(report, received_at=received_at)
    weigh_report(policy, report)  # refuses what would leave 64 bits, before it is kept


def judge_change(  # noqa: PLR0913 - what a change is held against
    ledger: Ledger,
    policy: RiskPolicy,
    change: Change,
    platform: Platform,
    history: list[StoredEvent],
    known: StoredIncident | None,
    *,
    received_at: datetime,
) -> None:
    """Refuse a change of an incident that is closed, or that names another case or account.

    *Shape*: `history` are all statements about the incident, its report first.
    *Raises*: IncidentClosed, EventRefused, and for a correction as for a new report.
    """
    op = op_of(change)
    ops = [Op(event.op) for event in history]
    is_closed = Op.RETRACTED in ops or history[0].sealed is None
    if is_closed or (known is not None and next_state(known.state, op) is None):
        raise IncidentClosed("The incident was closed already.")
    report = read_report(ledger, history[0])
    if change.txn != report.txn or change.account != report.account:
        raise EventRefused("The statement names another case or account than the report.")
    if op is Op.RESTITUTED and Op.RESTITUTED in ops:
        raise EventRefused("The incident was made good already.")
    if isinstance(change, Correction):
        # Else a correction would begin retention and decay anew.
        if change.report.conduct_ended_at > max(history[0].received_at, report.conduct_ended_at):
            raise EventRefused("The conduct ended after it was reported: retract, and report that.")
        judge_new_report(ledger, policy, change.report, platform, received_at)
        if activates_at(change.report, ledger.jurisdiction, received_at=received_at) is not None:
            raise EventRefused("The window to respond to the correction's notice is still open.")


def name_reported(statement: Following) -> str:
    """Give the jti of the report that a later statement is about."""
    if isinstance(statement, Withdrawal):
        return statement.evidence_jti
    return statement.incident_jti


def check_reported(statement: Following, found: StoredEvent | None) -> StoredEvent:
    """Check that a later statement names a report of its kind, of the same platform.

    *Raises*: IncidentNotReported, EvidenceNotReported.
    """
    if isinstance(statement, Withdrawal):
        if found is None or Op(found.op) is not Op.EVIDENCE_SEEN:
            raise EvidenceNotReported("The event names no forged evidence of this platform.")
    elif found is None or Op(found.op) is not Op.INCIDENT_CONFIRMED:
        raise IncidentNotReported("The event names no incident of this platform.")
    return found


def judge_following(  # noqa: PLR0913 - as of a change
    ledger: Ledger,
    policy: RiskPolicy,
    statement: Following,
    platform: Platform,
    history: list[StoredEvent],
    known: StoredIncident | None,
    *,
    received_at: datetime,
) -> None:
    """Refuse a statement about an earlier one that breaks a rule.

    *Raises*: as those that judge its kind.
    """
    if isinstance(statement, Withdrawal):
        judge_withdrawal(ledger, statement, history)
    elif isinstance(statement, Acknowledgement):
        _judge_acknowledgement(statement, history, known)
    else:
        judge_change(ledger, policy, statement, platform, history, known, received_at=received_at)


def check_time_is_over(ledger: Ledger, history: Sequence[StoredEvent], last_day: int) -> None:
    """Check that a record's time is over by its own statements, each filed as what it is.

    Else whoever writes to the database could have it ended by a lawful entry, and what would show
    that it was too early would be gone. *Shape*: `history` are all statements about the record, the
    one that began it first. *Raises*: LedgerCorrupt.
    """
    first, days = history[0], []
    for one in history:
        if one.platform == LEDGER_PLATFORM:
            open_event(ledger, one)  # which only a statement of the ledger's own does here
            continue
        said = read_statement(ledger, one)
        op = Op.INCIDENT_CONFIRMED if isinstance(said, IncidentReport) else op_of(said)
        named = name_reported(said) if isinstance(said, Following) else said.jti
        if (op, named, one.platform) != (one.op, first.jti, first.platform):
            raise LedgerCorrupt("A statement is filed as another, or with another record.")
        days.append(retention_day(said, ledger.jurisdiction))
    if not any(day is not None and day <= last_day for day in days):
        raise LedgerCorrupt("A statement is filed as older than it is.")


def judge_forgery(statement: Forgery, received_at: datetime) -> None:
    """Refuse forged evidence that isn't proven as an incident is. *Raises*: StandardNotMet."""
    judge_proof(statement.proof, at=min(statement.issued_at, received_at))


def judge_withdrawal(ledger: Ledger, statement: Withdrawal, history: list[StoredEvent]) -> None:
    """Refuse a withdrawal of something else, or a second one.

    *Shape*: `history` are all statements about the evidence, its report first.

    *Raises*: EvidenceNotReported, IncidentClosed.
    """
    if history[0].sealed is None or any(one.op == Op.EVIDENCE_WITHDRAWN for one in history):
        raise IncidentClosed("The evidence was withdrawn already, or its time is over.")
    seen = read_statement(ledger, history[0])
    if not isinstance(seen, Forgery) or (seen.txn, seen.digest) != (
        statement.txn,
        statement.digest,
    ):
        raise EvidenceNotReported("The statement names another case or digest than the report.")


def _judge_acknowledgement(
    said: Acknowledgement, history: list[StoredEvent], known: StoredIncident | None
) -> None:
    """Refuse an acknowledgement of what wasn't erased, or was acknowledged already.

    *Raises*: EventRefused.
    """
    if known is None or next_state(known.state, Op.ERASURE_ACKNOWLEDGED) is None:
        raise EventRefused("The report wasn't erased.")
    if said.txn != history[0].txn:
        raise EventRefused("The statement names another case than the report.")
    if any(event.op == Op.ERASURE_ACKNOWLEDGED for event in history):
        raise EventRefused("The erasure was acknowledged already.")


def judge_link(
    ledger: Ledger,
    statement: Unlinking | Recycling | Marking,
    histories: Sequence[list[StoredEvent]],
) -> None:
    """Refuse a statement about links that breaks a rule.

    *Shape*: `histories` are all statements about each incident that a marker names; none of one
    that isn't the issuer's own.
    *Raises*: InvalidIdentifier, IncidentNotReported, EventRefused.
    """
    if isinstance(statement, Recycling):
        check_epoch(statement.identifier, sandbox=ledger.sandbox)
        return
    for one in statement.nids if isinstance(statement, Unlinking) else statement.identifiers:
        check_epoch(one, sandbox=ledger.sandbox)
    if isinstance(statement, Unlinking):
        return
    if histories and statement.kind is not MarkerKind.TAKEOVER_VICTIM:
        raise EventRefused("Only the marker of a takeover's victim names incidents.")
    for history in histories:
        if not history:
            raise IncidentNotReported("The event names no incident of this platform.")
        contents = [one for one in history if Op(one.op) in {Op.INCIDENT_CONFIRMED, Op.CORRECTED}]
        if contents[-1].sealed is None:
            raise IncidentClosed("The incident was closed already.")
        report = read_report(ledger, contents[-1])
        if report.account != statement.account:
            raise EventRefused("The marker names an incident of another account.")
        if not statement.begins <= report.conduct_ended_at <= statement.until:
            raise EventRefused("The marker names an incident outside its time.")
