"""Who is calling: the bearer token of a request (RFC 6750), verified by the ledger.

It remembers whom a token named for a few seconds, so that a busy platform costs one signature
check and one read per interval. It knows tokens only by their hash and decides no permissions.
"""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING

from ledger.authorizing import authenticate
from ledger.errors import InvalidToken

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.identity.platform import Caller
    from ledger.ledger import Ledger

RECHECKED_EVERY = timedelta(seconds=10)
REMEMBERED_MAX = 4096
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.ASCII | re.IGNORECASE)


class Gate:
    """Tells callers by their tokens. Suspensions and revocations take effect within ten seconds."""

    def __init__(self, ledger: Ledger) -> None:
        """Stand before one ledger and remember nobody yet."""
        self._ledger = ledger
        self._lock = Lock()
        self._remembered: dict[bytes, tuple[Caller, datetime]] = {}

    def identify(self, authorization: str | None, now: datetime) -> Caller:
        """Tell who presents an Authorization header.

        *Raises*: InvalidToken and its kinds, PlatformSuspended.
        """
        match = _BEARER.fullmatch(authorization or "")
        if match is None:
            raise InvalidToken("An access token is needed.")
        name = hashlib.sha256(match[1].encode()).digest()
        known = self._remembered.get(name)
        if known is not None:
            caller, checked_at = known
            if now < caller.expires_at and now - checked_at < RECHECKED_EVERY:
                return caller
        caller = authenticate(self._ledger, match[1], now)
        with self._lock:
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[name] = (caller, now)
        return caller


def render_challenge(authorization: str | None, *, scope: str, code: str) -> str:
    """Render the WWW-Authenticate header of a refusal (RFC 6750 §3).

    *Shape*: `code` is invalid_token or insufficient_scope. A request without credentials is
    told only which scope to come back with.
    """
    error = f', error="{code}"' if authorization else ""
    return f'Bearer realm="bcl", scope="{scope}"{error}'
