"""Who is let in, and what stands around an answer: challenges, traces, caches, browser policies.

Headers don't depend on the kind of database, so everything here runs on one.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from simulator import phone_and_device, render_question
from sqlalchemy import delete, update

from api.app import create_app
from api.oauth import ASSERTION_KIND, GRANT_TYPE
from ledger.enrolling import suspend_platform
from ledger.store.engine import begin_write, open_database
from ledger.store.tables import event_content, log_checkpoint, log_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Simulator
    from werkzeug.test import TestResponse

    from ledger.ledger import Ledger

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
LIU = phone_and_device("liu")
INCIDENT = f"/v1/incidents/inc_{'0' * 32}"
ASSESSMENT = f"/v1/risk-assessments/ra_{'0' * 32}"
KEPT = {
    "/.well-known/jwks.json": "public, max-age=300",
    "/.well-known/oauth-authorization-server": "public, max-age=3600",
    "/openapi.json": "public, max-age=300",
    "/docs": "public, max-age=300",
    "/log/checkpoint": "no-cache",
    "/log/tile/0/000.p/2": "public, max-age=31536000, immutable",
    "/log/tile/entries/000.p/2": "public, max-age=31536000, immutable",
}


class Doors:
    """The doors of one ledger, a member before them, and a clock that can be set."""

    def __init__(self, ledger: Ledger, member: Simulator, now: datetime) -> None:
        """Open the doors at an instant."""
        self.ledger, self.member, self.now = ledger, member, now
        app = create_app(
            ledger, public_url="https://api.example", body_max_bytes=65_536, now=lambda: self.now
        )
        self.http = app.test_client()

    def get_token(self, **parameters: str) -> TestResponse:
        """Ask for an access token."""
        form = {
            "grant_type": GRANT_TYPE,
            "client_assertion_type": ASSERTION_KIND,
            "client_assertion": self.member.assertion(self.now),
        }
        return self.http.post("/oauth2/token", data=form | parameters)

    def access(self, **parameters: str) -> dict[str, str]:
        """Get an access token and give it as a header."""
        return {
            "Authorization": f"Bearer {self.get_token(**parameters).get_json()['access_token']}"
        }

    def ask(self, access: dict[str, str]) -> TestResponse:
        """Ask about a buyer of the member's own."""
        asked = render_question(self.member.request("liu", LIU))
        return self.http.post("/v1/risk-assessments", json=asked, headers=access)


@pytest.fixture
def doors(ledger: Ledger, simulator: Callable[..., Simulator], now: datetime) -> Doors:
    """Give the doors of a ledger with one member."""
    return Doors(ledger, simulator("shop-a"), now)


def code(answer: TestResponse) -> tuple[int, str]:
    """Read a problem: its status and its code."""
    return answer.status_code, str(answer.get_json()["type"]).removeprefix("urn:bcl:problem:")


# --- Who is let in --------------------------------------------------------------------------


def test_request_without_token_is_told_which_scope_to_come_back_with(doors: Doors) -> None:
    bare = doors.http.get(INCIDENT)
    assert code(bare) == (401, "invalid-token")
    assert bare.headers["WWW-Authenticate"] == 'Bearer realm="bcl", scope="incidents:read"'


def test_request_with_a_wrong_token_is_told_so(doors: Doors) -> None:
    for wrong in ("Bearer x.y.z", "Basic YTpi", "Bearer", "bearer a b", "x"):
        answer = doors.http.get(ASSESSMENT, headers={"Authorization": wrong})
        assert code(answer) == (401, "invalid-token")
        assert answer.headers["WWW-Authenticate"] == (
            'Bearer realm="bcl", scope="risk:read", error="invalid_token"'
        )


