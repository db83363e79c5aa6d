"""A whole exchange between members and the ledger, as each answer looks on the wire.

The same journey runs on both kinds of database, where PostgreSQL has a worker that sequences and
SQLite has none. Shapes are written out here: what a client relies on changes only with this file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from simulator import RemoteSimulator, Simulator, phone_and_device, render_question

from api.app import create_app
from ledger.identity.key import public_jwk
from ledger.identity.token import ACKNOWLEDGEMENT_TYPE, STATUS_TYPE, verify_ledger_statement
from ledger.log.receipt import verify_receipt
from ledger.sequencing import sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from ledger.ledger import Ledger

LIU = phone_and_device("liu")
PROBLEM = "application/problem+json"
on_one_database = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


class Wire:
    """Members and strangers at the doors of one ledger."""

    def __init__(self, ledger: Ledger, enrol: Callable[..., Simulator], now: datetime) -> None:
        """Open the doors."""
        self.ledger, self.now = ledger, now
        self._enrol = enrol
        app = create_app(
            ledger, public_url="https://api.example", body_max_bytes=65_536, now=lambda: self.now
        )
        self.http = httpx.Client(
            transport=httpx.WSGITransport(app=app), base_url="https://api.example"
        )

    def join(self, name: str) -> tuple[RemoteSimulator, dict[str, str]]:
        """Enrol a member and let it get an access token over HTTP."""
        member = RemoteSimulator(self._enrol(name), self.http)
        return member, member.get_access(self.now)

    def work(self) -> None:
        """Sequence and publish, as the worker does; on SQLite nothing is left to do."""
        sequence(self.ledger, self.now)


@pytest.fixture
def wire(ledger: Ledger, simulator: Callable[..., Simulator], now: datetime) -> Iterator[Wire]:
    """Give the doors of a sandbox ledger."""
    opened = Wire(ledger, simulator, now)
    yield opened
    opened.http.close()


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Read a problem: its status, its code."""
    assert answer.headers["Content-Type"] == PROBLEM, answer.text
    body = answer.json()
    assert body["status"] == answer.status_code
    assert re.fullmatch(r"urn:bcl:answer:[0-9a-f]{16}", body["instance"])
    return answer.status_code, body["type"].removeprefix("urn:bcl:problem:")


# --- Events, incidents, receipts ------------------------------------------------------------


def test_event_is_accepted_with_a_location_and_an_empty_body_and_so_is_its_repeat(
    wire: Wire,
) -> None:
    shop, _ = wire.join("shop-a")
    token = shop.platform.sign(shop.platform.incident("liu", LIU, wire.now))
    first, again = shop.send(token), shop.send(token)
    assert first.status_code == again.status_code == 202
    assert first.content == again.content == b""
    assert "Content-Type" not in first.headers
    assert re.fullmatch(r"/v1/incidents/inc_[0-9a-f]{32}", first.headers["Location"])
    assert again.headers["Location"] == first.headers["Location"]


def test_event_with_a_used_id_and_other_content_is_refused_in_the_words_of_rfc_8935(
    wire: Wire,
) -> None:
    shop, _ = wire.join("shop-a")
    stated = shop.platform.incident("liu", LIU, wire.now)
    shop.send(shop.platform.sign(stated))
    other = shop.platform.incident("liu", LIU, wire.now, jti=stated.jti)
    answer = shop.send(shop.platform.sign(other))
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Language"] == "en"
    assert answer.json() == {
        "err": "invalid_request",
        "description": "The jti names a statement with another content.",
    }


