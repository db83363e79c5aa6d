"""How an incident stands, for the platform that reported it, and its receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from api.operation import Reply, operation
from api.rendering import JWT, TEXT, render_instant, render_json, render_text
from ledger.errors import ContentErased, ReceiptUnpublished, UnknownIncident
from ledger.exploring import explore_incident
from ledger.proving import prove_incident
from ledger.reporting import describe_incident, sign_status
from ledger.risk.answer import band

if TYPE_CHECKING:
    from datetime import datetime

    from api.operation import Call
    from api.rendering import Answer
    from ledger.ledger import Ledger

INCIDENT_ID = "inc_[0-9a-f]{32}"
_EXAMPLE_ID = "inc_019a6f3c1f007aa1b2c3d4e5f6071829"


class IncidentStatus(BaseModel):
    """How an incident stands. `acknowledgement` is a JWS of the ledger's, none once it is erased.

    Then `erasure_acknowledgement_due` is true until you sent `erasure-acknowledged`.

    `state` is "received" until the log has given the report its place, `log_index`.
    """

    id: str
    jti: str
    state: str
    log_index: int | None
    response_until: str | None
    active_from: str | None
    received_at: str
    acknowledgement: str | None
    erasure_acknowledgement_due: bool


@operation(
    "GET",
    "/v1/incidents/{incident_id}",
    tag="Incidents",
    scope="incidents:read",
    patterns={"incident_id": INCIDENT_ID},
    replies=(
        Reply(
            200,
            "How the incident stands.",
            model=IncidentStatus,
            example={
                "id": _EXAMPLE_ID,
                "jti": "case-88213-report",
                "state": "active",
                "log_index": 41,
                "response_until": "2026-11-20T16:00:00Z",
                "active_from": "2026-11-20T16:00:00Z",
                "received_at": "2026-11-22T12:00:00Z",
                "acknowledgement": "eyJ0eXAiOiJiY2wtYWNrbm93bGVkZ2VtZW50K2p3dCJ9.e30.AA",
                "erasure_acknowledgement_due": False,
            },
        ),
        Reply(200, "The same, signed: a JWS of {jti, index, state, as_of}.", media_type=JWT),
    ),
    errors=(UnknownIncident,),
)
def read_incident(ledger: Ledger, call: Call[None]) -> Answer:
    """Tell how one of your incidents stands.

    With `Accept: application/jwt` the answer is the ledger's signed status.
    """
    if call.accepts_jwt:
        status = sign_status(ledger, call.caller, call.path["incident_id"], call.now)
        return render_text(status, media_type=JWT, headers={"Vary": "Accept"})
    view = describe_incident(ledger, call.caller, call.path["incident_id"])
    return render_json(
        {
            "id": view.id,
            "jti": view.jti,
            "state": view.state,
            "log_index": view.log_index,
            "response_until": _instant(view.response_until),
            "active_from": _instant(view.active_from),
            "received_at": _instant(view.received_at),
            "acknowledgement": view.acknowledgement,
            "erasure_acknowledgement_due": view.erasure_acknowledgement_due,
        },
        headers={"Vary": "Accept"},
    )


class NetworkAccount(BaseModel):
    """An account that bears incidents, by a name of this answer alone."""

    id: str
    middle: bool
    own: bool
    incidents: str
    first_seen: str
    last_seen: str


class NetworkIdentifier(BaseModel):
    """An identifier of the account in the middle. A hub leads nowhere."""

    id: str
    kind: str
    accounts: str
    hub: bool


class NetworkLink(BaseModel):
    """That an account has an identifier."""

    source: str
    target: str


class Network(BaseModel):
    """The surroundings of an incident's account. `truncated` where anything was left out."""

    accounts: list[NetworkAccount]
    identifiers: list[NetworkIdentifier]
    links: list[NetworkLink]
    truncated: bool


@operation(
    "GET",
    "/v1/incidents/{incident_id}/neighbourhood",
    tag="Incidents",
    scope="incidents:read",
    patterns={"incident_id": INCIDENT_ID},
    replies=(
        Reply(
            200,
            "The surroundings; nothing where the incident doesn't count.",
            model=Network,
            example={
                "accounts": [
                    {
                        "id": "account-1",
                        "middle": True,
                        "own": True,
                        "incidents": "1",
                        "first_seen": "2026-11",
                        "last_seen": "2026-11",
                    }
                ],
                "identifiers": [
                    {"id": "identifier-1", "kind": "phone", "accounts": "1", "hub": False}
                ],
                "links": [{"source": "account-1", "target": "identifier-1"}],
                "truncated": False,
            },
        ),
    ),
    errors=(UnknownIncident,),
)
def read_neighbourhood(ledger: Ledger, call: Call[None]) -> Answer:
    """Read what surrounds the account of one of your incidents.

    One step: its identifiers, and the accounts that bear incidents under them. Accounts and
    identifiers are 200 in all at most: what links most strongly stays, and `truncated` says that
    something is left out. Names hold within one answer. Whose accounts the others are isn't said.
    """
    network = explore_incident(ledger, call.caller, call.path["incident_id"])
    return render_json(
        {
            "accounts": [
                {
                    "id": one.name,
                    "middle": one.middle,
                    "own": one.own,
                    "incidents": band(one.incidents),
                    "first_seen": one.first_month,
                    "last_seen": one.last_month,
                }
                for one in network.accounts
            ],
            "identifiers": [
                {
                    "id": one.name,
                    "kind": one.kind.value,
                    "accounts": band(one.accounts),
                    "hub": one.hub,
                }
                for one in network.identifiers
            ],
            "links": [{"source": source, "target": target} for source, target in network.links],
            "truncated": network.truncated,
        }
    )


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else render_instant(instant)


@operation(
    "GET",
    "/v1/incidents/{incident_id}/receipt",
    tag="Incidents",
    scope="incidents:read",
    patterns={"incident_id": INCIDENT_ID},
    replies=(Reply(200, "The receipt, a C2SP tlog-proof.", media_type=TEXT),),
    errors=(UnknownIncident, ContentErased, ReceiptUnpublished),
    waits=True,
)
def read_receipt(ledger: Ledger, call: Call[None]) -> Answer:
    """Fetch the receipt of one of your reports.

    404 with Retry-After while no published checkpoint covers it. On PostgreSQL `Prefer: wait=n`
    waits for that; where too many wait already, or on SQLite, it doesn't. 410 once the report is
    erased: a receipt that was fetched before still proves that there was an entry.
    """
    incident_id = call.path["incident_id"]
    receipt = prove_incident(ledger, call.caller, incident_id, wait_seconds=call.wait_seconds)
    return render_text(receipt)
