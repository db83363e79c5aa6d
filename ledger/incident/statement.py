"""Every statement that may be signed, and the one place where an event is judged by its form.

A platform reports, corrects, retracts; tells of restitution, and that it deleted its own copy of
what was erased; says that two accounts aren't one person's, that an identifier went to somebody
else, that a buyer is to be identified with care.
The ledger signs statements of its own. Nothing here knows what a statement does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import ValidationError

from ledger.errors import EventRefused, Fault, SchemaViolation
from ledger.identity.identifier import AccountRef, Identifier, Kind, parse_identifier
from ledger.incident.incident import (
    IncidentReport,
    build_evidence,
    build_proof,
    build_report,
    read_instant,
    read_subject,
    violation,
)
from ledger.incident.schema import (
    Acknowledged,
    Claims,
    Confirmed,
    Corrected,
    Envelope,
    ForgedSeen,
    ForgedWithdrawn,
    IdentifierClaims,
    Marked,
    Recycled,
    Restituted,
    Retracted,
    Unlinked,
)
from ledger.strict_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ledger.incident.incident import EvidenceItem, Proof
    from ledger.incident.taxonomy import Conduct, MarkerKind

EVENT_PREFIX = "urn:bcl:event-type:"
CONFIRMED = f"{EVENT_PREFIX}refund-incident-confirmed:1"
CORRECTED = f"{EVENT_PREFIX}refund-incident-corrected:1"
RETRACTED = f"{EVENT_PREFIX}refund-incident-retracted:1"
RESTITUTED = f"{EVENT_PREFIX}refund-incident-restituted:1"
ACKNOWLEDGED = f"{EVENT_PREFIX}erasure-acknowledged:1"
UNLINKED = f"{EVENT_PREFIX}accounts-unlinked:1"
RECYCLED = f"{EVENT_PREFIX}identifier-recycled:1"
MARKED = f"{EVENT_PREFIX}protective-marker-set:1"
EVIDENCE_SEEN = f"{EVENT_PREFIX}forged-evidence-seen:1"
EVIDENCE_WITHDRAWN = f"{EVENT_PREFIX}forged-evidence-withdrawn:1"
MARKER_DAYS_MAX = 400


@dataclass(frozen=True, slots=True)
class Signed:
    """What every statement of a platform has: who signed which one when, about which case."""

    issuer: str
    jti: str
    txn: str
    issued_at: datetime
    event_at: datetime


@dataclass(frozen=True, slots=True)
class Retraction(Signed):
    """A platform takes one of its own reports back."""

    account: AccountRef
    incident_jti: str


@dataclass(frozen=True, slots=True)
class Restitution(Signed):
    """A buyer made an incident good."""

    account: AccountRef
    incident_jti: str
    restituted_at: datetime


@dataclass(frozen=True, slots=True)
class Correction(Signed):
    """A platform replaces one of its own reports by another, whole."""

    account: AccountRef
    incident_jti: str
    report: IncidentReport


@dataclass(frozen=True, slots=True)
class Acknowledgement(Signed):
    """A platform deleted its own copy of a report that was erased. It names nobody."""

    incident_jti: str


@dataclass(frozen=True, slots=True)
class Unlinking(Signed):
    """An account of the issuer's and another account aren't one person's.

    *Shape*: `nids` are the holders' verified national ids, or `live_checks` the digests of what
    showed both to be there: the subject's first, the other's second.
    """

    account: AccountRef
    other: AccountRef
    nids: tuple[Identifier, ...]
    live_checks: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Recycling(Signed):
    """An identifier went to somebody else on a date of its carrier's."""

    identifier: Identifier
    recycled_at: datetime


@dataclass(frozen=True, slots=True)
class Marking(Signed):
    """A buyer is to be identified with care for some time.

    *Shape*: `incident_jtis` are the issuer's own reports that are proven to stem from a takeover.
    """

    account: AccountRef
    identifiers: tuple[Identifier, ...]
    kind: MarkerKind
    begins: datetime
    until: datetime
    incident_jtis: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Forgery(Signed):
    """Pictures were proven false, without a word about whose claim it was.

    *Shape*: `digest` is the SHA-256 of one of them. `is_original` where the picture is somebody's
    own, a listing or a review, and only its use was false.
    """

    digest: bytes
    conduct: Conduct
    evidence: tuple[EvidenceItem, ...]
    proof: Proof
    is_original: bool


@dataclass(frozen=True, slots=True)
class Withdrawal(Signed):
    """A platform takes back what it said of forged pictures."""

    digest: bytes
    evidence_jti: str


Change: TypeAlias = Retraction | Restitution | Correction
# What names an earlier statement of the same platform.
Following: TypeAlias = Change | Acknowledgement | Withdrawal
Statement: TypeAlias = IncidentReport | Following | Unlinking | Recycling | Marking | Forgery