def test_incident_is_shown_to_its_reporter_with_a_signed_acknowledgement(wire: Wire) -> None:
    shop, access = wire.join("shop-a")
    stated = shop.platform.incident("liu", LIU, wire.now)
    place = shop.send(shop.platform.sign(stated)).headers["Location"]
    if not wire.ledger.database.embedded:
        early = shop.get(place, access).json()
        assert (early["state"], early["log_index"]) == ("received", None)
        wire.work()
    answer = shop.get(place, access)
    shown = answer.json()
    assert answer.status_code == 200
    assert answer.headers["Vary"] == "Accept"
    token = shown.pop("acknowledgement")
    assert stated.notice is not None
    assert shown == {
        "id": place.rsplit("/", 1)[1],
        "jti": stated.jti,
        "state": "active",
        "log_index": 2,
        "erasure_acknowledgement_due": False,
        "response_until": "2026-11-22T10:00:00Z",
        "active_from": "2026-11-22T12:00:00Z",
        "received_at": "2026-11-22T12:00:00Z",
    }
    claims = verify_ledger_statement(
        token,
        public_jwk(wire.ledger.log_jwk),
        typ=ACKNOWLEDGEMENT_TYPE,
        issuer=wire.ledger.issuer,
    ).claims
    assert set(claims) == {"iss", "jti", "commitment", "received_at", "sequenced_within_seconds"}
    assert claims["jti"] == stated.jti


def test_incident_is_shown_as_a_signed_status_to_who_accepts_a_jwt(wire: Wire) -> None:
    shop, access = wire.join("shop-a")
    stated = shop.platform.incident("liu", LIU, wire.now)
    place = shop.send(shop.platform.sign(stated)).headers["Location"]
    wire.work()
    answer = shop.get(place, access | {"Accept": "application/jwt"})
    assert answer.headers["Content-Type"] == "application/jwt"
    published = wire.http.get("/.well-known/jwks.json").json()["keys"][0]
    claims = verify_ledger_statement(
        answer.text, published, typ=STATUS_TYPE, issuer=wire.ledger.issuer
    ).claims
    assert claims == {
        "iss": "https://ledger.example/sandbox",
        "jti": stated.jti,
        "index": 2,
        "state": "active",
        "as_of": "2026-11-22T12:00:00Z",
    }
    for accepted in ("*/*", "application/json, application/jwt;q=0.5", "text/html"):
        plain = shop.get(place, access | {"Accept": accepted})
        assert plain.headers["Content-Type"] == "application/json", accepted


def test_receipt_comes_once_its_entry_is_under_a_published_checkpoint(wire: Wire) -> None:
    shop, access = wire.join("shop-a")
    token = shop.platform.sign(shop.platform.incident("liu", LIU, wire.now))
    place = f"{shop.send(token).headers['Location']}/receipt"
    if not wire.ledger.database.embedded:
        early = shop.get(place, access)
        assert problem(early) == (404, "receipt-unpublished")
        assert early.headers["Retry-After"] == "1"
        wire.work()
    answer = shop.get(place, access)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text.startswith("c2sp.org/tlog-proof@v1\n")
    verify_receipt(answer.text, (wire.ledger.verifier,), token=token)
    assert wire.http.get("/log/checkpoint").text in answer.text


# --- Assessments ----------------------------------------------------------------------------


def report_everywhere(wire: Wire) -> None:
    """Let two independent members report the same person."""
    for name in ("shop-b", "shop-c"):
        member, _ = wire.join(name)
        stated = member.platform.incident("liu", LIU, wire.now)
        assert member.send(member.platform.sign(stated)).status_code == 202
    wire.work()


def test_assessment_has_the_published_shape_and_reasons_that_add_up(wire: Wire) -> None:
    report_everywhere(wire)
    shop, access = wire.join("shop-a")
    wire.work()
    asked = render_question(shop.platform.request("liu", LIU))
    answer = wire.http.post(
        "/v1/risk-assessments", json=asked | {"client_reference": "claim-1"}, headers=access
    )
    told = answer.json()
    assert answer.status_code == 200
    assert answer.headers["Location"] == f"/v1/risk-assessments/{told['id']}"
    assert answer.headers["Cache-Control"] == "no-store"
    assert set(told) == {
        *("id", "assessed_at", "valid_until", "score", "level", "basis", "confidence", "advice"),
        *("reasons", "evidence", "clears", "ignored_links", "policy_version", "log"),
        "client_reference",
    }
    assert re.fullmatch(r"ra_[0-9a-f]{32}", told["id"])
    assert told["assessed_at"] == "2026-11-22T12:00:00Z"
    assert told["valid_until"] == "2026-11-22T12:10:00Z"
    assert told["basis"] == "same_person"
    assert told["confidence"] == "two_or_more_platforms"
    assert told["client_reference"] == "claim-1"
    assert 0 < told["score"] < 1000
    assert told["score"] % 10 == 0
    assert sum(one["points"] for one in told["reasons"]) == told["score"]
    assert all(set(one) == {"code", "message", "points", "ends", "link"} for one in told["reasons"])
    assert set(told["advice"]) == {"action", "review_window_hours", "not_for_sole_use", "rule"}
    assert told["advice"]["not_for_sole_use"] is True
    assert told["evidence"] == {
        "incidents": "2",
        "platforms": "2+",
        "disputed": "0",
        "first_seen": "2026-11",
        "last_seen": "2026-11",
        "seen_before": None,
    }
    assert told["log"] == {"size": 8, "origin": "ledger.example/sandbox"}


