"""Whatever the OpenAPI document allows or forbids is answered as the document says.

Schemathesis makes requests from the document, for every operation, and checks every answer
against it. Random bodies never get past the signatures and bindings of this API, so in a part of
the cases what matters is replaced by the real thing. Event tokens can't be guessed at all: the
second half mutates honest claims and signs them correctly.
"""

from __future__ import annotations

import json
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.errors import InvalidSchema
from simulator import phone_and_device, render_question
from sqlalchemy import func, select

from api.app import OPERATIONS, create_app
from api.oauth import ASSERTION_KIND, GRANT_TYPE
from api.openapi import render_document
from ledger.assessing import assess_risk
from ledger.authorizing import grant_access
from ledger.identity.token import EVENT_TYPE, sign_token
from ledger.incident.rendering import render_event
from ledger.sequencing import sequence
from ledger.store import entries
from ledger.store.engine import begin_read
from ledger.store.tables import METADATA

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from schemathesis import Case
    from simulator import Simulator

    from ledger.ledger import Ledger

load_all_checks()
CONFORMANCE = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]
# The answers that must have occurred: no run may pass on refusals alone.
REACHED = {
    "create_token": {200, 400},
    "create_event": {202, 400},
    "read_incident": {200, 404},
    "read_receipt": {200, 404},
    "create_risk_assessment": {200, 400, 409},
    "read_risk_assessment": {200, 404},
    "create_outcome": {201, 400, 404},
    "read_checkpoint": {200, 304},
    "read_keys": {200, 304},
    "read_authorization_server": {200, 304},
    "read_health": {200},
    "read_readiness": {200},
    "read_openapi": {200, 304},
    "read_docs": {200, 304},
}
CONSTRAINED = [one.name for one in OPERATIONS if one.patterns or one.scope]


def bounded(examples: int) -> settings:
    """Give settings under which every run makes the same examples."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@schemathesis.serializer("application/secevent+jwt")
def serialize_token(ctx: object, value: Any) -> Any:
    """Send a token as it is."""
    del ctx
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


DOCUMENT = render_document(OPERATIONS)


class Exchange:
    """A member with a ledger behind a WSGI application, and real things to refer to."""

    def __init__(self, ledger: Ledger, shop: Simulator, now: datetime) -> None:
        """Report one incident and ask one question, so that there is something to read."""
        self.shop, self.now = shop, now
        self.app = create_app(
            ledger, public_url="https://api.example", body_max_bytes=65_536, now=lambda: now
        )
        self.schema: Any = schemathesis.openapi.from_dict(DOCUMENT)
        self.schema.app = self.app
        token = grant_access(ledger, shop.assertion(now), None, None, now).token
        self.headers = {"Authorization": f"Bearer {token}"}
        self.question = shop.request("liu", phone_and_device("liu"))
        self.ids = {
            "incident_id": shop.report("liu", phone_and_device("liu"), now).incident_id,
            "assessment_id": str(
                assess_risk(ledger, shop.caller(now), self.question, now)["id"],
            ),
        }
        sequence(ledger, now)

    def graft(self, case: Case[Any], *, fresh: bool) -> None:
        """Put what can't be guessed into a generated request."""
        case.path_parameters = {name: self.ids[name] for name in case.path_parameters}
        path = case.operation.path
        if path == "/oauth2/token":
            case.body = {
                "grant_type": GRANT_TYPE,
                "client_assertion_type": ASSERTION_KIND,
                "client_assertion": self.shop.assertion(self.now),
            }
        elif path == "/v1/events":
            stated = self.shop.incident("liu", phone_and_device("liu"), self.now)
            case.body = self.shop.sign(stated)
        elif path == "/v1/risk-assessments":
            asked = self.shop.request("wang", phone_and_device("wang"))
            if not fresh:  # which is bound to somebody else's order
                asked = replace(asked, order_commitment=self.question.order_commitment)
            real: Any = render_question(asked)
            body: Any = deepcopy(case.body)
            body["subject"] = real["subject"]
            body["context"]["bindings"] = real["context"]["bindings"]
            body["context"]["order_commitment"] = asked.order_commitment
            case.body = body


@pytest.fixture
def exchange(ledger: Ledger, simulator: Callable[..., Simulator], now: datetime) -> Exchange:
    """Give a member that can be spoken for."""
    return Exchange(ledger, simulator("shop-a"), now)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", [one.name for one in OPERATIONS])
