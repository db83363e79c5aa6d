"""Every signed statement comes in here, is judged once and kept for good.

What is true when: before the commit nothing of a statement is kept, and the platform was told
nothing. After it the statement is there for ever, once, and 202 may be answered; on SQLite it has
its place in the log by then, on PostgreSQL the worker gives it one. If we die between the commit
and the answer, the platform sends the same statement again and gets the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.deriving import open_event
from ledger.errors import (
    CaseReported,
    EventIdReused,
    InvalidKey,
    LedgerCorrupt,
    PlatformSuspended,
)
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
from ledger.incident.incident import IncidentReport
from ledger.incident.lifecycle import CLOSED
from ledger.incident.statement import (
    Following,
    Forgery,
    Marking,
    Retraction,
    Withdrawal,
    parse_event,
)
from ledger.judging import (
    check_reported,
    judge_following,
    judge_forgery,
    judge_link,
    judge_new_report,
    name_reported,
    op_of,
    own_report,
)
from ledger.ledger import learn_policies, mint_id
from ledger.log.leaf import Op, commit
from ledger.rights.notice import activates_at
from ledger.rights.retention import retention_day
from ledger.sequencing import (
    draft_event,
    draft_own_statement,
    publish_checkpoint,
    sequence_pending,
)
from ledger.store import entries, incidents, platforms
from ledger.store.engine import begin_read, begin_write
from ledger.store.entries import StoredEvent

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.identity.key import PlatformKey
    from ledger.identity.platform import Caller, Platform
    from ledger.identity.token import VerifiedToken
    from ledger.incident.statement import Recycling, Statement, Unlinking
    from ledger.ledger import Ledger
    from ledger.store.engine import Connection
    from ledger.store.incidents import StoredIncident

SEQUENCED_WITHIN_SECONDS = 60  # the promise in every acknowledgement
_RECORDS = {Op.EVIDENCE_SEEN: "evd_", Op.LINK_STATED: "lnk_", Op.MARKED: "mrk_"}


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted statement: the incident that it is about, if any, and whether it was a repeat."""

    incident_id: str | None
    repeated: bool


@dataclass(frozen=True, slots=True)
class IncidentView:
    """One incident as its reporter may see it. `state` is "received" until it is sequenced.

    *Shape*: the ledger's `acknowledgement` of the report is none once the report is erased; from
    then on the reporter's own acknowledgement is due, until it deleted its copy and said so.
    """

    id: str
    jti: str
    state: str
    log_index: int | None
    response_until: datetime | None
    active_from: datetime | None
    received_at: datetime
    acknowledgement: str | None
    erasure_acknowledgement_due: bool


@dataclass(frozen=True, slots=True)
class _Said:
    """How a statement came: under which key, in which exact bytes, when."""

    kid: str
    token: bytes
    received_at: datetime


def accept_event(ledger: Ledger, token: bytes, received_at: datetime) -> Accepted:
    """Judge one signed statement and keep it.

    *Shape*: `token` is the compact JWS exactly as received. *Raises*: InvalidToken and its
    kinds where the signature or the claims fail, PlatformSuspended, InvalidInput and its kinds
    where the content breaks a published rule. After a refusal nothing is kept.
    """
    kid = read_key_id(token, typ=EVENT_TYPE)
    with begin_read(ledger.database) as connection:
        found = platforms.find_key(connection, kid)
    # Only who signed with an enrolled key gets as far as the writers' queue.
    platform, verified = _verify(ledger, found, token, received_at)
    jti = str(verified.claims["jti"])
    with begin_write(ledger.database) as connection:
        earlier = entries.find_event(connection, platform.id, jti)
        if earlier is not None:
            return _answer_repeat(ledger, connection, earlier, verified.payload)
        check_age(verified.claims, received_at=received_at, age_max=EVENT_AGE_MAX)
        statement = parse_event(verified.payload)
        said = _Said(kid, token, received_at)
        policy = learn_policies(ledger, connection, entries.read_state(connection).policy_version)
        if isinstance(statement, IncidentReport):
            judge_new_report(ledger, policy, statement, platform, received_at)
            is_reported = entries.find_case(connection, platform.id, statement.txn) is not None
            # By this very statement, where it was accepted since we looked.
            earlier = entries.find_event(connection, platform.id, jti) if is_reported else None
            if is_reported and earlier is None:
                raise CaseReported("This case was reported already.")
            drafts = _draft_report(ledger, statement, platform, said)
        elif isinstance(statement, Following):
            named = entries.find_event(connection, platform.id, name_reported(statement))
            reported = check_reported(statement, named)
            entries.lock_event(connection, reported.id)
            # Whoever held the lock may have accepted this very statement.
            earlier = entries.find_event(connection, platform.id, jti)
            if earlier is None:
                known = incidents.find_incident(connection, reported.incident)
                history = entries.select_incident_events(connection, reported.incident)
                judge_following(
                    ledger, policy, statement, platform, history, known, received_at=received_at
                )
            drafts = [_draft_event(ledger, statement, platform, reported.incident, said)]
        elif isinstance(statement, Forgery):
            judge_forgery(statement, received_at)
            drafts = [_draft_record(ledger, statement, platform, said)]
        else:
            jtis = statement.incident_jtis if isinstance(statement, Marking) else ()
            histories = [
                entries.select_reported_events(connection, platform.id, one) for one in jtis
            ]
            judge_link(ledger, statement, histories)
            drafts = [_draft_record(ledger, statement, platform, said)]
        if earlier is not None:
            return _answer_repeat(ledger, connection, earlier, verified.payload)
        for draft in drafts:
            entries.insert_event(connection, draft)
        if ledger.database.embedded:
            sequence_pending(ledger, connection)
    # Committed: from here on the statement is never lost. A checkpoint that isn't published
    # now is published with the next one.
    if ledger.database.embedded:
        publish_checkpoint(ledger, received_at)
    return Accepted(_incident_of(drafts[0]), repeated=False)


