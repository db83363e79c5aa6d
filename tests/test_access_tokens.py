"""Client assertions and access tokens under attack, and what ends them.

An assertion opens one access token once; an access token opens what the platform has, for ten
minutes at most, and falls with the platform or with the key that asked for it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from forging import GONE, change, honest_claims, refused
from reports import NOW
from simulator import Simulator, create_keys

from ledger.authorizing import ACCESS_SECONDS, authenticate, grant_access
from ledger.enrolling import enrol_platform, revoke_key, rotate_key, suspend_platform
from ledger.errors import (
    InsufficientScope,
    InvalidAudience,
    InvalidIssuer,
    InvalidKey,
    InvalidToken,
    LedgerError,
    PlatformSuspended,
    TokenReplayed,
)
from ledger.identity.key import Algorithm, generate_signing_jwk, public_jwk
from ledger.identity.platform import SCOPES, require_scope
from ledger.identity.token import (
    ACCESS_TYPE,
    ACKNOWLEDGEMENT_TYPE,
    ASSERTION_TYPE,
    EVENT_TYPE,
    STATUS_TYPE,
    sign_access_token,
    sign_token,
    verify_access_token,
)
from ledger.reporting import accept_event

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ledger.authorizing import AccessGrant

SECONDS = int(NOW.timestamp())
EVERY = " ".join(sorted(SCOPES))
ENDPOINT = "https://api.example/oauth2/token"


@pytest.fixture
def backend() -> str:
    """Judge tokens on SQLite alone."""
    return "sqlite"


@pytest.fixture
def shop(simulator: Callable[..., Simulator]) -> Simulator:
    """Enrol a platform with every scope."""
    return simulator("shop-a")


def assert_with(shop: Simulator, **changes: Any) -> str:
    """Sign a client assertion with some claims replaced, or left out where GONE."""
    issued: dict[str, Any] = {"iat": SECONDS, "exp": SECONDS + 300, "jti": shop.next_id("a")}
    named = {"iss": shop.uri, "sub": shop.uri, "aud": shop.ledger.issuer}
    return sign_token(change(named | issued, changes), shop.private_jwk, typ=ASSERTION_TYPE)


def ask(shop: Simulator, assertion: str, scope: str | None = None) -> AccessGrant:
    return grant_access(shop.ledger, assertion, None, scope, NOW)


def access_claims(shop: Simulator) -> dict[str, Any]:
    return {
        "iss": shop.ledger.issuer,
        "aud": shop.ledger.issuer,
        "sub": shop.uri,
        "client_id": shop.uri,
        "client_kid": shop.kid,
        "scope": EVERY,
        "iat": SECONDS,
        "exp": SECONDS + ACCESS_SECONDS,
        "jti": "at_1",
    }


def sign_ours(shop: Simulator, **changes: Any) -> str:
    """Sign an access token with the ledger's own key and some claims replaced."""
    claims = change(access_claims(shop), changes)
    return sign_token(claims, shop.ledger.keys.access_key, typ=ACCESS_TYPE)


# --- Assertions -----------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_assertion_opens_an_access_token_of_the_published_profile(
    simulator: Callable[..., Simulator], now: datetime, algorithm: Algorithm
) -> None:
    shop = simulator("shop-a", algorithm=algorithm)
    grant = ask(shop, shop.assertion(now))
    ours = public_jwk(shop.ledger.keys.access_key)
    verified = verify_access_token(grant.token, ours, issuer=shop.ledger.issuer, now=now)
    assert verified.header["typ"] == "at+jwt"  # RFC 9068 §2.1
    claims = dict(verified.claims)
    assert str(claims.pop("jti")).startswith("at_")
    assert claims == {  # RFC 9068 §2.2
        "iss": shop.ledger.issuer,
        "aud": shop.ledger.issuer,
        "sub": shop.uri,
        "client_id": shop.uri,
        "client_kid": shop.kid,
        "scope": EVERY,
        "iat": SECONDS,
        "exp": SECONDS + 600,
    }
    caller = authenticate(shop.ledger, grant.token, now)
    assert caller.platform.uri == shop.uri
    assert caller.scopes == SCOPES
    assert caller.expires_at == now + timedelta(seconds=600)