def test_requests_that_the_document_allows_are_answered_as_it_says(
    exchange: Exchange, name: str
) -> None:
    checks: Any = [CHECKS.get_one(one) for one in CONFORMANCE]
    seen: Counter[int] = Counter()

    operation = exchange.schema.find_operation_by_id(name)

    @bounded(30)
    @given(
        case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
        part=st.sampled_from(["generated", "real", "fresh"]),
    )
    def run(case: Case[Any], part: str) -> None:
        if part != "generated":
            exchange.graft(case, fresh=part == "fresh")
        answer = case.call(headers=exchange.headers)
        seen[answer.status_code] += 1
        case.validate_response(answer, checks=checks)

    run()
    assert set(seen) >= REACHED[name], seen


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", CONSTRAINED)
def test_requests_that_the_document_forbids_are_refused_as_it_says(
    exchange: Exchange, name: str
) -> None:
    checks: Any = [CHECKS.get_one(one) for one in (*CONFORMANCE, "negative_data_rejection")]
    seen: Counter[int] = Counter()

    operation = exchange.schema.find_operation_by_id(name)
    strategy = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @bounded(20)
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        try:
            case = data.draw(strategy)
        except InvalidSchema:  # the generator gave up on one of its own inverted schemas
            reject()
        answer = case.call(headers=exchange.headers)
        seen[answer.status_code] += 1
        case.validate_response(answer, checks=checks)

    run()
    assert seen.total() >= 20
    assert set(seen) <= {400, 404}, seen


def test_every_operation_is_fuzzed() -> None:
    assert set(REACHED) == {one.name for one in OPERATIONS}


# --- Signed claims, mutated -----------------------------------------------------------------

HOSTILE: list[object] = [
    *(None, True, 0, -1, 2**31, 2**39, 2**63, 10**400, 1.5, 1e308, [], {}, [[]], {"": {}}),
    *("", " ", "\x00", "\x7f", "\u202e", "a" * 129, "a" * 5000, "\U0001f600", "NaN", "1e9"),
    *("2026-02-30T00:00:00Z", "2026-11-22T11:00:00", "9999-12-31T23:59:59Z"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z"),
    *("bcl1.0.phone.", f"bcl1.65536.phone.{'A' * 43}", f"bcl1.0.nid.{'A' * 42}B"),
]
VALUES = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=20),
    st.integers(),
    st.recursive(st.none() | st.booleans(), lambda inner: st.lists(inner, max_size=3)),
)


def list_places(value: object, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List every place in a JSON value, the deepest too."""
    inside: list[tuple[Any, object]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    places = [below for step, one in inside for below in list_places(one, (*place, step))]
    return [place, *places] if place else places


def mutate(data: st.DataObject, claims: dict[str, Any]) -> dict[str, Any]:
    """Replace, remove, add or repeat something somewhere."""
    mutated = deepcopy(claims)
    for _ in range(data.draw(st.integers(0, 2))):
        *way, last = data.draw(st.sampled_from(list_places(mutated)))
        target: Any = mutated
        for step in way:
            target = target[step]
        verb = data.draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if verb == "replace":
            target[last] = data.draw(VALUES)
        elif verb == "remove":
            del target[last]
        elif isinstance(target, list):
            target.append(deepcopy(target[last]))
        else:
            target[data.draw(st.text(max_size=10))] = data.draw(VALUES)
        if not mutated:
            break
    return mutated


def count_rows(ledger: Ledger) -> dict[str, int]:
    """Count what every table of the ledger holds."""
    with begin_read(ledger.database) as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in METADATA.sorted_tables
        }


@pytest.mark.parametrize("kind", ["report", "retraction"])
def test_signed_claims_however_mutated_are_accepted_whole_or_refused_without_a_trace(
    ledger: Ledger, exchange: Exchange, now: datetime, kind: str
) -> None:
    shop, client = exchange.shop, exchange.app.test_client()
    told: Counter[str] = Counter()

    @bounded(80 if ledger.database.embedded else 30)
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        stated = shop.incident("liu", phone_and_device("liu"), now)
        claims = render_event(stated, ledger.issuer)
        if kind == "retraction":
            sent = shop.report("liu", phone_and_device("liu"), now)
            retraction = shop.retraction(sent.statement, now)  # type: ignore[arg-type]
            claims = render_event(retraction, ledger.issuer)
        token = sign_token(mutate(data, claims), shop.private_jwk, typ=EVENT_TYPE)
        before = count_rows(ledger)
        answer = client.post("/v1/events", data=token, content_type="application/secevent+jwt")
        after = count_rows(ledger)
        if answer.status_code == 202:
            assert answer.data == b""
            assert after["event"] > before["event"]
            read = client.get(answer.headers["Location"], headers=exchange.headers)
            assert read.status_code == 200
            told["accepted"] += 1
        else:
            assert answer.status_code == 400, answer.data
            assert answer.content_type == "application/json"
            refusal = json.loads(answer.data)
            assert set(refusal) == {"err", "description"}
            assert after == before
            told[refusal["err"]] += 1

    run()
    assert set(told) >= {"accepted", "invalid_request"}
    # What was accepted can be sequenced: nothing that got in breaks what follows from it.
    sequence(ledger, now)
    with begin_read(ledger.database) as connection:
        assert entries.count_pending(connection) == 0