def test_access_token_is_granted_in_the_shape_of_rfc_6749(doors: Doors) -> None:
    answer = doors.get_token(scope="risk:read")
    granted = answer.get_json()
    assert granted.pop("access_token").count(".") == 2
    assert granted == {"token_type": "Bearer", "expires_in": 600, "scope": "risk:read"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"


def test_token_with_too_narrow_a_scope_is_refused(doors: Doors) -> None:
    answer = doors.http.get(INCIDENT, headers=doors.access(scope="risk:read"))
    assert code(answer) == (403, "insufficient-scope")
    assert answer.headers["WWW-Authenticate"] == (
        'Bearer realm="bcl", scope="incidents:read", error="insufficient_scope"'
    )


def test_token_request_is_refused_in_the_words_of_rfc_6749(doors: Doors) -> None:
    refused: list[tuple[dict[str, str], str]] = [
        ({"scope": "risk:read blind:evaluate"}, "invalid_scope"),
        ({"client_assertion": "x"}, "invalid_client"),
        ({"client_id": "https://shop-b.example"}, "invalid_client"),
        ({"client_assertion_type": "x"}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ]
    for parameters, word in refused:
        answer = doors.get_token(**parameters)
        assert answer.status_code == 400
        assert answer.content_type == "application/json"
        assert set(answer.get_json()) == {"error", "error_description"}
        assert answer.get_json()["error"] == word
        assert answer.headers["Cache-Control"] == "no-store"


def test_assertion_is_good_for_one_token(doors: Doors) -> None:
    assertion = doors.member.assertion(doors.now)
    first, again = (doors.get_token(client_assertion=assertion) for _ in range(2))
    assert first.status_code == 200
    assert (again.status_code, again.get_json()["error"]) == (400, "invalid_client")


def test_suspended_platform_is_refused_at_every_door_within_ten_seconds(doors: Doors) -> None:
    access = doors.access()
    assert doors.ask(access).status_code == 200
    suspend_platform(doors.ledger, doors.member.uri, doors.now)
    doors.now = doors.now.replace(second=10)
    assert code(doors.ask(access)) == (403, "platform-suspended")
    token = doors.member.sign(doors.member.incident("liu", LIU, doors.now))
    pushed = doors.http.post("/v1/events", data=token, content_type="application/secevent+jwt")
    assert (pushed.status_code, pushed.get_json()["err"]) == (400, "access_denied")
    assert doors.get_token().get_json()["error"] == "unauthorized_client"


def test_access_token_ends_after_ten_minutes(doors: Doors) -> None:
    access = doors.access()
    for minute, status in ((9, 200), (10, 401)):
        doors.now = doors.now.replace(minute=minute)
        assert doors.ask(access).status_code == status


# --- What stands around an answer -----------------------------------------------------------


def test_trace_is_continued_under_a_span_of_our_own(doors: Doors) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    sent = f"00-{trace}-00f067aa0ba902b7-01"
    answer = doors.http.get(INCIDENT, headers={"traceparent": sent})
    match = re.fullmatch(rf"00-{trace}-([0-9a-f]{{16}})-01", answer.headers["traceparent"])
    assert match is not None
    assert match[1] != "00f067aa0ba902b7"
    assert answer.get_json()["instance"] == f"urn:bcl:answer:{match[1]}"


def test_trace_of_a_later_version_is_continued_by_what_we_know_of_it(doors: Doors) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    sent = f"01-{trace}-00f067aa0ba902b7-ff-more"
    answer = doors.http.get("/healthz", headers={"traceparent": sent})
    assert re.fullmatch(rf"00-{trace}-[0-9a-f]{{16}}-01", answer.headers["traceparent"])


def test_trace_that_is_none_is_begun_anew(doors: Doors) -> None:
    for sent in (
        "",
        "x",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{'a' * 32}-{'0' * 16}-01",
        f"00-{'A' * 32}-00f067aa0ba902b7-01",
        f"ff-{'a' * 32}-00f067aa0ba902b7-01",
        f"00-{'a' * 32}-00f067aa0ba902b7-01-more",
        f"00-{'a' * 32}-00f067aa0ba902b7-1",
    ):
        given = doors.http.get("/healthz", headers={"traceparent": sent}).headers["traceparent"]
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", given), sent
        assert "a" * 32 not in given, sent


def test_what_may_be_kept_has_an_entity_tag_and_is_not_sent_twice(doors: Doors) -> None:
    for path, kept in KEPT.items():
        first = doors.http.get(path)
        tag = first.headers["ETag"]
        assert re.fullmatch(r'"[0-9a-f]{32}"', tag)
        assert first.headers["Cache-Control"] == kept
        for held in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = doors.http.get(path, headers={"If-None-Match": held})
            assert (again.status_code, again.data) == (304, b""), (path, held)
            assert again.headers["ETag"] == tag
            assert again.headers["Cache-Control"] == kept
            assert "Content-Type" not in again.headers
        other = doors.http.get(path, headers={"If-None-Match": '"other"'})
        assert (other.status_code, other.data) == (200, first.data)


def test_answers_about_people_and_refusals_are_never_kept(doors: Doors) -> None:
    access = doors.access()
    asked = doors.ask(access)
    answers = [asked, doors.http.get(asked.headers["Location"], headers=access)]
    answers += [doors.http.get(INCIDENT), doors.http.get("/nowhere"), doors.http.put("/healthz")]
    answers += [doors.http.get(INCIDENT, headers=access), doors.get_token()]
    for answer in answers:
        assert answer.headers["Cache-Control"] == "no-store"
        assert "ETag" not in answer.headers


def test_browser_is_told_to_trust_nothing(doors: Doors) -> None:
    for path in ("/healthz", "/docs", "/openapi.json", "/nowhere", INCIDENT):
        headers = doors.http.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Strict-Transport-Security"] == "max-age=31536000"
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; frame-ancestors 'none'")
        assert "unsafe" not in policy
        assert "http" not in policy


def test_page_lists_every_operation_and_loads_nothing(doors: Doors) -> None:
    answer = doors.http.get("/docs")
    page = answer.get_data(as_text=True)
    document = doors.http.get("/openapi.json").get_json()
    assert answer.content_type == "text/html; charset=utf-8"
    for path, methods in document["paths"].items():
        assert f"<code>{path}</code>" in page
        for described in methods.values():
            assert f'<article id="{described["operationId"]}">' in page
    assert "<script" not in page
    assert not re.search(r"src=|action=|@import|url\(", page)
    places = set(re.findall(r'href="([^"]*)"', page))
    within = {f"#{name}" for name in re.findall(r'id="([^"]*)"', page)}
    assert {"/openapi.json"} <= places <= {"/openapi.json"} | within


def test_head_has_the_headers_of_get_and_no_body(doors: Doors) -> None:
    for path in ("/healthz", "/openapi.json", INCIDENT):
        got, head = doors.http.get(path), doors.http.head(path)
        assert head.status_code == got.status_code
        assert head.data == b""
        assert head.headers["Content-Length"] == got.headers["Content-Length"]


# --- Whether it can serve -------------------------------------------------------------------


def test_ready_ledger_says_so(doors: Doors) -> None:
    assert doors.http.get("/readyz").get_json() == {"status": "ready"}
    with begin_write(doors.ledger.database) as connection:
        connection.execute(delete(log_checkpoint))
    assert doors.http.get("/readyz").get_json() == {"status": "ready"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"root": b"\x00" * 32}, "The newest checkpoint contradicts the log."),
        ({"size": 1}, "The newest checkpoint contradicts the log."),
        ({"note": "x\n"}, "The newest checkpoint doesn't open."),
    ],
)
def test_ledger_whose_checkpoint_contradicts_its_log_is_not_ready_and_says_why(
    doors: Doors, change: dict[str, object], told: str
) -> None:
    table = log_checkpoint if "note" in change else log_state
    with begin_write(doors.ledger.database) as connection:
        connection.execute(update(table).values(**change))
    answer = doors.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.content_type == "application/problem+json"
    assert answer.get_json()["detail"] == told
    assert doors.http.get("/healthz").status_code == 200