ASSERTIONS: dict[str, tuple[type[LedgerError], dict[str, Any]]] = {
    "lives_301_seconds": (InvalidToken, {"exp": SECONDS + 301}),
    "lives_for_ever": (InvalidToken, {"exp": 2**39}),
    "issued_later_to_live_longer": (InvalidToken, {"iat": SECONDS + 61, "exp": SECONDS + 361}),
    "expired_now": (InvalidToken, {"iat": SECONDS - 300, "exp": SECONDS}),
    "exp_missing": (InvalidToken, {"exp": GONE}),
    "exp_string": (InvalidToken, {"exp": str(SECONDS + 300)}),
    "exp_boolean": (InvalidToken, {"exp": True}),
    "exp_beyond_any_calendar": (InvalidToken, {"exp": 1e308, "iat": 1e308}),
    "exp_negative": (InvalidToken, {"exp": -1}),
    "iat_missing": (InvalidToken, {"iat": GONE}),
    "not_valid_yet": (InvalidToken, {"nbf": SECONDS + 61}),
    "nbf_string": (InvalidToken, {"nbf": str(SECONDS)}),
    "nbf_boolean": (InvalidToken, {"nbf": True}),
    "aud_token_endpoint": (InvalidAudience, {"aud": ENDPOINT}),
    "aud_token_endpoint_of_the_name": (InvalidAudience, {"aud": lambda us: f"{us}/oauth2/token"}),
    "aud_list_of_us_alone": (InvalidAudience, {"aud": lambda us: [us]}),
    "aud_missing": (InvalidAudience, {"aud": GONE}),
    "sub_of_another_platform": (InvalidIssuer, {"sub": "https://shop-b.example"}),
    "sub_missing": (InvalidIssuer, {"sub": GONE}),
    "iss_of_another_platform": (InvalidIssuer, {"iss": "https://shop-b.example"}),
    "iss_and_sub_of_another_platform": (
        InvalidIssuer,
        {"iss": "https://shop-b.example", "sub": "https://shop-b.example"},
    ),
    "jti_missing": (InvalidToken, {"jti": GONE}),
    "jti_empty": (InvalidToken, {"jti": ""}),
    "jti_of_129_characters": (InvalidToken, {"jti": "a" * 129}),
}


def test_assertion_under_attack_is_refused(shop: Simulator, subtests: pytest.Subtests) -> None:
    for name, (error, changes) in ASSERTIONS.items():
        with subtests.test(name):
            with pytest.raises(LedgerError) as caught:
                ask(shop, assert_with(shop, **changes))
            assert type(caught.value) is error
    for changes in ({"nbf": SECONDS + 60}, {"nbf": SECONDS - 0.5}, {"exp": SECONDS + 0.5}):
        assert ask(shop, assert_with(shop, **changes)).scope == EVERY


def test_replayed_assertion_is_refused_until_it_expires_and_after(
    shop: Simulator, now: datetime
) -> None:
    assertion = shop.assertion(now)
    ask(shop, assertion)
    for seconds, error in ((0, TokenReplayed), (299, TokenReplayed), (300, InvalidToken)):
        at = now + timedelta(seconds=seconds)
        # Another grant lets what has expired be forgotten; this one it must remember.
        grant_access(shop.ledger, shop.assertion(at), None, None, at)
        with pytest.raises(LedgerError) as caught:
            grant_access(shop.ledger, assertion, None, None, at)
        assert type(caught.value) is error


def test_replay_is_told_by_the_jti_and_not_by_the_text(shop: Simulator) -> None:
    ask(shop, assert_with(shop, jti="once"))
    with pytest.raises(TokenReplayed):
        ask(shop, assert_with(shop, jti="once", exp=SECONDS + 299))


def test_jti_of_another_platform_is_no_replay(
    shop: Simulator, simulator: Callable[..., Simulator]
) -> None:
    other = simulator("shop-b")
    ask(shop, assert_with(shop, jti="once"))
    assert ask(other, assert_with(other, jti="once")).scope == EVERY


def test_refused_request_leaves_its_assertion_unused(shop: Simulator, now: datetime) -> None:
    assertion = shop.assertion(now)
    with pytest.raises(InsufficientScope):
        ask(shop, assertion, "risk:write")
    assert ask(shop, assertion, "risk:read").scope == "risk:read"


def test_client_id_must_be_the_assertion_s_issuer(shop: Simulator, now: datetime) -> None:
    with pytest.raises(InvalidIssuer):
        grant_access(shop.ledger, shop.assertion(now), "https://shop-b.example", None, now)
    assert grant_access(shop.ledger, shop.assertion(now), shop.uri, None, now).scope == EVERY


