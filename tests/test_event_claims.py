"""Event tokens under attack: what they claim, and what makes one a repeat of another.

The signature holds in every case here; what it covers is wrong in one thing. A repeat is told by
its decoded payload and by nothing else, and no refusal leaves a trace.
"""

from __future__ import annotations

import base64
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import forging
import pytest
from forging import (
    GONE,
    P256_ORDER,
    change,
    dump,
    honest_claims,
    honest_header,
    honest_payload,
    honest_token,
    refused,
    seal,
)
from reports import NOW
from sqlalchemy import delete

from ledger.enrolling import rotate_key
from ledger.errors import (
    CaseReported,
    EventIdReused,
    EventRefused,
    EventTooOld,
    InvalidAudience,
    InvalidIdentifier,
    InvalidIssuer,
    InvalidToken,
    LedgerError,
    SchemaViolation,
)
from ledger.identity.key import Algorithm, encode_base64url, generate_signing_jwk
from ledger.identity.token import EVENT_AGE_MAX
from ledger.incident.statement import CONFIRMED, RETRACTED
from ledger.reporting import accept_event
from ledger.store import tables
from ledger.store.engine import begin_write

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Simulator

SECONDS = int(NOW.timestamp())
ELSEWHERE = {"format": "iss_sub", "iss": "https://shop-b.example", "sub": "acct-1"}
EVENT_BEFORE = f'"events":{{"{CONFIRMED}":{{}},'.encode()
OPAQUE = {"format": "opaque", "id": "bcl1.1.phone." + "A" * 43}

backend, victim = forging.backend, forging.victim


def sign(shop: Simulator, payload: bytes) -> bytes:
    return seal(shop.private_jwk, dump(honest_header(shop)), payload)


# --- Claims ---------------------------------------------------------------------------------


def subject(*more: object, **members: object) -> Callable[[Any], Any]:
    """Change the subject: further identifiers, further members."""
    return lambda old: old | {"identifiers": [*old["identifiers"], *more]} | members


def event(**members: object) -> Callable[[Any], Any]:
    """Change members of the event."""
    return lambda old: {CONFIRMED: change(old[CONFIRMED], members)}