@on_one_database
def test_buyer_without_record_is_told_with_a_score_of_zero_and_never_a_404(wire: Wire) -> None:
    shop, access = wire.join("shop-a")
    answer = shop.ask(shop.platform.request("wang", phone_and_device("wang")), access)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["score"], told["basis"], told["level"]) == (0, "no_record", "LOW")
    assert told["reasons"] == []


def test_order_is_bound_to_its_account_and_identifiers(wire: Wire) -> None:
    shop, access = wire.join("shop-a")
    platform = shop.platform
    assert shop.ask(platform.request("liu", LIU, order="1"), access).status_code == 200
    assert shop.ask(platform.request("liu", LIU, order="1"), access).status_code == 200
    fewer = shop.ask(platform.request("liu", LIU[:1], order="1"), access)
    assert problem(fewer) == (409, "order-conflict")
    other = shop.ask(platform.request("wang", LIU, order="1"), access)
    assert problem(other) == (409, "order-conflict")


def test_idempotency_key_repeats_the_answer_and_refuses_another_question(wire: Wire) -> None:
    shop, access = wire.join("shop-a")
    keyed = access | {"Idempotency-Key": "claim-88213"}
    asked = shop.platform.request("liu", LIU)
    first = shop.ask(asked, keyed)
    report_everywhere(wire)
    again = shop.ask(asked, keyed)
    assert first.status_code == again.status_code == 200
    assert again.json() == first.json()
    other = shop.ask(shop.platform.request("liu", LIU), keyed)
    assert problem(other) == (409, "idempotency-key-reused")
    fresh = shop.ask(asked, access).json()
    assert (fresh["id"], fresh["score"]) != (first.json()["id"], first.json()["score"])
    neighbour, theirs = wire.join("shop-d")
    free = neighbour.ask(
        neighbour.platform.request("liu", LIU), theirs | {"Idempotency-Key": "claim-88213"}
    )
    assert free.status_code == 200


def test_assessment_reads_again_as_it_was_given(wire: Wire) -> None:
    shop, access = wire.join("shop-a")
    given = shop.ask(shop.platform.request("liu", LIU), access)
    report_everywhere(wire)
    read = shop.get(given.headers["Location"], access)
    assert read.status_code == 200
    assert read.content == given.content


def test_outcome_is_recorded_once_for_each_idempotency_key(wire: Wire) -> None:
    shop, access = wire.join("shop-a")
    place = shop.ask(shop.platform.request("liu", LIU), access).headers["Location"]
    told: dict[str, Any] = {
        "action": "grant",
        "decided_by": "human",
        "merchant_heard": True,
        "listing_compared": True,
        "reversed_on_appeal": False,
        "loss_minor": 12990,
        "loss_currency": "CNY",
    }
    keyed = access | {"Idempotency-Key": "outcome-1"}
    first, again = (wire.http.post(f"{place}/outcomes", json=told, headers=keyed) for _ in range(2))
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert set(first.json()) == {"id", "assessment"}
    assert re.fullmatch(r"out_[0-9a-f]{32}", first.json()["id"])
    assert place.endswith(first.json()["assessment"])
    reused = wire.http.post(f"{place}/outcomes", json=told | {"action": "proceed"}, headers=keyed)
    assert problem(reused) == (409, "idempotency-key-reused")
    second = wire.http.post(f"{place}/outcomes", json=told, headers=access)
    assert second.json()["id"] != first.json()["id"]
    half = {name: value for name, value in told.items() if name != "loss_currency"}
    refused = wire.http.post(f"{place}/outcomes", json=half, headers=access)
    assert problem(refused) == (400, "schema-violation")
    assert [one["pointer"] for one in refused.json()["errors"]] == ["/loss_minor"]


