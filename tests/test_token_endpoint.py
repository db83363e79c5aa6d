"""Access tokens over HTTP: the form that goes in, the two shapes that come out, the metadata.

The token endpoint speaks RFC 6749 §5 to whoever sends a form, and HTTP's own words to others.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from reports import NOW

from api.app import create_app
from ledger.enrolling import revoke_key, suspend_platform
from ledger.identity.key import parse_jwk
from ledger.identity.platform import SCOPES
from ledger.identity.token import verify_access_token

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from typing import Any

    from flask.testing import FlaskClient
    from simulator import Simulator
    from werkzeug.test import TestResponse

    from ledger.ledger import Ledger

API = "https://api.example"
FORM = "application/x-www-form-urlencoded"
KIND = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
GRANT = ("grant_type", "client_credentials")


class Clock:
    """The server's time, which a test moves on."""

    def __init__(self) -> None:
        """Start when tests take place."""
        self.at = NOW

    def __call__(self) -> datetime:
        """Tell the time."""
        return self.at


@pytest.fixture
def backend() -> str:
    """Serve from SQLite alone."""
    return "sqlite"


@pytest.fixture
def shop(simulator: Callable[..., Simulator]) -> Simulator:
    """Enrol a platform with every scope."""
    return simulator("shop-a")


@pytest.fixture
def clock() -> Clock:
    """Give the server's clock."""
    return Clock()


@pytest.fixture
def http(ledger: Ledger, clock: Clock) -> FlaskClient:
    """Serve the ledger to a client without a network."""
    return create_app(ledger, public_url=API, body_max_bytes=65_536, now=clock).test_client()


def fields(shop: Simulator) -> list[tuple[str, str]]:
    """Give the parameters of an honest request."""
    assertion = ("client_assertion", shop.assertion(NOW))
    return [GRANT, ("client_assertion_type", KIND), assertion]


def post(http: FlaskClient, form: list[tuple[str, str]] | str, **headers: str) -> TestResponse:
    body = form if isinstance(form, str) else urlencode(form)
    return http.post("/oauth2/token", data=body, headers={"Content-Type": FORM} | headers)


def get_token(http: FlaskClient, shop: Simulator) -> str:
    return str(post(http, fields(shop)).get_json()["access_token"])


def test_token_response_has_the_shape_of_rfc_6749(http: FlaskClient, shop: Simulator) -> None:
    answer = post(http, [*fields(shop), ("scope", "risk:read")])
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"  # RFC 6749 §5.1
    assert answer.headers["Pragma"] == "no-cache"
    body = answer.get_json()
    assert body.pop("access_token").count(".") == 2
    assert body == {"token_type": "Bearer", "expires_in": 600, "scope": "risk:read"}


def without(name: str) -> Callable[[list[tuple[str, str]]], list[tuple[str, str]]]:
    return lambda form: [pair for pair in form if pair[0] != name]


def replacing(name: str, value: str) -> Callable[[list[tuple[str, str]]], list[tuple[str, str]]]:
    return lambda form: [(key, value if key == name else old) for key, old in form]


FORMS: dict[str, tuple[str, Callable[[list[tuple[str, str]]], Any]]] = {
    "empty": ("invalid_request", lambda _: ""),
    "not_a_form": ("invalid_request", lambda _: '{"grant_type":"client_credentials"}'),
    "not_utf8": ("invalid_request", lambda form: urlencode(form) + "&scope=%ff"),
    "seventeen_parameters": (
        "invalid_request",
        lambda form: form + [(f"a{n}", "1") for n in range(14)],
    ),
    "grant_type_missing": ("invalid_request", without("grant_type")),
    "grant_type_empty": ("invalid_request", replacing("grant_type", "")),
    "grant_type_twice": ("invalid_request", lambda form: [*form, GRANT]),
    "grant_type_empty_and_full": ("invalid_request", lambda form: [("grant_type", ""), *form]),
    "unknown_parameter_twice": ("invalid_request", lambda form: [*form, ("a", "1"), ("a", "2")]),
    "assertion_twice": ("invalid_request", lambda form: [*form, form[2]]),
    "assertion_missing": ("invalid_request", without("client_assertion")),
    "assertion_empty": ("invalid_request", replacing("client_assertion", "")),
    "assertion_type_missing": ("invalid_request", without("client_assertion_type")),
    "assertion_of_saml": (
        "invalid_request",
        replacing("client_assertion_type", KIND.replace("jwt", "saml2")),
    ),
    "password_grant": ("unsupported_grant_type", replacing("grant_type", "password")),
    "jwt_bearer_grant": (
        "unsupported_grant_type",
        replacing("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
    ),
    "assertion_of_nonsense": ("invalid_client", replacing("client_assertion", "e30.e30.AA")),
    "assertion_with_a_newline": (
        "invalid_client",
        lambda form: [*form[:2], (form[2][0], form[2][1] + "\n")],
    ),
    "assertion_not_ascii": ("invalid_client", replacing("client_assertion", "\u0435")),
    "client_id_of_another": (
        "invalid_client",
        lambda form: [*form, ("client_id", "https://shop-b.example")],
    ),
    "scope_unknown": ("invalid_scope", lambda form: [*form, ("scope", "risk:read admin")]),
}


@pytest.mark.parametrize("name", FORMS)
def test_bad_form_is_refused_in_the_shape_of_rfc_6749(
    http: FlaskClient, shop: Simulator, name: str
) -> None:
    error, spoil = FORMS[name]
    answer = post(http, spoil(fields(shop)))
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.get_json()
    assert set(body) == {"error", "error_description"}
    assert body["error"] == error
    # RFC 6749 §5.2: neither quotes nor backslashes nor anything beyond ASCII.
    assert re.fullmatch(r"[\x20\x21\x23-\x5B\x5D-\x7E]+", body["error_description"])


def test_parameters_that_are_unknown_or_empty_are_ignored(
    http: FlaskClient, shop: Simulator
) -> None:
    more = [("resource", API), ("client_id", ""), ("scope", "")]
    answer = post(http, [*fields(shop), *more])
    assert answer.status_code == 200
    assert answer.get_json()["scope"] == " ".join(sorted(SCOPES))


def test_parameters_in_the_url_are_not_read(http: FlaskClient, shop: Simulator) -> None:
    answer = http.post(
        f"/oauth2/token?{urlencode(fields(shop))}", headers={"Content-Type": FORM}, data=""
    )
    assert answer.get_json()["error"] == "invalid_request"


def test_replayed_assertion_is_an_invalid_client(http: FlaskClient, shop: Simulator) -> None:
    form = fields(shop)
    assert post(http, form).status_code == 200
    assert post(http, form).get_json()["error"] == "invalid_client"


def test_suspended_platform_is_an_unauthorized_client(http: FlaskClient, shop: Simulator) -> None:
    suspend_platform(shop.ledger, shop.uri, NOW)
    assert post(http, fields(shop)).get_json()["error"] == "unauthorized_client"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": f"{FORM}; charset=utf-16"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
    ],
)
def test_body_of_another_media_type_or_coding_is_refused_unread(
    http: FlaskClient, shop: Simulator, headers: dict[str, str]
) -> None:
    form = fields(shop)
    assert post(http, form, **headers).status_code == 415
    assert post(http, form).status_code == 200  # the assertion wasn't used up


