"""Events as a platform writes them: the inverse of parsing, for the client and for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.identity.identifier import render_identifier
from ledger.incident.incident import CONFIRMED, RETRACTED, IncidentReport, render_money

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.incident.incident import Proof, Retraction


def _text(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def _present(members: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


def render_event(statement: IncidentReport | Retraction, audience: str) -> dict[str, object]:
    """Render a report or a retraction as the claims of an event token (docs/format.md)."""
    account = statement.account
    subjects: list[dict[str, str]] = [{"format": "iss_sub", "iss": account.iss, "sub": account.sub}]
    if isinstance(statement, IncidentReport):
        name, members = CONFIRMED, _render_report(statement)
        subjects += [
            {"format": "opaque", "id": render_identifier(claim.identifier)}
            for claim in statement.identifiers
        ]
    else:
        name = RETRACTED
        members = {
            "event_timestamp": int(statement.event_at.timestamp()),
            "incident_jti": statement.incident_jti,
        }
    return {
        "iss": statement.issuer,
        "aud": audience,
        "iat": int(statement.issued_at.timestamp()),
        "jti": statement.jti,
        "txn": statement.txn,
        "sub_id": {"format": "aliases", "identifiers": subjects},
        "events": {name: members},
    }


def _render_report(report: IncidentReport) -> dict[str, object]:
    return _present(
        {
            "event_timestamp": int(report.event_at.timestamp()),
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


def _render_proof(proof: Proof) -> dict[str, object]:
    ended = proof.appeal_window_ended_at
    return _present(
        {
            "standard": proof.standard,
            "level": proof.level.value,
            "evidence": [
                _present(
                    {
                        "kind": item.kind.value,
                        "source": item.source.value,
                        "digest": item.digest.hex(),
                        "pdq": item.pdq and item.pdq.hex(),
                    }
                )
                for item in proof.evidence
            ],
            "human_decision": proof.human_decision,
            "buyer_heard": proof.buyer_heard,
            "merchant_heard": proof.merchant_heard,
            "consequence": proof.consequence.value,
            "appeal_window_ended_at": ended and _text(ended),
        }
    )
