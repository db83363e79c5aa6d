"""Every signed statement comes in here, is judged once and kept for good.

What is true when: before the commit nothing of a statement is kept, and the platform was told
nothing. After it the statement is there for ever, once, and 202 may be answered; on SQLite it has
its place in the log by then, on PostgreSQL the worker gives it one. If we die between the commit
and the answer, the platform sends the same statement again and gets the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.errors import (
    CaseReported,
    EventIdReused,
    EventRefused,
    IncidentClosed,
    IncidentNotReported,
    InvalidKey,
    PlatformSuspended,
    UnknownIncident,
)
from ledger.identity.identifier import check_epoch
from ledger.identity.platform import PlatformState, require_scope
from ledger.identity.token import (
    ACKNOWLEDGEMENT_TYPE,
    EVENT_AGE_MAX,
    EVENT_TYPE,
    STATUS_TYPE,
    check_age,
    payload_of,
    read_key_id,
    sign_token,
    verify_event_token,
)
from ledger.incident.incident import IncidentReport, parse_event
from ledger.incident.lifecycle import next_state
from ledger.incident.proof_standard import judge_report
from ledger.ledger import mint_id
from ledger.log.leaf import Op, commit
from ledger.rights.notice import activates_at, check_filing
from ledger.sequencing import (
    draft_event,
    draft_own_statement,
    open_event,
    publish_checkpoint,
    sequence_pending,
    weigh_report,
)
from ledger.store import entries, incidents, platforms
from ledger.store.engine import begin_read, begin_write
from ledger.store.entries import StoredEvent

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.identity.platform import Caller, Platform
    from ledger.incident.incident import Retraction
    from ledger.ledger import Ledger
    from ledger.store.incidents import StoredIncident

SEQUENCED_WITHIN_SECONDS = 60  # the promise in every acknowledgement


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted statement: the incident that it is about, and whether it was a repeat."""

    incident_id: str
    repeated: bool


@dataclass(frozen=True, slots=True)
class IncidentView:
    """One incident as its reporter may see it. `state` is "received" until it is sequenced."""

    id: str
    jti: str
    state: str
    log_index: int | None
    response_until: datetime | None
    active_from: datetime | None
    received_at: datetime
    acknowledgement: str


def accept_event(ledger: Ledger, token: bytes, received_at: datetime) -> Accepted:
    """Judge one signed statement and keep it.

    *Shape*: `token` is the compact JWS exactly as received. *Raises*: InvalidToken and its
    kinds where the signature or the claims fail, PlatformSuspended, InvalidInput and its kinds
    where the content breaks a published rule. After a refusal nothing is kept.
    """
    kid = read_key_id(token, typ=EVENT_TYPE)
    with begin_read(ledger.database) as connection:
        found = platforms.find_key(connection, kid)
    if found is None or found[1].id == platforms.LEDGER_PLATFORM:
        raise InvalidKey("No platform is enrolled with this key.")
    key, platform = found
    # Only who signed with an enrolled key gets as far as the writers' queue.
    verified = verify_event_token(
        token, key, issuer=platform.uri, audience=ledger.issuer, received_at=received_at
    )
    if platform.state is not PlatformState.ACTIVE:
        raise PlatformSuspended("The platform is suspended.")
    jti = str(verified.claims["jti"])
    with begin_write(ledger.database) as connection:
        earlier = entries.find_event(connection, platform.id, jti)
        if earlier is not None:
            return _answer_repeat(ledger, earlier, verified.payload)
        check_age(verified.claims, received_at=received_at, age_max=EVENT_AGE_MAX)
        statement = parse_event(verified.payload)
        if isinstance(statement, IncidentReport):
            _judge_report(ledger, statement, platform, received_at)
            if entries.find_case(connection, platform.id, statement.txn) is not None:
                # By this very statement, where it was accepted since we looked.
                earlier = entries.find_event(connection, platform.id, jti)
                if earlier is not None:
                    return _answer_repeat(ledger, earlier, verified.payload)
                raise CaseReported("This case was reported already.")
            drafts = _draft_report(ledger, statement, platform, kid, token, received_at)
        else:
            reported = entries.find_event(connection, platform.id, statement.incident_jti)
            if reported is None or Op(reported.op) is not Op.INCIDENT_CONFIRMED:
                raise IncidentNotReported("The event names no incident of this platform.")
            entries.lock_event(connection, reported.id)
            # Whoever held the lock may have accepted this very statement.
            earlier = entries.find_event(connection, platform.id, jti)
            if earlier is not None:
                return _answer_repeat(ledger, earlier, verified.payload)
            known = incidents.find_incident(connection, reported.incident)
            history = entries.select_incident_events(connection, reported.incident)
            _judge_retraction(ledger, statement, reported, history, known)
            drafts = [
                _draft_event(
                    ledger,
                    statement,
                    platform,
                    reported.incident,
                    kid=kid,
                    token=token,
                    received_at=received_at,
                )
            ]
        for draft in drafts:
            entries.insert_event(connection, draft)
        if ledger.database.embedded:
            sequence_pending(ledger, connection)
    # Committed: from here on the statement is never lost. A checkpoint that isn't published
    # now is published with the next one.
    if ledger.database.embedded:
        publish_checkpoint(ledger, received_at)
    return Accepted(drafts[0].incident, repeated=False)


