"""Who may ask: access tokens for signed assertions (RFC 7523, RFC 9068), and what they open.

What is true when: after the commit an assertion is used up; the access token is signed behind
it, so that dying in between costs the platform one more assertion and gives nobody anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ledger.errors import (
    InsufficientScope,
    InvalidIssuer,
    InvalidKey,
    InvalidToken,
    PlatformSuspended,
)
from ledger.identity.key import KeyState, public_jwk
from ledger.identity.platform import Caller, PlatformState
from ledger.identity.token import (
    ASSERTION_TYPE,
    read_key_id,
    sign_access_token,
    verify_access_token,
    verify_client_assertion,
)
from ledger.ledger import mint_id
from ledger.store import platforms
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from ledger.ledger import Ledger

ACCESS_SECONDS = 600


@dataclass(frozen=True, slots=True)
class AccessGrant:
    """An access token, its lifetime and the scopes that it opens."""

    token: str
    expires_in: int
    scope: str


def grant_access(
    ledger: Ledger, assertion: str, client_id: str | None, scope: str | None, now: datetime
) -> AccessGrant:
    """Grant an access token for a one-time assertion signed by an enrolled key.

    *Shape*: `scope` is space-separated and may only narrow what the platform has; without it
    all of that is granted. *Raises*: InvalidToken and its kinds, PlatformSuspended,
    InsufficientScope.
    """
    kid = read_key_id(assertion, typ=ASSERTION_TYPE)
    with begin_read(ledger.database) as connection:
        found = platforms.find_key(connection, kid)
    if found is None or found[1].id == platforms.LEDGER_PLATFORM:
        raise InvalidKey("No platform is enrolled with this key.")
    key, platform = found
    verified = verify_client_assertion(
        assertion, key, issuer=platform.uri, audience=ledger.issuer, now=now
    )
    if client_id is not None and client_id != platform.uri:
        raise InvalidIssuer("The client_id isn't the assertion's issuer.")
    if platform.state is not PlatformState.ACTIVE:
        raise PlatformSuspended("The platform is suspended.")
    wanted = platform.scopes if scope is None else tuple(dict.fromkeys(scope.split()))
    if not wanted or not set(wanted) <= set(platform.scopes):
        raise InsufficientScope("The platform doesn't have every scope that it asks for.")
    expires_at = datetime.fromtimestamp(_number(verified.claims["exp"]), UTC)
    with begin_write(ledger.database) as connection:
        platforms.insert_assertion(
            connection,
            platform.id,
            str(verified.claims["jti"]),
            expires_at=expires_at,
            now=now,
        )
    token = sign_access_token(
        ledger.keys.access_key,
        issuer=ledger.issuer,
        subject=platform.uri,
        client_kid=kid,
        scope=" ".join(wanted),
        issued_at=now,
        seconds=ACCESS_SECONDS,
        jti=mint_id("at_", now),
    )
    return AccessGrant(token, ACCESS_SECONDS, " ".join(wanted))


def authenticate(ledger: Ledger, bearer: str, now: datetime) -> Caller:
    """Tell who presents an access token and what it opens.

    *Raises*: InvalidToken where it isn't ours or has expired, InvalidKey where the key that asked
    for it is revoked by now, PlatformSuspended.
    """
    public = public_jwk(ledger.keys.access_key)
    verified = verify_access_token(bearer, public, issuer=ledger.issuer, now=now)
    with begin_read(ledger.database) as connection:
        found = platforms.find_key(connection, str(verified.claims["client_kid"]))
    if found is None or found[1].uri != verified.claims["sub"]:
        raise InvalidToken("The token's platform isn't enrolled with this key.")
    key, platform = found
    if key.state is KeyState.REVOKED:
        raise InvalidKey("The key that asked for the token is revoked.")
    if platform.state is not PlatformState.ACTIVE:
        raise PlatformSuspended("The platform is suspended.")
    scopes = frozenset(str(verified.claims["scope"]).split()) & set(platform.scopes)
    expires_at = datetime.fromtimestamp(_number(verified.claims["exp"]), UTC)
    return Caller(platform=platform, scopes=scopes, expires_at=expires_at)


def _number(claim: object) -> float:
    if not isinstance(claim, int | float):
        raise InvalidToken("A time claim isn't a number.")
    return claim
