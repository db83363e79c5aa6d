"""Checks that a platform makes offline: receipts, signed statuses, acknowledgements.

A receipt proves that a statement was logged, not that it still stands: without a signed status
at most 24 hours old its standing is "historic". All it needs is the log's verifier key, which
names the ledger and is the one root of trust.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ledger.errors import InvalidReceipt, InvalidToken
from ledger.identity.token import (
    ACKNOWLEDGEMENT_TYPE,
    STATUS_TYPE,
    payload_of,
    verify_ledger_statement,
)
from ledger.log.note import parse_vkey
from ledger.log.receipt import verify_receipt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ledger.log.receipt import VerifiedReceipt
    from ledger.log.witness import WitnessPolicy

HISTORIC = "historic"
STATUS_FRESH_FOR = timedelta(hours=24)
_SKEW = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a receipt proved and how the incident stood `as_of`; "historic" without a status."""

    receipt: VerifiedReceipt
    state: str
    as_of: datetime | None


def issuer_of(vkey: str) -> str:
    """Give the name under which a log's ledger signs and is addressed. *Raises*: InvalidNote."""
    return f"https://{parse_vkey(vkey).name}"


def _log_jwk(vkey: str) -> dict[str, str]:
    public = parse_vkey(vkey).public_key_bytes
    x = base64.urlsafe_b64encode(public).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x}


def verify_standing(
    receipt: str,
    vkey: str,
    *,
    event: bytes | None,
    status: str | None,
    now: datetime,
    witnesses: WitnessPolicy | None = None,
) -> Standing:
    """Verify a receipt and, where there is one, the signed status that goes with it.

    *Shape*: `event` is the compact JWS exactly as it was sent. *Raises*: InvalidReceipt,
    InvalidNote, QuorumMissing where too few of the `witnesses` cosigned, InvalidProof,
    InvalidEntry, InvalidToken for a bad status.
    """
    verified = verify_receipt(receipt, (parse_vkey(vkey),), token=event, witnesses=witnesses)
    if status is None:
        return Standing(verified, HISTORIC, None)
    claims = verify_ledger_statement(
        status, _log_jwk(vkey), typ=STATUS_TYPE, issuer=issuer_of(vkey)
    ).claims
    if claims.get("index") != verified.index:
        raise InvalidReceipt("The status is about another entry.")
    if event is not None and claims.get("jti") != json.loads(payload_of(event)).get("jti"):
        raise InvalidReceipt("The status is about another statement.")
    as_of = _instant(claims.get("as_of"))
    if as_of > now + _SKEW:
        raise InvalidToken("The status is dated in the future.")
    is_fresh = now - as_of <= STATUS_FRESH_FOR
    return Standing(verified, str(claims.get("state")) if is_fresh else HISTORIC, as_of)


def verify_acknowledgement(acknowledgement: str, vkey: str, *, jti: str) -> Mapping[str, object]:
    """Verify that the ledger promised to log a statement, and give what it promised.

    *Raises*: InvalidToken and its kinds.
    """
    claims = verify_ledger_statement(
        acknowledgement, _log_jwk(vkey), typ=ACKNOWLEDGEMENT_TYPE, issuer=issuer_of(vkey)
    ).claims
    if claims.get("jti") != jti:
        raise InvalidToken("The acknowledgement is for another statement.")
    return claims


def _instant(claim: object) -> datetime:
    try:
        instant = datetime.fromisoformat(str(claim))
    except ValueError as error:
        raise InvalidToken("The status has no date.") from error
    if instant.tzinfo is None:
        raise InvalidToken("The status has no date.")
    return instant
