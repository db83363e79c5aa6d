"""Whatever is sent, it gets its documented refusal in its documented shape, and never comes back.

A marker is put into every place that takes input; no refusal may hold it, in its body or in its
headers. What only a real server can show is in test_bad_wire.py.
"""

from __future__ import annotations

import json
import re
import time
from copy import deepcopy
from io import BytesIO
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from simulator import phone_and_device, render_question

from api.app import OPERATIONS, create_app
from api.oauth import ASSERTION_KIND, GRANT_TYPE
from ledger.authorizing import grant_access
from ledger.identity.key import encode_base64url
from ledger.identity.token import EVENT_TYPE, sign_token
from ledger.incident.rendering import render_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from flask.testing import FlaskClient
    from simulator import Simulator
    from werkzeug.test import TestResponse

    from ledger.ledger import Ledger

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
MARK = "Zq7markerQz7"
LIMIT = 20_000
LIU = phone_and_device("liu")
SET, FORM, JSON = (
    "application/secevent+jwt",
    "application/x-www-form-urlencoded",
    "application/json",
)
QUESTION, ANSWER = "/v1/risk-assessments", f"/v1/risk-assessments/ra_{'0' * 32}"
OUTCOME = f"{ANSWER}/outcomes"
BODIES = {"/v1/events": SET, "/oauth2/token": FORM, QUESTION: JSON, OUTCOME: JSON}
TOLD = {"action": "grant", "decided_by": "human", "merchant_heard": True}
TOLD |= {"listing_compared": True, "reversed_on_appeal": False}


@pytest.fixture
def shop(simulator: Callable[..., Simulator]) -> Simulator:
    """Give a member."""
    return simulator("shop-a")


@pytest.fixture
def client(ledger: Ledger, now: datetime) -> FlaskClient:
    """Give the doors of the ledger."""
    app = create_app(
        ledger, public_url="https://api.example", body_max_bytes=LIMIT, now=lambda: now
    )
    return app.test_client()


@pytest.fixture
def access(ledger: Ledger, shop: Simulator, now: datetime) -> dict[str, str]:
    """Give the member's access token as a header."""
    token = grant_access(ledger, shop.assertion(now), None, None, now).token
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def question(shop: Simulator) -> dict[str, Any]:
    """Give a question that would be answered."""
    return dict(render_question(shop.request("liu", LIU)))


def check_silent(answer: TestResponse) -> None:
    """Check that nothing of what was sent comes back."""
    whole = f"{answer.headers}\n{answer.get_data(as_text=True)}"
    assert MARK.lower() not in whole.lower()


def check_refusal(answer: TestResponse, status: int, path: str, code: str = "") -> None:
    """Check a refusal: its status, the shape of its door, that it repeats nothing."""
    check_silent(answer)
    assert answer.status_code == status, answer.data
    body = answer.get_json(force=True)
    if status == 400 and path == "/v1/events":
        assert answer.content_type == "application/json"
        assert answer.headers["Content-Language"] == "en"
        assert set(body) == {"err", "description"}
        assert re.fullmatch(r"invalid_(request|key|issuer|audience)", body["err"])
    elif status == 400 and path == "/oauth2/token":
        assert answer.content_type == "application/json"
        assert set(body) == {"error", "error_description"}
        assert re.fullmatch(r"[a-z_]+", body["error"])
    else:
        assert answer.content_type == "application/problem+json"
        assert set(body) <= {"type", "title", "status", "detail", "instance", "errors"}
        assert body["status"] == status
        assert body["type"] == (f"urn:bcl:problem:{code}" if code else "about:blank")


# --- Bodies, before they are read -----------------------------------------------------------


def test_body_over_the_limit_is_refused_by_its_length(
    client: FlaskClient, access: dict[str, str]
) -> None:
    for path, media_type in BODIES.items():
        for headers in ({}, access):  # before anybody is asked who is calling
            answer = client.post(
                path, data=MARK + "a" * LIMIT, content_type=media_type, headers=headers
            )
            check_refusal(answer, 413, path)
        barely = client.post(path, data="a" * LIMIT, content_type=media_type, headers=access)
        assert barely.status_code == 400, path


