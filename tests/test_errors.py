"""Each refusal has one code, one place in the table of statuses and one line in docs/errors.md.

The document is read as data: a code, status or word that it gets wrong, forgets or invents fails
here. Its order of precedence is climbed: requests that break many rules, mended one by one.
"""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT
from simulator import Simulator, phone_and_device, render_question

from api.app import OPERATIONS, create_app
from api.problems import STATUSES, find_status, render_oauth_error, render_problem, render_set_error
from ledger.authorizing import grant_access
from ledger.errors import Fault, LedgerCorrupt, LedgerError, TokenReplayed
from ledger.identity.key import Algorithm, generate_signing_jwk
from ledger.identity.token import EVENT_TYPE, sign_token
from ledger.incident.rendering import render_event
from ledger.incident.statement import CONFIRMED
from ledger.reporting import accept_event

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ledger.ledger import Ledger

DOCUMENT = (ROOT / "docs" / "errors.md").read_text("utf-8")
INSTANCE = "urn:bcl:answer:0000000000000001"


def walk(root: type[LedgerError] = LedgerError) -> list[type[LedgerError]]:
    """List a class and everything below it."""
    return [root, *(found for one in root.__subclasses__() for found in walk(one))]


CLASSES = {one.code: one for one in walk()}


def rows(heading: str) -> list[list[str]]:
    """Read the rows of the table under a heading, cell by cell, without its two first lines."""
    section = DOCUMENT.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def quoted(cell: str) -> list[str]:
    """List what a cell quotes."""
    return re.findall(r"`([^`]+)`", cell)


def describe_words(heading: str) -> dict[str, list[str]]:
    """Read a table of words: which codes are told under each."""
    return {quoted(row[0])[0]: quoted(row[1]) for row in rows(heading)}


def test_every_refusal_has_a_code_of_its_own() -> None:
    assert len(CLASSES) == len(walk())
    for one in walk():
        assert "code" in vars(one), f"{one.__name__} inherits its code"
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", one.code), one.code


def test_no_refusal_is_declared_outside_the_one_tree() -> None:
    tree = ast.parse((ROOT / "ledger" / "errors.py").read_text("utf-8"))
    named = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    corrupt = {one.__name__ for one in LedgerCorrupt.__subclasses__()} | {"LedgerCorrupt"}
    assert {one.__name__ for one in walk()} == named - {"Fault"} - corrupt
    assert not issubclass(LedgerCorrupt, LedgerError)


def test_every_refusal_but_the_root_has_a_status_in_the_table() -> None:
    for one in set(walk()) - {LedgerError}:
        assert set(one.__mro__) & set(STATUSES), f"{one.__name__} has no status"
    assert LedgerError not in STATUSES


def test_every_code_is_documented_and_no_other() -> None:
    documented = [quoted(row[0])[0] for row in rows("Codes")]
    assert len(documented) == len(set(documented))
    assert set(documented) == set(CLASSES)


@pytest.mark.parametrize("row", rows("Codes"), ids=lambda row: row[0])
def test_documented_status_is_the_one_answered(row: list[str]) -> None:
    code, status, meaning, action = row
    error = CLASSES[quoted(code)[0]]("x")
    assert int(status) == find_status(error) == render_problem(error, INSTANCE).status
    assert meaning.endswith(".")
    assert action.endswith(".")


def test_words_of_pushed_events_are_documented_with_every_code_under_each() -> None:
    (operation,) = [one for one in OPERATIONS if one.refuse is render_set_error]
    declared = {error for root in operation.errors for error in walk(root)}
    declared.remove(TokenReplayed)  # of assertions alone: an event may be repeated
    told: dict[str, set[str]] = {}
    for error in declared:
        answer = render_set_error(error("x"), INSTANCE)
        if answer.status == 400:
            told.setdefault(json.loads(answer.body)["err"], set()).add(error.code)
    documented = describe_words("Words of pushed events")
    assert set(documented) == set(told)
    for word, codes in documented.items():
        assert set(codes) >= told.get(word, set()), word
        for code in codes:
            answer = render_set_error(CLASSES[code]("x"), INSTANCE)
            assert json.loads(answer.body)["err"] == word, code