def test_ledger_without_its_database_asks_for_patience(doors: Doors) -> None:
    gone = open_database("postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=2")
    unable = Doors(replace(doors.ledger, database=gone), doors.member, doors.now)
    token = doors.member.sign(doors.member.incident("liu", LIU, doors.now))
    answers = [
        unable.http.get("/readyz"),
        unable.http.get("/log/checkpoint"),
        unable.http.post("/v1/events", data=token, content_type="application/secevent+jwt"),
        unable.get_token(),
        unable.ask(doors.access()),
    ]
    for answer in answers:
        assert code(answer) == (503, "unavailable")
        assert answer.content_type == "application/problem+json"
        assert answer.headers["Retry-After"] == "1"
    assert unable.http.get("/healthz").status_code == 200


def test_fault_of_ours_is_told_by_an_id_alone_and_written_down_under_it(
    doors: Doors, caplog: pytest.LogCaptureFixture
) -> None:
    sent = doors.member.report("liu", LIU, doors.now)
    with begin_write(doors.ledger.database) as connection:
        connection.execute(update(event_content).values(salt=b"\x00" * 32))
    answer = doors.http.get(f"/v1/incidents/{sent.incident_id}/receipt", headers=doors.access())
    body = answer.get_json()
    assert answer.status_code == 500
    assert answer.content_type == "application/problem+json"
    instance = body.pop("instance")
    assert body == {"type": "about:blank", "title": "Internal Server Error", "status": 500}
    (record,) = caplog.records
    assert instance in record.getMessage()
    assert record.exc_info is not None
