"""The one table from refusals to status codes, and the three shapes in which they are told.

RFC 9457 for the API, RFC 8935 for pushed events, RFC 6749 for tokens. It knows classes, never
cases: what a refusal says was decided where it was raised, and never quotes the input.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from api.rendering import Answer, render_json
from ledger.errors import (
    AccessDenied,
    BadSignature,
    Conflict,
    ContentErased,
    InputsErased,
    InsufficientScope,
    InvalidAudience,
    InvalidEntry,
    InvalidInput,
    InvalidIssuer,
    InvalidKey,
    InvalidNote,
    InvalidProof,
    InvalidReceipt,
    InvalidToken,
    LedgerError,
    LedgerUnavailable,
    NotFound,
    NotOffered,
    PlatformSuspended,
    ReceiptUnpublished,
    TooLarge,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

PROBLEM = "application/problem+json"
RETRY_SECONDS = "1"

STATUSES: Mapping[type[LedgerError], int] = {
    InvalidInput: 400,
    TooLarge: 413,
    InvalidToken: 401,
    InvalidIssuer: 403,
    AccessDenied: 403,
    NotFound: 404,
    Conflict: 409,
    InputsErased: 410,
    ContentErased: 410,
    NotOffered: 501,
    LedgerUnavailable: 503,
    # A verifier's findings. The server verifies only what it made itself.
    InvalidProof: 500,
    InvalidNote: 500,
    InvalidReceipt: 500,
    InvalidEntry: 500,
}
_RETRIED = (ReceiptUnpublished, LedgerUnavailable)

# RFC 8935 §2.4: the words for a refused Security Event Token.
_SET_WORDS: Mapping[type[LedgerError], str] = {
    LedgerError: "invalid_request",
    InvalidKey: "invalid_key",
    InvalidIssuer: "invalid_issuer",
    InvalidAudience: "invalid_audience",
    BadSignature: "authentication_failed",
    AccessDenied: "access_denied",
}
# RFC 6749 §5.2: the words for a refused token request. Grants other than the one that we take
# are refused under UNSUPPORTED_GRANT, see `api/oauth.py`.
_OAUTH_WORDS: Mapping[type[LedgerError], str] = {
    LedgerError: "invalid_request",
    InvalidToken: "invalid_client",
    PlatformSuspended: "unauthorized_client",
    InsufficientScope: "invalid_scope",
    NotOffered: "unsupported_grant_type",
}


def find_status(error: LedgerError) -> int:
    """Find the status of a refusal: that of the nearest class in the table."""
    return next((STATUSES[one] for one in type(error).__mro__ if one in STATUSES), 500)


def _find_word(words: Mapping[type[LedgerError], str], error: LedgerError) -> str:
    return next(words[one] for one in type(error).__mro__ if one in words)


def render_problem(error: LedgerError, instance: str) -> Answer:
    """Render a refusal as RFC 9457 problem details.

    *Shape*: `instance` is the id of this one answer, made by us.
    """
    status = find_status(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return render_failure(instance)
    problem: dict[str, object] = {
        "type": f"urn:bcl:problem:{error.code}",
        "title": error.code.replace("-", " ").capitalize(),
        "status": status,
        "detail": error.detail,
        "instance": instance,
    }
    if error.faults:
        problem["errors"] = [
            {"pointer": one.pointer, "code": one.code, "detail": one.detail} for one in error.faults
        ]
    return render_json(problem, status=status, media_type=PROBLEM, headers=_retry(error))


def render_set_error(error: LedgerError, instance: str) -> Answer:
    """Render a refusal of a pushed event as RFC 8935 §2.3 asks: 400, `err`, `description`."""
    if find_status(error) >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return render_problem(error, instance)
    description = " ".join(
        [error.detail, *(f"{one.pointer}: {one.detail} ({one.code})" for one in error.faults)]
    )
    body = {"err": _find_word(_SET_WORDS, error), "description": description}
    return render_json(body, status=400, headers={"Content-Language": "en"})


def render_oauth_error(error: LedgerError, instance: str) -> Answer:
    """Render a refusal of a token request as RFC 6749 §5.2 asks."""
    word = _find_word(_OAUTH_WORDS, error)
    if not isinstance(error, NotOffered) and find_status(error) >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return render_problem(error, instance)
    return render_json({"error": word, "error_description": error.detail}, status=400)


def render_status(
    status: int, instance: str, *, detail: str = "", headers: Mapping[str, str] | None = None
) -> Answer:
    """Render a refusal that is HTTP's own, such as a method that a path doesn't have."""
    problem: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "instance": instance,
    }
    if detail:
        problem["detail"] = detail
    return render_json(problem, status=status, media_type=PROBLEM, headers=headers)


def render_failure(instance: str) -> Answer:
    """Render a fault of ours: nothing but the id under which it was written down."""
    return render_status(500, instance)


def _retry(error: LedgerError) -> Mapping[str, str]:
    return {"Retry-After": RETRY_SECONDS} if isinstance(error, _RETRIED) else {}