def test_words_of_the_token_endpoint_are_documented_with_every_code_under_each() -> None:
    (operation,) = [one for one in OPERATIONS if one.refuse is render_oauth_error]
    declared = {one for one in operation.errors if find_status(one("x")) < 500}
    told = {
        json.loads(render_oauth_error(error("x"), INSTANCE).body)["error"] for error in declared
    }
    documented = describe_words("Words of the token endpoint")
    assert set(documented) == told | {"unsupported_grant_type"}
    for word, codes in documented.items():
        for code in codes:
            answer = render_oauth_error(CLASSES[code]("x"), INSTANCE)
            assert json.loads(answer.body)["error"] == word, code
    assert {one.code for one in declared} <= {code for all_ in documented.values() for code in all_}


def test_statuses_of_http_itself_are_documented() -> None:
    documented = {int(row[0]) for row in rows("HTTP's own")}
    described = json.loads((ROOT / "openapi.json").read_bytes())
    given = {
        int(status)
        for methods in described["paths"].values()
        for operation in methods.values()
        for status in operation["responses"]
    }
    of_codes = {int(row[1]) for row in rows("Codes")}
    assert {status for status in given if status >= 400} - of_codes <= documented
    assert {404, 405, 413, 415, 500, 503} <= documented


def test_faults_of_a_refusal_are_told_one_by_one() -> None:
    faults = (Fault("/a", "missing", "A member is missing."), Fault("", "too-many", "Too many."))
    for error in walk():
        answer = render_problem(error("A sentence.", faults=faults), INSTANCE)
        body = json.loads(answer.body)
        assert answer.media_type == "application/problem+json"
        assert body["instance"] == INSTANCE
        assert body["status"] == answer.status
        if answer.status == 500:
            assert set(body) == {"type", "title", "status", "instance"}
            continue
        assert body["type"] == f"urn:bcl:problem:{error.code}"
        assert body["detail"] == "A sentence."
        assert body["errors"] == [
            {"pointer": "/a", "code": "missing", "detail": "A member is missing."},
            {"pointer": "", "code": "too-many", "detail": "Too many."},
        ]


def test_refusal_that_may_pass_says_when_to_try_again() -> None:
    told = {one.code for one in walk() if "Retry-After" in render_problem(one("x"), "").headers}
    assert told == {"receipt-unpublished", "unavailable"}


# --- The order of precedence, climbed -------------------------------------------------------


