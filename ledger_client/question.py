"""What a platform asks: one buyer account of its own, its blinded identifiers, and why.

It knows the JSON of `POST /v1/risk-assessments` and how an order is committed to. It sends nothing.
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.errors import InvalidInput
from ledger.identity.identifier import render_identifier
from ledger.incident.incident import render_money

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from ledger.identity.identifier import AccountRef, IdentifierClaim
    from ledger.incident.incident import Money
    from ledger.risk.advice import Purpose


@dataclass(frozen=True, slots=True)
class Question:
    """One question. `order_commitment` as `commit_order` makes it.

    *Shape*: `evidence` describes the claim's files; of them only the hashes are sent.
    """

    account: AccountRef
    identifiers: Sequence[IdentifierClaim]
    purpose: Purpose
    order_commitment: str
    claim_code: str | None = None
    amount: Money | None = None
    client_reference: str | None = None
    evidence: Sequence[Mapping[str, object]] = ()


def commit_order(salt: bytes, *, order: str, account: str, day: date) -> str:
    """Commit to an order or cart: HMAC-SHA256 under a salt that the platform keeps.

    An auditor to whom the salt is shown can check the commitment; the ledger learns nothing.
    *Raises*: InvalidInput for a NUL character, which separates the parts.
    """
    if "\x00" in order + account:
        raise InvalidInput("An order and an account hold no NUL character.")
    message = b"\x00".join(part.encode() for part in (order, account, day.isoformat()))
    digest = base64.urlsafe_b64encode(hmac.digest(salt, message, "sha256")).rstrip(b"=")
    return f"hmac-sha-256:{digest.decode()}"


def render_question(asked: Question) -> dict[str, object]:
    """Render a question as the JSON that the ledger takes."""
    subjects: list[dict[str, str]] = [
        {"format": "iss_sub", "iss": asked.account.iss, "sub": asked.account.sub}
    ]
    bindings: dict[str, dict[str, str]] = {}
    for claim in asked.identifiers:
        text = render_identifier(claim.identifier)
        subjects.append({"format": "opaque", "id": text})
        bindings[text] = {
            "binding": claim.binding.value,
            "accounts_here": claim.accounts_here.value,
        }
        if claim.verified_on is not None:
            bindings[text]["verified_on"] = claim.verified_on.isoformat()
    context: dict[str, object] = {
        "purpose": asked.purpose.value,
        "order_commitment": asked.order_commitment,
        "bindings": bindings,
    }
    if asked.claim_code is not None:
        context["claim_code"] = asked.claim_code
    if asked.amount is not None:
        context["amount"] = render_money(asked.amount)
    if asked.evidence:
        context["evidence"] = [select_hashes(one) for one in asked.evidence]
    body: dict[str, object] = {
        "subject": {"format": "aliases", "identifiers": subjects},
        "context": context,
    }
    if asked.client_reference is not None:
        body["client_reference"] = asked.client_reference
    return body


def select_hashes(file: Mapping[str, object]) -> dict[str, object]:
    """Select the hashes of a file's description: all that a question about it may hold."""
    return {name: file[name] for name in ("sha256", "pdq") if file.get(name)}
