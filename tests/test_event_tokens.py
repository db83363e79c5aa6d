"""Event tokens under attack: header, text, signature and key.

Each case is an honest token with one thing wrong, handed in by the front door, and each is
refused without a trace. The rules are the verifier's own, so one kind of database is enough.
"""

from __future__ import annotations

import base64
import hmac
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import forging
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from forging import (
    GONE,
    P256_ORDER,
    change,
    dump,
    forge,
    honest_claims,
    honest_header,
    honest_payload,
    honest_token,
    refused,
    seal,
    seal_text,
    with_spare_bits,
)

from ledger.enrolling import revoke_key, rotate_key, suspend_platform
from ledger.errors import (
    BadSignature,
    InvalidIssuer,
    InvalidKey,
    InvalidToken,
    LedgerError,
    PlatformSuspended,
)
from ledger.identity.key import (
    Algorithm,
    KeyState,
    encode_base64url,
    generate_signing_jwk,
    parse_jwk,
    public_jwk,
)
from ledger.identity.token import EVENT_TYPE, payload_of, read_key_id
from ledger.reporting import accept_event
from ledger.store import platforms
from ledger.store.engine import begin_write

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Simulator

ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
STRANGER = generate_signing_jwk(Algorithm.ED25519)

backend, victim = forging.backend, forging.victim


@pytest.fixture
def shop(simulator: Callable[..., Simulator]) -> Simulator:
    """Enrol a platform with an Ed25519 key."""
    return simulator("shop-a")


@pytest.fixture
def ecdsa_shop(simulator: Callable[..., Simulator]) -> Simulator:
    """Enrol a platform with a P-256 key."""
    return simulator("shop-b", algorithm=Algorithm.ES256)


# --- The header -----------------------------------------------------------------------------

HEADERS: dict[str, tuple[type[LedgerError], dict[str, Any]]] = {
    "alg_none": (InvalidToken, {"alg": "none"}),
    "alg_none_in_capitals": (InvalidToken, {"alg": "NONE"}),
    "alg_missing": (InvalidToken, {"alg": GONE}),
    "alg_list": (InvalidToken, {"alg": ["Ed25519"]}),
    "alg_in_lower_case": (InvalidToken, {"alg": "ed25519"}),
    "alg_of_another_curve": (InvalidToken, {"alg": "Ed448"}),
    "alg_es384": (InvalidToken, {"alg": "ES384"}),
    "alg_es256_over_an_ed25519_key": (InvalidKey, {"alg": "ES256"}),
    "typ_missing": (InvalidToken, {"typ": GONE}),
    "typ_of_any_jwt": (InvalidToken, {"typ": "JWT"}),
    "typ_of_an_access_token": (InvalidToken, {"typ": "at+jwt"}),
    "typ_of_a_client_assertion": (InvalidToken, {"typ": "client-authentication+jwt"}),
    "typ_of_a_ledger_statement": (InvalidToken, {"typ": "bcl-status+jwt"}),
    "typ_with_media_type_prefix": (InvalidToken, {"typ": "application/secevent+jwt"}),
    "typ_list": (InvalidToken, {"typ": ["secevent+jwt"]}),
    "kid_missing": (InvalidToken, {"kid": GONE}),
    "kid_number": (InvalidKey, {"kid": 0}),
    "kid_path": (InvalidKey, {"kid": "../../../../../../dev/null"}),
    "kid_sql": (InvalidKey, {"kid": "' OR '1'='1' --"}),
    "kid_of_nobody": (InvalidKey, {"kid": "A" * 43}),
    "jku": (InvalidToken, {"jku": "https://shop-a.example/jwks.json"}),
    "x5u": (InvalidToken, {"x5u": "https://shop-a.example/certificate"}),
    "x5c": (InvalidToken, {"x5c": ["MIIB"]}),
    "x5t": (InvalidToken, {"x5t#S256": "A" * 43}),
    "crit": (InvalidToken, {"crit": ["exp"], "exp": 0}),
    "b64_false": (InvalidToken, {"b64": False, "crit": ["b64"]}),
    "zip": (InvalidToken, {"zip": "DEF"}),
    "cty": (InvalidToken, {"cty": "JWT"}),
    "header_of_two_kilobytes": (InvalidToken, {"kid": "A" * 2048}),
}