def test_form_beyond_the_limit_is_refused(http: FlaskClient, shop: Simulator) -> None:
    assert post(http, [*fields(shop), ("a", "1" * 65_536)]).status_code == 413


def test_token_endpoint_takes_nothing_but_post(http: FlaskClient) -> None:
    answer = http.get("/oauth2/token")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


# --- The token at work ----------------------------------------------------------------------


def read_own(http: FlaskClient, token: str) -> TestResponse:
    """Ask for an incident that isn't there: 404 to whom the door opens."""
    return http.get(f"/v1/incidents/inc_{'0' * 32}", headers={"Authorization": f"Bearer {token}"})


def test_access_token_opens_the_door_for_ten_minutes(
    http: FlaskClient, shop: Simulator, clock: Clock
) -> None:
    token = get_token(http, shop)
    clock.at = NOW + timedelta(seconds=599)
    assert read_own(http, token).status_code == 404
    clock.at = NOW + timedelta(seconds=600)
    answer = read_own(http, token)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]  # RFC 6750 §3.1


def test_token_without_the_scope_is_told_which_one_it_lacks(
    http: FlaskClient, shop: Simulator
) -> None:
    token = post(http, [*fields(shop), ("scope", "risk:read")]).get_json()["access_token"]
    answer = read_own(http, token)
    assert answer.status_code == 403
    challenge = answer.headers["WWW-Authenticate"]
    assert 'scope="incidents:read"' in challenge
    assert 'error="insufficient_scope"' in challenge


@pytest.mark.parametrize("end", ["suspension", "revocation"])
def test_end_of_a_membership_or_a_key_is_seen_within_ten_seconds(
    http: FlaskClient, shop: Simulator, clock: Clock, end: str
) -> None:
    token = get_token(http, shop)
    assert read_own(http, token).status_code == 404
    if end == "suspension":
        suspend_platform(shop.ledger, shop.uri, NOW)
    else:
        revoke_key(shop.ledger, shop.uri, shop.kid, NOW)
    clock.at = NOW + timedelta(seconds=10)
    assert read_own(http, token).status_code == {"suspension": 403, "revocation": 401}[end]


# --- Metadata -------------------------------------------------------------------------------


def test_metadata_names_the_issuer_and_doors_that_exist(http: FlaskClient, ledger: Ledger) -> None:
    answer = http.get("/.well-known/oauth-authorization-server")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.get_json() == {  # RFC 8414 §2
        "issuer": ledger.issuer,
        "token_endpoint": f"{API}/oauth2/token",
        "jwks_uri": f"{API}/.well-known/jwks.json",
        "service_documentation": f"{API}/docs",
        "scopes_supported": sorted(SCOPES),
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA", "Ed25519"],
    }
    for path in ("/.well-known/jwks.json", "/docs"):
        assert http.get(path).status_code == 200


def test_published_keys_verify_access_tokens_and_hold_no_secret(
    http: FlaskClient, shop: Simulator
) -> None:
    answer = http.get("/.well-known/jwks.json")
    assert answer.headers["Content-Type"] == "application/jwk-set+json"
    published = {one["kid"]: one for one in answer.get_json()["keys"]}
    assert len(published) == 3  # statements, access tokens, the log
    for kid, jwk in published.items():
        assert set(jwk) == {"kty", "crv", "x", "kid", "alg", "use"}
        assert parse_jwk(jwk)[0] == kid
    ours = published[parse_jwk(shop.ledger.public_jwks["keys"][2])[0]]
    verified = verify_access_token(get_token(http, shop), ours, issuer=shop.ledger.issuer, now=NOW)
    assert verified.claims["sub"] == shop.uri
