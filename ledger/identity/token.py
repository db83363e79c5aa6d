"""Signed tokens, and the only place that knows the JOSE library.

It reads compact JWS under strict rules: length and characters before anything is decoded, header
members by allow-list, one key with one algorithm taken from the key's record. PyJWT checks
signatures; what it leaves open (typ, padding, duplicate members, iat, jti) is checked here.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import jwt
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from ledger.errors import (
    BadSignature,
    EventTooOld,
    InvalidAudience,
    InvalidIssuer,
    InvalidKey,
    InvalidToken,
    LedgerError,
)
from ledger.identity.key import (
    Algorithm,
    KeyState,
    load_private,
    load_public,
    parse_jwk,
    public_jwk,
)
from ledger.strict_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ledger.identity.key import PlatformKey

EVENT_TYPE = "secevent+jwt"
ASSERTION_TYPE = "client-authentication+jwt"
ACCESS_TYPE = "at+jwt"
STATUS_TYPE = "bcl-status+jwt"
ACKNOWLEDGEMENT_TYPE = "bcl-acknowledgement+jwt"
TOKEN_BYTES_MAX = 65_536
EVENT_AGE_MAX = timedelta(days=7)
JTI_LENGTH_MAX = 128
SKEW_SECONDS = 60
ASSERTION_SECONDS_MAX = 300
_CHARACTERS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_KID = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_HEADER_MEMBERS = {"typ", "alg", "kid"}
_NAMES = {
    "ES256": Algorithm.ES256,
    "EdDSA": Algorithm.ED25519,
    "Ed25519": Algorithm.ED25519,
}
_HEADER_BYTES_MAX = 1024

# A private instance: the library knows no "Ed25519" (RFC 9864), and nothing else is allowed.
_JWS = jwt.PyJWS(algorithms=[])
_JWS.register_algorithm("ES256", ECAlgorithm(ECAlgorithm.SHA256))
_JWS.register_algorithm("EdDSA", OKPAlgorithm())
_JWS.register_algorithm("Ed25519", OKPAlgorithm())


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A token whose signature and common claims hold. `payload` is its exact decoded segment."""

    claims: Mapping[str, object]
    payload: bytes
    header: Mapping[str, str]


def read_key_id(token: str | bytes, *, typ: str) -> str:
    """Read the key id of a token after every check that needs no key.

    *Raises*: InvalidToken, InvalidKey where the kid isn't a thumbprint.
    """
    return _read_header(_text(token), typ)["kid"]


def _text(token: str | bytes) -> str:
    if len(token) > TOKEN_BYTES_MAX:
        raise InvalidToken("The token is longer than the limit.")
    try:
        text = token.decode("ascii") if isinstance(token, bytes) else token
    except UnicodeDecodeError as error:
        raise InvalidToken("The token isn't a compact JWS.") from error
    if _CHARACTERS.fullmatch(text) is None:
        raise InvalidToken("The token isn't a compact JWS.")
    return text


def _segment(text: str, place: int) -> bytes:
    segment = text.split(".")[place]
    try:
        raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except (ValueError, binascii.Error) as error:
        raise InvalidToken("A segment of the token isn't base64url.") from error
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != segment:
        raise InvalidToken("A segment of the token isn't canonical base64url.")
    return raw


def _object(raw: bytes) -> dict[str, object]:
    try:
        value = parse_json(raw)
    except LedgerError as error:
        raise InvalidToken("A segment of the token isn't strict JSON.") from error
    if not isinstance(value, dict):
        raise InvalidToken("A segment of the token isn't a JSON object.")
    return value


def _read_header(text: str, typ: str) -> dict[str, str]:
    raw = _segment(text, 0)
    if len(raw) > _HEADER_BYTES_MAX:
        raise InvalidToken("The token's header is longer than the limit.")
    header = _object(raw)
    if set(header) != _HEADER_MEMBERS:
        raise InvalidToken("The header must have typ, alg and kid, and nothing else.")
    if header["typ"] != typ:
        raise InvalidToken("The token is of another type.")
    algorithm, kid = header["alg"], header["kid"]
    if not isinstance(algorithm, str) or algorithm not in _NAMES:
        raise InvalidToken("The algorithm isn't accepted.")
    if not isinstance(kid, str) or _KID.fullmatch(kid) is None:
        raise InvalidKey("The kid isn't an RFC 7638 thumbprint.")
    return {"typ": typ, "alg": algorithm, "kid": kid}


def _verify(token: str | bytes, jwk: Mapping[str, str], kid: str, typ: str) -> VerifiedToken:
    """Verify header and signature under one key with its one algorithm."""
    text = _text(token)
    header = _read_header(text, typ)
    if header["kid"] != kid:
        raise InvalidKey("The token names another key.")
    expected = Algorithm.ES256 if jwk["kty"] == "EC" else Algorithm.ED25519
    if _NAMES[header["alg"]] is not expected:
        raise InvalidKey("The token's algorithm isn't that of the key.")
    payload = _segment(text, 1)
    _segment(text, 2)
    try:
        _JWS.decode_complete(text, key=load_public(jwk), algorithms=[header["alg"]])
    except jwt.exceptions.PyJWTError as error:
        raise BadSignature("The signature doesn't verify.") from error
    return VerifiedToken(_object(payload), payload, header)


def _check_key(key: PlatformKey, now: datetime) -> None:
    if key.state is KeyState.REVOKED:
        raise InvalidKey("The key is revoked.")
    if now < key.not_before:
        raise InvalidKey("The key isn't valid yet.")
    if key.not_after is not None and now >= key.not_after:
        raise InvalidKey("The key isn't valid any more.")


