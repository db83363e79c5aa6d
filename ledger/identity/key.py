"""Signing keys as JWKs (RFC 7517): which are accepted, their thumbprints, their states."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ledger.errors import InvalidJwk
from ledger.strict_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

KEYS_MAX = 10
_COORDINATE_BYTES = 32
# The field and the constant of edwards25519 (RFC 8032 §5.1).
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_PUBLIC_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class KeyState(StrEnum):
    """Whether a key may sign: retired keys verify old entries for ever, revoked ones nothing."""

    ACTIVE = "active"
    RETIRED = "retired"
    REVOKED = "revoked"


class Algorithm(StrEnum):
    """The accepted signature algorithms, by their names in RFC 7518 and RFC 9864."""

    ES256 = "ES256"
    ED25519 = "Ed25519"


@dataclass(frozen=True, slots=True)
class PlatformKey:
    """One public key of a platform. `jwk` holds the required public members alone."""

    platform: int
    kid: str
    algorithm: Algorithm
    jwk: Mapping[str, str]
    state: KeyState
    not_before: datetime
    not_after: datetime | None


def parse_jwk(raw: Mapping[str, object]) -> tuple[str, Algorithm, dict[str, str]]:
    """Read a public JWK: its thumbprint, its algorithm and its minimal form.

    *Raises*: InvalidJwk for private members, `use` other than sig, other types or curves, points
    that aren't on the curve, and Ed25519 points of small order.
    """
    if "d" in raw:
        raise InvalidJwk("A public key was expected, and a private one was given.")
    if raw.get("use", "sig") != "sig":
        raise InvalidJwk("The key isn't for signatures.")
    names = _PUBLIC_MEMBERS.get(str(raw.get("kty")))
    if names is None:
        raise InvalidJwk("The key type isn't EC or OKP.")
    jwk = {name: raw.get(name) for name in names}
    if not all(isinstance(value, str) for value in jwk.values()):
        raise InvalidJwk("A required member of the key is missing.")
    minimal = {name: str(value) for name, value in jwk.items()}
    algorithm = Algorithm.ES256 if minimal["kty"] == "EC" else Algorithm.ED25519
    if minimal["crv"] != ("P-256" if algorithm is Algorithm.ES256 else "Ed25519"):
        raise InvalidJwk("The curve isn't P-256 or Ed25519.")
    if raw.get("alg", algorithm.value) not in (algorithm.value, _alias(algorithm)):
        raise InvalidJwk("The key's alg isn't that of its type.")
    load_public(minimal)
    return thumbprint(minimal), algorithm, minimal


def _alias(algorithm: Algorithm) -> str:
    return "EdDSA" if algorithm is Algorithm.ED25519 else algorithm.value


def parse_jwks(raw: bytes) -> tuple[tuple[str, Algorithm, dict[str, str]], ...]:
    """Read a JWK set, or one JWK. *Raises*: InvalidJwk, MalformedJson and its kinds."""
    value = parse_json(raw)
    if isinstance(value, dict) and "keys" not in value:
        value = {"keys": [value]}
    keys = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(keys, list) or not 1 <= len(keys) <= KEYS_MAX:
        raise InvalidJwk("A JWK set holds between one and ten keys.")
    parsed = tuple(parse_jwk(key) for key in keys if isinstance(key, dict))
    if len(parsed) != len(keys) or len({kid for kid, _, _ in parsed}) != len(keys):
        raise InvalidJwk("A JWK set holds different keys, each one an object.")
    return parsed


def thumbprint(jwk: Mapping[str, str]) -> str:
    """Compute the SHA-256 thumbprint of a minimal JWK (RFC 7638 §3, RFC 8037 §2)."""
    text = json.dumps(dict(jwk), sort_keys=True, separators=(",", ":"))
    return encode_base64url(hashlib.sha256(text.encode()).digest())


def load_public(jwk: Mapping[str, str]) -> PublicKey:
    """Load a public JWK. *Raises*: InvalidJwk where it isn't a point of its curve."""
    try:
        x = _decode(jwk["x"])
        if jwk["kty"] == "OKP":
            _check_point(x)
            return ed25519.Ed25519PublicKey.from_public_bytes(x)
        y = _decode(jwk["y"])
        numbers = ec.EllipticCurvePublicNumbers(
            int.from_bytes(x), int.from_bytes(y), ec.SECP256R1()
        )
        return numbers.public_key()
    except (ValueError, KeyError) as error:
        raise InvalidJwk("The key isn't a point of its curve.") from error


@lru_cache(maxsize=1024)
def _check_point(encoded: bytes) -> None:
    """Refuse what isn't a point (RFC 8032 §5.1.3) or one of small order: the library takes both.

    Under a point of order 1, 2, 4 or 8 anybody can sign without a secret, so that nobody could
    be held to a statement.
    """
    y = int.from_bytes(encoded, "little") & (2**255 - 1)
    yy = y * y % _P
    is_square = pow((yy - 1) * (_D * yy + 1), (_P - 1) // 2, _P) in {0, 1}
    # The factors vanish at orders 4, 1 and 2, and 8.
    is_small = y * (yy - 1) * (_D * yy * yy + 2 * yy - 1) % _P == 0
    if y >= _P or is_small or not is_square:
        raise ValueError("not a point of large order")


def load_private(jwk: Mapping[str, str]) -> PrivateKey:
    """Load a private JWK. *Raises*: InvalidJwk, also where its public members are another key's."""
    try:
        secret = _decode(jwk["d"])
        key: PrivateKey = (
            ed25519.Ed25519PrivateKey.from_private_bytes(secret)
            if jwk["kty"] == "OKP"
            else ec.derive_private_key(int.from_bytes(secret), ec.SECP256R1())
        )
    except (ValueError, KeyError) as error:
        raise InvalidJwk("The private key can't be read.") from error
    if _render_public(key) != public_jwk(jwk):
        raise InvalidJwk("The private key isn't that of its public members.")
    return key


def _render_public(key: PrivateKey) -> dict[str, str]:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        x = key.public_key().public_bytes_raw()
        return {"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(x)}
    point = key.public_key().public_numbers()
    return {
        "kty": "EC",
        "crv": "P-256",
        "x": encode_base64url(point.x.to_bytes(_COORDINATE_BYTES)),
        "y": encode_base64url(point.y.to_bytes(_COORDINATE_BYTES)),
    }


def public_jwk(private: Mapping[str, str]) -> dict[str, str]:
    """Give the public members of a private JWK. *Raises*: InvalidJwk."""
    names = _PUBLIC_MEMBERS.get(private.get("kty", ""))
    if names is None or any(name not in private for name in names):
        raise InvalidJwk("The private key lacks a public member.")
    return {name: private[name] for name in names}


def generate_signing_jwk(algorithm: Algorithm) -> dict[str, str]:
    """Generate a private JWK from the operating system's randomness."""
    if algorithm is Algorithm.ED25519:
        edwards = ed25519.Ed25519PrivateKey.generate()
        return {**_render_public(edwards), "d": encode_base64url(edwards.private_bytes_raw())}
    weierstrass = ec.generate_private_key(ec.SECP256R1())
    secret = weierstrass.private_numbers().private_value.to_bytes(_COORDINATE_BYTES)
    return {**_render_public(weierstrass), "d": encode_base64url(secret)}


def encode_base64url(raw: bytes) -> str:
    """Give bytes as base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if len(raw) != _COORDINATE_BYTES or encode_base64url(raw) != text:
        raise ValueError("not 32 bytes in canonical base64url")
    return raw