class _Reset(BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise ConnectionResetError(size)


def test_body_whose_sender_is_gone_is_refused(client: FlaskClient) -> None:
    stream = _Reset(b"announced")
    answer = client.post("/v1/events", content_type=SET, input_stream=stream)
    check_refusal(answer, 400, "/v1/events")


@pytest.mark.parametrize("path", BODIES)
def test_body_of_another_media_type_or_charset_is_refused(client: FlaskClient, path: str) -> None:
    others = ["", MARK, f"{MARK}/{MARK}", "text/plain", "multipart/form-data; boundary=x", "*/*"]
    others += ["application/jwt", "application/json-seq", "application/problem+json"]
    others += [f"{BODIES[path]}; charset={name}" for name in ("iso-8859-1", "utf-16", MARK)]
    for media_type in others:
        check_refusal(client.post(path, data="{}", content_type=media_type), 415, path)


@pytest.mark.parametrize("path", BODIES)
def test_body_with_a_content_coding_is_refused(client: FlaskClient, path: str) -> None:
    for coding in ("gzip", "br", "deflate", "gzip, identity", MARK, "identity, x"):
        headers = {"Content-Encoding": coding}
        answer = client.post(path, data=b"\x1f\x8b", content_type=BODIES[path], headers=headers)
        check_refusal(answer, 415, path)
        assert answer.headers["Accept-Encoding"] == "identity"


def test_media_type_with_harmless_parameters_is_taken(
    client: FlaskClient, access: dict[str, str], question: dict[str, Any]
) -> None:
    body = json.dumps(question)
    for spelling in ("; charset=UTF-8", ';charset="utf-8"', "; x=y"):
        answer = client.post(QUESTION, data=body, content_type=f"{JSON}{spelling}", headers=access)
        assert answer.status_code == 200, spelling


# --- JSON -----------------------------------------------------------------------------------

NOT_JSON = {
    "nothing": b"",
    "a word": MARK.encode(),
    "invalid UTF-8": f'{{"{MARK}":"'.encode() + b'\xff"}',
    "overlong UTF-8": f'{{"{MARK}":"'.encode() + b'\xc0\xaf"}',
    "a surrogate in UTF-8": f'{{"{MARK}":"'.encode() + b'\xed\xa0\x80"}',
    "UTF-16": json.dumps({MARK: 1}).encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps({MARK: 1}).encode(),
    "a raw NUL": f'{{"{MARK}":"\x00"}}'.encode(),
    "an escaped NUL": rf'{{"a":"{MARK}\u0000"}}'.encode(),
    "an escaped NUL in a name": rf'{{"{MARK}\u0000":1}}'.encode(),
    "a lone surrogate": rf'{{"a":"{MARK}\ud800"}}'.encode(),
    "a lone low surrogate": rf'{{"{MARK}\udc00":1}}'.encode(),
    "NaN": f'{{"{MARK}":NaN}}'.encode(),
    "-Infinity": f'{{"{MARK}":-Infinity}}'.encode(),
    "a number of 5,000 digits": f'{{"{MARK}":{"9" * 5_000}}}'.encode(),
    "a number beyond all bounds": f'{{"{MARK}":1e400}}'.encode(),
    "two texts": f'{{}}{{"{MARK}":1}}'.encode(),
    "a comment": f"{{}} // {MARK}".encode(),
    "a trailing comma": f'{{"{MARK}":1,}}'.encode(),
    "single quotes": f"{{'{MARK}':1}}".encode(),
    "a raw newline in a string": f'{{"{MARK}":"\n"}}'.encode(),
    "an open string": f'{{"{MARK}'.encode(),
    "an open object": f'{{"{MARK}":1'.encode(),
}


@pytest.mark.parametrize("path", [QUESTION, OUTCOME])
def test_what_isnt_strict_json_is_refused(
    client: FlaskClient, access: dict[str, str], path: str
) -> None:
    for body in NOT_JSON.values():
        answer = client.post(path, data=body, content_type=JSON, headers=access)
        check_refusal(answer, 400, path, "malformed-json")


def test_json_that_two_readers_could_read_differently_is_refused(
    client: FlaskClient, access: dict[str, str]
) -> None:
    refused = [
        (f'{{"{MARK}":1,"{MARK}":1}}', "duplicate-member"),
        (f'{{"subject":{{"a":1,"\\u0061":"{MARK}"}}}}', "duplicate-member"),
        ("[" * 17 + f'"{MARK}"' + "]" * 17, "nesting-too-deep"),
        ('{"a":' * 3_000 + f'"{MARK}"' + "}" * 3_000, "nesting-too-deep"),
        ("[" * 19_000, "nesting-too-deep"),
        ("[" * 16 + f'"{MARK}"' + "]" * 16, "schema-violation"),
        (f'"{MARK}"', "schema-violation"),
        ("null", "schema-violation"),
        (f'["{MARK}"]', "schema-violation"),
        (f'{{"{MARK}":{"9" * 4_000}}}', "schema-violation"),
    ]
    for text, code in refused:
        for path in (QUESTION, OUTCOME):
            answer = client.post(path, data=text, content_type=JSON, headers=access)
            check_refusal(answer, 400, path, code)


def test_body_full_of_escapes_is_judged_in_no_time(
    client: FlaskClient, access: dict[str, str]
) -> None:
    """An unclosed string of escaped quotes once took quadratic time."""
    text = '{"a":"' + '\\"' * (LIMIT // 2 - 3)
    started = time.process_time()
    answer = client.post(QUESTION, data=text, content_type=JSON, headers=access)
    assert time.process_time() - started < 0.5
    check_refusal(answer, 400, QUESTION, "malformed-json")


# --- The marker in every place --------------------------------------------------------------


def plant(value: Any) -> Iterator[tuple[str, Any]]:
    """Give copies of a JSON value with the marker at each place, and as a member of each object."""
    for place in list(walk(value)):
        copy = deepcopy(value)
        *way, last = place
        target = copy
        for step in way:
            target = target[step]
        inner = target[last]
        target[last] = MARK
        yield f"value at {place}", deepcopy(copy)
        target[last] = [MARK, {MARK: MARK}]
        yield f"values at {place}", deepcopy(copy)
        if isinstance(inner, dict):
            target[last] = inner | {MARK: MARK}
            yield f"member at {place}", deepcopy(copy)
        if isinstance(target, dict):
            target[MARK] = inner
            del target[last]
            yield f"name at {place}", copy


def walk(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Walk every place below a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for step, one in inside:
        yield (*place, step)
        if isinstance(one, dict | list):
            yield from walk(one, (*place, step))


def test_nothing_of_a_json_body_comes_back(
    client: FlaskClient, access: dict[str, str], question: dict[str, Any]
) -> None:
    question["context"] |= {"claim_code": "x", "amount": {"value": "1", "currency": "CNY"}}
    assert client.post(QUESTION, json=question, headers=access).status_code == 200
    answered = set()
    for path, sound in ((QUESTION, question), (OUTCOME, TOLD)):
        for name, body in plant(sound):
            answer = client.post(path, json=body, headers=access)
            check_silent(answer)
            if answer.status_code == 200:
                answered.add(name)
            else:
                assert answer.status_code in {400, 403, 404, 409}, name
    # Where the marker is a fine text it is taken, and doesn't come back either.
    assert answered == {"value at ('context', 'claim_code')"}


def test_nothing_of_a_signed_event_comes_back(
    client: FlaskClient, shop: Simulator, ledger: Ledger, now: datetime
) -> None:
    claims = render_event(shop.incident("liu", LIU, now), ledger.issuer)
    accepted = set()
    for name, body in plant(claims):
        token = sign_token(body, shop.private_jwk, typ=EVENT_TYPE)
        answer = client.post("/v1/events", data=token, content_type=SET)
        if answer.status_code == 202:
            check_silent(answer)
            accepted.add(name)
        else:
            check_refusal(answer, 400, "/v1/events")
    assert accepted == {"value at ('jti',)", "value at ('txn',)"}


def test_what_is_no_token_is_refused_as_an_event(client: FlaskClient) -> None:
    wrong = [b"", MARK.encode(), b"..", f"{MARK}.{MARK}.{MARK}".encode(), b"\xff\xfe", b"\x00"]
    wrong += [f'{{"{MARK}":1}}'.encode(), f"a.b.c\n{MARK}".encode(), b"a" * 19_000]
    for token in wrong:
        answer = client.post("/v1/events", data=token, content_type=SET)
        check_refusal(answer, 400, "/v1/events")


def test_nothing_of_a_tokens_header_comes_back(client: FlaskClient, shop: Simulator) -> None:
    sound = {"typ": EVENT_TYPE, "alg": "EdDSA", "kid": shop.kid}
    headers: list[dict[str, Any]] = [sound | {name: MARK} for name in (*sound, "jku", MARK)]
    headers += [sound | {"kid": MARK.ljust(43, "a")}, sound | {"crit": [MARK]}, {MARK: MARK}]
    for header in headers:
        token = f"{encode_base64url(json.dumps(header).encode())}.e30.AA".encode()
        answer = client.post("/v1/events", data=token, content_type=SET)
        check_refusal(answer, 400, "/v1/events")
        form = {"client_assertion": token.decode(), "grant_type": GRANT_TYPE}
        form |= {"client_assertion_type": ASSERTION_KIND}
        check_refusal(client.post("/oauth2/token", data=form), 400, "/oauth2/token")
        bearer = {"Authorization": f"Bearer {token.decode()}"}
        check_refusal(client.get(ANSWER, headers=bearer), 401, "", "invalid-token")


def test_nothing_of_a_form_comes_back(client: FlaskClient, shop: Simulator, now: datetime) -> None:
    sound = {
        "grant_type": GRANT_TYPE,
        "client_assertion_type": ASSERTION_KIND,
        "client_assertion": shop.assertion(now),
        "client_id": shop.uri,
        "scope": "risk:read",
    }
    for name in sound:
        check_refusal(client.post("/oauth2/token", data=sound | {name: MARK}), 400, "/oauth2/token")
    for name, claim in (("iss", MARK), ("sub", MARK), ("aud", MARK), ("jti", f"{MARK}\x00")):
        told = sound | {"client_assertion": shop.assertion(now, **{name: claim})}
        check_refusal(client.post("/oauth2/token", data=told), 400, "/oauth2/token")
    extra = client.post("/oauth2/token", data=sound | {MARK: MARK})
    assert extra.status_code == 200  # unknown parameters are ignored (RFC 6749 §3.2)
    check_silent(extra)


def test_what_is_no_form_is_refused_at_the_token_endpoint(client: FlaskClient) -> None:
    wrong = ["", MARK, f"{MARK}=%ff", "a=%00&a=%00", f"grant_type={MARK}%00", f"a={MARK}&a=2"]
    wrong += ["&".join(f"{MARK}{n}=1" for n in range(50)), "grant_type", "é=1", "=&=", "%"]
    for text in wrong:
        answer = client.post("/oauth2/token", data=text.encode(), content_type=FORM)
        check_refusal(answer, 400, "/oauth2/token")


HEADERS = (
    *("Authorization", "Accept", "Accept-Language", "Cookie", "If-None-Match", "If-Match"),
    *("Idempotency-Key", "traceparent", "tracestate", "Origin", "Referer", "X-Forwarded-For"),
    *("X-Forwarded-Host", "X-Original-URL", "X-HTTP-Method-Override", "Range", "DPoP", "Expect"),
)


def test_nothing_of_a_header_comes_back(client: FlaskClient, access: dict[str, str]) -> None:
    values = (f"Bearer {MARK}", f'"{MARK}"', f"é{MARK}\xa0" * 3_000)
    for one, header, value in product(OPERATIONS, HEADERS, values):
        path = one.path.replace("{+", "{").format(
            level="0",
            tile="000",
            incident_id=f"inc_{'0' * 32}",
            assessment_id=f"ra_{'0' * 32}",
            recall_id=f"rcl_{'0' * 32}",
            version=9,
        )
        media_type = one.body.media_type if one.body else None
        answer = client.open(
            path,
            method=one.method,
            data=b"{}",
            content_type=media_type,
            headers=access | {header: value},
        )
        check_silent(answer)
        assert answer.status_code < 500, (path, header)
        if header == "Idempotency-Key" and path == QUESTION and " " in value:
            check_refusal(answer, 400, path, "schema-violation")


def test_unknown_path_is_a_problem_and_nothing_of_it_comes_back(client: FlaskClient) -> None:
    wrong = [f"/{MARK}", f"/v1/{MARK}", f"/v1/incidents/{MARK}/{MARK}", f"/healthz/{MARK}"]
    wrong += ["/healthz/", "//healthz", "/v1//events", "/v1/events/", "/./healthz/..", "/HEALTHZ"]
    wrong += [f"/{MARK}%00", "/healthz%00", "/healthz%0a", "/healthz%2f", "/%2e%2e/healthz"]
    wrong += [f"/{MARK}%0d%0aSet-Cookie:%20{MARK}", f"/{MARK}%ff%fe", f"/{MARK}é", f"/;{MARK}"]
    for path, method in product(wrong, ("GET", "POST", "DELETE")):
        answer = client.open(f"{path}?{MARK}={MARK}", method=method)
        check_refusal(answer, 404, path)
        assert "Location" not in answer.headers


def test_id_of_another_form_is_not_found(client: FlaskClient, access: dict[str, str]) -> None:
    for wrong in (MARK, "%00", "inc_", "inc_%00", f"inc_{'0' * 32}%0a", "é", "%ff"):
        for path in (f"/v1/incidents/{wrong}", f"/v1/incidents/{wrong}/receipt"):
            check_refusal(client.get(path, headers=access), 404, path, "not-found")
            check_refusal(client.get(path), 401, path, "invalid-token")