def _time(claims: Mapping[str, object], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidToken(f"{name} must be a number.")
    if not 0 <= value < 2**40:
        raise InvalidToken(f"{name} is out of range.")
    return value


def _check_common(
    claims: Mapping[str, object], *, issuer: str, audience: str, now: datetime
) -> None:
    if claims.get("iss") != issuer:
        raise InvalidIssuer("The issuer isn't the owner of the key.")
    if claims.get("aud") != audience:
        raise InvalidAudience("The token isn't addressed to this ledger alone.")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= JTI_LENGTH_MAX or not jti.isprintable():
        raise InvalidToken("jti must be a printable string of 1 to 128 characters.")
    if _time(claims, "iat") > now.timestamp() + SKEW_SECONDS:
        raise InvalidToken("iat lies in the future.")


def verify_event_token(
    token: str | bytes,
    key: PlatformKey,
    *,
    issuer: str,
    audience: str,
    received_at: datetime,
    archived: bool = False,
) -> VerifiedToken:
    """Verify a Security Event Token (RFC 8417) but for its age.

    *Shape*: `archived` is for auditors, who verify what was accepted under a key that may be
    retired by now. *Raises*: InvalidToken, InvalidKey, InvalidIssuer, InvalidAudience.
    """
    if not archived:
        _check_key(key, received_at)
    verified = _verify(token, key.jwk, key.kid, EVENT_TYPE)
    _check_common(verified.claims, issuer=issuer, audience=audience, now=received_at)
    return verified


def check_age(claims: Mapping[str, object], *, received_at: datetime, age_max: timedelta) -> None:
    """Refuse a statement that was signed too long ago. *Raises*: EventTooOld."""
    if _time(claims, "iat") < received_at.timestamp() - age_max.total_seconds():
        raise EventTooOld(
            f"The statement was signed more than {age_max.days} days ago: state it again, with a "
            "new `iat` and a new `jti`."
        )


def verify_client_assertion(
    token: str | bytes, key: PlatformKey, *, issuer: str, audience: str, now: datetime
) -> VerifiedToken:
    """Verify a client assertion (RFC 7523 §3): iss = sub = platform, aud = us alone, short.

    That its jti is new is for the caller to see. *Raises*: InvalidToken and its kinds.
    """
    _check_key(key, now)
    verified = _verify(token, key.jwk, key.kid, ASSERTION_TYPE)
    claims = verified.claims
    _check_common(claims, issuer=issuer, audience=audience, now=now)
    if claims.get("sub") != issuer:
        raise InvalidIssuer("The assertion's subject isn't its issuer.")
    issued, expires = _time(claims, "iat"), _time(claims, "exp")
    if not now.timestamp() < expires <= issued + ASSERTION_SECONDS_MAX:
        raise InvalidToken("The assertion has expired or lives for more than 300 seconds.")
    if "nbf" in claims and _time(claims, "nbf") > now.timestamp() + SKEW_SECONDS:
        raise InvalidToken("The assertion isn't valid yet.")
    return verified


def sign_token(claims: Mapping[str, object], private_jwk: Mapping[str, str], *, typ: str) -> str:
    """Sign claims as a compact JWS whose kid is the key's thumbprint."""
    kid, algorithm, _ = parse_jwk(public_jwk(private_jwk))
    payload = _dump(claims)
    return _JWS.encode(
        payload,
        key=load_private(private_jwk),
        algorithm=algorithm.value,
        headers={"typ": typ, "kid": kid},
    )


def _dump(claims: Mapping[str, object]) -> bytes:
    return json.dumps(claims, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def sign_access_token(  # noqa: PLR0913 - one claim each (RFC 9068 §2.2)
    private_jwk: Mapping[str, str],
    *,
    issuer: str,
    subject: str,
    client_kid: str,
    scope: str,
    issued_at: datetime,
    seconds: int,
    jti: str,
) -> str:
    """Sign an access token in the profile of RFC 9068, addressed to the ledger itself.

    *Shape*: `client_kid` names the key that asked for it, so that it falls when that key does.
    """
    issued = int(issued_at.timestamp())
    claims = {
        "iss": issuer,
        "aud": issuer,
        "sub": subject,
        "client_id": subject,
        "client_kid": client_kid,
        "scope": scope,
        "iat": issued,
        "exp": issued + seconds,
        "jti": jti,
    }
    return sign_token(claims, private_jwk, typ=ACCESS_TYPE)


def verify_access_token(
    token: str | bytes, public: Mapping[str, str], *, issuer: str, now: datetime
) -> VerifiedToken:
    """Verify one of our own access tokens. *Raises*: InvalidToken and its kinds."""
    kid, _, jwk = parse_jwk(public)
    verified = _verify(token, jwk, kid, ACCESS_TYPE)
    _check_common(verified.claims, issuer=issuer, audience=issuer, now=now)
    if now.timestamp() >= _time(verified.claims, "exp"):
        raise InvalidToken("The access token has expired.")
    named = ("sub", "scope", "client_kid")
    if not all(isinstance(verified.claims.get(name), str) for name in named):
        raise InvalidToken("The access token lacks sub, scope or client_kid.")
    return verified


def verify_ledger_statement(
    token: str | bytes, public: Mapping[str, str], *, typ: str, issuer: str
) -> VerifiedToken:
    """Verify a status or an acknowledgement that a ledger signed.

    *Raises*: InvalidToken and its kinds.
    """
    kid, _, jwk = parse_jwk(public)
    verified = _verify(token, jwk, kid, typ)
    if verified.claims.get("iss") != issuer:
        raise InvalidIssuer("The statement is another ledger's.")
    return verified


def payload_of(token: str | bytes) -> bytes:
    """Give the decoded payload of a token without verifying it. *Raises*: InvalidToken."""
    return _segment(_text(token), 1)
