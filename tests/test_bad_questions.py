"""A question's body is refused for what alone is wrong with it, and each fault is pointed at."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from simulator import phone_and_device, render_question
from test_batches import count
from test_http_answers import Wire, problem

from api.operation import json_body
from api.questions import BatchRequest, RiskAssessmentRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    import httpx
    from simulator import Simulator

    from ledger.ledger import Ledger

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
ALONE, BATCH = "/v1/risk-assessments", "/v1/risk-assessments/batch"
PARSER_DEFAULT_BYTES = 65_536


class Asker:
    """A member at the doors, and a question of its own that would be answered."""

    def __init__(self, wire: Wire) -> None:
        """Join."""
        self.wire = wire
        shop, self.access = wire.join("shop-a")
        asked = render_question(shop.platform.request("liu", phone_and_device("liu")))
        self.question: Any = asked | {"client_reference": "a"}

    def post(self, path: str, text: str) -> httpx.Response:
        """Send a body as it is."""
        headers = self.access | {"Content-Type": "application/json"}
        return self.wire.http.post(path, content=text, headers=headers)


@pytest.fixture
def asker(ledger: Ledger, simulator: Callable[..., Simulator], now: datetime) -> Iterator[Asker]:
    """Give a member."""
    wire = Wire(ledger, simulator, now)
    with wire.http:
        yield Asker(wire)


def test_member_named_twice_is_refused_in_a_body_that_fits_its_schema_either_way(
    asker: Asker, ledger: Ledger
) -> None:
    text = json.dumps(asker.question)
    twice = text[:-1] + ', "client_reference": "b"}'
    assert json.loads(twice) == asker.question | {"client_reference": "b"}
    inner = text.replace('"binding": "otp"', '"binding": "none", "binding": "otp"')
    escaped = text[:-1] + ', "client_referenc\\u0065": "b"}'
    assert inner != text
    for path, whole in ((ALONE, "{}"), (BATCH, '{{"questions": [{}]}}')):
        for one in (twice, inner, escaped):
            refused = asker.post(path, whole.format(one))
            assert problem(refused) == (400, "duplicate-member")
    listed = f'{{"questions": [{text}], "questions": [{text}]}}'
    assert problem(asker.post(BATCH, listed)) == (400, "duplicate-member")
    assert count(ledger) == (0, 0)
    assert asker.post(ALONE, text).status_code == 200
    assert asker.post(BATCH, f'{{"questions": [{text}]}}').status_code == 200


def spoil(question: Any) -> tuple[Any, list[tuple[str, str]]]:
    """Give a question with faults in several depths, and where they stand."""
    spoilt = deepcopy(question)
    first, second = spoilt["subject"]["identifiers"][:2]
    first["iss"] = 1
    second["surplus"] = "x"
    spoilt["context"]["amount"] = {"value": 2, "currency": "cny"}
    del spoilt["context"]["purpose"]
    bound = next(iter(spoilt["context"]["bindings"].values()))
    bound["accounts_here"] = "some"
    return spoilt, [
        ("/subject/identifiers/0/iss", "wrong-type"),
        ("/subject/identifiers/1", "unknown-member"),
        ("/context/purpose", "missing"),
        ("/context/bindings", "not-listed"),  # whose names are the asker's and aren't repeated
        ("/context/amount/value", "wrong-type"),
        ("/context/amount/currency", "wrong-form"),
    ]


def test_each_fault_is_pointed_at_where_it_stands(asker: Asker) -> None:
    spoilt, faults = spoil(asker.question)
    refused = asker.post(ALONE, json.dumps(spoilt))
    assert problem(refused) == (400, "schema-violation")
    told = [(one["pointer"], one["code"]) for one in refused.json()["errors"]]
    assert sorted(told) == sorted(faults)


def test_faults_of_a_long_batch_are_told_as_those_of_a_short_one(asker: Asker) -> None:
    spoilt, faults = spoil(asker.question)
    questions = [asker.question] * 100 + [spoilt]
    text = json.dumps({"questions": questions})
    assert len(text) > PARSER_DEFAULT_BYTES
    refused = asker.post(BATCH, text)
    assert problem(refused) == (400, "schema-violation")
    told = [(one["pointer"], one["code"]) for one in refused.json()["errors"]]
    assert sorted(told) == sorted((f"/questions/100{at}", code) for at, code in faults)


def walk_strings(value: object) -> Iterator[str]:
    """Give every string of a parsed body, but no member of an enumeration: each is one object."""
    if type(value) is str:
        yield value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from walk_strings(name)
            yield from walk_strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from walk_strings(one)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from walk_strings(getattr(value, name))


def test_parser_of_questions_keeps_no_string_for_the_next_body(asker: Asker) -> None:
    asker.question["client_reference"] = "claim-88213"
    single = json_body(RiskAssessmentRequest, example=None)
    batch = json_body(BatchRequest, example=None)
    body = json.dumps(asker.question)
    alone = [single.parse(body.encode()) for _ in range(2)]
    many = [batch.parse(f'{{"questions": [{body}]}}'.encode()).questions[0] for _ in range(2)]
    for first, second in (alone, many):
        assert first == second
        kept = [{id(one): one for one in walk_strings(value)} for value in (first, second)]
        assert len(kept[0]) >= 8
        shared = {kept[0][at] for at in kept[0].keys() & kept[1].keys()}
        assert shared <= {"iss_sub", "opaque", "aliases"}  # literals of the schema
