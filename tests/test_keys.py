"""Signing keys: which JWKs are taken, under which thumbprint, and what is refused at the door.

Vectors are those of RFC 8037 Appendix A (Ed25519) and RFC 7515 Appendix A.3 (P-256).
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st
from simulator import create_keys

from ledger.errors import DuplicateMember, InvalidInput, InvalidJwk, InvalidToken, MalformedJson
from ledger.identity.key import (
    KEYS_MAX,
    Algorithm,
    encode_base64url,
    generate_signing_jwk,
    load_private,
    load_public,
    parse_jwk,
    parse_jwks,
    public_jwk,
    thumbprint,
)
from ledger.identity.token import EVENT_TYPE, STATUS_TYPE, read_key_id, sign_token
from ledger.identity.token import verify_ledger_statement as verify
from ledger.ledger import parse_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

# RFC 8037 Appendix A.1, A.3, A.4.
PRIVATE: dict[str, Any] = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
KID = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
JWS = (
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg"
    "3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)
# RFC 7515 Appendix A.3.
EC_PRIVATE: dict[str, Any] = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
}
EC_PUBLIC = {name: EC_PRIVATE[name] for name in ("crv", "kty", "x", "y")}
PUBLIC = {name: PRIVATE[name] for name in ("crv", "kty", "x")}
P = 2**255 - 19  # the field of edwards25519
ZERO = encode_base64url(bytes(32))
P384 = encode_base64url(b"\x01" * 48)
RSA = {"kty": "RSA", "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiA", "e": "AQAB"}


def little(y: int) -> str:
    """Encode a y coordinate as Ed25519 does."""
    return encode_base64url(y.to_bytes(32, "little"))


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# --- Vectors --------------------------------------------------------------------------------


def test_thumbprint_is_that_of_rfc_8037() -> None:
    assert thumbprint(dict(reversed(PUBLIC.items()))) == KID
    assert parse_jwk(PUBLIC) == (KID, Algorithm.ED25519, PUBLIC)


def test_thumbprint_leaves_out_whatever_is_optional() -> None:
    described = {"kid": "mine", "use": "sig", "alg": "EdDSA", "key_ops": ["verify"], **PUBLIC}
    assert parse_jwk(described) == (KID, Algorithm.ED25519, PUBLIC)


def test_public_members_are_those_of_the_private_key() -> None:
    assert public_jwk(PRIVATE) == PUBLIC
    assert public_jwk(EC_PRIVATE) == EC_PUBLIC


def test_signature_is_that_of_rfc_8037() -> None:
    message, _, signature = JWS.rpartition(".")
    private, public = load_private(PRIVATE), load_public(PUBLIC)
    assert isinstance(private, ed25519.Ed25519PrivateKey)
    assert isinstance(public, ed25519.Ed25519PublicKey)
    assert encode_base64url(private.sign(message.encode())) == signature
    public.verify(decode(signature), message.encode())


def test_token_of_rfc_8037_is_refused_for_its_bare_header() -> None:
    with pytest.raises(InvalidToken):
        read_key_id(JWS, typ=EVENT_TYPE)


@pytest.mark.parametrize("private", [PRIVATE, EC_PRIVATE], ids=["Ed25519", "ES256"])
def test_token_signed_by_a_published_key_verifies_under_that_key_alone(
    private: Mapping[str, str],
) -> None:
    token = sign_token({"iss": "https://a.example"}, private, typ=STATUS_TYPE)
    verified = verify(token, public_jwk(private), typ=STATUS_TYPE, issuer="https://a.example")
    assert verified.claims == {"iss": "https://a.example"}
    assert read_key_id(token, typ=STATUS_TYPE) == thumbprint(public_jwk(private))
    for algorithm in Algorithm:
        other = public_jwk(generate_signing_jwk(algorithm))
        with pytest.raises(InvalidToken):
            verify(token, other, typ=STATUS_TYPE, issuer="https://a.example")


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_generated_key_comes_back_from_its_jwk(algorithm: Algorithm) -> None:
    private = generate_signing_jwk(algorithm)
    kid, found, jwk = parse_jwk(public_jwk(private))
    assert (found, kid) == (algorithm, thumbprint(jwk))
    assert len(kid) == 43
    assert set(private) == {*jwk, "d"}
    assert load_private(private).public_key() == load_public(jwk)
    assert generate_signing_jwk(algorithm) != private


# --- Refusals -------------------------------------------------------------------------------

REFUSED: dict[str, Mapping[str, object]] = {
    "nothing": {},
    "private_key": PRIVATE,
    "private_ec_key": EC_PRIVATE,
    "private_member_that_is_empty": PUBLIC | {"d": ""},
    "rsa_key": RSA,
    "symmetric_key": {"kty": "oct", "k": PUBLIC["x"]},
    "type_in_lower_case": PUBLIC | {"kty": "okp"},
    "type_list": PUBLIC | {"kty": ["OKP"]},
    "for_encryption": PUBLIC | {"use": "enc"},
    "use_list": PUBLIC | {"use": ["sig"]},
    "use_null": PUBLIC | {"use": None},
    "alg_of_another_type": PUBLIC | {"alg": "ES256"},
    "alg_hs256": PUBLIC | {"alg": "HS256"},
    "alg_list": PUBLIC | {"alg": ["EdDSA"]},
    "ec_key_named_eddsa": EC_PUBLIC | {"alg": "EdDSA"},
    "x_missing": {"kty": "OKP", "crv": "Ed25519"},
    "y_missing": {"kty": "EC", "crv": "P-256", "x": EC_PUBLIC["x"]},
    "x_number": PUBLIC | {"x": 11},
    "curve_x25519": PUBLIC | {"crv": "X25519"},
    "curve_ed448": PUBLIC | {"crv": "Ed448"},
    "curve_p384": EC_PUBLIC | {"crv": "P-384", "x": P384, "y": P384},
    "curve_secp256k1": EC_PUBLIC | {"crv": "secp256k1"},
    "curve_of_the_other_type": EC_PUBLIC | {"crv": "Ed25519"},
    "p384_coordinates_named_p256": EC_PUBLIC | {"x": P384, "y": P384},
    "off_the_curve": EC_PUBLIC | {"y": EC_PUBLIC["x"]},
    "point_at_infinity": EC_PUBLIC | {"x": ZERO, "y": ZERO},
    "coordinate_beyond_the_field": EC_PUBLIC | {"x": encode_base64url(b"\xff" * 32)},
    "short_coordinate": EC_PUBLIC | {"x": encode_base64url(decode(EC_PUBLIC["x"])[1:])},
    "coordinate_of_33_bytes": EC_PUBLIC | {"x": "A" + EC_PUBLIC["x"]},
    "short_x": PUBLIC | {"x": PUBLIC["x"][:-2]},
    "x_with_padding": PUBLIC | {"x": PUBLIC["x"] + "="},
    "x_with_spare_bits": PUBLIC | {"x": PUBLIC["x"][:-1] + "p"},
    "x_with_a_newline": PUBLIC | {"x": PUBLIC["x"] + "\n"},
    "x_in_standard_base64": PUBLIC | {"x": PUBLIC["x"].replace("_", "/")},
    "x_not_ascii": PUBLIC | {"x": "\u0435" * 43},
    "y_coordinate_of_no_point": PUBLIC | {"x": little(2)},
    "y_coordinate_beyond_the_field": PUBLIC | {"x": little(2**255 - 1)},
    "y_coordinate_written_with_the_prime_added": PUBLIC | {"x": little(P + 3)},
}


@pytest.mark.parametrize("name", REFUSED)
def test_key_that_is_not_a_public_signing_key_is_refused(name: str) -> None:
    with pytest.raises(InvalidJwk):
        parse_jwk(REFUSED[name])


# The eight points of small order, by their y: an order of 8 has 2y² = 1 − dy⁴ (y² = −x²).
Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SIGN = 1 << 255
SMALL = (1, P - 1, 0, SIGN, Y8, Y8 | SIGN, P - Y8, (P - Y8) | SIGN)


@pytest.mark.parametrize("y", SMALL, ids=["1", "2", "4", "4-", "8a", "8a-", "8b", "8b-"])
def test_key_under_which_anybody_can_sign_is_refused(y: int) -> None:
    raw = y.to_bytes(32, "little")
    public = ed25519.Ed25519PublicKey.from_public_bytes(raw)  # the library takes it
    if y == 1:
        # R = the identity and S = 0 hold for every message: it also verifies what nobody signed.
        public.verify((1).to_bytes(32, "little") + bytes(32), b"I owe you")
    with pytest.raises(InvalidJwk):
        parse_jwk(PUBLIC | {"x": encode_base64url(raw)})


@given(st.binary(min_size=32, max_size=32))
def test_every_key_that_comes_from_a_seed_is_taken(seed: bytes) -> None:
    raw = ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    kid, _, jwk = parse_jwk(PUBLIC | {"x": encode_base64url(raw)})
    assert kid == thumbprint(jwk)


@given(st.integers(1, 2**255))
def test_every_point_of_p256_is_taken(secret: int) -> None:
    point = ec.derive_private_key(secret, ec.SECP256R1()).public_key().public_numbers()
    x, y = (encode_base64url(one.to_bytes(32)) for one in (point.x, point.y))
    assert parse_jwk({"kty": "EC", "crv": "P-256", "x": x, "y": y})[1] is Algorithm.ES256


# --- Sets of keys ---------------------------------------------------------------------------


def dump(value: object) -> bytes:
    return json.dumps(value).encode()


def test_set_of_keys_and_a_single_key_are_read() -> None:
    both = parse_jwks(dump({"keys": [PUBLIC, EC_PUBLIC]}))
    assert [algorithm for _, algorithm, _ in both] == [Algorithm.ED25519, Algorithm.ES256]
    assert parse_jwks(dump(PUBLIC)) == both[:1]


@pytest.mark.parametrize(
    "value",
    [
        [],
        [PUBLIC],
        "keys",
        {"keys": []},
        {"keys": PUBLIC},
        {"keys": [PUBLIC, PUBLIC]},
        {"keys": [PUBLIC, PUBLIC | {"kid": "another name"}]},
        {"keys": [PUBLIC, None]},
        {"keys": [PUBLIC, PRIVATE]},
        {"keys": [public_jwk(generate_signing_jwk(Algorithm.ES256)) for _ in range(KEYS_MAX + 1)]},
    ],
)
def test_set_that_is_not_of_one_to_ten_different_keys_is_refused(value: object) -> None:
    with pytest.raises(InvalidJwk):
        parse_jwks(dump(value))


def test_set_of_keys_is_strict_json() -> None:
    with pytest.raises(DuplicateMember):
        parse_jwks(dump(PUBLIC)[:-1] + b', "x": "AA"}')
    with pytest.raises(MalformedJson):
        parse_jwks(b"-----BEGIN PUBLIC KEY-----")


# --- Private keys ---------------------------------------------------------------------------

DAMAGED: dict[str, dict[str, str]] = {
    "secret_missing": PUBLIC,
    "secret_short": PRIVATE | {"d": PRIVATE["d"][:-2]},
    "secret_zero": EC_PRIVATE | {"d": ZERO},
    "secret_beyond_the_order": EC_PRIVATE | {"d": encode_base64url(b"\xff" * 32)},
    "secret_of_another_key": PRIVATE | {"d": EC_PRIVATE["d"]},
    "secret_of_another_ec_key": EC_PRIVATE | {"d": PRIVATE["d"]},
    "type_missing": {"d": PRIVATE["d"]},
    "x_missing": {name: PRIVATE[name] for name in ("kty", "crv", "d")},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_private_key_whose_signatures_would_never_verify_signs_nothing(name: str) -> None:
    with pytest.raises(InvalidJwk):
        load_private(DAMAGED[name])
    with pytest.raises(InvalidJwk):
        sign_token({}, DAMAGED[name], typ=STATUS_TYPE)
    secret = encode_base64url(b"\x01" * 32)
    names = ("log_key", "wrap_key", "index_key", "tag_key")
    with pytest.raises(InvalidInput):
        parse_keys(
            event_key=json.dumps(DAMAGED[name]),
            access_key=json.dumps(PRIVATE),
            **dict.fromkeys(names, secret),
        )


def test_keys_of_a_ledger_are_in_no_representation() -> None:
    shown = repr(create_keys())
    assert shown == "LedgerKeys()"
