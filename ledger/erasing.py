"""An operator destroys what was said: on request, by order, or where an objection held.

That is an incident's content, or a statement about forged evidence that is unfounded.

Two persons decide: the first states it, the second states it again and names the SHA-256 of the
first's statement; in a sandbox one is enough. Both statements are entries. What is true when:
before the commit nothing was decided; after it the statement has its place in the log and, where
it was the last that was needed, the content is gone. If we die right before it, the command is
repeated; if right after it, the incident's state tells.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.deriving import open_event, read_decision
from ledger.errors import Conflict, IncidentClosed, InvalidInput, UnknownIncident
from ledger.identity.token import payload_of
from ledger.incident.decision import DECISION_REASONS, decision_reason, fold_name, reason_name
from ledger.incident.lifecycle import next_state
from ledger.incident.statement import parse_ledger_statement
from ledger.log.leaf import EntryReason, Op, parse_leaf
from ledger.sequencing import draft_own_statement, publish_checkpoint, sequence_pending
from ledger.store import entries, erasures, evidence, incidents, platforms
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from ledger.ledger import Ledger
    from ledger.store.engine import Connection
    from ledger.store.entries import StoredEvent

_NAMES = {Op.ERASED: "incident-erased", Op.EXPUNGED: "incident-expunged"}
_NAME_LENGTH_MAX = 64


@dataclass(frozen=True, slots=True)
class Decision:
    """What an operator wants destroyed, why, and who says so.

    *Shape*: `op` is ERASED, or EXPUNGED, for which `incident_id` may be that of forged evidence;
    `reason` one of its names, `confirms` the jti of the first person's statement, where this is the
    second's.
    """

    incident_id: str
    op: Op
    reason: str
    person: str
    confirms: str | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision that was entered: the jti of its statement, and whether it took effect."""

    jti: str
    is_final: bool


@dataclass(frozen=True, slots=True)
class ErasedIncident:
    """An erased incident as the operator sees it: class, reason, place and age of its erasure."""

    incident_id: str
    platform: str
    jti: str
    state: str
    reason: str
    index: int
    erased_at: datetime
    age: timedelta
    acknowledged_at: datetime | None


def decide_erasure(ledger: Ledger, decision: Decision, at: datetime) -> Decided:
    """Enter one person's decision to destroy an incident's content.

    *Raises*: UnknownIncident, IncidentClosed where its state doesn't admit it, InvalidInput for a
    reason that isn't published, Conflict where it confirms another decision or the same person's.
    """
    if decision_reason(decision.op, decision.reason) is None:
        known = ", ".join(reason_name(one) for one in DECISION_REASONS[decision.op])
        raise InvalidInput(f"The reason is one of {known}.")
    person = decision.person.strip()
    if not person or len(person) > _NAME_LENGTH_MAX or not person.isprintable():
        raise InvalidInput("A person is named by at most 64 printable characters.")
    with begin_write(ledger.database) as connection:
        entries.read_state(connection, lock=True)
        while sequence_pending(ledger, connection):
            pass  # what was accepted before this is judged first
        history = entries.select_incident_events(connection, decision.incident_id)
        name = _name_decision(connection, decision, history)
        report, kind = history[0], name.partition("-")[0]
        members = {
            f"{kind}_iss": platforms.read_member(connection, report.platform).uri,
            f"{kind}_jti": report.jti,
            "reason": decision.reason,
            "person": person,
        }
        if decision.confirms is not None:
            first = entries.find_event(connection, platforms.LEDGER_PLATFORM, decision.confirms)
            members["confirms"] = _confirm(ledger, first, decision, members)
        draft = draft_own_statement(
            ledger,
            name,
            members,
            op=decision.op,
            incident=decision.incident_id,
            at=at,
        )
        entries.insert_event(connection, draft)
        sequence_pending(ledger, connection)
    publish_checkpoint(ledger, at)
    return Decided(draft.jti, is_final=ledger.sandbox or decision.confirms is not None)