def documented_order(codes: list[str]) -> list[str]:
    """Give codes in the order in which the page lists them."""
    order = [quoted(row[0])[0] for row in rows("Codes")]
    return sorted(codes, key=order.index)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_report_is_judged_in_the_documented_order(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    shop, other = simulator("shop-a"), simulator("shop-b")
    sent = shop.report("liu", phone_and_device("liu"), now)
    claims: dict[str, Any] = render_event(sent.statement, "https://elsewhere.example")
    members = dict(claims["events"][CONFIRMED])
    stranger = generate_signing_jwk(Algorithm.ED25519)
    claims |= {"iss": other.uri, "iat": int(now.timestamp()) - 8 * 86_400}
    claims |= {"sub_id": 1, "events": {"urn:x": 1, "urn:y": 1}}
    subject = render_event(sent.statement, "")["sub_id"]
    wrong = json.loads(json.dumps(subject).replace("bcl1.0.phone", "bcl1.7.phone"))
    bindings = {
        name.replace("0.phone", "7.phone"): one for name, one in members["bindings"].items()
    }
    unproven = {**members["proof"], "human_decision": False}
    rungs: list[tuple[str, dict[str, object]]] = [
        ("invalid-issuer", {"iss": shop.uri}),
        ("invalid-audience", {"aud": ledger.issuer}),
        ("event-id-reused", {"jti": "evt-new"}),
        ("event-too-old", {"iat": int(now.timestamp())}),
        ("schema-violation", {"events": {"urn:x": {}}}),
        (
            "event-refused",
            {
                "sub_id": wrong,
                "events": {
                    CONFIRMED: members
                    | {"bindings": bindings, "jurisdiction": "CN", "proof": unproven}
                },
            },
        ),
        (
            "invalid-identifier",
            {
                "sub_id": subject,
                "events": {CONFIRMED: members | {"jurisdiction": "CN", "proof": unproven}},
            },
        ),
        ("wrong-jurisdiction", {"events": {CONFIRMED: members | {"proof": unproven}}}),
        ("standard-not-met", {"events": {CONFIRMED: members}}),
        ("case-already-reported", {"txn": "case-new"}),
    ]
    met = []
    for token in (b"not a token", sign_token(claims, stranger, typ=EVENT_TYPE).encode()):
        with pytest.raises(LedgerError) as refused:
            accept_event(ledger, token, now)
        met.append(refused.value.code)
    for code, mended in rungs:
        token = sign_token(claims, shop.private_jwk, typ=EVENT_TYPE).encode()
        with pytest.raises(LedgerError) as refused:
            accept_event(ledger, token, now)
        assert refused.value.code == code
        met.append(code)
        claims |= mended
    token = sign_token(claims, shop.private_jwk, typ=EVENT_TYPE).encode()
    assert not accept_event(ledger, token, now).repeated
    assert met == documented_order(met)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_question_is_judged_in_the_documented_order(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    shop = simulator("shop-a")
    app = create_app(ledger, public_url="https://x", body_max_bytes=9_000, now=lambda: now)
    client = app.test_client()

    def token(scope: str) -> str:
        grant = grant_access(ledger, shop.assertion(now), None, scope, now)
        return f"Bearer {grant.token}"

    asked = shop.request("liu", phone_and_device("liu"), order="1")
    first = json.dumps(render_question(asked))
    good = {"Authorization": token("risk:read"), "Idempotency-Key": "k"}
    assert client.post(
        "/v1/risk-assessments", data=first, content_type="application/json", headers=good
    ).status_code == 200  # fmt: skip
    others = json.dumps(render_question(shop.request("wang", phone_and_device("wang"), order="1")))
    foreign = others.replace(shop.uri, "https://shop-b.example")
    newer = foreign.replace("bcl1.0", "bcl1.70000")
    rungs = [
        (413, "about:blank", b"[" * 9_001, "text/plain", {}),
        (415, "about:blank", b"[" * 9_000, "text/plain", {}),
        (401, "invalid-token", b"[" * 9_000, "application/json", {}),
        (403, "insufficient-scope", b"[" * 9_000, "application/json", {
            "Authorization": token("incidents:read"), "Idempotency-Key": " "}),
        (400, "schema-violation", b"[" * 9_000, "application/json", good | {"Idempotency-Key": ""}),
        (400, "nesting-too-deep", b"[" * 9_000, "application/json", good),
        (400, "malformed-json", b'{"a":1,"a":1', "application/json", good),
        (400, "duplicate-member", b'{"a":1,"a":1}', "application/json", good),
        (400, "schema-violation", b'{"a":1}', "application/json", good),
        (400, "invalid-identifier", newer.encode(), "application/json", good),
        (403, "invalid-issuer", foreign.encode(), "application/json", good),
        (409, "idempotency-key-reused", others.encode(), "application/json", good),
        (409, "order-conflict", others.encode(), "application/json", {
            "Authorization": good["Authorization"]}),
    ]  # fmt: skip
    for status, code, body, media_type, headers in rungs:
        answer = client.post(
            "/v1/risk-assessments", data=body, content_type=media_type, headers=headers
        )
        assert answer.status_code == status, code
        assert answer.get_json()["type"] in {code, f"urn:bcl:problem:{code}"}
    met = [code for _, code, *_ in rungs if code not in {"about:blank", "invalid-issuer"}]
    met.remove("schema-violation")  # the Idempotency-Key is a header, judged before the body
    assert met == documented_order(met)
