"""Events as a platform writes them: the inverse of parsing, for the client and for tests."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from ledger.identity.identifier import render_identifier
from ledger.incident.incident import IncidentReport, render_money
from ledger.incident.statement import (
    ACKNOWLEDGED,
    CONFIRMED,
    CORRECTED,
    EVIDENCE_SEEN,
    EVIDENCE_WITHDRAWN,
    MARKED,
    RECYCLED,
    RESTITUTED,
    RETRACTED,
    UNLINKED,
    Acknowledgement,
    Change,
    Correction,
    Forgery,
    Marking,
    Recycling,
    Retraction,
    Unlinking,
    Withdrawal,
)

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.identity.identifier import AccountRef
    from ledger.incident.incident import EvidenceItem, Proof
    from ledger.incident.statement import Statement


def _text(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def _present(members: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


def render_event(statement: Statement, audience: str) -> dict[str, object]:
    """Render a platform's statement as the claims of an event token (docs/format.md)."""
    name, members = _render_members(statement)
    at = {"event_timestamp": int(statement.event_at.timestamp())}
    return {
        "iss": statement.issuer,
        "aud": audience,
        "iat": int(statement.issued_at.timestamp()),
        "jti": statement.jti,
        "txn": statement.txn,
        "sub_id": _render_subject(statement),
        "events": {name: at | members},
    }


def _render_subject(statement: Statement) -> dict[str, object]:
    if isinstance(statement, Recycling):
        return {"format": "opaque", "id": render_identifier(statement.identifier)}
    if isinstance(statement, Forgery | Withdrawal):
        return {"format": "opaque", "id": statement.digest.hex()}
    if isinstance(statement, Acknowledgement):
        return {"format": "opaque", "id": statement.incident_jti}
    if isinstance(statement, IncidentReport):
        identifiers = [claim.identifier for claim in statement.identifiers]
    elif isinstance(statement, Correction):
        identifiers = [claim.identifier for claim in statement.report.identifiers]
    else:
        identifiers = list(statement.identifiers) if isinstance(statement, Marking) else []
    opaque = [{"format": "opaque", "id": render_identifier(one)} for one in identifiers]
    return {"format": "aliases", "identifiers": [_render_account(statement.account), *opaque]}


def _render_account(account: AccountRef) -> dict[str, str]:
    return {"format": "iss_sub", "iss": account.iss, "sub": account.sub}


def _render_members(statement: Statement) -> tuple[str, dict[str, object]]:
    """Give the event's type, and its members beside those that every event has."""
    if isinstance(statement, Forgery):
        return EVIDENCE_SEEN, {
            "conduct": statement.conduct.value,
            "evidence": _render_evidence(statement.evidence),
            "proof": _render_proof(statement.proof),
            "source": statement.is_original,
        }
    if isinstance(statement, Withdrawal):
        return EVIDENCE_WITHDRAWN, {"evidence_jti": statement.evidence_jti}
    if isinstance(statement, IncidentReport | Change | Acknowledgement):
        return _render_incident(statement)
    return _render_link(statement)


def _render_incident(
    statement: IncidentReport | Change | Acknowledgement,
) -> tuple[str, dict[str, object]]:
    if isinstance(statement, IncidentReport):
        return CONFIRMED, _render_report(statement)
    if isinstance(statement, Correction):
        incident = {"incident_jti": statement.incident_jti}
        return CORRECTED, incident | _render_report(statement.report)
    if isinstance(statement, Retraction):
        return RETRACTED, {"incident_jti": statement.incident_jti}
    if isinstance(statement, Acknowledgement):
        return ACKNOWLEDGED, {"jti": statement.incident_jti}
    restituted_at = _text(statement.restituted_at)
    return RESTITUTED, {"incident_jti": statement.incident_jti, "restituted_at": restituted_at}


def _render_link(
    statement: Unlinking | Recycling | Marking,
) -> tuple[str, dict[str, object]]:
    if isinstance(statement, Recycling):
        token = render_identifier(statement.identifier)
        return RECYCLED, {"token": token, "recycled_at": _text(statement.recycled_at)}
    if isinstance(statement, Unlinking):
        shown: list[dict[str, str]] = [{"nid": render_identifier(one)} for one in statement.nids]
        shown = shown or [{"live_check": one.hex()} for one in statement.live_checks]
        holders = zip(("subject", "other"), shown, strict=True)
        proofs = [{"holder": holder, **proof} for holder, proof in holders]
        return UNLINKED, {"account": _render_account(statement.other), "proofs": proofs}
    return MARKED, {
        "kind": statement.kind.value,
        "from": _text(statement.begins),
        "until": _text(statement.until),
        "incident_jtis": list(statement.incident_jtis),
    }


def _render_report(report: IncidentReport) -> dict[str, object]:
    return _present(
        {
            "conduct": report.conduct.value,
            "actor": report.actor.value,
            "conduct_ended_at": _text(report.conduct_ended_at),
            "confirmed_at": _text(report.confirmed_at),
            "amount": render_money(report.amount),
            "jurisdiction": report.jurisdiction,
            "legal_basis": _present(
                {
                    "kind": report.legal_basis.kind.value,
                    "receipt_id": report.legal_basis.receipt_id,
                }
            ),
            "proof": _render_proof(report.proof),
            "notice": report.notice
            and {
                "sent_at": _text(report.notice.sent_at),
                "channel": report.notice.channel.value,
                "proof_digest": report.notice.proof_digest.hex(),
                "response_until": _text(report.notice.response_until),
                "dispute_code_digest": report.notice.dispute_code_digest.hex(),
            },
            "claim_code": report.claim_code,
            "series": report.series
            and {
                "claims": report.series.claims,
                "first_at": _text(report.series.first_at),
                "last_at": _text(report.series.last_at),
                "total": render_money(report.series.total),
            },
            "bindings": {
                render_identifier(claim.identifier): _present(
                    {
                        "binding": claim.binding.value,
                        "verified_on": claim.verified_on and claim.verified_on.isoformat(),
                        "accounts_here": claim.accounts_here.value,
                    }
                )
                for claim in report.identifiers
            },
        }
    )


def _render_evidence(evidence: tuple[EvidenceItem, ...]) -> list[dict[str, object]]:
    return [
        _present(
            {
                "kind": item.kind.value,
                "source": item.source.value,
                "digest": item.digest.hex(),
                "pdq": item.pdq and item.pdq.hex(),
                "quality": item.quality,
                "frames": [{"pdq": pdq.hex(), "quality": quality} for pdq, quality in item.frames]
                or None,
                **asdict(item.attributes),
            }
        )
        for item in evidence
    ]


def _render_proof(proof: Proof) -> dict[str, object]:
    ended = proof.appeal_window_ended_at
    return _present(
        {
            "standard": proof.standard,
            "level": proof.level.value,
            "evidence": _render_evidence(proof.evidence),
            "human_decision": proof.human_decision,
            "buyer_heard": proof.buyer_heard,
            "merchant_heard": proof.merchant_heard,
            "consequence": proof.consequence.value,
            "appeal_window_ended_at": ended and _text(ended),
        }
    )