def _answer_repeat(ledger: Ledger, earlier: StoredEvent, payload: bytes) -> Accepted:
    """Answer a statement again. *Raises*: EventIdReused where the earlier one is another."""
    if earlier.sealed is None:
        raise EventIdReused("The jti names a statement that was erased.")
    if payload_of(open_event(ledger, earlier)) != payload:
        raise EventIdReused("The jti names a statement with another content.")
    return Accepted(earlier.incident, repeated=True)


def _judge_report(
    ledger: Ledger, report: IncidentReport, platform: Platform, received_at: datetime
) -> None:
    for claim in report.identifiers:
        check_epoch(claim.identifier, sandbox=ledger.sandbox)
    check_filing(
        report,
        ledger.jurisdiction,
        platform_jurisdictions=platform.jurisdictions,
        received_at=received_at,
    )
    judge_report(report, received_at=received_at)
    weigh_report(ledger, report)  # refuses what would leave 64 bits, before it is kept


def _judge_retraction(
    ledger: Ledger,
    retraction: Retraction,
    reported: StoredEvent,
    history: list[StoredEvent],
    known: StoredIncident | None,
) -> None:
    closed = known is not None and next_state(known.state, Op.RETRACTED) is None
    if closed or any(Op(event.op) is Op.RETRACTED for event in history):
        raise IncidentClosed("The incident was closed already.")
    report = parse_event(payload_of(open_event(ledger, reported)))
    if retraction.txn != report.txn or retraction.account != report.account:
        raise EventRefused("The retraction names another case or account than the report.")


def _draft_report(
    ledger: Ledger,
    report: IncidentReport,
    platform: Platform,
    kid: str,
    token: bytes,
    received_at: datetime,
) -> list[StoredEvent]:
    """Draft the report and, where its notice window has passed, the activation behind it."""
    incident_id = mint_id("inc_", received_at)
    active_from = activates_at(report, ledger.jurisdiction, received_at=received_at)
    drafts = [
        _draft_event(
            ledger,
            report,
            platform,
            incident_id,
            kid=kid,
            token=token,
            received_at=received_at,
            active_from=active_from or received_at,
        )
    ]
    if active_from is None or active_from <= received_at:
        members = {"incident_iss": platform.uri, "incident_jti": report.jti}
        drafts.append(
            draft_own_statement(
                ledger,
                "incident-activated",
                members,
                op=Op.ACTIVATED,
                incident=incident_id,
                at=received_at,
            )
        )
    return drafts


def _draft_event(  # noqa: PLR0913 - the parts of one accepted statement
    ledger: Ledger,
    statement: IncidentReport | Retraction,
    platform: Platform,
    incident_id: str,
    *,
    kid: str,
    token: bytes,
    received_at: datetime,
    active_from: datetime | None = None,
) -> StoredEvent:
    is_report = isinstance(statement, IncidentReport)
    notice = statement.notice if isinstance(statement, IncidentReport) else None
    return draft_event(
        ledger,
        StoredEvent(
            id=0,
            platform=platform.id,
            jti=statement.jti,
            txn=statement.txn if is_report else None,
            incident=incident_id,
            op=int(Op.INCIDENT_CONFIRMED if is_report else Op.RETRACTED),
            kid=kid,
            received_at=received_at,
            response_until=notice.response_until if notice else None,
            active_from=active_from,
            entry_index=None,
            sealed=None,
            salt=None,
        ),
        token,
    )


def describe_incident(ledger: Ledger, caller: Caller, incident_id: str) -> IncidentView:
    """Describe one of the caller's own incidents. *Raises*: UnknownIncident."""
    require_scope(caller, "incidents:read")
    with begin_read(ledger.database) as connection:
        history = entries.select_incident_events(connection, incident_id)
        known = incidents.find_incident(connection, incident_id)
    if not history or history[0].platform != caller.platform.id:
        raise UnknownIncident("No incident of yours has this id.")
    report = history[0]
    return IncidentView(
        id=incident_id,
        jti=report.jti,
        state=known.state.value if known else "received",
        log_index=report.entry_index,
        response_until=report.response_until,
        active_from=report.active_from,
        received_at=report.received_at,
        acknowledgement=_acknowledge(ledger, report),
    )


def _acknowledge(ledger: Ledger, report: StoredEvent) -> str:
    if report.salt is None:
        raise UnknownIncident("The incident's content was erased.")
    claims = {
        "iss": ledger.issuer,
        "jti": report.jti,
        "commitment": commit(report.salt, open_event(ledger, report)).hex(),
        "received_at": report.received_at.isoformat().replace("+00:00", "Z"),
        "sequenced_within_seconds": SEQUENCED_WITHIN_SECONDS,
    }
    return sign_token(claims, ledger.log_jwk, typ=ACKNOWLEDGEMENT_TYPE)


def sign_status(ledger: Ledger, caller: Caller, incident_id: str, as_of: datetime) -> str:
    """Sign how one of the caller's incidents stands: a JWS of {jti, index, state, as_of}.

    *Raises*: UnknownIncident.
    """
    require_scope(caller, "incidents:read")
    with begin_read(ledger.database) as connection:
        history = entries.select_incident_events(connection, incident_id)
        known = incidents.find_incident(connection, incident_id)
    if not history or history[0].platform != caller.platform.id:
        raise UnknownIncident("No incident of yours has this id.")
    claims = {
        "iss": ledger.issuer,
        "jti": history[0].jti,
        "index": history[0].entry_index,
        "state": known.state.value if known else "received",
        "as_of": as_of.isoformat().replace("+00:00", "Z"),
    }
    return sign_token(claims, ledger.log_jwk, typ=STATUS_TYPE)
