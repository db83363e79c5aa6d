"""The server of a witness: one operation of C2SP tlog-witness as a plain WSGI application.

It knows statuses and media types. What is cosigned is decided in `ledger/witnessing.py`. One path
needs no web framework, and a member's install has no part of the ledger's own API.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cli import clock
from ledger.errors import (
    AccessDenied,
    InvalidInput,
    InvalidProof,
    LedgerCorrupt,
    LedgerError,
    LedgerUnavailable,
    NotFound,
    SizeConflict,
)
from ledger.log.witness import REQUEST_BYTES_MAX, SIZE_TYPE
from ledger.witnessing import cosign_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from ledger.witnessing import OwnWitness

    Application = Callable[[Mapping[str, Any], Callable[..., object]], Iterable[bytes]]

_PLAIN = "text/plain; charset=utf-8"
_PATH = "/add-checkpoint"
_STATUSES: Mapping[type[Exception], str] = {
    InvalidInput: "400 Bad Request",
    AccessDenied: "403 Forbidden",
    NotFound: "404 Not Found",
    SizeConflict: "409 Conflict",
    InvalidProof: "422 Unprocessable Entity",
    LedgerUnavailable: "503 Service Unavailable",
}


def build_application(witness: OwnWitness) -> Application:
    """Build the application of one witness."""

    def application(
        environ: Mapping[str, Any], start_response: Callable[..., object]
    ) -> Iterable[bytes]:
        status, media_type, text = _answer(witness, environ)
        body = text.encode()
        headers = [
            ("Content-Type", media_type),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        if status.startswith("405"):
            headers.append(("Allow", "POST"))
        start_response(status, headers)
        return [body]

    return application


def _answer(witness: OwnWitness, environ: Mapping[str, Any]) -> tuple[str, str, str]:
    """Answer one request: status, media type, text."""
    if environ["PATH_INFO"] != _PATH:
        return "404 Not Found", _PLAIN, "A witness has one path: /add-checkpoint.\n"
    if environ["REQUEST_METHOD"] != "POST":
        return "405 Method Not Allowed", _PLAIN, "A checkpoint is sent by POST.\n"
    length = int(environ.get("CONTENT_LENGTH") or REQUEST_BYTES_MAX)
    if length > REQUEST_BYTES_MAX:
        return _STATUSES[InvalidInput], _PLAIN, "The request is too long.\n"
    # One byte more than is allowed where no length was told, so that the excess is seen.
    raw = environ["wsgi.input"].read(REQUEST_BYTES_MAX + 1)
    try:
        return "200 OK", _PLAIN, cosign_checkpoint(witness, raw, clock.now())
    except SizeConflict as conflict:
        return _STATUSES[SizeConflict], SIZE_TYPE, f"{conflict.size}\n"
    except LedgerError as error:
        status = next(_STATUSES[one] for one in type(error).__mro__ if one in _STATUSES)
        return status, _PLAIN, f"{error.detail}\n"
    except LedgerCorrupt as error:
        print(f"bcl witness: {error}", file=sys.stderr)
        return "500 Internal Server Error", _PLAIN, "The witness can't answer.\n"
