"""The member's client, against the real application and against a ledger that lies.

The liar is the other party, played by a transport: it answers whatever a test says and keeps
what it was sent. Nothing of ours is replaced.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from reports import sample_report
from sandbox import log_jwk
from simulator import phone_and_device

from api.app import create_app
from ledger.errors import InvalidToken
from ledger.identity.identifier import AccountRef
from ledger.identity.key import Algorithm, generate_signing_jwk
from ledger.identity.token import ACKNOWLEDGEMENT_TYPE, STATUS_TYPE, payload_of, sign_token
from ledger.ledger import mint_id
from ledger.log.note import signer_from_seed
from ledger.risk.advice import Purpose
from ledger_client import clock
from ledger_client.client import Client
from ledger_client.errors import InvalidAnswer, Refused, Unreachable
from ledger_client.question import Question, commit_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from simulator import Simulator

    from ledger.ledger import Ledger

SHOP = "https://shop-a.example"
KEY = generate_signing_jwk(Algorithm.ES256)
SEED = bytes(range(32))
VKEY = signer_from_seed("ledger.example/log", SEED).vkey
INCIDENT = f"inc_{'0a' * 16}"
LATER = {"Retry-After": "0"}
ONLY_SQLITE = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@pytest.fixture
def now() -> datetime:
    """Give the real instant: the client's own clock is used."""
    return clock.now()


@pytest.fixture
def shop(simulator: Callable[..., Simulator]) -> Simulator:
    """Enrol a platform."""
    return simulator("shop-a")


@pytest.fixture
def client(ledger: Ledger, shop: Simulator) -> Iterator[Client]:
    """Connect a member's client to the real application."""
    app = create_app(ledger, public_url=ledger.issuer, body_max_bytes=65_536)
    with Client(
        "http://ledger.test",
        vkey=ledger.vkey,
        platform=shop.uri,
        key=shop.private_jwk,
        transport=httpx.WSGITransport(app=app),
    ) as connected:
        yield connected


def question(account: str, order: str = "order-1", **changes: Any) -> Question:
    """Ask about a refund-only claim of the person whom shop A reports."""
    asked: dict[str, Any] = {
        "account": AccountRef(SHOP, account),
        "identifiers": phone_and_device("p"),
        "purpose": Purpose.REFUND_ONLY_CLAIM,
        "order_commitment": commit_order(
            b"salt", order=order, account=account, day=clock.now().date()
        ),
    }
    return Question(**(asked | changes))


