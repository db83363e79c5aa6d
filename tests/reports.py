"""A valid report to start from: an AI-forged damage photo, CNY 129.90, decided the day before."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ledger.answering import Outcome
from ledger.identity.identifier import (
    AccountRef,
    Binding,
    Bucket,
    IdentifierClaim,
    Kind,
    demo_token,
)
from ledger.incident.incident import (
    PROOF_STANDARD,
    EvidenceItem,
    IncidentReport,
    LegalBasis,
    Money,
    Notice,
    Proof,
)
from ledger.incident.statement import Retraction
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

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

USUAL_BINDINGS = {
    Kind.NID: Binding.REAL_NAME,
    Kind.PAY: Binding.PSP,
    Kind.DEVICE: Binding.OBSERVED,
    Kind.EMAIL: Binding.OTP,
    Kind.PHONE: Binding.OTP,
    Kind.ADDR: Binding.NONE,
}


def digest(text: str) -> bytes:
    """Give a digest that stands for a file."""
    return hashlib.sha256(text.encode()).digest()


def claim(
    kind: Kind, value: str, binding: Binding | None = None, here: Bucket = Bucket.ONE
) -> IdentifierClaim:
    """Give a demo identifier as a platform binds it, verified where its kind can be."""
    bound = USUAL_BINDINGS[kind] if binding is None else binding
    return IdentifierClaim(demo_token(kind, value), bound, None, here)


def sample_outcome(loss: Money, **changes: Any) -> Outcome:
    """Give what came of an answer: a person granted it, which cost a loss."""
    granted = Outcome(
        action="grant",
        decided_by="human",
        merchant_heard=True,
        listing_compared=True,
        reversed_on_appeal=False,
        loss=loss,
        idempotency_key=None,
        digest=bytes(32),
    )
    return replace(granted, **changes)


def sample_report(
    now: datetime = NOW,
    *,
    issuer: str = "https://shop-a.example",
    sub: str = "acct_1",
    number: str = "1",
    identifiers: Sequence[IdentifierClaim] | None = None,
    **changes: Any,
) -> IncidentReport:
    """Give a report that meets the standard of proof in a sandbox."""
    now = now.replace(microsecond=0)
    if identifiers is None:
        identifiers = (claim(Kind.PHONE, "+8613800000001"), claim(Kind.DEVICE, "device-1"))
    report = IncidentReport(
        issuer=issuer,
        jti=f"jti-{number}",
        txn=f"case-{number}",
        issued_at=now,
        event_at=now,
        account=AccountRef(issuer, sub),
        identifiers=tuple(identifiers),
        conduct=Conduct.EVIDENCE_FORGED_AI,
        actor=Actor.FIRST_PARTY,
        conduct_ended_at=now - timedelta(hours=6),
        confirmed_at=now - timedelta(hours=1),
        amount=Money(12990, "CNY"),
        jurisdiction="SANDBOX",
        legal_basis=LegalBasis(LegalBasisKind.CONSENT, "consent-1"),
        proof=Proof(
            standard=PROOF_STANDARD,
            level=ProofLevel.D,
            evidence=(
                EvidenceItem(
                    EvidenceKind.CLAIM_PHOTO,
                    EvidenceSource.BUYER,
                    digest("claim"),
                    digest("pdq"),
                    100,
                ),
                EvidenceItem(
                    EvidenceKind.PACKING_VIDEO, EvidenceSource.MERCHANT, digest("packing"), None
                ),
            ),
            human_decision=True,
            buyer_heard=True,
            merchant_heard=True,
            consequence=Consequence.REFUND_REFUSED,
            appeal_window_ended_at=now - timedelta(minutes=30),
        ),
        notice=Notice(
            sent_at=now - timedelta(hours=5),
            channel=NoticeChannel.APP,
            proof_digest=digest("notice"),
            response_until=now - timedelta(hours=2),
            dispute_code_digest=digest("code"),
        ),
        claim_code=None,
        series=None,
    )
    return replace(report, **changes)


def sample_retraction(
    report: IncidentReport, now: datetime = NOW, number: str = "r1"
) -> Retraction:
    """Give the retraction of a report."""
    now = now.replace(microsecond=0)
    return Retraction(
        issuer=report.issuer,
        jti=f"jti-{number}",
        txn=report.txn,
        issued_at=now,
        event_at=now,
        account=report.account,
        incident_jti=report.jti,
    )
