"""Two platforms and one forged picture: real files, hashed by the client, over HTTP and by command.

The pictures are drawn from seeds and saved as a phone and a shop would. Nothing is asked but what
an inspection gave.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from erasing import decide
from exact import settle
from exchanging import forgery, withdrawal
from kept import audit
from PIL import ImageOps
from reports import digest, sample_report
from sandbox import enrol, run, serving, told
from scenery import crack, still_life
from simulator import RemoteSimulator, phone_and_device, render_question
from sqlalchemy import insert, select
from test_concurrency import at_once
from werkzeug.serving import make_server

from api.app import create_app
from ledger.erasing import destroy_again
from ledger.errors import LedgerError
from ledger.expiring import expire_due
from ledger.incident.evidence import Sought
from ledger.incident.incident import EvidenceItem
from ledger.incident.rendering import render_event
from ledger.incident.statement import Forgery, Withdrawal
from ledger.incident.taxonomy import EvidenceKind, EvidenceSource
from ledger.matching import Matched, list_recalls, match_evidence
from ledger.recognising import hold, recognise
from ledger.reporting import accept_event
from ledger.store import tables
from ledger.store.engine import begin_read, begin_write
from ledger.store.evidence import record_matches
from ledger_client.evidence.attributes import render_evidence
from ledger_client.evidence.inspection import inspect
from ledger_client.question import select_hashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result
    from simulator import Simulator

    from ledger.ledger import Ledger
    from ledger_client.evidence.attributes import Evidence

A, B = "https://shop-a.example", "https://shop-b.example"
LEDGER = "https://localhost/sandbox"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw a forged picture, its mirrored copy as another shop gets it, and an honest one."""
    folder = tmp_path_factory.mktemp("pictures")
    forged = crack(still_life(5), 5)
    forged.save(folder / "forged.jpg", quality=90)
    copy = ImageOps.mirror(forged).resize((512, 384))
    copy.save(folder / "copy.jpg", quality=55)
    still_life(6).save(folder / "honest.jpg", quality=90)
    return folder


def as_item(found: Evidence) -> EvidenceItem:
    """Give an inspected picture as a piece of evidence in a report."""
    (hashed,) = found.perceptual
    kind, source = EvidenceKind.CLAIM_PHOTO, EvidenceSource.BUYER
    return EvidenceItem(kind, source, found.sha256, hashed.forms[0], hashed.quality)


# --- Over HTTP ---------------------------------------------------------------------------------


@contextmanager
def served(ledger: Ledger, now: datetime) -> Iterator[str]:
    """Serve a ledger on a real socket, at a fixed instant; give its address."""
    app = create_app(
        ledger, public_url="https://ledger.example", body_max_bytes=65_536, now=lambda: now
    )
    server = make_server("127.0.0.1", 0, app)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_mirrored_copy_at_another_platform_is_seen_before_and_its_withdrawal_is_told(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime, pictures: Path
) -> None:
    a, b = simulator("shop-a"), simulator("shop-b")
    item = as_item(inspect(pictures / "forged.jpg").evidence)
    said = forgery(a, item.digest, None, now, evidence=(item,))
    copied: Any = select_hashes(render_evidence(inspect(pictures / "copy.jpg").evidence))
    honest = select_hashes(render_evidence(inspect(pictures / "honest.jpg").evidence))
    assert copied["sha256"] != item.digest.hex()
    with served(ledger, now) as url, httpx.Client(base_url=url) as http:
        shop, other = RemoteSimulator(a, http), RemoteSimulator(b, http)
        answer = shop.send(a.sign(said))
        assert (answer.status_code, "Location" in answer.headers) == (202, False)
        settle(ledger, now)
        access = other.get_access(now)
        body: Any = render_question(b.request("buyer", phone_and_device("buyer")))
        body["context"]["evidence"] = [copied, honest]
        answered = http.post("/v1/risk-assessments", json=body, headers=access).json()
        assert (answered["score"], answered["basis"]) == (0, "no_record")
        before = answered["evidence"]["seen_before"]
        assert before.pop("distance") in {"0-15", "16-31"}
        assert before == {"platforms": "1", "first_seen": "2026-11", "source": False}
        # The mirrored form is what recognises it: as it lies it is another picture.
        (hashed,) = copied["pdq"]
        lying = {"pdq": [hashed | {"forms": hashed["forms"][:1]}]}
        asked = {"evidence": [copied, honest, lying]}
        matched = http.post("/v1/evidence-matches", json=asked, headers=access).json()
        assert [one["seen_before"] is None for one in matched["matches"]] == [False, True, True]
        replay = http.get(f"/v1/risk-assessments/{answered['id']}/replay", headers=access).json()
        assert replay["agrees"]
        assert http.get("/v1/recalls", headers=access).json()["data"] == []
        shop.send(a.sign(withdrawal(a, said, now)))
        settle(ledger, now)
        listed = http.get("/v1/recalls", headers=access).json()["data"]
        assert {one["answer"] for one in listed} == {answered["id"], matched["id"]}
        assert {one["kind"] for one in listed} == {"evidence"}
        path = f"/v1/recalls/{listed[0]['id']}/acknowledgement"
        assert http.post(path, headers=access).json()["acknowledged_at"] is not None
        after = http.post("/v1/evidence-matches", json=asked, headers=access).json()
        assert after["matches"] == [{"seen_before": None}] * 3
        for wrong in ("limit=0", "limit=1&limit=1", "offset=1", "cursor=1"):
            assert http.get(f"/v1/recalls?{wrong}", headers=access).status_code == 400
    assert audit(ledger) == ()


