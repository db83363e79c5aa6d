"""Risk assessments over HTTP: the question, the answer again, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from api.operation import Reply, RequestModel, json_body, operation
from api.rendering import JSON, render_json, render_text
from ledger.assessing import (
    AssessmentRequest,
    Outcome,
    assess_risk,
    find_assessment,
    record_outcome,
)
from ledger.errors import (
    Fault,
    IdempotencyKeyReused,
    InvalidIdentifier,
    InvalidIssuer,
    NotOffered,
    OrderConflict,
    SchemaViolation,
    UnknownAssessment,
)
from ledger.identity.identifier import AccountRef, IdentifierClaim, parse_identifier
from ledger.incident.incident import Money, parse_money
from ledger.incident.schema import (
    IDENTIFIERS_MAX,
    Aliases,
    Code,
    Currency,
    IssSub,
    Text,
    WireAmount,
    WireBinding,
)
from ledger.risk.advice import Purpose

if TYPE_CHECKING:
    from api.operation import Call
    from api.rendering import Answer
    from ledger.ledger import Ledger

ASSESSMENT_ID = "ra_[0-9a-f]{32}"
_MINOR_MAX = 10**15
_EXAMPLE_ID = "ra_019aab2d1c007c3f9e0a1b2c3d4e5f60"
_PHONE = "bcl1.0.phone.q0Vm4WlPzPmnFYyMYBsH4HqGbc1yXb0r8zq5m8y2E3E"
_DEVICE = "bcl1.0.device.Zk2J8zv3yN0o1o4bH6mQp0rT5uX7cW9dLfAeRgYhUiQ"


class AssessmentContext(RequestModel):
    """Why it is asked, about which order, and how each identifier is bound to the account.

    The order commitment is an HMAC under a salt that the platform keeps, over order or cart id,
    account and day. It goes with one account and one set of identifiers, or a superset of it.
    """

    purpose: Purpose
    order_commitment: Annotated[
        str, StringConstraints(pattern=r"^hmac-sha-256:[A-Za-z0-9_-]{43,64}$")
    ]
    bindings: Annotated[dict[Text, WireBinding], Field(max_length=IDENTIFIERS_MAX)]
    claim_code: Code | None = None
    amount: WireAmount | None = None


class RiskAssessmentRequest(RequestModel):
    """A question about one buyer account of the asker's own.

    The subject is one account (`iss_sub`) and its blinded identifiers (`opaque`); each identifier
    has its entry in `bindings`, and no other has.
    """

    subject: Aliases
    context: AssessmentContext
    client_reference: Text | None = None


class OutcomeRequest(RequestModel):
    """What the platform did after an answer: feedback, never evidence.

    `loss_minor` is in minor units of `loss_currency`; both or neither.
    """

    action: Literal[
        "grant",
        "require_live_evidence",
        "require_return",
        "human_review",
        "decline_refund_only",
        "require_identity_proof",
        "proceed",
        "require_delivery_proof",
        "withhold_instant_refund",
    ]
    decided_by: Literal["human", "automation"]
    merchant_heard: bool
    listing_compared: bool
    reversed_on_appeal: bool
    loss_minor: Annotated[int, Field(ge=0, le=_MINOR_MAX)] | None = None
    loss_currency: Currency | None = None


class Advice(BaseModel):
    """What the ledger suggests. Actions unknown to a client must be tolerated."""

    action: str
    review_window_hours: int
    not_for_sole_use: bool
    rule: str


class Link(BaseModel):
    """A shared identifier."""

    kind: str
    strength: str
    accounts: str


class Reason(BaseModel):
    """Why: a stable code, a text by language, the points that it adds to the score."""

    code: str
    message: dict[str, str]
    points: int
    ends: str | None
    link: Link | None = None


class EvidenceBands(BaseModel):
    """How much evidence there is, in bands and months."""

    incidents: str
    platforms: str
    disputed: str
    first_seen: str | None
    last_seen: str | None


class IgnoredLink(BaseModel):
    """An identifier that wasn't followed, and why."""

    kind: str
    reason: str


