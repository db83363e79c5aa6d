"""Questions about buyers: their shapes on the wire, and how each is read once."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints
from pydantic.dataclasses import dataclass

from api.operation import RequestModel
from ledger.assessing import AssessmentRequest
from ledger.errors import Fault, SchemaViolation
from ledger.identity.identifier import AccountRef, IdentifierClaim, parse_identifier
from ledger.incident.evidence import FORMS_MAX, QUALITY_MIN, Sought
from ledger.incident.incident import Money, parse_money
from ledger.incident.schema import (
    IDENTIFIERS_MAX,
    STRICT,
    Aliases,
    Code,
    Hash,
    Perceptual,
    Quality,
    Text,
    WireAmount,
    WireBinding,
)
from ledger.risk.advice import Purpose

PICTURES_MAX = 16
BATCH_MAX = 1000
PORTFOLIO_MIN, PORTFOLIO_MAX = 1000, 5000
_PHONE = "bcl1.0.phone.q0Vm4WlPzPmnFYyMYBsH4HqGbc1yXb0r8zq5m8y2E3E"
_DEVICE = "bcl1.0.device.Zk2J8zv3yN0o1o4bH6mQp0rT5uX7cW9dLfAeRgYhUiQ"

EVIDENCE: list[dict[str, Any]] = [
    {
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "pdq": [
            {
                "forms": ["f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"],
                "quality": 100,
            }
        ],
    }
]
QUESTION: dict[str, Any] = {
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
}


class SoughtPicture(RequestModel):
    """A picture or a key frame by its PDQ, as it is or also as it is turned and mirrored."""

    forms: Annotated[list[Perceptual], Field(min_length=1, max_length=FORMS_MAX)]
    quality: Quality | None = None


class SoughtEvidence(RequestModel):
    """One file by its hashes. Pictures of a quality below 50 are passed over."""

    sha256: Hash | None = None
    pdq: Annotated[list[SoughtPicture], Field(max_length=PICTURES_MAX)] = Field(
        default_factory=list
    )


@dataclass(config=STRICT, frozen=True, slots=True, kw_only=True)
class AssessmentContext:
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
    evidence: Annotated[list[SoughtEvidence], Field(max_length=8)] = Field(default_factory=list)


@dataclass(config=STRICT, frozen=True, slots=True, kw_only=True)
class RiskAssessmentRequest:
    """A question about one buyer account of the asker's own.

    The subject is one account (`iss_sub`) and its blinded identifiers (`opaque`); each identifier
    has its entry in `bindings`, and no other has.
    """

    subject: Aliases
    context: AssessmentContext
    client_reference: Text | None = None


class BatchRequest(RequestModel):
    """Up to 1,000 questions, each with its own order. Keep them apart if one must not wait."""

    questions: Annotated[list[RiskAssessmentRequest], Field(min_length=1, max_length=BATCH_MAX)]


@dataclass(config=STRICT, frozen=True, slots=True, kw_only=True)
class PortfolioContext:
    """How each identifier is bound to the account."""

    bindings: Annotated[dict[Text, WireBinding], Field(max_length=IDENTIFIERS_MAX)]


@dataclass(config=STRICT, frozen=True, slots=True, kw_only=True)
class PortfolioSubject:
    """One account and its identifiers, about which nothing by itself is answered."""

    subject: Aliases
    context: PortfolioContext


class PortfolioRequest(RequestModel):
    """A question about 1,000 accounts or more at once: about how many are at which level."""

    purpose: Literal["portfolio_statistics"]
    subjects: Annotated[
        list[PortfolioSubject],
        Field(max_length=PORTFOLIO_MAX, description=f"{PORTFOLIO_MIN:,} or more."),
    ]


def read_claims(
    subject: Aliases, bindings: dict[str, WireBinding], place: str
) -> tuple[AccountRef, tuple[IdentifierClaim, ...]]:
    """Split the subject into the account and its identifiers, each with its binding."""
    accounts, claims, tokens = [], [], set()
    for one in subject.identifiers:
        if one.format == "iss_sub":
            accounts.append(one)
            continue
        bound = bindings.get(one.id)
        if bound is None:
            raise _unbound(place)
        identifier = parse_identifier(one.id)
        claim = IdentifierClaim(identifier, bound.binding, bound.verified_on, bound.accounts_here)
        claims.append(claim)
        tokens.add((identifier.kind, identifier.value))
    here = f"{place}/subject/identifiers"
    if len(accounts) != 1:
        raise violation(here, "one-account", "A subject is one account.")
    if len(tokens) != len(claims):
        raise violation(here, "repeated", "An identifier is repeated.")
    if len(claims) != len(bindings):
        raise _unbound(place)
    return AccountRef(accounts[0].iss, accounts[0].sub), tuple(claims)


def _unbound(place: str) -> SchemaViolation:
    where = f"{place}/context/bindings"
    return violation(where, "every-identifier", "Each identifier has a binding.")


def read_question(
    asked: RiskAssessmentRequest, digest: bytes, idempotency_key: str | None, place: str = ""
) -> AssessmentRequest:
    """Read one question. *Shape*: `place` is its pointer in a larger body."""
    account, identifiers = read_claims(asked.subject, asked.context.bindings, place)
    context = asked.context
    return AssessmentRequest(
        account=account,
        identifiers=identifiers,
        purpose=context.purpose,
        order_commitment=context.order_commitment,
        claim_code=context.claim_code,
        amount=_amount(context, place),
        evidence=read_evidence(context.evidence, f"{place}/context/evidence"),
        client_reference=asked.client_reference,
        idempotency_key=idempotency_key,
        digest=digest,
    )


def read_evidence(asked: list[SoughtEvidence], place: str) -> tuple[Sought, ...]:
    """Read which files are asked about, without what likeness tells nothing of.

    *Raises*: SchemaViolation for more pictures than one question may have.
    """
    if not asked:
        return ()
    if sum(len(one.pdq) for one in asked) > PICTURES_MAX:
        raise violation(place, "too-many", "A question has 16 pictures at most.")
    return tuple(
        Sought(
            bytes.fromhex(one.sha256) if one.sha256 else None,
            tuple(
                tuple(bytes.fromhex(form) for form in picture.forms)
                for picture in one.pdq
                if picture.quality is None or picture.quality >= QUALITY_MIN
            ),
        )
        for one in asked
    )


def _amount(context: AssessmentContext, place: str) -> Money | None:
    if context.amount is None:
        return None
    try:
        return parse_money(context.amount.value, context.amount.currency)
    except SchemaViolation as error:
        fault = error.faults[0]
        raise violation(f"{place}/context/amount/value", fault.code, fault.detail) from error


def violation(pointer: str, code: str, detail: str) -> SchemaViolation:
    """Name one fault of a body."""
    return SchemaViolation(
        "The body doesn't fit its schema.", faults=(Fault(pointer, code, detail),)
    )