@pytest.mark.parametrize("name", HEADERS)
def test_header_under_attack_is_refused(victim: Simulator, now: datetime, name: str) -> None:
    error, changes = HEADERS[name]
    header = dump(change(honest_header(victim), changes))
    with refused(victim.ledger, error):
        accept_event(
            victim.ledger, seal(victim.private_jwk, header, honest_payload(victim, now)), now
        )


RAW_HEADERS: dict[str, Callable[[bytes], bytes]] = {
    "duplicate_member": lambda raw: raw[:-1] + b',"alg":"none"}',
    "same_member_twice": lambda raw: raw[:-1] + b',"typ":"secevent+jwt"}',
    "escaped_duplicate": lambda raw: raw[:-1] + b',"\\u0061lg":"none"}',
    "list": lambda raw: b"[" + raw + b"]",
    "not_json": lambda raw: raw[:-1],
    "byte_order_mark": lambda raw: b"\xef\xbb\xbf" + raw,
    "not_utf8": lambda raw: raw[:-1] + b',"\xff":1}',
    "nested_deeply": lambda raw: raw[:-1] + b',"a":' + b"[" * 300 + b"]" * 300 + b"}",
}


@pytest.mark.parametrize("name", RAW_HEADERS)
def test_header_that_two_readers_read_differently_is_refused(
    victim: Simulator, now: datetime, name: str
) -> None:
    header = RAW_HEADERS[name](dump(honest_header(victim)))
    with refused(victim.ledger, InvalidToken):
        accept_event(
            victim.ledger, seal(victim.private_jwk, header, honest_payload(victim, now)), now
        )