class Clears(BaseModel):
    """What would clear the score: by time, in which month; or by how many overturned incidents."""

    below_high: str | None
    below_medium: str | None
    if_overturned: str


class LogPlace(BaseModel):
    """The size of the log that the answer was read at."""

    size: int
    origin: str


class RiskAssessment(BaseModel):
    """An answered question. The points of the reasons add up to the score."""

    id: str
    assessed_at: str
    valid_until: str
    score: Annotated[int, Field(ge=0, lt=1000)]
    level: str
    basis: str
    confidence: str
    advice: Advice | None
    reasons: list[Reason]
    evidence: EvidenceBands
    clears: Clears | None
    ignored_links: list[IgnoredLink]
    policy_version: int
    log: LogPlace
    client_reference: str | None


class RecordedOutcome(BaseModel):
    """The record of an outcome."""

    id: str
    assessment: str


_ASSESSED = Reply(
    200,
    "The answer. A buyer of whom nothing is known has score 0 and basis no_record.",
    model=RiskAssessment,
    example={
        "id": _EXAMPLE_ID,
        "assessed_at": "2026-11-22T12:00:00Z",
        "valid_until": "2026-11-22T12:10:00Z",
        "score": 370,
        "level": "MEDIUM",
        "basis": "same_person",
        "confidence": "one_platform",
        "advice": {
            "action": "require_live_evidence",
            "review_window_hours": 48,
            "not_for_sole_use": True,
            "rule": "direct_score",
        },
        "reasons": [
            {
                "code": "CONFIRMED_INCIDENTS",
                "message": {"en": "Confirmed incidents at one platform"},
                "points": 370,
                "ends": "2031-11",
                "link": None,
            }
        ],
        "evidence": {
            "incidents": "1",
            "platforms": "1",
            "disputed": "0",
            "first_seen": "2026-11",
            "last_seen": "2026-11",
        },
        "clears": {"below_high": None, "below_medium": "2027-12", "if_overturned": "1"},
        "ignored_links": [],
        "policy_version": 1,
        "log": {"size": 3, "origin": "ledger.example/sandbox"},
        "client_reference": "claim-88213",
    },
    headers=("Location",),
)


def _claims(asked: RiskAssessmentRequest) -> tuple[AccountRef, tuple[IdentifierClaim, ...]]:
    """Split the subject into the account and its identifiers, each with its binding."""
    accounts = [one for one in asked.subject.identifiers if isinstance(one, IssSub)]
    opaque = [one.id for one in asked.subject.identifiers if not isinstance(one, IssSub)]
    if len(accounts) != 1:
        raise _violation("/subject/identifiers", "one-account", "A subject is one account.")
    if len(set(opaque)) != len(opaque):
        raise _violation("/subject/identifiers", "repeated", "An identifier is repeated.")
    bindings = asked.context.bindings
    if set(opaque) != set(bindings):
        raise _violation("/context/bindings", "every-identifier", "Each identifier has a binding.")
    claims = tuple(
        IdentifierClaim(
            parse_identifier(one),
            bindings[one].binding,
            bindings[one].verified_on,
            bindings[one].accounts_here,
        )
        for one in opaque
    )
    return AccountRef(accounts[0].iss, accounts[0].sub), claims


def _amount(context: AssessmentContext) -> Money | None:
    if context.amount is None:
        return None
    try:
        return parse_money(context.amount.value, context.amount.currency)
    except SchemaViolation as error:
        fault = error.faults[0]
        raise _violation("/context/amount/value", fault.code, fault.detail) from error


def _loss(told: OutcomeRequest) -> Money | None:
    if told.loss_minor is None and told.loss_currency is None:
        return None
    if told.loss_minor is None or told.loss_currency is None:
        raise _violation("/loss_minor", "with-currency", "A loss is an amount and a currency.")
    return Money(told.loss_minor, told.loss_currency)


def _violation(pointer: str, code: str, detail: str) -> SchemaViolation:
    return SchemaViolation(
        "The body doesn't fit its schema.", faults=(Fault(pointer, code, detail),)
    )


