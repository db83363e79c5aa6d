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
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from exchanging import forgery, withdrawal
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from reports import digest
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.errors import InvalidSchema
from simulator import phone_and_device, render_portfolio, render_question
from sqlalchemy import func, select

from api.app import OPERATIONS, create_app
from api.oauth import ASSERTION_KIND, GRANT_TYPE
from api.openapi import render_document
from ledger.assessing import assess_risk
from ledger.authorizing import grant_access
from ledger.identity.token import EVENT_TYPE, sign_token
from ledger.incident.evidence import Sought
from ledger.incident.rendering import render_event
from ledger.matching import list_recalls, match_evidence
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
    "read_neighbourhood": {200, 404},
    "create_risk_assessment": {200, 400, 409},
    "create_risk_assessments": {200, 400},
    "create_portfolio_statistics": {200, 400},
    "read_risk_assessment": {200, 404},
    "read_replay": {200, 404},
    "read_merchant_view": {200, 404},
    "create_outcome": {201, 400, 404},
    "create_evidence_matches": {200, 400},
    "read_recalls": {200},
    "acknowledge_recall": {200, 404},
    "read_policy": {200, 404},
    "read_checkpoint": {200, 304},
    "read_log_tile": {200, 404},
    "read_log_entries": {200, 404},
    "read_keys": {200, 304},
    "read_authorization_server": {200, 304},
    "read_health": {200},
    "read_readiness": {200},
    "read_openapi": {200, 304},
    "read_docs": {200, 304},
}
CONSTRAINED = [one.name for one in OPERATIONS if one.patterns or one.scopes]


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


def recall_match(ledger: Ledger, shop: Simulator, other: Simulator, now: datetime) -> str:
    """Tell a shop of evidence that another takes back then; give the recall's id."""
    seen = forgery(other, digest("forged"), None, now)
    other.send(seen, now)
    sequence(ledger, now)
    match_evidence(ledger, shop.caller(now), [Sought(seen.digest, ())], now)
    other.send(withdrawal(other, seen, now), now)
    sequence(ledger, now)
    (told,), _ = list_recalls(ledger, shop.caller(now), "", 2)
    return told.id


class Exchange:
    """A member with a ledger behind a WSGI application, and real things to refer to."""

    def __init__(self, ledger: Ledger, shop: Simulator, other: Simulator, now: datetime) -> None:
        """Report an incident, ask two questions, and have one of the answers recalled."""
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
            "version": "1",
            "recall_id": recall_match(ledger, shop, other, now),
            "level": "0",
            "assessment_id": assess_risk(ledger, shop.caller(now), self.question, now).id,
        }
        sequence(ledger, now)
        with begin_read(ledger.database) as connection:
            self.ids["tile"] = f"000.p/{entries.read_state(connection).size}"

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
                asked = asked._replace(order_commitment=self.question.order_commitment)
            real: Any = render_question(asked)
            body: Any = deepcopy(case.body)
            body["subject"] = real["subject"]
            body["context"]["bindings"] = real["context"]["bindings"]
            body["context"]["order_commitment"] = asked.order_commitment
            case.body = body
        elif path == "/v1/risk-assessments/batch":
            several: Any = {"questions": [render_question(self.question)]}
            case.body = several
        elif path == "/v1/portfolio-statistics":
            portfolio: Any = render_portfolio(self.question, 1000)
            case.body = portfolio


@pytest.fixture
def exchange(ledger: Ledger, simulator: Callable[..., Simulator], now: datetime) -> Exchange:
    """Give a member that can be spoken for."""
    return Exchange(ledger, simulator("shop-a"), simulator("shop-b"), now)


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

