"""Risk assessments over HTTP: the question, the answer again, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field

from api.evidence import SeenBefore
from api.operation import Reply, json_body, operation
from api.questions import (
    PORTFOLIO_MIN,
    QUESTION,
    BatchRequest,
    PortfolioRequest,
    RiskAssessmentRequest,
    read_claims,
    read_question,
    violation,
)
from api.rendering import JSON, render_text, render_text_of
from ledger.assessing import Subject, assess_batch, assess_risk, count_portfolio
from ledger.errors import (
    IdempotencyKeyReused,
    InputsErased,
    InvalidIdentifier,
    InvalidIssuer,
    NotOffered,
    OrderConflict,
)
from ledger.recording import Asking
from ledger.risk.reason import TEXTS

if TYPE_CHECKING:
    from api.operation import Call
    from api.rendering import Answer
    from ledger.ledger import Ledger

ASSESSMENT_ID = "ra_[0-9a-f]{32}"
BATCH_BYTES_MAX = 4_194_304
EXAMPLE_ID = "ra_019aab2d1c007c3f9e0a1b2c3d4e5f60"


class Refusal(BaseModel):
    """Why one question of a batch has no answer."""

    code: str
    detail: str


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
    seen_before: SeenBefore | None = None


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


class BatchItem(BaseModel):
    """One answer of a batch, or the refusal of its order: as its problem's code and detail."""

    answer: RiskAssessment | None
    refused: Refusal | None


class BatchAnswer(BaseModel):
    """The answers, in the order of the questions."""

    answers: list[BatchItem]


class PortfolioAnswer(BaseModel):
    """About how many accounts are at each level, in tens."""

    id: str
    assessed_at: str
    subjects: int
    levels: dict[str, int]
    policy_version: int
    log: LogPlace


ASSESSED = Reply(
    200,
    "The answer. A buyer of whom nothing is known has score 0 and basis no_record.",
    model=RiskAssessment,
    example={
        "id": EXAMPLE_ID,
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
                "message": TEXTS["CONFIRMED_INCIDENTS"],
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
            "seen_before": None,
        },
        "clears": {"below_high": None, "below_medium": "2028-01", "if_overturned": "1"},
        "ignored_links": [],
        "policy_version": 1,
        "log": {"size": 3, "origin": "ledger.example/sandbox"},
        "client_reference": "claim-88213",
    },
    headers=("Location",),
)


@operation(
    "POST",
    "/v1/risk-assessments",
    tag="Risk",
    scope="risk:read",
    body=json_body(
        RiskAssessmentRequest,
        example=QUESTION,
    ),
    replies=(ASSESSED,),
    errors=(
        InvalidIdentifier,
        InvalidIssuer,
        OrderConflict,
        IdempotencyKeyReused,
        InputsErased,
        NotOffered,
    ),
    creates=True,
)
def create_risk_assessment(ledger: Ledger, call: Call[RiskAssessmentRequest]) -> Answer:
    """Ask how risky a refund-only claim, or an order, of one of your buyers is.

    The answer is recorded before it is given. It is advice: the platform decides. A repeat under
    the same Idempotency-Key gets the same answer; once that isn't valid any more, 410 where what it
    rested on was erased, or a match that it told of was taken back.
    """
    request = read_question(call.body, call.digest, call.idempotency_key)
    answer = assess_risk(ledger, call.caller, request, call.now)
    headers = {"Location": f"/v1/risk-assessments/{answer.id}"}
    return render_text(answer.text, media_type=JSON, headers=headers)


@operation(
    "POST",
    "/v1/risk-assessments/batch",
    tag="Risk",
    scope="risk:read",
    body=json_body(BatchRequest, example={"questions": [QUESTION]}),
    body_max_bytes=BATCH_BYTES_MAX,
    replies=(Reply(200, "The answers.", model=BatchAnswer),),
    errors=(InvalidIdentifier, InvalidIssuer, IdempotencyKeyReused, InputsErased, NotOffered),
    creates=True,
)
def create_risk_assessments(ledger: Ledger, call: Call[BatchRequest]) -> Answer:
    """Ask about up to 1,000 buyers at once.

    One read, one record, one policy, one size of the log. A question whose order was asked about
    with another account or identifier set is refused in its place; all others are answered. A
    repeat under the same Idempotency-Key gets the same answers and refusals; after ten minutes, 410
    where any report in the log was erased since.
    """
    requests = [
        read_question(asked, call.digest, None, f"/questions/{place}")
        for place, asked in enumerate(call.body.questions)
    ]
    for place, one in enumerate(requests):
        if one.evidence:
            pointer = f"/questions/{place}/context/evidence"
            raise violation(pointer, "single", "Evidence goes with a question of its own.")
    asking = Asking(call.idempotency_key, call.digest)
    told = assess_batch(ledger, call.caller, requests, call.now, asking)
    items = [
        f'{{"answer":null,"refused":{render_text_of({"code": one.code, "detail": one.detail})}}}'
        if isinstance(one, OrderConflict)
        else f'{{"answer":{one.text},"refused":null}}'
        for one in told
    ]
    return render_text(f'{{"answers":[{",".join(items)}]}}', media_type=JSON)


@operation(
    "POST",
    "/v1/portfolio-statistics",
    tag="Risk",
    scope="risk:read",
    body=json_body(
        PortfolioRequest,
        example={
            "purpose": "portfolio_statistics",
            "subjects": [
                {
                    "subject": QUESTION["subject"],
                    "context": {"bindings": QUESTION["context"]["bindings"]},
                }
            ],
        },
    ),
    body_max_bytes=BATCH_BYTES_MAX,
    replies=(Reply(200, "The counts.", model=PortfolioAnswer),),
    errors=(InvalidIdentifier, InvalidIssuer, IdempotencyKeyReused, InputsErased, NotOffered),
    creates=True,
)
def create_portfolio_statistics(ledger: Ledger, call: Call[PortfolioRequest]) -> Answer:
    """Count about how many of 1,000 of your accounts or more are at which level.

    No order is needed, and nothing is said of any one account: counts are in tens and off by up
    to ten. Who asked is recorded. A repeat is answered as a batch's is. The example is
    shortened to one account; 1,000 are needed.
    """
    if len(call.body.subjects) < PORTFOLIO_MIN:
        raise violation("/subjects", "too-few", f"At least {PORTFOLIO_MIN:,} subjects are needed.")
    subjects = [
        Subject(*read_claims(one.subject, one.context.bindings, f"/subjects/{place}"))
        for place, one in enumerate(call.body.subjects)
    ]
    asking = Asking(call.idempotency_key, call.digest)
    counted = count_portfolio(ledger, call.caller, subjects, call.now, asking)
    return render_text(counted.text, media_type=JSON)