@pytest.mark.parametrize("key", ["event_key", "access_key", "log_jwk"])
def test_keys_of_the_ledger_itself_are_no_client(shop: Simulator, key: str) -> None:
    ledger = shop.ledger
    shop.private_jwk = getattr(ledger if key == "log_jwk" else ledger.keys, key)
    with pytest.raises(InvalidKey):
        ask(shop, assert_with(shop, iss=ledger.issuer, sub=ledger.issuer))


# --- One type for another -------------------------------------------------------------------


@pytest.mark.parametrize("typ", ["secevent+jwt", "at+jwt", "JWT", "bcl-status+jwt"])
def test_token_of_another_type_is_no_assertion(shop: Simulator, typ: str) -> None:
    named = {"iss": shop.uri, "sub": shop.uri, "aud": shop.ledger.issuer, "jti": "one"}
    claims = named | {"iat": SECONDS, "exp": SECONDS + 300}
    with pytest.raises(InvalidToken) as caught:
        ask(shop, sign_token(claims, shop.private_jwk, typ=typ))
    assert caught.type is InvalidToken


def test_assertion_and_access_token_report_nothing(shop: Simulator, now: datetime) -> None:
    event = honest_claims(shop, now)
    for token in (
        shop.assertion(now),
        ask(shop, shop.assertion(now)).token,
        sign_token(event, shop.private_jwk, typ=ASSERTION_TYPE),
        sign_token(event, shop.private_jwk, typ=ACCESS_TYPE),
    ):
        with refused(shop.ledger, InvalidToken):
            accept_event(shop.ledger, token.encode(), now)


@pytest.mark.parametrize("typ", [EVENT_TYPE, ASSERTION_TYPE, STATUS_TYPE, ACKNOWLEDGEMENT_TYPE])
def test_what_the_ledger_signs_for_other_uses_opens_nothing(shop: Simulator, typ: str) -> None:
    ledger, claims = shop.ledger, access_claims(shop)
    with pytest.raises(InvalidToken):
        authenticate(ledger, sign_token(claims, ledger.keys.access_key, typ=typ), NOW)
    for private in (ledger.keys.event_key, ledger.log_jwk):
        with pytest.raises(InvalidKey):
            authenticate(ledger, sign_token(claims, private, typ=ACCESS_TYPE), NOW)


def test_assertion_opens_nothing_by_itself(shop: Simulator, now: datetime) -> None:
    with pytest.raises(InvalidToken):
        authenticate(shop.ledger, shop.assertion(now), now)


# --- Access tokens --------------------------------------------------------------------------


def test_access_token_made_by_a_platform_opens_nothing(shop: Simulator) -> None:
    ours = shop.ledger.keys.access_key
    forged = sign_access_token(
        shop.private_jwk,
        issuer=shop.ledger.issuer,
        subject=shop.uri,
        client_kid=shop.kid,
        scope=EVERY,
        issued_at=NOW,
        seconds=600,
        jti="at_1",
    )
    with pytest.raises(InvalidKey):
        authenticate(shop.ledger, forged, NOW)
    borrowed = sign_token({}, ours, typ=ACCESS_TYPE).split(".")[0]  # the header of our own key
    with pytest.raises(InvalidToken):
        authenticate(shop.ledger, ".".join([borrowed, *forged.split(".")[1:]]), NOW)


ACCESS: dict[str, tuple[type[LedgerError], dict[str, Any]]] = {
    "of_another_ledger_s_name": (InvalidIssuer, {"iss": "https://ledger.example/eu"}),
    "for_another_ledger": (InvalidAudience, {"aud": "https://ledger.example/eu"}),
    "of_nobody": (InvalidToken, {"sub": "https://nobody.example"}),
    "of_the_ledger": (InvalidToken, {"sub": "https://ledger.example/sandbox"}),
    "of_an_unknown_key": (InvalidToken, {"client_kid": "A" * 43}),
    "without_key": (InvalidToken, {"client_kid": GONE}),
    "without_scope": (InvalidToken, {"scope": GONE}),
    "with_scopes_in_a_list": (InvalidToken, {"scope": sorted(SCOPES)}),
    "without_end": (InvalidToken, {"exp": GONE}),
    "expired": (InvalidToken, {"exp": SECONDS}),
    "of_the_future": (InvalidToken, {"iat": SECONDS + 61}),
}


