"""Signing keys as JWKs (RFC 7517): which are accepted, their thumbprints, their states."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ledger.errors import InvalidJwk
from ledger.strict_json import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

KEYS_MAX = 10
_COORDINATE_BYTES = 32
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

    *Raises*: InvalidJwk for private members, `use` other than sig, other types or curves, and
    points that aren't on the curve.
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
    if raw.get("alg", algorithm.value) not in {algorithm.value, _alias(algorithm)}:
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
            return ed25519.Ed25519PublicKey.from_public_bytes(x)
        y = _decode(jwk["y"])
        numbers = ec.EllipticCurvePublicNumbers(
            int.from_bytes(x), int.from_bytes(y), ec.SECP256R1()
        )
        return numbers.public_key()
    except (ValueError, KeyError) as error:
        raise InvalidJwk("The key isn't a point of its curve.") from error


def load_private(jwk: Mapping[str, str]) -> PrivateKey:
    """Load a private JWK. *Raises*: InvalidJwk."""
    try:
        secret = _decode(jwk["d"])
        if jwk["kty"] == "OKP":
            return ed25519.Ed25519PrivateKey.from_private_bytes(secret)
        return ec.derive_private_key(int.from_bytes(secret), ec.SECP256R1())
    except (ValueError, KeyError) as error:
        raise InvalidJwk("The private key can't be read.") from error


def public_jwk(private: Mapping[str, str]) -> dict[str, str]:
    """Give the public members of a private JWK. *Raises*: InvalidJwk."""
    names = _PUBLIC_MEMBERS.get(private.get("kty", ""))
    if names is None or any(name not in private for name in names):
        raise InvalidJwk("The private key lacks a public member.")
    return {name: private[name] for name in names}


def generate_signing_jwk(algorithm: Algorithm) -> dict[str, str]:
    """Generate a private JWK from the operating system's randomness."""
    if algorithm is Algorithm.ED25519:
        key = ed25519.Ed25519PrivateKey.generate()
        x = key.public_key().public_bytes_raw()
        return {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": encode_base64url(x),
            "d": encode_base64url(key.private_bytes_raw()),
        }
    numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()
    return {
        "kty": "EC",
        "crv": "P-256",
        "x": encode_base64url(numbers.public_numbers.x.to_bytes(_COORDINATE_BYTES)),
        "y": encode_base64url(numbers.public_numbers.y.to_bytes(_COORDINATE_BYTES)),
        "d": encode_base64url(numbers.private_value.to_bytes(_COORDINATE_BYTES)),
    }


def encode_base64url(raw: bytes) -> str:
    """Give bytes as base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if len(raw) != _COORDINATE_BYTES or encode_base64url(raw) != text:
        raise ValueError("not 32 bytes in canonical base64url")
    return raw