@dataclass(frozen=True, slots=True)
class LedgerStatement:
    """A statement that the ledger signed itself. `name` is the event type without prefix.

    *Shape*: `subject` is the id of the incident that it is about, or empty.
    """

    jti: str
    name: str
    subject: str
    members: dict[str, object]


def parse_event(payload: bytes) -> Statement:
    """Parse the payload of a platform's verified event token.

    *Raises*: SchemaViolation with every fault, EventRefused for an unknown event type,
    InvalidIdentifier, MalformedJson and its kinds.
    """
    raw = parse_json(payload)
    events = raw.get("events") if isinstance(raw, dict) else None
    if not isinstance(events, dict) or len(events) != 1:
        raise violation("/events", "one_event", "A token carries exactly one event.")
    name = next(iter(events))
    if name not in _FORMS:
        raise EventRefused("The event type isn't one that platforms send here.")
    model, build = _FORMS[name]
    try:
        claims: Any = model.model_validate_json(payload)
    except ValidationError as error:
        raise _translate(error) from None
    return build(claims, claims.events[name])


def _signed(claims: Envelope, event_timestamp: int) -> tuple[str, str, str, datetime, datetime]:
    at = read_instant(claims.iat)
    return claims.iss, claims.jti, claims.txn, at, read_instant(event_timestamp)


def _build_retraction(claims: Claims[Retracted], event: Retracted) -> Retraction:
    account, _ = read_subject(claims)
    return Retraction(*_signed(claims, event.event_timestamp), account, event.incident_jti)


def _build_restitution(claims: Claims[Restituted], event: Restituted) -> Restitution:
    account, _ = read_subject(claims)
    at = event.restituted_at.astimezone(UTC)
    if at > read_instant(claims.iat):
        raise violation(f"/events/{RESTITUTED}/restituted_at", "order", "It is still to come.")
    signed = _signed(claims, event.event_timestamp)
    return Restitution(*signed, account, event.incident_jti, at)


def _build_correction(claims: Claims[Corrected], event: Corrected) -> Correction:
    report = build_report(claims, event)
    signed = _signed(claims, event.event_timestamp)
    return Correction(*signed, report.account, event.incident_jti, report)


def _build_acknowledgement(
    claims: IdentifierClaims[Acknowledged], event: Acknowledged
) -> Acknowledgement:
    if claims.sub_id.id != event.jti:
        raise violation("/sub_id/id", "one_statement", "The subject is the erased report's jti.")
    return Acknowledgement(*_signed(claims, event.event_timestamp), event.jti)


def _build_unlinking(claims: Claims[Unlinked], event: Unlinked) -> Unlinking:
    account, _ = read_subject(claims)
    other = AccountRef(event.account.iss, event.account.sub)
    if other == account:
        raise violation(f"/events/{UNLINKED}/account", "another", "It is the subject's account.")
    holders = {one.holder: one for one in event.proofs}
    shown = [holders.get(name) for name in ("subject", "other")]
    nids = tuple(parse_identifier(one.nid) for one in shown if one and one.nid)
    checks = tuple(bytes.fromhex(one.live_check) for one in shown if one and one.live_check)
    different = len({one.value for one in nids}) == len(shown) and all(
        one.kind is Kind.NID for one in nids
    )
    if not different and len(set(checks)) != len(shown):
        raise violation(
            f"/events/{UNLINKED}/proofs",
            "both_holders",
            "Two different national ids, or live checks of both holders, are needed.",
        )
    return Unlinking(*_signed(claims, event.event_timestamp), account, other, nids, checks)


def _build_recycling(claims: IdentifierClaims[Recycled], event: Recycled) -> Recycling:
    identifier = parse_identifier(event.token)
    if claims.sub_id.id != event.token:
        raise violation("/sub_id/id", "one_identifier", "The subject is the token itself.")
    if identifier.kind is Kind.NID:
        raise violation(
            f"/events/{RECYCLED}/token", "recyclable", "A national id stays a person's."
        )
    at = event.recycled_at.astimezone(UTC)
    if at > read_instant(claims.iat):
        raise violation(f"/events/{RECYCLED}/recycled_at", "order", "It is still to come.")
    return Recycling(*_signed(claims, event.event_timestamp), identifier, at)