@operation(
    "POST",
    "/v1/risk-assessments",
    tag="Risk",
    scope="risk:read",
    body=json_body(
        RiskAssessmentRequest,
        example={
            "subject": {
                "format": "aliases",
                "identifiers": [
                    {"format": "iss_sub", "iss": "https://shop-b.example", "sub": "acct_91"},
                    {"format": "opaque", "id": _PHONE},
                    {"format": "opaque", "id": _DEVICE},
                ],
            },
            "context": {
                "purpose": "refund_only_claim",
                "order_commitment": "hmac-sha-256:PvV0ZQ5qk1l3q2y6c8wYt7u9x0aBcDeFgHiJkLmNoPQ",
                "bindings": {
                    _PHONE: {
                        "binding": "otp",
                        "verified_on": "2026-03-02",
                        "accounts_here": "1",
                    },
                    _DEVICE: {"binding": "observed", "accounts_here": "1"},
                },
                "claim_code": "not_as_described",
                "amount": {"value": "129.90", "currency": "CNY"},
            },
            "client_reference": "claim-88213",
        },
    ),
    replies=(_ASSESSED,),
    errors=(InvalidIdentifier, InvalidIssuer, OrderConflict, IdempotencyKeyReused, NotOffered),
    creates=True,
)
def create_risk_assessment(ledger: Ledger, call: Call[RiskAssessmentRequest]) -> Answer:
    """Ask how risky a refund-only claim, or an order, of one of your buyers is.

    The answer is recorded before it is given. It is advice: the platform decides.
    """
    asked = call.body
    account, identifiers = _claims(asked)
    context = asked.context
    request = AssessmentRequest(
        account=account,
        identifiers=identifiers,
        purpose=context.purpose,
        order_commitment=context.order_commitment,
        claim_code=context.claim_code,
        amount=_amount(context),
        client_reference=asked.client_reference,
        idempotency_key=call.idempotency_key,
        digest=call.digest,
    )
    answer = assess_risk(ledger, call.caller, request, call.now)
    headers = {"Location": f"/v1/risk-assessments/{answer.id}"}
    return render_text(answer.text, media_type=JSON, headers=headers)


@operation(
    "GET",
    "/v1/risk-assessments/{assessment_id}",
    tag="Risk",
    scope="risk:read",
    patterns={"assessment_id": ASSESSMENT_ID},
    replies=(Reply(200, "The answer as it was given.", model=RiskAssessment),),
    errors=(UnknownAssessment,),
)
def read_risk_assessment(ledger: Ledger, call: Call[None]) -> Answer:
    """Read one of your answers again."""
    found = find_assessment(ledger, call.caller, call.path["assessment_id"])
    return render_text(found.text, media_type=JSON)


@operation(
    "POST",
    "/v1/risk-assessments/{assessment_id}/outcomes",
    tag="Risk",
    scope="risk:read",
    patterns={"assessment_id": ASSESSMENT_ID},
    body=json_body(
        OutcomeRequest,
        example={
            "action": "require_live_evidence",
            "decided_by": "human",
            "merchant_heard": True,
            "listing_compared": True,
            "reversed_on_appeal": False,
            "loss_minor": 12990,
            "loss_currency": "CNY",
        },
    ),
    replies=(
        Reply(
            201,
            "Recorded.",
            model=RecordedOutcome,
            example={"id": "out_019aab2d1c007c3f9e0a1b2c3d4e5f61", "assessment": _EXAMPLE_ID},
        ),
    ),
    errors=(UnknownAssessment, IdempotencyKeyReused),
    creates=True,
)
def create_outcome(ledger: Ledger, call: Call[OutcomeRequest]) -> Answer:
    """Tell what you did after an answer."""
    told = call.body
    assessment_id = call.path["assessment_id"]
    outcome = Outcome(
        action=told.action,
        decided_by=told.decided_by,
        merchant_heard=told.merchant_heard,
        listing_compared=told.listing_compared,
        reversed_on_appeal=told.reversed_on_appeal,
        loss=_loss(told),
        idempotency_key=call.idempotency_key,
        digest=call.digest,
    )
    recorded = record_outcome(ledger, call.caller, assessment_id, outcome, call.now)
    return render_json({"id": recorded, "assessment": assessment_id}, status=201)