def _name_decision(
    connection: Connection, decision: Decision, history: Sequence[StoredEvent]
) -> str:
    """Give the name of a decision's statement, where the record admits the decision.

    *Raises*: UnknownIncident, IncidentClosed.
    """
    known = incidents.find_incident(connection, decision.incident_id)
    if known is not None and history:
        if next_state(known.state, decision.op) is None:
            raise IncidentClosed(f"The incident is {known.state.value}.")
        return _NAMES[decision.op]
    if not history or (history[0].op, decision.op) != (Op.EVIDENCE_SEEN, Op.EXPUNGED):
        raise UnknownIncident("There is no incident or evidence of this id to decide this about.")
    if history[0].sealed is None:
        raise IncidentClosed("The evidence was withdrawn already, or its time is over.")
    return "evidence-expunged"


def _confirm(
    ledger: Ledger, first: StoredEvent | None, decision: Decision, members: dict[str, str]
) -> str:
    """Give the hash of the first person's statement. *Raises*: Conflict for any other."""
    if first is None or (first.op, first.incident) != (int(decision.op), decision.incident_id):
        raise Conflict("The statement to be confirmed isn't a decision about this incident.")
    token = open_event(ledger, first)
    said = parse_ledger_statement(payload_of(token)).members
    if "confirms" in said or said.get("reason") != decision.reason:
        raise Conflict("The statement to be confirmed says something else.")
    if fold_name(said.get("person")) == fold_name(members["person"]):
        raise Conflict("A decision is confirmed by another person.")
    return hashlib.sha256(token).hexdigest()


def list_matched(ledger: Ledger, answer: str) -> list[tuple[str, str, str]]:
    """List the reports on whose evidence an answer rests: record, platform and jti of each.

    They are for the operator alone, who judges an objection to a match; no member sees them.
    """
    with begin_read(ledger.database, snapshot=True) as connection:
        told = evidence.select_told(connection, answer)
        begun = [entries.select_incident_events(connection, record)[0] for record in told]
        return [
            (one.incident, platforms.read_member(connection, one.platform).uri, one.jti)
            for one in begun
        ]


def destroy_again(ledger: Ledger, at: datetime) -> int:
    """Destroy what should be gone and is there, as after a restore; give how many statements."""
    with begin_write(ledger.database) as connection:
        entries.read_state(connection, lock=True)
        decided = [
            entries.find_event(connection, platforms.LEDGER_PLATFORM, jti)
            for jti in erasures.select_decided(connection)
        ]
        expunged = {
            one.incident
            for one in decided
            if one is not None and read_decision(ledger, one) is not EntryReason.FIRST_OF_TWO
        }
        return erasures.destroy_again(connection, at, expunged)


def list_erased(ledger: Ledger, now: datetime, *, unacknowledged: bool) -> list[ErasedIncident]:
    """List the incidents whose content was destroyed, oldest first.

    *Shape*: with `unacknowledged` those alone whose submitter hasn't said that its copy is gone.
    """
    with begin_read(ledger.database, snapshot=True) as connection:
        return [
            one
            for one in _describe(connection, now)
            if not (unacknowledged and one.acknowledged_at is not None)
        ]


def _describe(connection: Connection, now: datetime) -> list[ErasedIncident]:
    names = platforms.select_names(connection)
    return [
        ErasedIncident(
            incident_id=one.incident,
            platform=names[one.platform],
            jti=one.jti,
            state=one.state,
            reason=_name_reason(one.entry),
            index=one.index,
            erased_at=one.erased_at,
            age=now - one.erased_at,
            acknowledged_at=one.acknowledged_at,
        )
        for one in erasures.select_erased(connection)
    ]


def _name_reason(entry: bytes) -> str:
    reason = parse_leaf(entry).reason
    return "" if reason is EntryReason.NONE else reason_name(reason)