def sign_hmac(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda message: hmac.digest(secret, message, "sha256")


@pytest.mark.parametrize("form", ["x", "jwk", "raw"])
def test_hs256_with_the_public_key_as_secret_is_refused(
    victim: Simulator, now: datetime, form: str
) -> None:
    public = victim.key[2]
    raw = base64.urlsafe_b64decode(public["x"] + "=")
    secret = {"x": public["x"].encode(), "jwk": dump(public), "raw": raw}[form]
    with refused(victim.ledger, InvalidToken):
        accept_event(victim.ledger, forge(victim, now, {"alg": "HS256"}, sign_hmac(secret)), now)


def test_hmac_under_the_name_of_the_key_s_algorithm_is_refused(
    victim: Simulator, now: datetime
) -> None:
    sign = sign_hmac(dump(victim.key[2]))
    with refused(victim.ledger, BadSignature):
        accept_event(victim.ledger, forge(victim, now, {}, lambda m: sign(m) * 2), now)


def test_rs256_with_a_real_rsa_key_is_refused(victim: Simulator, now: datetime) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    token = forge(
        victim, now, {"alg": "RS256"}, lambda m: key.sign(m, padding.PKCS1v15(), hashes.SHA256())
    )
    with refused(victim.ledger, InvalidToken):
        accept_event(victim.ledger, token, now)


def test_key_that_the_token_brings_along_is_refused(victim: Simulator, now: datetime) -> None:
    public = public_jwk(STRANGER)
    for kid in (parse_jwk(public)[0], victim.kid):
        header = dump(honest_header(victim) | {"jwk": public, "kid": kid})
        with refused(victim.ledger, InvalidToken):
            accept_event(victim.ledger, seal(STRANGER, header, honest_payload(victim, now)), now)


# --- The text -------------------------------------------------------------------------------


def as_json(token: bytes, *, flattened: bool) -> bytes:
    """Give the JSON serialisations of RFC 7515 §7.2; the general one holds two signatures."""
    protected, payload, signature = token.decode().split(".")
    signed = {"protected": protected, "signature": signature}
    if flattened:
        return dump({"payload": payload} | signed)
    return dump({"payload": payload, "signatures": [signed, signed]})


TEXTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda token: token[:0],
    "signature_segment_empty": lambda token: token.rpartition(b".")[0] + b".",
    "signature_segment_missing": lambda token: token.rpartition(b".")[0],
    "header_segment_empty": lambda token: b"." + token.partition(b".")[2],
    "payload_detached": lambda token: b"..".join(token.split(b".")[::2]),
    "second_signature_appended": lambda token: token + b"." + token.rpartition(b".")[2],
    "five_segments_as_of_a_jwe": lambda token: token + b".A.A",
    "json_serialisation_with_two_signatures": lambda token: as_json(token, flattened=False),
    "json_serialisation_flattened": lambda token: as_json(token, flattened=True),
    "padding_after_the_signature": lambda token: token + b"==",
    "padding_after_the_header": lambda token: token.replace(b".", b"=.", 1),
    "leading_space": lambda token: b" " + token,
    "trailing_newline": lambda token: token + b"\n",
    "newline_inside": lambda token: token[:80] + b"\n" + token[80:],
    "trailing_nul": lambda token: token + b"\x00",
    "two_tokens": lambda token: token + b"\r\n" + token,
    "standard_base64": lambda token: token.replace(b".", b".+/", 1),
    "byte_order_mark": lambda token: b"\xef\xbb\xbf" + token,
    "look_alike_letter": lambda token: token.replace(b"e", "\u0435".encode(), 1),
    "not_utf8": lambda token: token + b"\xff",
    "spare_bits_set_in_the_signature": with_spare_bits,
    "one_character_too_many": lambda token: token + b"AAA",
    "signature_of_63_bytes": lambda token: token[:-2],
    "signature_of_33_bytes": lambda token: token[:-42],
    "signature_of_zeros": lambda token: token[:-86] + b"A" * 86,
    "longer_than_the_limit": lambda token: token + b"A" * 65_536,
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_other_than_the_one_compact_form_is_refused(
    victim: Simulator, now: datetime, name: str
) -> None:
    token = TEXTS[name](honest_token(victim, now))
    error = BadSignature if name.startswith("signature_of_") else InvalidToken
    with refused(victim.ledger, error):
        accept_event(victim.ledger, token, now)


@pytest.mark.parametrize("place", [0, 1], ids=["header", "payload"])
def test_second_spelling_of_a_segment_is_refused_even_if_it_is_signed(
    victim: Simulator, now: datetime, place: int
) -> None:
    raw = [dump(honest_header(victim)), honest_payload(victim, now)]
    raw[place] += b" " * ((1 - len(raw[place])) % 3)  # one byte more than threes: four spare bits
    texts = [encode_base64url(one).encode() for one in raw]
    texts[place] = with_spare_bits(texts[place])
    token = seal_text(victim.private_jwk, b".".join(texts))
    with refused(victim.ledger, InvalidToken):
        accept_event(victim.ledger, token, now)
    with pytest.raises(InvalidToken):  # nor is it read where nothing is verified
        (read_key_id(token, typ=EVENT_TYPE), payload_of(token))


def test_signature_of_another_payload_is_refused(victim: Simulator, now: datetime) -> None:
    one, other = honest_token(victim, now).split(b"."), honest_token(victim, now).split(b".")
    with refused(victim.ledger, BadSignature):
        accept_event(victim.ledger, b".".join([one[0], other[1], one[2]]), now)


def test_der_signature_is_refused(ecdsa_shop: Simulator, now: datetime) -> None:
    message, _, signature = honest_token(ecdsa_shop, now).rpartition(b".")
    raw = base64.urlsafe_b64decode(signature + b"==")
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    with refused(ecdsa_shop.ledger, BadSignature):
        accept_event(ecdsa_shop.ledger, message + b"." + encode_base64url(der).encode(), now)


@pytest.mark.parametrize(
    ("r", "s"), [(0, 0), (1, 0), (0, 1), (P256_ORDER, P256_ORDER), (P256_ORDER, 0)]
)
def test_ecdsa_signature_of_zero_or_the_order_is_refused(
    ecdsa_shop: Simulator, now: datetime, r: int, s: int
) -> None:
    token = forge(ecdsa_shop, now, {}, lambda _: r.to_bytes(32) + s.to_bytes(32))
    with refused(ecdsa_shop.ledger, BadSignature):
        accept_event(ecdsa_shop.ledger, token, now)


def test_ed25519_signature_with_the_order_added_is_refused(
    victim: Simulator, now: datetime
) -> None:
    message, _, signature = honest_token(victim, now).rpartition(b".")
    raw = base64.urlsafe_b64decode(signature + b"==")
    s = int.from_bytes(raw[32:], "little") + ED25519_ORDER
    malleated = encode_base64url(raw[:32] + s.to_bytes(32, "little")).encode()
    with refused(victim.ledger, BadSignature):
        accept_event(victim.ledger, message + b"." + malleated, now)


# --- The key --------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519"])
def test_token_by_an_ecdsa_key_under_an_edwards_name_is_refused(
    ecdsa_shop: Simulator, now: datetime, alg: str
) -> None:
    header = dump(honest_header(ecdsa_shop) | {"alg": alg})
    token = seal(ecdsa_shop.private_jwk, header, honest_payload(ecdsa_shop, now))
    with refused(ecdsa_shop.ledger, InvalidKey):
        accept_event(ecdsa_shop.ledger, token, now)


def test_key_of_another_platform_signs_nothing(
    shop: Simulator, ecdsa_shop: Simulator, now: datetime
) -> None:
    claims = honest_payload(shop, now)
    own_name = seal(ecdsa_shop.private_jwk, dump(honest_header(ecdsa_shop)), claims)
    with refused(shop.ledger, InvalidIssuer):
        accept_event(shop.ledger, own_name, now)
    header = dump(honest_header(ecdsa_shop) | {"kid": shop.kid})
    with refused(shop.ledger, InvalidKey):
        accept_event(shop.ledger, seal(ecdsa_shop.private_jwk, header, claims), now)
    with refused(shop.ledger, BadSignature):
        accept_event(shop.ledger, seal(STRANGER, dump(honest_header(shop)), claims), now)


@pytest.mark.parametrize("key", ["event_key", "access_key", "log_jwk"])
def test_keys_of_the_ledger_itself_report_nothing(
    victim: Simulator, now: datetime, key: str
) -> None:
    ledger = victim.ledger
    private = getattr(ledger if key == "log_jwk" else ledger.keys, key)
    kid, algorithm, _ = parse_jwk(public_jwk(private))
    header = dump({"typ": "secevent+jwt", "alg": algorithm.value, "kid": kid})
    claims = dump(honest_claims(victim, now) | {"iss": ledger.issuer})
    with refused(ledger, InvalidKey):
        accept_event(ledger, seal(private, header, claims), now)


def test_revoked_key_is_refused_even_for_a_repeat(shop: Simulator, now: datetime) -> None:
    token = honest_token(shop, now)
    accept_event(shop.ledger, token, now)
    ahead = now + timedelta(minutes=1)  # by the clock of whoever revokes it
    revoke_key(shop.ledger, shop.uri, shop.kid, ahead)
    for again in (token, honest_token(shop, now)):
        with refused(shop.ledger, InvalidKey):
            accept_event(shop.ledger, again, now)


def test_other_key_of_a_platform_outlives_a_revocation(shop: Simulator, now: datetime) -> None:
    stolen = shop.kid
    shop.private_jwk = generate_signing_jwk(Algorithm.ES256)
    rotate_key(shop.ledger, shop.uri, shop.key, now)
    revoke_key(shop.ledger, shop.uri, stolen, now)
    assert not accept_event(shop.ledger, honest_token(shop, now), now).repeated


def test_retired_key_signs_until_its_end_and_not_after(shop: Simulator, now: datetime) -> None:
    end = now + timedelta(days=1)
    with begin_write(shop.ledger.database) as connection:
        platforms.change_key_state(connection, shop.kid, KeyState.RETIRED, end)
    last = end - timedelta(microseconds=1)
    assert not accept_event(shop.ledger, honest_token(shop, last), last).repeated
    with refused(shop.ledger, InvalidKey):
        accept_event(shop.ledger, honest_token(shop, end), end)


def test_key_that_is_not_valid_yet_is_refused(victim: Simulator, now: datetime) -> None:
    early = now - timedelta(microseconds=1)
    with refused(victim.ledger, InvalidKey):
        accept_event(victim.ledger, honest_token(victim, early), early)


def test_suspended_platform_is_refused(shop: Simulator, now: datetime) -> None:
    token = honest_token(shop, now)
    accept_event(shop.ledger, token, now)
    suspend_platform(shop.ledger, shop.uri, now)
    for again in (token, honest_token(shop, now)):
        with refused(shop.ledger, PlatformSuspended):
            accept_event(shop.ledger, again, now)


def test_suspension_is_told_only_to_who_can_sign(shop: Simulator, now: datetime) -> None:
    suspend_platform(shop.ledger, shop.uri, now)
    token = seal(STRANGER, dump(honest_header(shop)), honest_payload(shop, now))
    with refused(shop.ledger, BadSignature):
        accept_event(shop.ledger, token, now)