CLAIMS: dict[str, tuple[type[LedgerError], dict[str, Any]]] = {
    "iss_of_another_platform": (InvalidIssuer, {"iss": "https://shop-b.example"}),
    "iss_of_the_ledger": (InvalidIssuer, {"iss": "https://ledger.example/sandbox"}),
    "iss_with_trailing_slash": (InvalidIssuer, {"iss": "https://shop-a.example/"}),
    "iss_list": (InvalidIssuer, {"iss": ["https://shop-a.example"]}),
    "iss_missing": (InvalidIssuer, {"iss": GONE}),
    "aud_of_another_ledger": (InvalidAudience, {"aud": "https://ledger.example/eu"}),
    "aud_longer_than_ours": (InvalidAudience, {"aud": "https://ledger.example/sandbox/2"}),
    "aud_list_of_us_alone": (InvalidAudience, {"aud": ["https://ledger.example/sandbox"]}),
    "aud_missing": (InvalidAudience, {"aud": GONE}),
    "iat_boolean": (InvalidToken, {"iat": True}),
    "iat_string": (InvalidToken, {"iat": str(SECONDS)}),
    "iat_null": (InvalidToken, {"iat": None}),
    "iat_missing": (InvalidToken, {"iat": GONE}),
    "iat_negative": (InvalidToken, {"iat": -1}),
    "iat_beyond_any_calendar": (InvalidToken, {"iat": 1e308}),
    "iat_of_a_hundred_digits": (InvalidToken, {"iat": 10**100}),
    "iat_in_the_future": (InvalidToken, {"iat": SECONDS + 61}),
    "iat_in_milliseconds": (InvalidToken, {"iat": SECONDS * 1000}),
    "iat_with_a_fraction": (SchemaViolation, {"iat": SECONDS - 0.5}),
    "iat_too_old": (EventTooOld, {"iat": SECONDS - 7 * 86_400 - 1}),
    "iat_of_1970": (EventTooOld, {"iat": 0}),
    "jti_empty": (InvalidToken, {"jti": ""}),
    "jti_of_129_characters": (InvalidToken, {"jti": "a" * 129}),
    "jti_number": (InvalidToken, {"jti": 7}),
    "jti_missing": (InvalidToken, {"jti": GONE}),
    "jti_with_a_newline": (InvalidToken, {"jti": "evt\n1"}),
    "jti_with_nul": (InvalidToken, {"jti": "evt\x001"}),
    "jti_with_reversed_writing": (InvalidToken, {"jti": "evt\u202e1"}),
    "jti_with_half_a_character": (InvalidToken, {"jti": "evt\ud8001"}),
    "sub_present": (SchemaViolation, {"sub": "acct-mallory"}),
    "exp_present": (SchemaViolation, {"exp": SECONDS + 600}),
    "nbf_present": (SchemaViolation, {"nbf": SECONDS}),
    "unknown_claim": (SchemaViolation, {"mallory": "mallory"}),
    "txn_missing": (SchemaViolation, {"txn": GONE}),
    "zero_events": (SchemaViolation, {"events": {}}),
    "events_missing": (SchemaViolation, {"events": GONE}),
    "events_list": (SchemaViolation, {"events": [CONFIRMED]}),
    "two_events": (
        SchemaViolation,
        {"events": lambda old: old | {RETRACTED: {"event_timestamp": 1, "incident_jti": "a"}}},
    ),
    "unknown_event_type": (EventRefused, {"events": {"urn:bcl:event-type:mallory:1": {}}}),
    "event_type_of_the_ledger": (
        EventRefused,
        {"events": {"urn:bcl:event-type:incident-activated:1": {}}},
    ),
    "event_of_another_version": (EventRefused, {"events": {CONFIRMED[:-1] + "2": {}}}),
    "unknown_member_in_the_event": (SchemaViolation, {"events": event(mallory=1)}),
    "event_timestamp_boolean": (SchemaViolation, {"events": event(event_timestamp=True)}),
    "event_timestamp_after_year_9999": (
        SchemaViolation,
        {"events": event(event_timestamp=2**40 - 1)},
    ),
    "instant_before_the_first_day": (
        SchemaViolation,
        {"events": event(conduct_ended_at="0001-01-01T00:00:00+14:00")},
    ),
    "instant_after_the_last_day": (
        SchemaViolation,
        {"events": event(confirmed_at="9999-12-31T23:59:59-14:00")},
    ),
    "instant_without_time_zone": (
        SchemaViolation,
        {"events": event(confirmed_at="2026-11-22T11:00:00")},
    ),
    "conduct_in_the_future": (
        SchemaViolation,
        {"events": event(conduct_ended_at="2026-11-22T12:00:01Z")},
    ),
    "bindings_missing": (SchemaViolation, {"events": event(bindings={})}),
    "complex_subject": (
        SchemaViolation,
        {"sub_id": {"format": "complex", "user": ELSEWHERE, "device": OPAQUE}},
    ),
    "subject_missing": (SchemaViolation, {"sub_id": GONE}),
    "subject_without_account": (SchemaViolation, {"sub_id": subject(identifiers=[OPAQUE])}),
    "subject_without_anything": (SchemaViolation, {"sub_id": subject(identifiers=[])}),
    "unknown_member_in_sub_id": (SchemaViolation, {"sub_id": subject(mallory=1)}),
    "unknown_member_in_an_identifier": (
        SchemaViolation,
        {"sub_id": subject(OPAQUE | {"binding": "otp"})},
    ),
    "plain_email_as_identifier": (
        SchemaViolation,
        {"sub_id": subject({"format": "email", "email": "mallory@shop-a.example"})},
    ),
    "plain_phone_as_identifier": (
        SchemaViolation,
        {"sub_id": subject({"format": "phone_number", "phone_number": "+8613800000001"})},
    ),
    "account_of_another_platform": (
        SchemaViolation,
        {"sub_id": lambda old: old | {"identifiers": [ELSEWHERE, *old["identifiers"][1:]]}},
    ),
    "two_accounts": (SchemaViolation, {"sub_id": subject(ELSEWHERE)}),
    "identifier_without_binding": (SchemaViolation, {"sub_id": subject(OPAQUE)}),
    "identifier_twice": (
        SchemaViolation,
        {"sub_id": lambda old: old | {"identifiers": old["identifiers"] + old["identifiers"][1:]}},
    ),
    "identifier_of_a_real_epoch_in_a_sandbox": (
        InvalidIdentifier,
        {
            "sub_id": lambda old: old | {"identifiers": [old["identifiers"][0], OPAQUE]},
            "events": event(bindings={OPAQUE["id"]: {"binding": "otp", "accounts_here": "1"}}),
        },
    ),
    "seventeen_identifiers": (SchemaViolation, {"sub_id": subject(*[OPAQUE] * 17)}),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_claims_under_attack_are_refused(victim: Simulator, now: datetime, name: str) -> None:
    error, changes = CLAIMS[name]
    claims = change(honest_claims(victim, now), changes)
    with refused(victim.ledger, error):
        accept_event(victim.ledger, sign(victim, dump(claims)), now)


PAYLOADS: dict[str, Callable[[bytes], bytes]] = {
    "issuer_twice": lambda raw: b'{"iss":"https://shop-b.example",' + raw[1:],
    "same_issuer_twice": lambda raw: b'{"iss":"https://shop-a.example",' + raw[1:],
    "escaped_duplicate": lambda raw: raw[:-1] + b',"\\u0061ud":"https://shop-a.example"}',
    "amount_twice": lambda raw: raw.replace(b'"value":', b'"value":"1.00","value":', 1),
    "event_twice": lambda raw: raw.replace(
        b'"events":{', f'"events":{{"{CONFIRMED}":{{}},'.encode()
    ),
    "nested_deeply": lambda raw: raw[:-1] + b',"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "nested_without_end": lambda raw: raw[:-1] + b',"a":' + b'{"a":' * 9_000,
    "nan": lambda raw: raw[:-1] + b',"a":NaN}',
    "infinity": lambda raw: raw[:-1] + b',"a":-Infinity}',
    "number_beyond_binary64": lambda raw: raw[:-1] + b',"a":1e999}',
    "number_of_ten_thousand_digits": lambda raw: raw[:-1] + b',"a":' + b"9" * 10_000 + b"}",
    "list": lambda raw: b"[" + raw + b"]",
    "string": lambda raw: b'"' + base64.b64encode(raw) + b'"',
    "nothing": lambda raw: raw[:0] + b" ",
    "two_objects": lambda raw: raw + raw,
    "byte_order_mark": lambda raw: b"\xef\xbb\xbf" + raw,
    "utf16": lambda raw: raw.decode().encode("utf-16-le"),
    "not_utf8": lambda raw: raw.replace(b"acct-", b"acct-\xff", 1),
    "overlong_utf8": lambda raw: raw.replace(b"acct-", b"acct-\xc0\xae", 1),
    "nul_in_a_member_name": lambda raw: raw[:-1] + b',"a\\u0000b":1}',
    "comment": lambda raw: raw[:-1] + b"/* */}",
    "padded_with_spaces_beyond_the_limit": lambda raw: raw + b" " * 50_000,
    "trailing_comma": lambda raw: raw[:-1] + b",}",
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_payload_that_two_readers_read_differently_is_refused(
    victim: Simulator, now: datetime, name: str
) -> None:
    payload = PAYLOADS[name](honest_payload(victim, now))
    with refused(victim.ledger, InvalidToken):
        accept_event(victim.ledger, sign(victim, payload), now)


def test_payload_of_escaped_quotes_is_refused_in_linear_time(
    victim: Simulator, now: datetime
) -> None:
    payload = honest_payload(victim, now)[:-1] + b',"a":"' + b'\\"' * 20_000
    begun = time.process_time()
    with refused(victim.ledger, InvalidToken):
        accept_event(victim.ledger, sign(victim, payload), now)
    assert time.process_time() - begun < 1  # a scan that starts again at each quote takes several


# --- What is let through --------------------------------------------------------------------


def test_clock_that_is_a_minute_ahead_is_tolerated(shop: Simulator, now: datetime) -> None:
    token = honest_token(shop, now + timedelta(seconds=60))
    # Its conduct, its confirmation and its notice lie in the past all the same.
    assert not accept_event(shop.ledger, token, now).repeated


def test_statement_signed_exactly_seven_days_ago_is_accepted(
    shop: Simulator, now: datetime
) -> None:
    token = honest_token(shop, now)
    late = now + EVENT_AGE_MAX
    with refused(shop.ledger, EventTooOld):
        accept_event(shop.ledger, token, late + timedelta(microseconds=1))
    with pytest.raises(EventTooOld, match=r"more than 7 days ago.* new `iat` and a new `jti`\."):
        accept_event(shop.ledger, token, late + timedelta(days=1))
    assert not accept_event(shop.ledger, token, late).repeated


@pytest.fixture
def shop(simulator: Callable[..., Simulator]) -> Simulator:
    """Enrol a platform of its own."""
    return simulator("shop-a", algorithm=Algorithm.ES256)


# --- Repeats --------------------------------------------------------------------------------


def negate_s(token: bytes) -> bytes:
    """Replace s by n − s: another valid ECDSA signature, made without the key."""
    message, _, signature = token.rpartition(b".")
    raw = base64.urlsafe_b64decode(signature + b"==")
    s = P256_ORDER - int.from_bytes(raw[32:])
    return message + b"." + encode_base64url(raw[:32] + s.to_bytes(32)).encode()


def sign_again(shop: Simulator, claims: dict[str, Any]) -> bytes:
    return sign(shop, dump(claims))


def sign_with_header_turned(shop: Simulator, claims: dict[str, Any]) -> bytes:
    turned = dict(reversed(honest_header(shop).items()))
    return seal(shop.private_jwk, dump(turned), dump(claims))


def sign_with_new_key(shop: Simulator, claims: dict[str, Any]) -> bytes:
    shop.private_jwk = generate_signing_jwk(Algorithm.ED25519)
    rotate_key(shop.ledger, shop.uri, shop.key, NOW)
    header = honest_header(shop) | {"alg": "EdDSA"}
    return seal(shop.private_jwk, dump(header), dump(claims))


AGAIN: dict[str, Callable[[Simulator, dict[str, Any]], bytes]] = {
    "signed_again": sign_again,
    "malleated_by_a_stranger": lambda shop, claims: negate_s(sign_again(shop, claims)),
    "signed_with_another_header": sign_with_header_turned,
    "signed_with_a_new_key": sign_with_new_key,
}


@pytest.mark.parametrize("name", AGAIN)
def test_same_payload_in_another_token_is_an_exact_repeat(
    shop: Simulator, now: datetime, name: str
) -> None:
    claims = honest_claims(shop, now)
    token = sign_again(shop, claims)
    first = accept_event(shop.ledger, token, now)
    again = AGAIN[name](shop, claims)
    assert again != token
    second = accept_event(shop.ledger, again, now)
    assert (first.repeated, second.repeated) == (False, True)
    assert second.incident_id == first.incident_id


def test_malleated_token_that_comes_first_makes_the_honest_one_a_repeat(
    shop: Simulator, now: datetime
) -> None:
    token = honest_token(shop, now)
    first = accept_event(shop.ledger, negate_s(token), now)
    second = accept_event(shop.ledger, token, now)
    assert (first.repeated, second.repeated) == (False, True)


def test_repeat_is_answered_however_old_it_is(shop: Simulator, now: datetime) -> None:
    token = honest_token(shop, now)
    first = accept_event(shop.ledger, token, now)
    later = accept_event(shop.ledger, token, now + 50 * EVENT_AGE_MAX)
    assert (later.incident_id, later.repeated) == (first.incident_id, True)


@pytest.mark.parametrize("name", ["other_amount", "other_bytes_of_the_same_claims"])
def test_reused_jti_with_another_payload_is_refused(
    shop: Simulator, now: datetime, name: str
) -> None:
    claims = honest_claims(shop, now)
    accept_event(shop.ledger, sign(shop, dump(claims)), now)
    dearer = event(amount={"value": "129.91", "currency": "CNY"})
    other = change(claims, {"events": dearer}) if name == "other_amount" else claims
    payload = dump(other).replace(b":", b": ", 1)
    for at in (now, now + 2 * EVENT_AGE_MAX):
        with refused(shop.ledger, EventIdReused):
            accept_event(shop.ledger, sign(shop, payload), at)


def test_jti_of_erased_content_stays_used(shop: Simulator, now: datetime) -> None:
    token = honest_token(shop, now)
    accept_event(shop.ledger, token, now)
    with begin_write(shop.ledger.database) as connection:
        connection.execute(delete(tables.event_content))
    with refused(shop.ledger, EventIdReused):
        accept_event(shop.ledger, token, now)


def test_reported_case_under_a_new_jti_is_refused(shop: Simulator, now: datetime) -> None:
    claims = honest_claims(shop, now)
    accept_event(shop.ledger, sign(shop, dump(claims)), now)
    with refused(shop.ledger, CaseReported):
        accept_event(shop.ledger, sign(shop, dump(claims | {"jti": "another"})), now)


def test_same_jti_and_case_of_another_platform_are_its_own(
    shop: Simulator, simulator: Callable[..., Simulator], now: datetime
) -> None:
    other = simulator("shop-b")
    names = {"jti": "evt-1", "txn": "case-1"}
    one = accept_event(shop.ledger, sign(shop, dump(honest_claims(shop, now) | names)), now)
    two = accept_event(shop.ledger, sign(other, dump(honest_claims(other, now) | names)), now)
    assert not two.repeated
    assert two.incident_id != one.incident_id
