"""The refusals of the ledger, each with a stable code, and the one alarm.

This module knows what may be refused and by which name; it knows nothing of HTTP, which
answers by class in `api/problems.py`. No text here ever carries a value from the input:
a refusal says which rule was broken and where, never what was sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken rule: a JSON pointer (RFC 6901), a stable code and a sentence."""

    pointer: str
    code: str
    detail: str


class LedgerError(Exception):
    """An expected refusal. Subclasses set `code`; `detail` never quotes the input."""

    code: ClassVar[str] = "refused"

    def __init__(self, detail: str, *, faults: tuple[Fault, ...] = ()) -> None:
        """Keep the sentence and, where several rules broke at once, all of them."""
        super().__init__(detail)
        self.detail = detail
        self.faults = faults


class LedgerCorrupt(Exception):
    """What is stored contradicts the log. Sequencing stops and readiness fails."""


class UnreadableRecord(LedgerCorrupt):
    """A recorded answer can't be read."""


# --- Input that can't be read or breaks a published rule -------------------------------


class InvalidInput(LedgerError):
    """Something sent breaks a published rule."""

    code = "invalid-input"


class MalformedJson(InvalidInput):
    """The bytes aren't one JSON text in UTF-8 (RFC 8259)."""

    code = "malformed-json"


class DuplicateMember(MalformedJson):
    """An object names the same member twice, so that two readers could differ."""

    code = "duplicate-member"


class NestingTooDeep(MalformedJson):
    """The JSON text nests deeper than the published limit."""

    code = "nesting-too-deep"


class TooLarge(InvalidInput):
    """The input is longer than the published limit."""

    code = "too-large"


class SchemaViolation(InvalidInput):
    """A member is missing, unknown, of another type or out of range."""

    code = "schema-violation"


class InvalidIdentifier(InvalidInput):
    """A blinded token isn't in canonical form, or its epoch isn't accepted here."""

    code = "invalid-identifier"


class StandardNotMet(InvalidInput):
    """The report doesn't meet the standard of proof that it names."""

    code = "standard-not-met"


class WrongJurisdiction(InvalidInput):
    """The jurisdiction isn't this ledger's, or not one of the platform's."""

    code = "wrong-jurisdiction"


class EvidenceTooHeavy(InvalidInput):
    """The incident's mass would leave the range of 64-bit integers."""

    code = "evidence-too-heavy"


class InvalidPolicy(InvalidInput):
    """A policy lacks a field, has one that is wrong, or can't follow the live one."""

    code = "invalid-policy"


class InvalidJwk(InvalidInput):
    """A key isn't a public JWK of an accepted kind."""

    code = "invalid-jwk"


# --- Signed statements ------------------------------------------------------------------


class EventRefused(InvalidInput):
    """A well-formed, well-signed event that can't take effect here."""

    code = "event-refused"


class EventIdReused(EventRefused):
    """The jti already names a statement with another content."""

    code = "event-id-reused"


class CaseReported(EventRefused):
    """The case (txn) was reported already: one report is one case."""

    code = "case-already-reported"


class EventTooOld(EventRefused):
    """The statement was signed longer ago than the published limit."""

    code = "event-too-old"


class IncidentNotReported(EventRefused):
    """The event names an incident that this issuer never reported."""

    code = "incident-not-reported"


class EvidenceNotReported(EventRefused):
    """The event names no forged evidence of this platform, or another digest or case."""

    code = "evidence-not-reported"


class IncidentClosed(EventRefused):
    """The incident's state admits no such event any more."""

    code = "incident-closed"


class InvalidToken(LedgerError):
    """A signed token is missing, malformed or expired."""

    code = "invalid-token"


class BadSignature(InvalidToken):
    """The signature isn't one of the key that the token names."""

    code = "bad-signature"


class InvalidKey(InvalidToken):
    """The token's key is unknown, revoked, not yet valid or of another algorithm."""

    code = "invalid-key"


class InvalidIssuer(InvalidToken):
    """The token's issuer is unknown or doesn't own the key."""

    code = "invalid-issuer"


class InvalidAudience(InvalidToken):
    """The token is addressed to somebody else."""

    code = "invalid-audience"


class TokenReplayed(InvalidToken):
    """The one-time token was used already."""

    code = "token-replayed"


# --- Who may do what --------------------------------------------------------------------


class AccessDenied(LedgerError):
    """The caller may not do this."""

    code = "access-denied"


class PlatformSuspended(AccessDenied):
    """The platform is suspended."""

    code = "platform-suspended"


class InsufficientScope(AccessDenied):
    """The access token lacks the scope of this route."""

    code = "insufficient-scope"


# --- Things that aren't there, or stand in the way ----------------------------------------


class NotFound(LedgerError):
    """There is no such thing that the caller may see."""

    code = "not-found"


class UnknownIncident(NotFound):
    """No incident of the caller's has this id."""

    code = "unknown-incident"


class UnknownAssessment(NotFound):
    """No assessment of the caller's has this id."""

    code = "unknown-assessment"


class UnknownRecall(NotFound):
    """No recall of this platform's has this id."""

    code = "unknown-recall"


class UnknownPolicy(NotFound):
    """No policy of this version was published."""

    code = "unknown-policy"


class ContentErased(LedgerError):
    """What would have to be shown was destroyed, and an entry of the log says so."""

    code = "content-erased"


class UnknownTile(NotFound):
    """No published checkpoint has this tile."""

    code = "unknown-tile"


class InputsErased(LedgerError):
    """What an answer was derived from has been erased since."""

    code = "inputs-erased"


class UnknownPlatform(NotFound):
    """No platform is enrolled under this name."""

    code = "unknown-platform"


class ReceiptUnpublished(NotFound):
    """The entry is accepted, but no published checkpoint covers it yet."""

    code = "receipt-unpublished"


class Conflict(LedgerError):
    """The request contradicts something already recorded."""

    code = "conflict"


class OrderConflict(Conflict):
    """The order commitment is bound to another account or another identifier set."""

    code = "order-conflict"


class IdempotencyKeyReused(Conflict):
    """The Idempotency-Key was used for another request."""

    code = "idempotency-key-reused"


class PlatformEnrolled(Conflict):
    """A platform of this name, or one of the keys, is enrolled already."""

    code = "platform-enrolled"


class SizeConflict(Conflict):
    """A witness cosigned another size of the log, or another root; `size` is its own."""

    code = "size-conflict"

    def __init__(self, detail: str, *, size: int = 0, faults: tuple[Fault, ...] = ()) -> None:
        """Keep the size that the witness cosigned last."""
        super().__init__(detail, faults=faults)
        self.size = size


class NotOffered(LedgerError):
    """The ledger's jurisdiction profile doesn't let it answer this."""

    code = "not-offered"


class LedgerUnavailable(LedgerError):
    """The ledger can't take this now; the same request may succeed later."""

    code = "unavailable"


# --- Proofs and what a verifier may find --------------------------------------------------


class InvalidProof(LedgerError):
    """A Merkle proof doesn't lead from the entry to the root."""

    code = "invalid-proof"


class InvalidNote(LedgerError):
    """A signed note or checkpoint is malformed, unsigned by a known key or forged."""

    code = "invalid-note"


class QuorumMissing(InvalidNote):
    """Too few witnesses cosigned a checkpoint."""

    code = "quorum-missing"


class InvalidReceipt(LedgerError):
    """A receipt is malformed, or doesn't prove what it is held to prove."""

    code = "invalid-receipt"


class InvalidEntry(LedgerError):
    """Bytes aren't a log entry of this version."""

    code = "invalid-entry"