NUMBERS: list[object] = [True, 0, -1, 2**31, 2**39, 2**63, 10**400, 1.5, 1e308]
INSTANTS: list[object] = [
    *("2026-02-30T00:00:00Z", "2026-11-22T11:00:00", "9999-12-31T23:59:59Z"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z"),
]
TEXTS: list[object] = ["", "\x00", "\x7f", "\u202e\U0001f600", "a" * 129, "9" * 13]
HOSTILE: list[object] = [
    *(None, [], {}, [[]], {"": {}}, *NUMBERS, *INSTANTS, *TEXTS, "a" * 5000, "NaN"),
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


def find(claims: Any, place: tuple[Any, ...]) -> tuple[Any, Any]:
    """Find a place: what holds it, and under which name or number."""
    for step in place[:-1]:
        claims = claims[step]
    return claims, place[-1]


def suit(value: object) -> list[object]:
    """Give the hostile values that are of a value's own type, and so get furthest."""
    if isinstance(value, str):
        return INSTANTS if value.startswith("2026-11-2") else TEXTS
    return NUMBERS if type(value) is int else [None, 1]


def mutate(data: st.DataObject, claims: dict[str, Any]) -> dict[str, Any]:
    """Replace, remove, add or repeat something somewhere."""
    mutated = deepcopy(claims)
    for _ in range(data.draw(st.integers(0, 2))):
        target, last = find(mutated, data.draw(st.sampled_from(list_places(mutated))))
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


ROWS = select(
    *(
        select(func.count()).select_from(table).scalar_subquery().label(table.name)
        for table in METADATA.sorted_tables
    )
)


def count_rows(ledger: Ledger) -> dict[str, int]:
    """Count what every table of the ledger holds."""
    with begin_read(ledger.database) as connection:
        return dict(connection.execute(ROWS).mappings().one())


def push(ledger: Ledger, exchange: Exchange, claims: dict[str, Any]) -> str:
    """Sign claims and push them: accepted and readable, or refused as documented and not kept."""
    client = exchange.app.test_client()
    token = sign_token(claims, exchange.shop.private_jwk, typ=EVENT_TYPE)
    before = count_rows(ledger)
    answer = client.post("/v1/events", data=token, content_type="application/secevent+jwt")
    after = count_rows(ledger)
    if answer.status_code == 202:
        assert answer.data == b""
        assert after["event"] > before["event"]
        read = client.get(answer.headers["Location"], headers=exchange.headers)
        assert read.status_code == 200
        return "accepted"
    assert answer.status_code == 400, answer.data
    assert answer.content_type == "application/json"
    refusal = json.loads(answer.data)
    assert set(refusal) == {"err", "description"}
    assert after == before
    return str(refusal["err"])


def state(exchange: Exchange, kind: str) -> dict[str, Any]:
    """State something honest: a new incident, or that one is taken back."""
    shop, now = exchange.shop, exchange.now
    stated = shop.incident("liu", phone_and_device("liu"), now)
    if kind == "report":
        return render_event(stated, shop.ledger.issuer)
    shop.send(stated, now)
    return render_event(shop.retraction(stated, now), shop.ledger.issuer)


def check_sequenced(ledger: Ledger, now: datetime) -> None:
    """Check that nothing that got in breaks what follows from it."""
    sequence(ledger, now)
    with begin_read(ledger.database) as connection:
        assert entries.count_pending(connection) == 0


def test_every_claim_replaced_by_hostile_ones_of_its_type_is_judged(
    ledger: Ledger, exchange: Exchange, now: datetime
) -> None:
    told: Counter[str] = Counter()
    honest = state(exchange, "report")
    for place in list_places(honest):
        target, last = find(honest, place)
        for value in suit(target[last]):
            claims = deepcopy(honest) | {"jti": f"jti-{told.total()}", "txn": f"{told.total()}"}
            target, last = find(claims, place)
            target[last] = value
            told[push(ledger, exchange, claims)] += 1
    assert told["accepted"] >= 5
    assert told["invalid_request"] >= 100
    assert set(told) == {"accepted", "invalid_request", "invalid_issuer", "invalid_audience"}
    check_sequenced(ledger, now)


@pytest.mark.parametrize("kind", ["report", "retraction"])
def test_signed_claims_however_mutated_are_accepted_whole_or_refused_without_a_trace(
    ledger: Ledger, exchange: Exchange, now: datetime, kind: str
) -> None:
    told: Counter[str] = Counter()

    @bounded(60 if ledger.database.embedded else 20)
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        told[push(ledger, exchange, mutate(data, state(exchange, kind)))] += 1

    run()
    assert set(told) >= {"accepted", "invalid_request"}
    check_sequenced(ledger, now)
