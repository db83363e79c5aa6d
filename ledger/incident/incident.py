"""Incidents as domain values, built from the members of an event that fits its schema.

It knows shapes and what must hold between members. It doesn't know which jurisdiction or which
platform is allowed what.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ledger.errors import Fault, InvalidIdentifier, SchemaViolation
from ledger.identity.identifier import AccountRef, IdentifierClaim, parse_identifier
from ledger.incident.schema import (
    Claims,
    Confirmed,
    EventT,
    IssSub,
    Opaque,
    WireAmount,
    WireEvidence,
    WireProof,
)

if TYPE_CHECKING:
    from ledger.incident.taxonomy import (
        Actor,
        Conduct,
        Consequence,
        EvidenceKind,
        EvidenceSource,
        LegalBasisKind,
        NoticeChannel,
        ProofLevel,
    )

PROOF_STANDARD = "bcl-proof-1"

# ISO 4217 currencies whose minor unit isn't a hundredth.
_EXPONENTS = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
}
_EXPONENT = 2


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units of an ISO 4217 currency."""

    minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a file declares of itself: provenance, neither proof nor its absence."""

    mime: str | None = None
    ai_declared: bool | None = None
    aigc_label: str | None = None
    producer_class: str | None = None
    digital_source_type: str | None = None
    c2pa: str | None = None
    software: str | None = None


@dataclass(frozen=True, slots=True)
class EvidenceItem:
    """One evidence item. `digest` is a SHA-256, `pdq` a perceptual hash, both of 32 bytes.

    *Shape*: `frames` are a video's key frames, each a perceptual hash with its quality.
    *Units*: quality 0 to 100.
    """

    kind: EvidenceKind
    source: EvidenceSource
    digest: bytes
    pdq: bytes | None
    quality: int | None = None
    frames: tuple[tuple[bytes, int], ...] = ()
    attributes: Attributes = field(default_factory=Attributes)


@dataclass(frozen=True, slots=True)
class Proof:
    """How the conduct was confirmed."""

    standard: str
    level: ProofLevel
    evidence: tuple[EvidenceItem, ...]
    human_decision: bool
    buyer_heard: bool
    merchant_heard: bool
    consequence: Consequence
    appeal_window_ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Notice:
    """That the buyer was told before the report counts."""

    sent_at: datetime
    channel: NoticeChannel
    proof_digest: bytes
    response_until: datetime
    dispute_code_digest: bytes


@dataclass(frozen=True, slots=True)
class LegalBasis:
    """On what ground the report is shared."""

    kind: LegalBasisKind
    receipt_id: str | None


@dataclass(frozen=True, slots=True)
class Series:
    """Many small claims found to be one pattern."""

    claims: int
    first_at: datetime
    last_at: datetime
    total: Money


@dataclass(frozen=True, slots=True)
class IncidentReport:
    """One confirmed malicious refund, or one series of them, as a platform reports it."""

    issuer: str
    jti: str
    txn: str
    issued_at: datetime
    event_at: datetime
    account: AccountRef
    identifiers: tuple[IdentifierClaim, ...]
    conduct: Conduct
    actor: Actor
    conduct_ended_at: datetime
    confirmed_at: datetime
    amount: Money
    jurisdiction: str
    legal_basis: LegalBasis
    proof: Proof
    notice: Notice | None
    claim_code: str | None
    series: Series | None


def parse_money(value: str, currency: str) -> Money:
    """Read a decimal string in the currency's minor units (ISO 4217).

    *Raises*: SchemaViolation for more decimals than the currency has.
    """
    exponent = _EXPONENTS.get(currency, _EXPONENT)
    whole, _, fraction = value.partition(".")
    if len(fraction) > exponent and fraction.strip("0"):
        raise violation("/amount/value", "decimals", "The currency has fewer decimals.")
    return Money(int(whole + fraction[:exponent].ljust(exponent, "0")), currency)


def render_money(money: Money) -> dict[str, str]:
    """Render money as a decimal string and a currency code."""
    exponent = _EXPONENTS.get(money.currency, _EXPONENT)
    digits = str(money.minor).rjust(exponent + 1, "0")
    value = f"{digits[:-exponent]}.{digits[-exponent:]}" if exponent else digits
    return {"value": value, "currency": money.currency}


def violation(pointer: str, code: str, detail: str) -> SchemaViolation:
    """Name one fault of an event."""
    return SchemaViolation(
        "The event doesn't have the published shape.", faults=(Fault(pointer, code, detail),)
    )


def read_instant(seconds: int) -> datetime:
    """Read whole seconds since 1970-01-01T00:00Z."""
    return datetime.fromtimestamp(seconds, UTC)


def read_subject(claims: Claims[EventT]) -> tuple[AccountRef, list[str]]:
    """Split the subject into the one account and its opaque identifiers.

    *Raises*: SchemaViolation.
    """
    members = claims.sub_id.identifiers
    accounts = [one for one in members if isinstance(one, IssSub)]
    opaque = [one.id for one in members if isinstance(one, Opaque)]
    if len(accounts) != 1:
        raise violation("/sub_id/identifiers", "one_account", "A subject is one account.")
    if accounts[0].iss != claims.iss:
        raise violation("/sub_id/identifiers", "own_account", "The account is the issuer's own.")
    if len({one.partition(".")[2].partition(".")[2] for one in opaque}) != len(opaque):
        raise violation("/sub_id/identifiers", "repeated", "An identifier is repeated.")
    return AccountRef(accounts[0].iss, accounts[0].sub), opaque


def build_report(claims: Claims[EventT], event: Confirmed) -> IncidentReport:
    """Build a report from its claims. *Raises*: SchemaViolation, InvalidIdentifier."""
    name = next(iter(claims.events))
    account, opaque = read_subject(claims)
    if set(opaque) != set(event.bindings):
        raise violation(
            f"/events/{name}/bindings", "every_identifier", "Each identifier has a binding."
        )
    if not opaque:
        raise InvalidIdentifier("A report names at least one identifier.")
    report = IncidentReport(
        issuer=claims.iss,
        jti=claims.jti,
        txn=claims.txn,
        issued_at=read_instant(claims.iat),
        event_at=read_instant(event.event_timestamp),
        account=account,
        identifiers=tuple(
            IdentifierClaim(
                parse_identifier(one), bound.binding, bound.verified_on, bound.accounts_here
            )
            for one in opaque
            for bound in (event.bindings[one],)
        ),
        conduct=event.conduct,
        actor=event.actor,
        conduct_ended_at=event.conduct_ended_at.astimezone(UTC),
        confirmed_at=event.confirmed_at.astimezone(UTC),
        amount=_money(event.amount),
        jurisdiction=event.jurisdiction,
        legal_basis=LegalBasis(event.legal_basis.kind, event.legal_basis.receipt_id),
        proof=build_proof(event.proof),
        notice=_build_notice(event),
        claim_code=event.claim_code,
        series=_build_series(event),
    )
    if not report.conduct_ended_at <= report.confirmed_at <= report.issued_at:
        raise violation(
            f"/events/{name}/confirmed_at",
            "order",
            "The conduct ends before it is confirmed, and that before the token is signed.",
        )
    return report


def _money(amount: WireAmount) -> Money:
    return parse_money(amount.value, amount.currency)


def build_evidence(wire: list[WireEvidence]) -> tuple[EvidenceItem, ...]:
    """Build evidence items."""
    return tuple(
        EvidenceItem(
            one.kind,
            one.source,
            bytes.fromhex(one.digest),
            None if one.pdq is None else bytes.fromhex(one.pdq),
            one.quality,
            tuple((bytes.fromhex(frame.pdq), frame.quality) for frame in one.frames),
            Attributes(*(getattr(one, member.name) for member in fields(Attributes))),
        )
        for one in wire
    )


def build_proof(proof: WireProof) -> Proof:
    """Build a proof."""
    ended = proof.appeal_window_ended_at
    return Proof(
        standard=proof.standard,
        level=proof.level,
        evidence=build_evidence(proof.evidence),
        human_decision=proof.human_decision,
        buyer_heard=proof.buyer_heard,
        merchant_heard=proof.merchant_heard,
        consequence=proof.consequence,
        appeal_window_ended_at=None if ended is None else ended.astimezone(UTC),
    )


def _build_notice(event: Confirmed) -> Notice | None:
    if event.notice is None:
        return None
    return Notice(
        sent_at=event.notice.sent_at.astimezone(UTC),
        channel=event.notice.channel,
        proof_digest=bytes.fromhex(event.notice.proof_digest),
        response_until=event.notice.response_until.astimezone(UTC),
        dispute_code_digest=bytes.fromhex(event.notice.dispute_code_digest),
    )


def _build_series(event: Confirmed) -> Series | None:
    if event.series is None:
        return None
    return Series(
        claims=event.series.claims,
        first_at=event.series.first_at.astimezone(UTC),
        last_at=event.series.last_at.astimezone(UTC),
        total=_money(event.series.total),
    )
