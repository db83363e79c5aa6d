"""Statements about forged evidence, as a simulated platform makes them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reports import sample_report

from ledger.incident.incident import EvidenceItem
from ledger.incident.statement import Forgery, Withdrawal
from ledger.incident.taxonomy import EvidenceKind, EvidenceSource

if TYPE_CHECKING:
    from datetime import datetime

    from simulator import Simulator


def forgery(
    shop: Simulator, digest: bytes, pdq: bytes | None, at: datetime, **changes: Any
) -> Forgery:
    """State that a picture was proven false, without a word about whose claim it was."""
    like = sample_report(at)
    said = (shop.uri, shop.next_id("evt"), shop.next_id("case"), at, at)
    piece = EvidenceItem(EvidenceKind.CLAIM_PHOTO, EvidenceSource.BUYER, digest, pdq, 100)
    seen = Forgery(*said, digest, like.conduct, (piece,), like.proof, is_original=False)
    return replace(seen, **changes)


def withdrawal(shop: Simulator, seen: Forgery, at: datetime, **changes: Any) -> Withdrawal:
    """State that what was said of a forged picture is taken back."""
    said = (shop.uri, shop.next_id("evt"), seen.txn, at, at)
    return replace(Withdrawal(*said, seen.digest, seen.jti), **changes)
