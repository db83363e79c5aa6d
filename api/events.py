"""Signed statements in: RFC 8935 push. The statement's own signature is the authentication."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.operation import Body, Reply, operation
from api.problems import render_set_error
from api.rendering import Answer
from ledger.errors import (
    BadSignature,
    EventRefused,
    EvidenceTooHeavy,
    InvalidAudience,
    InvalidIdentifier,
    InvalidIssuer,
    InvalidKey,
    InvalidToken,
    PlatformSuspended,
    SchemaViolation,
    StandardNotMet,
    WrongJurisdiction,
)
from ledger.reporting import accept_event

if TYPE_CHECKING:
    from api.operation import Call
    from ledger.ledger import Ledger

_TOKEN = "application/secevent+jwt"  # noqa: S105 - a media type


@operation(
    "POST",
    "/v1/events",
    tag="Events",
    scope=None,
    body=Body(
        _TOKEN,
        bytes,
        None,
        "eyJ0eXAiOiJzZWNldmVudCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6Ii4uLiJ9.e30.AA",
    ),
    replies=(Reply(202, "Accepted, or accepted before.", media_type=None, headers=("Location",)),),
    errors=(
        InvalidToken,
        BadSignature,
        InvalidKey,
        InvalidIssuer,
        InvalidAudience,
        PlatformSuspended,
        SchemaViolation,
        InvalidIdentifier,
        StandardNotMet,
        WrongJurisdiction,
        EvidenceTooHeavy,
        EventRefused,
    ),
    refuse=render_set_error,
)
def create_event(ledger: Ledger, call: Call[bytes]) -> Answer:
    """Report a confirmed incident, change one, or say what overrides a link.

    The body is one compact Security Event Token (RFC 8417). An exact repeat is answered like the
    first. `Location` is given where the statement is about an incident.
    """
    incident_id = accept_event(ledger, call.body, call.now).incident_id
    return Answer(202, headers={"Location": f"/v1/incidents/{incident_id}"} if incident_id else {})