class Liar:
    """A ledger that answers as told: answers in order, the last one again and again."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        """Keep what will be answered to all but requests for tokens."""
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.grants: list[httpx.Request] = []
        self.granted: list[httpx.Response] = []
        self.client = Client(
            "http://liar.test",
            vkey=VKEY,
            platform=SHOP,
            key=KEY,
            transport=httpx.MockTransport(self.answer),
        )

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        if request.url.path == "/oauth2/token":
            self.grants.append(request)
            if self.granted:
                return self.granted.pop(0)
            return grant(f"token{len(self.grants)}")
        self.asked.append(request)
        told = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(told, Exception):
            raise told
        return told

    def assertions(self) -> list[dict[str, Any]]:
        """Read the claims of every assertion that was sent for a token."""
        forms = [httpx.QueryParams(one.content.decode()) for one in self.grants]
        return [json.loads(payload_of(one["client_assertion"])) for one in forms]


def grant(token: str, seconds: object = 600, **changes: object) -> httpx.Response:
    """Answer a request for a token."""
    members = {"access_token": token, "token_type": "Bearer", "expires_in": seconds}
    return httpx.Response(200, json=members | changes)


def sent_keys(liar: Liar) -> set[str]:
    """Give the Idempotency-Keys that a liar saw."""
    return {one.headers["Idempotency-Key"] for one in liar.asked}


@ONLY_SQLITE
def test_member_reports_asks_and_verifies(client: Client, shop: Simulator, now: datetime) -> None:
    before = client.assess(question("acct-9", "order-1"))
    assert (before["score"], before["basis"]) == (0, "no_record")
    sent = client.report(shop.incident("p", phone_and_device("p"), now))
    assert client.send_event(sent.token) == sent
    assert client.fetch_incident(sent.incident_id)["state"] == "active"
    after = client.assess(question("acct-9", "order-2", client_reference="claim 7"))
    assert (after["basis"], after["client_reference"]) == ("same_person", "claim 7")
    outcome = {
        "action": "require_return",
        "decided_by": "human",
        "merchant_heard": True,
        "listing_compared": True,
        "reversed_on_appeal": False,
    }
    assert client.record_outcome(after["id"], outcome)
    receipt, status = client.fetch_receipt(sent.incident_id), client.fetch_status(sent.incident_id)
    proved = client.verify_receipt(receipt, sent, status=status)
    assert (proved.state, proved.receipt.opened) == ("active", True)
    assert client.verify_receipt(receipt, sent).state == "historic"


@ONLY_SQLITE
def test_refusal_has_the_published_code_and_no_input(client: Client, now: datetime) -> None:
    secret = "acct-13800000001"
    foreign = sample_report(now, issuer="https://shop-z.example", sub=secret)
    calls: tuple[tuple[Callable[[], object], int, str], ...] = (
        (lambda: client.fetch_incident(mint_id("inc_", now)), 404, "unknown-incident"),
        (lambda: client.fetch_receipt(mint_id("inc_", now)), 404, "unknown-incident"),
        (lambda: client.assess_raw({"subject": secret}), 400, "schema-violation"),
        (lambda: client.report(foreign), 400, "invalid_issuer"),
        (lambda: client.send_event("no token"), 400, "invalid_request"),
        (lambda: client.get_access(scope="no:such"), 400, "invalid_scope"),
    )
    for call, status, code in calls:
        with pytest.raises(Refused) as refused:
            call()
        assert (refused.value.status, refused.value.code) == (status, code)
        assert secret not in str(refused.value)


def test_event_is_sent_again_byte_for_byte_where_no_answer_came() -> None:
    accepted = httpx.Response(202, headers={"Location": f"/v1/incidents/{INCIDENT}"})
    liar = Liar(httpx.ConnectError("lost"), httpx.Response(503, headers=LATER), accepted)
    token = liar.client.sign_event(sample_report(clock.now()))
    assert liar.client.send_event(token).incident_id == INCIDENT
    assert {one.content for one in liar.asked} == {token.encode()}
    assert len(liar.asked) == 3
    assert "Authorization" not in liar.asked[0].headers, "its own signature is enough"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_client_gives_up_after_four_tries(status: int) -> None:
    liar = Liar(httpx.Response(status, headers=LATER))
    with pytest.raises(Unreachable):
        liar.client.assess(question("a"))
    assert len(liar.asked) == 4
    assert len(sent_keys(liar)) == 1, "four tries are one question"


def test_two_questions_have_two_keys_and_one_token() -> None:
    liar = Liar(httpx.Response(200, json={"score": 0}))
    liar.client.assess(question("a"))
    liar.client.assess(question("a"))
    assert len(sent_keys(liar)) == 2
    assert len(liar.grants) == 1


@pytest.mark.parametrize("later", ["²", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "9" * 400, ""])
def test_odd_wait_is_replaced_by_the_clients_own(later: str) -> None:
    busy = httpx.Response(503, headers=[(b"Retry-After", later.encode("latin-1"))])
    liar = Liar(busy, httpx.Response(200, json={}))
    started = time.monotonic()
    assert liar.client.assess(question("a")) == {}
    assert 0.1 <= time.monotonic() - started < 2


def test_client_waits_as_long_as_it_is_told() -> None:
    liar = Liar(httpx.Response(503, headers={"Retry-After": "1"}), httpx.Response(200, json={}))
    started = time.monotonic()
    assert liar.client.assess(question("a")) == {}
    assert time.monotonic() - started >= 1


def test_unpublished_receipt_is_waited_for_and_a_missing_one_is_not() -> None:
    liar = Liar(httpx.Response(404, headers=LATER), httpx.Response(200, text="receipt"))
    assert liar.client.fetch_receipt(INCIDENT) == "receipt"
    liar = Liar(httpx.Response(404, json={"type": "urn:bcl:problem:unknown-incident"}))
    with pytest.raises(Refused) as refused:
        liar.client.fetch_receipt(INCIDENT)
    assert (refused.value.code, len(liar.asked)) == ("unknown-incident", 1)


# --- Access ---------------------------------------------------------------------------------


def test_refused_token_is_replaced_once_for_the_same_question() -> None:
    liar = Liar(httpx.Response(401), httpx.Response(200, json={"score": 1}))
    assert liar.client.assess(question("a")) == {"score": 1}
    shown = [one.headers["Authorization"] for one in liar.asked]
    assert shown == ["Bearer token1", "Bearer token2"]
    assert len(sent_keys(liar)) == 1
    liar = Liar(httpx.Response(401))
    with pytest.raises(Refused) as refused:
        liar.client.assess(question("a"))
    assert (refused.value.status, len(liar.asked), len(liar.grants)) == (401, 2, 2)


def test_token_is_renewed_before_it_expires() -> None:
    liar = Liar(httpx.Response(200, json={}))
    liar.granted = [grant("short", 29)]
    for _ in range(3):
        liar.client.assess(question("a"))
    shown = [one.headers["Authorization"] for one in liar.asked]
    assert shown == ["Bearer short", "Bearer token2", "Bearer token2"]


def test_every_request_for_a_token_has_a_fresh_short_assertion_to_the_ledger_alone() -> None:
    liar = Liar(httpx.Response(200, json={}))
    liar.granted = [httpx.Response(503, headers=LATER), httpx.Response(503, headers=LATER)]
    assert liar.client.get_access() == "token3"
    claims = liar.assertions()
    assert len({one["jti"] for one in claims}) == 3
    for one in claims:
        assert (one["iss"], one["sub"], one["aud"]) == (SHOP, SHOP, "https://ledger.example/log")
        assert 0 < one["exp"] - one["iat"] <= 300


def test_narrower_token_is_given_but_not_used_for_other_calls() -> None:
    liar = Liar(httpx.Response(200, json={}))
    assert liar.client.get_access(scope="risk:read") == "token1"
    assert b"scope=risk%3Aread" in liar.grants[0].content
    liar.client.assess(question("a"))
    assert liar.asked[0].headers["Authorization"] == "Bearer token2"


@pytest.mark.parametrize(
    "members",
    [
        {"access_token": None},
        {"access_token": ""},
        {"access_token": "a\r\nX-Forged: 1"},
        {"access_token": "é"},
        {"expires_in": None},
        {"expires_in": "600"},
        {"expires_in": True},
        {"expires_in": 0},
        {"expires_in": 10**18},
        {"expires_in": 1e300},
    ],
)
def test_grant_that_is_none_is_refused(members: dict[str, object]) -> None:
    liar = Liar(httpx.Response(200, json={}))
    liar.granted = [grant("t", **members)]
    with pytest.raises(InvalidAnswer):
        liar.client.assess(question("a"))
    assert liar.asked == []


# --- Lies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304])
def test_redirect_is_never_followed(status: int) -> None:
    answer = httpx.Response(status, headers={"Location": "http://evil.test/v1/events"})
    liar = Liar(answer)
    for call in (
        lambda: liar.client.assess(question("a")),
        lambda: liar.client.send_event("token"),
        lambda: liar.client.fetch_receipt(INCIDENT),
    ):
        with pytest.raises(InvalidAnswer):
            call()
    liar.granted = [answer]
    with pytest.raises(InvalidAnswer):
        liar.client.get_access()
    assert {one.url.host for one in liar.asked + liar.grants} == {"liar.test"}


@pytest.mark.parametrize(
    "location",
    [
        None,
        "",
        "/v1/incidents/",
        "/v1/incidents/inc_12",
        f"/v1/incidents/{INCIDENT}?x",
        f"/v1/incidents/../{INCIDENT}",
        f"http://evil.test/v1/incidents/{INCIDENT}",
        f"//evil.test/v1/incidents/{INCIDENT}",
    ],
)
def test_acceptance_that_names_no_incident_is_refused(location: str | None) -> None:
    headers = {} if location is None else {"Location": location}
    with pytest.raises(InvalidAnswer):
        Liar(httpx.Response(202, headers=headers)).client.send_event("token")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"1", b"\xff\xfe", b"[" * 200_000])
def test_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    liar = Liar(httpx.Response(200, content=body))
    for call in (
        lambda: liar.client.assess(question("a")),
        lambda: liar.client.fetch_incident(INCIDENT),
        lambda: liar.client.record_outcome("ra_1", {}),
    ):
        with pytest.raises(InvalidAnswer):
            call()
    with pytest.raises(Refused) as refused:
        Liar(httpx.Response(400, content=body)).client.assess(question("a"))
    assert (refused.value.status, refused.value.code) == (400, "no-code")


def test_endless_answer_is_cut_off() -> None:
    given: list[int] = []

    def pour() -> Iterator[bytes]:
        for number in range(500):
            given.append(number)
            yield b" " * 65_536

    for call in (Client.fetch_receipt, Client.fetch_status, Client.fetch_incident):
        given.clear()
        with pytest.raises(InvalidAnswer):
            call(Liar(httpx.Response(200, content=pour())).client, INCIDENT)
        assert len(given) < 100


def test_answer_in_another_coding_is_refused_unread() -> None:
    packed = httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b""))
    liar = Liar(packed)
    with pytest.raises(InvalidAnswer):
        liar.client.fetch_receipt(INCIDENT)
    assert liar.asked[0].headers["Accept-Encoding"] == "identity"


def test_acknowledgement_must_be_signed_by_the_log_for_this_statement() -> None:
    verifier = Liar(httpx.Response(200, json={}))
    log_key = log_jwk(VKEY, SEED)
    claims = {"iss": "https://ledger.example/log", "jti": "jti-1"}
    honest = sign_token(claims, log_key, typ=ACKNOWLEDGEMENT_TYPE)
    found = {"jti": "jti-1", "state": "active", "acknowledgement": honest}
    verifier.answers = [httpx.Response(200, json=found)]
    assert verifier.client.fetch_incident(INCIDENT) == found
    forger = generate_signing_jwk(Algorithm.ED25519)
    for forged in (
        sign_token(claims, forger, typ=ACKNOWLEDGEMENT_TYPE),
        sign_token(claims, log_key, typ=STATUS_TYPE),
        sign_token(claims | {"jti": "jti-2"}, log_key, typ=ACKNOWLEDGEMENT_TYPE),
        sign_token(claims | {"iss": SHOP}, log_key, typ=ACKNOWLEDGEMENT_TYPE),
        honest[:-1],
        "é",
        "",
    ):
        verifier.answers = [httpx.Response(200, json=found | {"acknowledgement": forged})]
        with pytest.raises(InvalidToken):
            verifier.client.fetch_incident(INCIDENT)
    for missing in ({"acknowledgement": None}, {"jti": 1}):
        verifier.answers = [httpx.Response(200, json=found | missing)]
        with pytest.raises(InvalidAnswer):
            verifier.client.fetch_incident(INCIDENT)