def _build_marking(claims: Claims[Marked], event: Marked) -> Marking:
    account, opaque = read_subject(claims)
    begins, until = event.begins.astimezone(UTC), event.until.astimezone(UTC)
    if not begins < until <= begins + timedelta(days=MARKER_DAYS_MAX):
        raise violation(f"/events/{MARKED}/until", "order", "A marker lasts at most 400 days.")
    identifiers = tuple(parse_identifier(one) for one in opaque)
    if any(one.kind in {Kind.ADDR, Kind.DEVICE} for one in identifiers):
        raise violation(
            "/sub_id/identifiers",
            "personal",
            "Addresses and devices are shared: they aren't marked.",
        )
    return Marking(
        *_signed(claims, event.event_timestamp),
        account=account,
        identifiers=identifiers,
        kind=event.kind,
        begins=begins,
        until=until,
        incident_jtis=tuple(event.incident_jtis),
    )


def _read_digest(claims: IdentifierClaims[Any]) -> bytes:
    if _HASH.fullmatch(claims.sub_id.id) is None:
        raise violation("/sub_id/id", "digest", "The subject is the SHA-256 of a piece.")
    return bytes.fromhex(claims.sub_id.id)


def _build_forgery(claims: IdentifierClaims[ForgedSeen], event: ForgedSeen) -> Forgery:
    digest, pieces = _read_digest(claims), build_evidence(event.evidence)
    if digest not in {one.digest for one in pieces}:
        raise violation("/sub_id/id", "digest", "The subject is one of the pieces.")
    if not event.conduct.forges_evidence:
        raise violation(
            f"/events/{EVIDENCE_SEEN}/conduct", "forged", "The conduct forges no evidence."
        )
    return Forgery(
        *_signed(claims, event.event_timestamp),
        digest=digest,
        conduct=event.conduct,
        evidence=pieces,
        proof=build_proof(event.proof),
        is_original=event.source,
    )


def _build_withdrawal(
    claims: IdentifierClaims[ForgedWithdrawn], event: ForgedWithdrawn
) -> Withdrawal:
    signed = _signed(claims, event.event_timestamp)
    return Withdrawal(*signed, _read_digest(claims), event.evidence_jti)


_HASH = re.compile("[0-9a-f]{64}", re.ASCII)
_FORMS: dict[str, tuple[type[Envelope], Callable[[Any, Any], Statement]]] = {
    CONFIRMED: (Claims[Confirmed], build_report),
    CORRECTED: (Claims[Corrected], _build_correction),
    RETRACTED: (Claims[Retracted], _build_retraction),
    RESTITUTED: (Claims[Restituted], _build_restitution),
    ACKNOWLEDGED: (IdentifierClaims[Acknowledged], _build_acknowledgement),
    UNLINKED: (Claims[Unlinked], _build_unlinking),
    RECYCLED: (IdentifierClaims[Recycled], _build_recycling),
    MARKED: (Claims[Marked], _build_marking),
    EVIDENCE_SEEN: (IdentifierClaims[ForgedSeen], _build_forgery),
    EVIDENCE_WITHDRAWN: (IdentifierClaims[ForgedWithdrawn], _build_withdrawal),
}


def _known_members() -> frozenset[str]:
    known: set[str] = set()
    for model, _ in _FORMS.values():
        schema = model.model_json_schema()
        for definition in [schema, *schema["$defs"].values()]:
            known |= set(definition.get("properties", ()))
    return frozenset(known)


_KNOWN = _known_members()
# What the validator says of the light shapes, in the words that it has for others.
_CODES = {"unexpected_keyword_argument": "extra_forbidden", "dataclass_type": "model_type"}


def _translate(error: ValidationError) -> SchemaViolation:
    """Name what broke by our own members alone: an unknown member's name is input too."""
    faults = []
    for one in error.errors(include_input=False, include_url=False, include_context=False)[:20]:
        places = [str(place) for place in one["loc"] if isinstance(place, int) or place in _KNOWN]
        pointer = "".join(f"/{place}" for place in places)
        code = _CODES.get(one["type"], one["type"])
        faults.append(Fault(pointer, code, "The member isn't as published."))
    return SchemaViolation("The event doesn't have the published shape.", faults=tuple(faults))


def parse_ledger_statement(payload: bytes) -> LedgerStatement:
    """Parse the payload of a statement that the ledger signed itself.

    *Raises*: SchemaViolation.
    """
    raw = parse_json(payload)
    events = raw.get("events") if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or not isinstance(events, dict) or len(events) != 1:
        raise violation("/events", "one_event", "A token carries exactly one event.")
    kind, members = next(iter(events.items()))
    name = kind.removeprefix(EVENT_PREFIX).removesuffix(":1")
    if not isinstance(members, dict) or f"{EVENT_PREFIX}{name}:1" != kind:
        raise violation("/events", "unknown_event", "The event type isn't the ledger's.")
    subject = raw.get("sub_id")
    if not isinstance(subject, dict) or not isinstance(subject.get("id"), str):
        raise violation("/sub_id", "one_subject", "A statement names its subject.")
    return LedgerStatement(str(raw.get("jti")), name, subject["id"], members)