@on_one_database
def test_values_of_another_type_are_not_taken_for_the_right_one(wire: Wire) -> None:
    shop, access = wire.join("shop-a")
    place = shop.ask(shop.platform.request("liu", LIU), access).headers["Location"]
    told = {"action": "grant", "decided_by": "human", "merchant_heard": True}
    told |= {"listing_compared": True, "reversed_on_appeal": False, "loss_currency": "CNY"}
    for name, value in (
        *(("merchant_heard", "true"), ("listing_compared", 1), ("reversed_on_appeal", None)),
        *(("loss_minor", "129"), ("loss_minor", 129.0), ("loss_minor", True)),
    ):
        sent = told | {"loss_minor": 129, name: value}
        refused = wire.http.post(f"{place}/outcomes", json=sent, headers=access)
        assert problem(refused) == (400, "schema-violation"), (name, value)
        (fault,) = refused.json()["errors"]
        assert (fault["pointer"], fault["code"]) == (f"/{name}", "wrong-type")


@on_one_database
def test_amount_with_too_many_decimals_is_pointed_at_where_it_stands(wire: Wire) -> None:
    shop, access = wire.join("shop-a")
    asked: Any = render_question(shop.platform.request("liu", LIU))
    asked["context"]["amount"] = {"value": "1.005", "currency": "CNY"}
    answer = wire.http.post("/v1/risk-assessments", json=asked, headers=access)
    assert problem(answer) == (400, "schema-violation")
    (fault,) = answer.json()["errors"]
    assert fault["pointer"] == "/context/amount/value"
    assert fault["code"] == "decimals"


# --- Who may see what -----------------------------------------------------------------------


def test_things_of_another_platform_look_like_things_that_never_were(wire: Wire) -> None:
    owner, theirs = wire.join("shop-a")
    _, access = wire.join("shop-b")
    stated = owner.platform.incident("liu", LIU, wire.now)
    incident = owner.send(owner.platform.sign(stated)).headers["Location"]
    assessment = owner.ask(owner.platform.request("liu", LIU), theirs).headers["Location"]
    wire.work()
    nowhere = {"/v1/incidents": f"inc_{'0' * 32}", "/v1/risk-assessments": f"ra_{'0' * 32}"}
    for place in (incident, f"{incident}/receipt", assessment):
        assert wire.http.get(place, headers=theirs).status_code == 200
        ((folder, own_id),) = re.findall(r"^(/v1/[a-z-]+)/([^/]+)", place)
        refused = wire.http.get(place, headers=access)
        unknown = wire.http.get(place.replace(own_id, nowhere[folder]), headers=access)
        assert problem(refused)[0] == 404
        assert {**refused.json(), "instance": ""} == {**unknown.json(), "instance": ""}
    outcome = {"action": "grant", "decided_by": "human", "merchant_heard": True}
    outcome |= {"listing_compared": True, "reversed_on_appeal": False}
    refused = wire.http.post(f"{assessment}/outcomes", json=outcome, headers=access)
    assert problem(refused) == (404, "unknown-assessment")


@on_one_database
def test_another_platforms_account_can_not_be_asked_about(wire: Wire) -> None:
    shop, access = wire.join("shop-a")
    other, _ = wire.join("shop-b")
    answer = shop.ask(other.platform.request("liu", LIU), access)
    assert problem(answer) == (403, "invalid-issuer")


@on_one_database
def test_chinese_ledger_offers_no_score(
    found_ledger: Callable[[str], Ledger], now: datetime
) -> None:
    ledger = found_ledger("CN")
    platform = Simulator(ledger, "shop-a")
    platform.enrol(now)
    wire = Wire(ledger, lambda _: platform, now)
    member, access = wire.join("shop-a")
    answer = member.ask(platform.request("liu", LIU), access)
    assert problem(answer) == (501, "not-offered")
    assert "score" not in answer.json()
    wire.http.close()