def _verify(
    ledger: Ledger,
    found: tuple[PlatformKey, Platform] | None,
    token: bytes,
    received_at: datetime,
) -> tuple[Platform, VerifiedToken]:
    """Verify a statement's signature and who made it. *Raises*: as `accept_event`."""
    if found is None or found[1].id == platforms.LEDGER_PLATFORM:
        raise InvalidKey("No platform is enrolled with this key.")
    key, platform = found
    verified = verify_event_token(
        token, key, issuer=platform.uri, audience=ledger.issuer, received_at=received_at
    )
    if platform.state is not PlatformState.ACTIVE:
        raise PlatformSuspended("The platform is suspended.")
    return platform, verified


def _answer_repeat(
    ledger: Ledger, connection: Connection, earlier: StoredEvent, payload: bytes
) -> Accepted:
    """Answer a statement again. *Raises*: EventIdReused where the earlier one is another.

    A retraction destroys its own content too, as a withdrawal does: whose answer was lost is
    recognised by what is left, that it takes back that very statement.
    """
    if earlier.sealed is None:
        is_known = earlier.op in {Op.RETRACTED, Op.EVIDENCE_WITHDRAWN}
        said = parse_event(payload) if is_known else None
        if isinstance(said, Retraction | Withdrawal) and op_of(said) == earlier.op:
            named = entries.find_event(connection, earlier.platform, name_reported(said))
            is_case = named is not None and named.txn in {None, said.txn}
            if named is not None and is_case and named.incident == earlier.incident:
                return Accepted(_incident_of(earlier), repeated=True)
        raise EventIdReused("The jti names a statement that was erased.")
    if payload_of(open_event(ledger, earlier)) != payload:
        raise EventIdReused("The jti names a statement with another content.")
    return Accepted(_incident_of(earlier), repeated=True)


def _incident_of(event: StoredEvent) -> str | None:
    """Give the incident that a statement is about; forged evidence is none."""
    return event.incident if event.incident.startswith("inc_") else None


def _draft_report(
    ledger: Ledger, report: IncidentReport, platform: Platform, said: _Said
) -> list[StoredEvent]:
    """Draft the report and, where its notice window has passed, the activation behind it."""
    at = said.received_at
    incident_id = mint_id("inc_", at)
    active_from = activates_at(report, ledger.jurisdiction, received_at=at)
    drafts = [_draft_event(ledger, report, platform, incident_id, said, active_from or at)]
    if active_from is None or active_from <= at:
        members = {"incident_iss": platform.uri, "incident_jti": report.jti}
        drafts.append(
            draft_own_statement(
                ledger,
                "incident-activated",
                members,
                op=Op.ACTIVATED,
                incident=incident_id,
                at=at,
            )
        )
    return drafts


def _draft_record(
    ledger: Ledger,
    statement: Unlinking | Recycling | Marking | Forgery,
    platform: Platform,
    said: _Said,
) -> StoredEvent:
    """Draft a statement about no incident; it begins a record of its own."""
    record = mint_id(_RECORDS[op_of(statement)], said.received_at)
    return _draft_event(ledger, statement, platform, record, said)


def _draft_event(
    ledger: Ledger,
    statement: Statement,
    platform: Platform,
    incident_id: str,
    said: _Said,
    active_from: datetime | None = None,
) -> StoredEvent:
    report = statement if isinstance(statement, IncidentReport) else None
    op = Op.INCIDENT_CONFIRMED if isinstance(statement, IncidentReport) else op_of(statement)
    return draft_event(
        ledger,
        StoredEvent(
            id=0,
            platform=platform.id,
            jti=statement.jti,
            txn=report.txn if report else None,
            incident=incident_id,
            op=int(op),
            kid=said.kid,
            received_at=said.received_at,
            response_until=report.notice.response_until if report and report.notice else None,
            active_from=active_from,
            entry_index=None,
            sealed=None,
            salt=None,
            retention_day=retention_day(statement, ledger.jurisdiction),
        ),
        said.token,
    )


def describe_incident(ledger: Ledger, caller: Caller, incident_id: str) -> IncidentView:
    """Describe one of the caller's own incidents. *Raises*: UnknownIncident."""
    require_scope(caller, "incidents:read")
    with begin_read(ledger.database) as connection:
        history = entries.select_incident_events(connection, incident_id)
        known = incidents.find_incident(connection, incident_id)
    report = own_report(caller, history)
    return IncidentView(
        id=incident_id,
        jti=report.jti,
        state=known.state.value if known else "received",
        log_index=report.entry_index,
        response_until=report.response_until,
        active_from=report.active_from,
        received_at=report.received_at,
        acknowledgement=_acknowledge(ledger, report, known),
        erasure_acknowledgement_due=known is not None
        and known.state in CLOSED
        and not any(event.op == Op.ERASURE_ACKNOWLEDGED for event in history),
    )


def _acknowledge(ledger: Ledger, report: StoredEvent, known: StoredIncident | None) -> str | None:
    """Acknowledge a report, or nothing once it is erased. *Raises*: LedgerCorrupt."""
    if known is not None and known.state in CLOSED:
        return None
    if report.salt is None:
        raise LedgerCorrupt("An event's salt is missing.")
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
    report = own_report(caller, history)
    claims = {
        "iss": ledger.issuer,
        "jti": report.jti,
        "index": report.entry_index,
        "state": known.state.value if known else "received",
        "as_of": as_of.isoformat().replace("+00:00", "Z"),
    }
    return sign_token(claims, ledger.log_jwk, typ=STATUS_TYPE)
