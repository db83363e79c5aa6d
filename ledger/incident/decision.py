"""What an operator may decide, and why, and how two persons are told apart."""

from __future__ import annotations

import unicodedata

from ledger.log.leaf import EntryReason, Op

DECISION_REASONS = {
    Op.EXPUNGED: (EntryReason.UNFOUNDED, EntryReason.NOT_VERIFIABLE),
    Op.ERASED: (
        EntryReason.BUYER_REQUESTED,
        EntryReason.CONSENT_WITHDRAWN,
        EntryReason.ORDERED,
    ),
}


def decision_reason(op: Op, name: str) -> EntryReason | None:
    """Give the reason of this name that an operator may have for a decision."""
    return next((one for one in DECISION_REASONS[op] if reason_name(one) == name), None)


def reason_name(reason: EntryReason) -> str:
    """Give a reason's name in statements and on the command line."""
    return reason.name.lower().replace("_", "-")


def fold_name(person: object) -> str:
    """Give a person's name as it is compared: without case, width, and spaces to spare."""
    folded = unicodedata.normalize("NFKC", str(person)).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())