def test_access_token_with_one_claim_wrong_opens_nothing(
    shop: Simulator, subtests: pytest.Subtests
) -> None:
    assert authenticate(shop.ledger, sign_ours(shop), NOW).scopes == SCOPES
    for name, (error, changes) in ACCESS.items():
        with subtests.test(name):
            with pytest.raises(LedgerError) as caught:
                authenticate(shop.ledger, sign_ours(shop, **changes), NOW)
            assert type(caught.value) is error


def test_access_token_of_a_ledger_with_other_keys_opens_nothing(shop: Simulator) -> None:
    token = sign_access_token(
        create_keys().access_key,
        issuer=shop.ledger.issuer,
        subject=shop.uri,
        client_kid=shop.kid,
        scope=EVERY,
        issued_at=NOW,
        seconds=600,
        jti="at_1",
    )
    with pytest.raises(InvalidKey):
        authenticate(shop.ledger, token, NOW)


def test_access_token_lives_for_ten_minutes(shop: Simulator, now: datetime) -> None:
    token = ask(shop, shop.assertion(now)).token
    end = now + timedelta(seconds=ACCESS_SECONDS)
    assert authenticate(shop.ledger, token, end - timedelta(microseconds=1)).scopes == SCOPES
    with pytest.raises(InvalidToken):
        authenticate(shop.ledger, token, end)


# --- Scopes ---------------------------------------------------------------------------------


def test_scope_may_only_narrow_what_the_platform_has(shop: Simulator, now: datetime) -> None:
    grant = ask(shop, shop.assertion(now), "risk:read risk:read")
    assert grant.scope == "risk:read"
    caller = authenticate(shop.ledger, grant.token, now)
    require_scope(caller, "risk:read")
    with pytest.raises(InsufficientScope):
        require_scope(caller, "incidents:read")


@pytest.mark.parametrize(
    "scope", ["risk:write", "risk:read ssf.manage", "RISK:READ", "risk:read,incidents:read", " "]
)
def test_scope_that_the_platform_does_not_have_is_refused(shop: Simulator, scope: str) -> None:
    with pytest.raises(InsufficientScope):
        ask(shop, shop.assertion(NOW), scope)


def test_platform_with_one_scope_gets_no_other(shop: Simulator, now: datetime) -> None:
    small = Simulator(shop.ledger, "small")
    enrol_platform(
        shop.ledger,
        uri=small.uri,
        name="small",
        group="small",
        jurisdictions=("SANDBOX",),
        scopes=("incidents:read",),
        keys=(small.key,),
        at=now,
    )
    assert ask(small, small.assertion(now)).scope == "incidents:read"
    with pytest.raises(InsufficientScope):
        ask(small, small.assertion(now), "risk:read")
    # A token that says more than the platform has opens no more than that.
    assert authenticate(small.ledger, sign_ours(small), now).scopes == {"incidents:read"}


# --- The end --------------------------------------------------------------------------------


def test_suspension_ends_access_at_once(shop: Simulator, now: datetime) -> None:
    token, unused = ask(shop, shop.assertion(now)).token, shop.assertion(now)
    suspend_platform(shop.ledger, shop.uri, now)
    with pytest.raises(PlatformSuspended):
        authenticate(shop.ledger, token, now)
    with pytest.raises(PlatformSuspended):
        ask(shop, unused)


def test_revocation_ends_what_the_key_was_granted_and_nothing_else(
    shop: Simulator, now: datetime
) -> None:
    stolen = shop.kid
    token, unused = ask(shop, shop.assertion(now)).token, shop.assertion(now)
    shop.private_jwk = generate_signing_jwk(Algorithm.ES256)
    rotate_key(shop.ledger, shop.uri, shop.key, now)
    other = ask(shop, shop.assertion(now)).token
    revoke_key(shop.ledger, shop.uri, stolen, now)
    with pytest.raises(InvalidKey):
        authenticate(shop.ledger, token, now)
    with pytest.raises(InvalidKey):
        ask(shop, unused)
    assert authenticate(shop.ledger, other, now).scopes == SCOPES


def test_access_token_naming_the_key_of_another_platform_opens_nothing(
    shop: Simulator, simulator: Callable[..., Simulator]
) -> None:
    other = simulator("shop-b")
    with pytest.raises(InvalidToken):
        authenticate(shop.ledger, sign_ours(shop, client_kid=other.kid), NOW)