# --- By command --------------------------------------------------------------------------------


def test_commands_report_match_withdraw_and_list_what_is_recalled(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [one for one in os.environ if one.startswith("BCL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    folder, now = tmp_path / "sandbox", datetime.now(UTC)

    def member(uri: str, *arguments: str | Path) -> Result:
        who = ("--id", uri, "--key", f"{uri[-14:-8]}.jwk", "--url", url)
        return run(folder, "evidence", *map(str, arguments), *who)

    with serving(folder) as url:
        for uri in (A, B):
            described = told(run("nowhere", "key", "new", f"{uri[-14:-8]}.jwk"))
            (tmp_path / "jwks").write_text(json.dumps(described))
            told(enrol(folder, uri, tmp_path / "jwks", "--scope", "evidence:read"))
        item = as_item(inspect(pictures / "forged.jpg").evidence)
        like = sample_report(now)
        said = Forgery(
            *(A, "evt-1", "case-1", now, now, item.digest, like.conduct, (item,), like.proof),
            is_original=False,
        )
        taken_back = Withdrawal(A, "evt-2", "case-1", now, now, item.digest, "evt-1")
        for name, statement in (("seen", said), ("withdrawn", taken_back)):
            (tmp_path / name).write_text(json.dumps(render_event(statement, LEDGER)))
        (tmp_path / "incident").write_text(json.dumps(render_event(like, LEDGER)))
        refused = member(A, "report", "incident")
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "token" in told(member(A, "report", "seen"))
        drawn = member(B, "match", pictures / "copy.jpg", pictures / "honest.jpg")
        first, second = drawn.stdout.splitlines()
        assert "reported as forged by one platform since" in first
        assert second.endswith("honest.jpg: not seen before")
        inspected = run("nowhere", "evidence", "inspect", "--json", str(pictures / "copy.jpg"))
        (tmp_path / "printed").write_text(inspected.stdout)
        (seen,) = told(member(B, "match", "printed", "--json"))
        assert seen["platforms"] == "1"
        assert told(member(B, "match", "--sha256", "0" * 64, "--json")) == [None]
        assert told(member(B, "match", "--sha256", item.digest.hex(), "--json"))[0] == seen | {
            "distance": "same_file"
        }
        assert member(B, "match", "--sha256", "0").exit_code == 2
        assert member(B, "match").exit_code == 2
        assert member(B, "recalls").stdout == ""
        told(member(A, "report", "withdrawn"))
        assert "not seen before" in member(B, "match", pictures / "copy.jpg").stdout
        listed = [json.loads(line) for line in member(B, "recalls").stdout.splitlines()]
        assert len(listed) == 3
        assert {one["acknowledged_at"] for one in listed} == {None}
        assert member(B, "recalls", "--acknowledge", listed[0]["id"]).exit_code == 0
        again = [json.loads(line) for line in member(B, "recalls").stdout.splitlines()]
        assert [one["acknowledged_at"] is None for one in again] == [False, True, True]
        assert member(B, "recalls", "--acknowledge", "rcl_1").exit_code == 2
        assert member(A, "recalls").stdout == ""


# --- At once -----------------------------------------------------------------------------------


def test_whoever_was_told_of_what_is_withdrawn_meanwhile_is_told_again_and_nobody_else(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    a, *others = (simulator(f"shop-{name}") for name in "abc")
    told_of = 0
    for number in range(6):
        said = forgery(a, digest(f"forged {number}"), None, now)
        a.send(said, now)
        settle(ledger, now)
        token = a.sign(withdrawal(a, said, now))

        def withdraw(token: bytes = token) -> None:
            accept_event(ledger, token, now)
            settle(ledger, now)

        sought = [Sought(said.digest, ())]
        askers = [shop.caller(now) for shop in others * 2]
        calls = [partial(match_evidence, ledger, caller, sought, now) for caller in askers]
        _, *answers = at_once(withdraw, *calls)
        assert not any(isinstance(one, LedgerError) for one in answers)
        matched = [one for one in answers if isinstance(one, Matched)]
        recalled = {
            one.answer
            for shop in others
            for one in list_recalls(ledger, shop.caller(now), "", 200)[0]
        }
        assert {one.id for one in matched if one.seen[0]} == recalled & {one.id for one in matched}
        told_of += sum(one.seen[0] is not None for one in matched)
    assert audit(ledger) == ()
    assert told_of == len(recalled)


def test_withdrawal_waits_for_an_answer_that_found_it_and_recalls_that_answer(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    a, b = simulator("shop-a"), simulator("shop-b")
    said = forgery(a, digest("forged"), None, now)
    a.send(said, now)
    settle(ledger, now)
    token, caller = a.sign(withdrawal(a, said, now)), b.caller(now)

    def withdraw() -> None:
        accept_event(ledger, token, now)
        settle(ledger, now)

    withdrawing = Thread(target=withdraw)
    with begin_write(ledger.database) as connection:
        sought = [Sought(said.digest, ())]
        found = hold(connection, recognise(connection, sought, b.group), sought, b.group)
        withdrawing.start()
        withdrawing.join(0.7)  # long enough for one that doesn't wait
        record_matches(connection, "em_1", caller.platform.id, found, now)
    withdrawing.join()
    assert [one.answer for one in list_recalls(ledger, caller, "", 9)[0]] == ["em_1"]


def test_correction_of_other_evidence_recalls_too(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    a, b = simulator("shop-a"), simulator("shop-b")
    sent = a.report("buyer", phone_and_device("buyer"), now)
    settle(ledger, now)
    (shown, *rest) = sent.report.proof.evidence
    match_evidence(ledger, b.caller(now), [Sought(shown.digest, ())], now)
    proof = replace(sent.report.proof, evidence=(replace(shown, digest=digest("new")), *rest))
    a.send(a.correction(sent.report, now, proof=proof), now)
    settle(ledger, now)
    assert len(list_recalls(ledger, b.caller(now), "", 9)[0]) == 1


@pytest.mark.parametrize("way", ["erased", "expired"])
def test_evidence_goes_with_its_incident_and_only_erasing_is_told(
    way: str, ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    a, b = simulator("shop-a"), simulator("shop-b")
    pdq = digest("picture")
    like = sample_report(now).proof
    shown = replace(like.evidence[0], pdq=pdq, quality=100)
    proof = replace(like, evidence=(shown, like.evidence[1]))
    sent = a.report("buyer", phone_and_device("buyer"), now, proof=proof)
    settle(ledger, now)
    sought = [Sought(None, ((pdq,),))]
    assert match_evidence(ledger, b.caller(now), sought, now).seen[0] is not None
    kept = read_evidence(ledger)
    assert [len(rows) for rows in kept] == [1, 16, 1]
    if way == "erased":
        decide(ledger, sent.incident_id, now)
    else:
        assert expire_due(ledger, now + timedelta(days=6 * 366)) == 1
    settle(ledger, now)
    assert read_evidence(ledger) == [[], [], []]
    assert match_evidence(ledger, b.caller(now), sought, now).seen == (None,)
    assert len(list_recalls(ledger, b.caller(now), "", 9)[0]) == (way == "erased")
    assert audit(ledger) == ()
    with begin_write(ledger.database) as connection:  # as from a restored table
        for table, rows in zip(TABLES[:2], kept, strict=False):
            connection.execute(insert(table), rows)
    assert {one.code for one in audit(ledger)} == {"evidence-differs"}
    destroy_again(ledger, now)
    assert audit(ledger) == ()


TABLES = (tables.evidence, tables.evidence_band, tables.evidence_match)


def read_evidence(ledger: Ledger) -> list[list[dict[str, Any]]]:
    """Read all by which evidence is recognised, and who was told."""
    with begin_read(ledger.database) as connection:
        return [
            [dict(row) for row in connection.execute(select(table)).mappings()] for table in TABLES
        ]
