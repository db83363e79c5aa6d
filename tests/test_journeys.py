"""Three own frames from the view to SQL, four where SQLite sequences inline: seen, not claimed.

Every statement that reaches a database driver during a real request is watched, with the frames
of this project that led to it. Transaction control doesn't count: it belongs to the engine.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from conftest import ROOT
from simulator import Simulator, phone_and_device, render_question

from api.app import create_app
from ledger.assessing import assess_risk
from ledger.sequencing import sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from types import FrameType

    from flask.testing import FlaskClient

    from ledger.ledger import Ledger

FRAMES_MAX = 3
FRAMES_INLINE_MAX = 4
EXECUTE = {"execute", "executemany"}
OWN = tuple(str(ROOT / folder) for folder in ("api", "ledger"))
PSYCOPG = psycopg.Cursor.execute.__code__.co_filename


@contextmanager
def watch_statements(view: str) -> Iterator[list[tuple[str, ...]]]:
    """Collect, for each statement, the own functions from the view down to it."""
    seen: list[tuple[str, ...]] = []

    def trace(frame: FrameType, event: str, argument: Any) -> None:
        from_sqlite = event == "c_call" and isinstance(
            getattr(argument, "__self__", None), sqlite3.Cursor
        )
        name = argument.__name__ if from_sqlite else frame.f_code.co_name
        from_psycopg = event == "call" and frame.f_code.co_filename == PSYCOPG
        if name not in EXECUTE or not (from_sqlite or from_psycopg):
            return
        names = []
        asker: FrameType | None = frame
        while asker is not None:
            code = asker.f_code
            if code.co_filename.startswith(OWN) and not code.co_name.startswith("<"):
                names.append(code.co_name)
            asker = asker.f_back
        if view in names and not set(names) & {"begin_write", "begin_read"}:
            seen.append(tuple(reversed(names[: names.index(view) + 1])))

    sys.setprofile(trace)
    try:
        yield seen
    finally:
        sys.setprofile(None)


@contextmanager
def watch_trips() -> Iterator[list[str]]:
    """Collect each statement that PostgreSQL answers, and each that only controls."""
    waits = {psycopg.Connection.wait.__code__: "wait"}
    waits[psycopg.Connection._exec_command.__code__] = "control"
    seen: list[str] = []

    def trace(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code in waits:
            seen.append(waits[frame.f_code])

    sys.setprofile(trace)
    try:
        yield seen
    finally:
        sys.setprofile(None)


def open_client(ledger: Ledger, now: datetime) -> FlaskClient:
    return create_app(
        ledger, public_url="https://ledger.example", body_max_bytes=65_536, now=lambda: now
    ).test_client()


def authorize(platform: Simulator, client: FlaskClient, now: datetime) -> dict[str, str]:
    answer = client.post(
        "/oauth2/token",
        data={
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": platform.assertion(now),
        },
    )
    return {"Authorization": f"Bearer {answer.get_json()['access_token']}"}


def test_a_report_reaches_sql_in_three_own_frames_or_four_where_it_is_sequenced_inline(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    platform = simulator("shop-a")
    client = open_client(ledger, now)
    report = platform.incident("p", phone_and_device("p"), now)
    retraction = platform.retraction(report, now)
    for statement in (report, retraction):
        with watch_statements("create_event") as journeys:
            answer = client.post(
                "/v1/events",
                data=platform.sign(statement),
                content_type="application/secevent+jwt",
            )
        assert answer.status_code == 202
        assert len(journeys) > 5
        # The tree's own rows are read and written below the sequencer, in ledger/tiling.py.
        journeys = [one for one in journeys if not {"check_root", "extend_log"} & set(one)]
        most = FRAMES_INLINE_MAX if ledger.database.embedded else FRAMES_MAX
        assert [one for one in journeys if len(one) > most] == []
        inline = {"sequence_pending", "publish_checkpoint"}
        assert [one for one in journeys if len(one) > FRAMES_MAX and not inline & set(one)] == []


def test_a_query_reaches_sql_in_three_own_frames(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    reporter, asker = simulator("shop-a"), simulator("shop-b")
    reporter.report("p", phone_and_device("p"), now)
    sequence(ledger, now)
    client = open_client(ledger, now)
    access = authorize(asker, client, now)
    with watch_statements("create_risk_assessment") as journeys:
        answer = client.post(
            "/v1/risk-assessments",
            json=render_question(asker.request("q", phone_and_device("p"))),
            headers=access,
        )
    assert answer.status_code == 200
    assert {one[-1] for one in journeys} == {"read_evidence", "record_first"}
    assert [one for one in journeys if len(one) > FRAMES_MAX] == []


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_query_sends_postgresql_one_statement_to_read_and_one_to_record(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    reporter, asker = simulator("shop-a"), simulator("shop-b")
    reporter.report("p", phone_and_device("p"), now)
    sequence(ledger, now)
    caller = asker.caller(now)
    asker.ask("opens the connection", phone_and_device("p"), now)
    for number in range(8):  # from the sixth on as prepared statements
        question = asker.request(f"q{number}", phone_and_device("p"))
        with watch_trips() as trips:
            answer = assess_risk(ledger, caller, question, now)
        assert json.loads(answer.text)["score"] == 370
        assert trips == ["wait", "wait"]
