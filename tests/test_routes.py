"""Every door is guarded or named here as open, and the OpenAPI document says the whole of it.

The route table of the real application is compared with the declarations, the declarations with
the document, and the committed document with what the program renders.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ORIGIN, ROOT
from openapi_spec_validator import validate
from pydantic import TypeAdapter
from simulator import create_keys

from api.app import OPERATIONS, create_app
from api.openapi import render_document
from ledger.errors import InvalidInput
from ledger.identity.platform import SCOPES
from ledger.ledger import Ledger, assemble_ledger
from ledger.store.engine import open_database

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flask import Flask

    from api.operation import Operation
    from ledger.rights.jurisdiction import JurisdictionProfile

# What anybody may call, and why no access token is asked for.
PUBLIC = {
    ("POST", "/oauth2/token"): "the assertion in the body is the authentication (RFC 7523)",
    ("POST", "/v1/events"): "the statement's own signature is the authentication (RFC 8417)",
    ("GET", "/log/checkpoint"): "the log is public",
    ("GET", "/log/tile/{level}/{+tile}"): "the log is public",
    ("GET", "/log/tile/entries/{+tile}"): "the log is public",
    ("GET", "/v1/policies/{version}"): "the rules of scoring are public",
    ("GET", "/.well-known/jwks.json"): "public keys",
    ("GET", "/.well-known/oauth-authorization-server"): "metadata (RFC 8414)",
    ("GET", "/healthz"): "one word",
    ("GET", "/readyz"): "one word",
    ("GET", "/openapi.json"): "the description of the API",
    ("GET", "/docs"): "the description of the API",
}


@pytest.fixture(scope="module")
def app(profiles: Mapping[str, JurisdictionProfile], policy_text: str) -> Iterator[Flask]:
    """Give the application of a ledger that nothing here reaches: its database is empty."""
    ledger: Ledger = assemble_ledger(
        open_database("sqlite://"),
        create_keys(),
        profiles["SANDBOX"],
        origin=ORIGIN,
        policies={1: policy_text},
    )
    yield create_app(
        ledger,
        public_url="https://api.example",
        body_max_bytes=65_536,
        now=lambda: datetime(2026, 11, 22, 12, 0, tzinfo=UTC),
    )
    ledger.database.engine.dispose()


def routed(app: Flask) -> set[tuple[str, str]]:
    """List what the application really routes, in the document's spelling of paths."""
    return {
        (method, re.sub(r"<(?:path:)?([a-z_]+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    }


def documented() -> dict[tuple[str, str], dict[str, Any]]:
    """List the operations of the committed document."""
    document = json.loads((ROOT / "openapi.json").read_bytes())
    return {
        (method.upper(), path): described
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    }


def place(operation: Operation[Any]) -> tuple[str, str]:
    """Give an operation's method and path in the document's spelling."""
    return operation.method, operation.path.replace("{+", "{")


def filled(path: str) -> str:
    """Fill in the parameters of a path with ids of the right form."""
    return path.format(
        incident_id=f"inc_{'0' * 32}",
        assessment_id=f"ra_{'0' * 32}",
        recall_id=f"rcl_{'0' * 32}",
        version=9,
    )


def test_every_route_is_guarded_by_a_scope_or_listed_as_public_here() -> None:
    open_doors = {(one.method, one.path) for one in OPERATIONS if not one.scopes}
    assert open_doors == set(PUBLIC)
    assert {scope for one in OPERATIONS for scope in one.scopes} == SCOPES


def test_guarded_routes_refuse_callers_without_a_token(app: Flask) -> None:
    guarded = routed(app) - {(method, path.replace("{+", "{")) for method, path in PUBLIC}
    assert len(guarded) == len(OPERATIONS) - len(PUBLIC)
    client = app.test_client()
    for method, path in sorted(guarded):
        answer = client.open(
            filled(path), method=method, data=b"{}", content_type="application/json"
        )
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"].startswith("Bearer realm="), path
        assert answer.get_json()["type"] == "urn:bcl:problem:invalid-token", path


def test_every_route_is_documented_and_every_documented_operation_is_routed(app: Flask) -> None:
    assert routed(app) == set(documented())


def test_documented_doors_are_the_declared_ones() -> None:
    described = documented()
    for one in OPERATIONS:
        scopes = described[place(one)]["security"]
        assert scopes == [{"platform": [scope]} for scope in one.scopes], one.name


def test_committed_document_is_what_the_program_renders() -> None:
    rendered = subprocess.run(
        [sys.executable, "-m", "api"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    assert rendered == (ROOT / "openapi.json").read_bytes(), "run python -m api > openapi.json"


def test_served_document_is_the_committed_one(app: Flask) -> None:
    answer = app.test_client().get("/openapi.json")
    assert answer.data == (ROOT / "openapi.json").read_bytes()
    assert answer.content_type == "application/json"


def test_document_is_valid_openapi_3_1() -> None:
    document = json.loads((ROOT / "openapi.json").read_bytes())
    assert document["openapi"].startswith("3.1.")
    validate(document)


def test_examples_fit_their_schemas() -> None:
    for one in OPERATIONS:
        if one.body is not None and one.body.model is not None:
            TypeAdapter(one.body.model).validate_json(json.dumps(one.body.example))
        for reply in one.replies:
            if reply.model is not None and reply.example is not None:
                reply.model.model_validate_json(json.dumps(reply.example))


def test_every_operation_documents_its_replies_and_every_declared_refusal() -> None:
    for one in OPERATIONS:
        responses = documented()[place(one)]["responses"]
        statuses = {str(reply.status) for reply in one.replies}
        # What a refusal turns into here is asked of the function that answers with it.
        statuses |= {str(one.refuse(error("x"), "urn:x").status) for error in one.errors}
        assert statuses <= set(responses), one.name


def test_every_operation_documents_what_the_gates_before_it_answer() -> None:
    for one in OPERATIONS:
        responses = documented()[place(one)]["responses"]
        gates = {"503"}
        gates |= {"401", "403"} if one.scopes else set()
        gates |= {"404"} if one.patterns else set()
        gates |= {"400", "413", "415"} if one.body else set()
        gates |= {"304"} if one.cache != "no-store" else set()
        assert gates <= set(responses), one.name


def test_refusals_are_documented_in_the_shape_in_which_they_are_told() -> None:
    for one in OPERATIONS:
        responses = documented()[place(one)]["responses"]
        told = one.refuse(InvalidInput("x"), "urn:x").media_type
        for status, response in responses.items():
            if status.startswith(("4", "5")):
                expected = told if status == "400" else "application/problem+json"
                assert list(response["content"]) == [expected], (one.name, status)


def test_two_operations_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="name is taken"):
        render_document([*OPERATIONS, OPERATIONS[0]])


def leads_to(pattern: str, path: str) -> bool:
    """Tell whether a path may be meant by an operation's."""
    shape = re.sub(r"\{\w+\}", "[^/]+", re.sub(r"\{\+\w+\}", ".+", pattern))
    return re.fullmatch(shape, path) is not None


def test_wrong_method_is_refused_with_those_that_there_are(app: Flask) -> None:
    client = app.test_client()
    wrong = ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
    for one, method in product(OPERATIONS, wrong):
        path = one.path.replace("{+", "{").format(
            level="0",
            tile="000",
            incident_id=f"inc_{'0' * 32}",
            assessment_id=f"ra_{'0' * 32}",
            recall_id=f"rcl_{'0' * 32}",
            version=9,
        )
        answer = client.open(path, method=method)
        assert answer.status_code == 405
        doors = [other for other in OPERATIONS if leads_to(other.path, path)]
        allowed = {other.method for other in doors}
        allowed |= {"HEAD"} if "GET" in allowed else set()
        assert set(answer.headers["Allow"].split(", ")) == allowed
