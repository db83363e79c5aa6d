"""Answers that were given: read again, computed again, shown to a merchant, what came of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, Field

from api.operation import Reply, RequestModel, json_body, operation
from api.questions import violation
from api.rendering import JSON, render_instant, render_json, render_text
from api.risk import ASSESSMENT_ID, EXAMPLE_ID, RiskAssessment
from ledger.answering import Outcome, find_assessment, record_outcome, show_merchant
from ledger.errors import IdempotencyKeyReused, InputsErased, UnknownAssessment
from ledger.incident.incident import Money
from ledger.incident.schema import Currency
from ledger.replaying import replay_assessment

if TYPE_CHECKING:
    from api.operation import Call
    from api.rendering import Answer
    from ledger.ledger import Ledger

_MINOR_MAX = 10**15


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


class RecordedOutcome(BaseModel):
    """The record of an outcome."""

    id: str
    assessment: str


class Replay(BaseModel):
    """An answer computed again. `differing` names the members that aren't as they were recorded."""

    assessment: str
    assessed_at: str
    log_size: int
    policy_version: int
    agrees: bool
    differing: list[str]


class MerchantView(BaseModel):
    """What the merchant of an order may see: the band and the time to review, never why."""

    assessment: str
    level: str
    review_window_hours: int
    valid_until: str


def _loss(told: OutcomeRequest) -> Money | None:
    if told.loss_minor is None and told.loss_currency is None:
        return None
    if told.loss_minor is None or told.loss_currency is None:
        raise violation("/loss_minor", "with-currency", "A loss is an amount and a currency.")
    return Money(told.loss_minor, told.loss_currency)


@operation(
    "GET",
    "/v1/risk-assessments/{assessment_id}",
    tag="Risk",
    scope="risk:read",
    patterns={"assessment_id": ASSESSMENT_ID},
    replies=(Reply(200, "The answer as it was given.", model=RiskAssessment),),
    errors=(UnknownAssessment, InputsErased),
)
def read_risk_assessment(ledger: Ledger, call: Call[None]) -> Answer:
    """Read one of your answers again.

    410 once something that it rested on has been erased, or a match that it told of taken back.
    """
    found = find_assessment(ledger, call.caller, call.path["assessment_id"])
    return render_text(found.text, media_type=JSON)


@operation(
    "GET",
    "/v1/risk-assessments/{assessment_id}/replay",
    tag="Risk",
    scope="risk:read",
    patterns={"assessment_id": ASSESSMENT_ID},
    replies=(
        Reply(
            200,
            "Whether the exact score and everything that was shown agree.",
            model=Replay,
            example={
                "assessment": EXAMPLE_ID,
                "assessed_at": "2026-11-22T12:00:00Z",
                "log_size": 3,
                "policy_version": 1,
                "agrees": True,
                "differing": [],
            },
        ),
    ),
    errors=(UnknownAssessment, InputsErased),
)
def read_replay(ledger: Ledger, call: Call[None]) -> Answer:
    """Compute one of your answers again from the log prefix and the policy that it names.

    410 where something that it may rest on has been taken back or erased since.
    """
    replayed = replay_assessment(ledger, call.caller, call.path["assessment_id"])
    return render_json(
        {
            "assessment": replayed.assessment_id,
            "assessed_at": render_instant(replayed.assessed_at),
            "log_size": replayed.log_size,
            "policy_version": replayed.policy_version,
            "agrees": not replayed.differing,
            "differing": list(replayed.differing),
        }
    )


@operation(
    "GET",
    "/v1/risk-assessments/{assessment_id}/merchant-view",
    tag="Risk",
    scope="risk:read",
    patterns={"assessment_id": ASSESSMENT_ID},
    replies=(
        Reply(
            200,
            "What may be shown.",
            model=MerchantView,
            example={
                "assessment": EXAMPLE_ID,
                "level": "MEDIUM",
                "review_window_hours": 48,
                "valid_until": "2026-11-22T12:10:00Z",
            },
        ),
    ),
    errors=(UnknownAssessment, InputsErased),
)
def read_merchant_view(ledger: Ledger, call: Call[None]) -> Answer:
    """Read what you may show the order's merchant of one of your answers."""
    return render_json(show_merchant(ledger, call.caller, call.path["assessment_id"]))


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
            example={"id": "out_019aab2d1c007c3f9e0a1b2c3d4e5f61", "assessment": EXAMPLE_ID},
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
