"""What an asker is told of forged evidence: within a bound, by either scope, and never unheard.

Floods are small here and so are the limits that they break: what is held is that no answer's cost,
variables or records grow with what one member filed.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from exact import settle
from exchanging import forgery, withdrawal
from kept import audit
from reports import digest, sample_report
from simulator import phone_and_device
from sqlalchemy import event, func, select

from api.app import create_app
from ledger.answering import find_assessment, show_merchant
from ledger.assessing import assess_risk
from ledger.authorizing import grant_access
from ledger.errors import InputsErased
from ledger.incident.evidence import ASIDE, Sought
from ledger.incident.incident import EvidenceItem
from ledger.incident.taxonomy import EvidenceKind, EvidenceSource
from ledger.matching import list_recalls, match_evidence
from ledger.recognising import hold, recognise
from ledger.recording import VALID_FOR
from ledger.store.engine import begin_read, begin_write
from ledger.store.evidence import CROWD_MAX, find_like
from ledger.store.tables import evidence, evidence_band, evidence_match

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Simulator
    from sqlalchemy import Table

    from ledger.incident.statement import Forgery
    from ledger.ledger import Ledger

PDQ, FILE = digest("picture"), digest("forged")
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
VARIABLES = 280  # as many as a question binds where this is SQLite's limit


@pytest.fixture
def shops(simulator: Callable[..., Simulator]) -> list[Simulator]:
    """Give three members of three groups."""
    return [simulator(f"shop-{name}") for name in "abc"]


def near(number: int) -> bytes:
    """Give one of 512 hashes that are within nine bits of the picture's and alike in 15 bands."""
    return (int.from_bytes(PDQ) ^ number).to_bytes(32)


def film(file: bytes, hashes: list[bytes]) -> EvidenceItem:
    kind, source = EvidenceKind.CLAIM_VIDEO, EvidenceSource.BUYER
    return EvidenceItem(kind, source, file, None, None, frames=tuple((one, 90) for one in hashes))


def flood(shop: Simulator, file: bytes, numbers: range, at: datetime) -> Forgery:
    hashes = [near(number) for number in numbers]
    films = tuple(film(file, hashes[begin : begin + 16]) for begin in range(0, len(hashes), 16))
    return forgery(shop, file, None, at, evidence=films)


def photo(pdq: bytes, file: bytes = FILE) -> EvidenceItem:
    return EvidenceItem(EvidenceKind.CLAIM_PHOTO, EvidenceSource.BUYER, file, pdq, 100)


def read(ledger: Ledger, table: Table) -> list[dict[str, Any]]:
    with begin_read(ledger.database) as connection:
        rows = connection.execute(select(table)).mappings()
        return sorted((dict(row) for row in rows), key=lambda row: tuple(row.values())[:2])


def count_near(ledger: Ledger) -> int:
    with begin_read(ledger.database) as connection:
        return len(find_like(connection, [PDQ]))


def count_looked_at(ledger: Ledger) -> list[int]:
    """Count the pieces in each place that is looked at."""
    looked_at = select(func.count()).where(evidence_band.c.slot < ASIDE)
    with begin_read(ledger.database) as connection:
        return [*connection.execute(looked_at.group_by(evidence_band.c.slot)).scalars()]


# --- Floods ------------------------------------------------------------------------------------


def test_flooded_picture_is_answered_within_a_bound_and_hides_nobody(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, c = shops
    if ledger.database.embedded:
        limit = (sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, VARIABLES)
        event.listen(ledger.database.engine, "checkout", lambda one, *_: one.setlimit(*limit))
    few, many = (flood(a, FILE, numbers, now) for numbers in (range(16), range(16, 160)))
    for said in (few, many, *(forgery(a, FILE, near(number), now) for number in range(4))):
        a.send(said, now)
    b.send(flood(b, digest("other"), range(160, 320), now), now)
    c.send(flood(c, digest("own"), range(320, 352), now), now)
    settle(ledger, now)
    looked_at = 2 * CROWD_MAX + 32
    assert VARIABLES < looked_at <= count_near(ledger) <= looked_at + 17  # not all 356
    told = match_evidence(ledger, c.caller(now), [Sought(None, ((PDQ,),))] * 2, now)
    expected = {"distance": "0-15", "platforms": "2+", "first_seen": "2026-11", "source": False}
    assert told.seen == (expected,) * 2
    assert len(read(ledger, evidence_match)) == 2  # of each flood one record
    told = match_evidence(ledger, b.caller(now), [Sought(FILE, ((PDQ,),))], now)
    assert told.seen == (expected | {"distance": "same_file"},)  # c's few are seen beside a's many
    assert len(read(ledger, evidence_match)) <= 2 + 3
    full = [looked_at] * 15
    assert sorted(count_looked_at(ledger))[-15:] == full
    assert audit(ledger) == ()
    a.send(withdrawal(a, few, now), now)  # what lay aside comes in
    settle(ledger, now)
    assert sorted(count_looked_at(ledger))[-15:] == full
    assert audit(ledger) == ()


# --- Corrections -------------------------------------------------------------------------------


def test_correction_leaves_untouched_pieces_as_they_were(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    like = sample_report(now).proof
    before = (photo(PDQ), photo(digest("gone"), digest("gone's file")), like.evidence[1])
    proof = replace(like, evidence=before)
    sent = a.report("buyer", phone_and_device("buyer"), now, proof=proof)
    settle(ledger, now)
    kept = [row for row in read(ledger, evidence) if row["digest"] == FILE]
    bands = [row for row in read(ledger, evidence_band) if row["evidence"] == kept[0]["id"]]
    match_evidence(ledger, b.caller(now), [Sought(FILE, ())], now)
    late = now + timedelta(days=40)
    after = (before[0], photo(digest("new"), digest("new file")), before[2])
    proof = replace(like, evidence=after)
    a.send(a.correction(sent.report, late, proof=proof), late)
    settle(ledger, late)
    rows = read(ledger, evidence)
    assert [row["digest"] for row in rows] == [FILE, digest("new file")]
    assert rows[0] == kept[0]
    assert rows[1]["seen_day"] == rows[0]["seen_day"] + 40
    assert [row for row in read(ledger, evidence_band) if row["evidence"] == rows[0]["id"]] == bands
    assert len(read(ledger, evidence_band)) == 32
    seen = match_evidence(ledger, b.caller(late), [Sought(FILE, ())], late).seen[0]
    assert seen is not None
    assert seen["first_seen"] == "2026-11"
    assert len(list_recalls(ledger, b.caller(late), "", 9)[0]) == 1
    assert audit(ledger) == ()


# --- Who reads recalls -------------------------------------------------------------------------


def test_either_scope_reads_and_acknowledges_recalls_and_no_other_does(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    a = simulator("shop-a")
    said = forgery(a, FILE, PDQ, now)
    a.send(said, now)
    settle(ledger, now)
    app = create_app(
        ledger, public_url="https://ledger.example", body_max_bytes=65_536, now=lambda: now
    )
    http: Any = app.test_client()
    asker = simulator("shop-b")
    match_evidence(ledger, asker.caller(now), [Sought(FILE, ())], now)
    a.send(withdrawal(a, said, now), now)
    settle(ledger, now)
    for scope, status in (("evidence:read", 200), ("risk:read", 200), ("incidents:read", 403)):
        grant = grant_access(ledger, asker.assertion(now), asker.uri, scope, now)
        access = {"Authorization": f"Bearer {grant.token}"}
        listed = http.get("/v1/recalls", headers=access)
        assert listed.status_code == status
        name = list_recalls(ledger, asker.caller(now), "", 9)[0][0].id
        path = f"/v1/recalls/{name}/acknowledgement"
        assert http.post(path, headers=access).status_code == status
        if status == 403:
            challenge = listed.headers["WWW-Authenticate"]
            assert 'scope="risk:read"' in challenge


# --- What is shown again -----------------------------------------------------------------------


def test_answer_that_told_of_what_was_withdrawn_is_not_shown_again_once_it_is_not_valid(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    said = forgery(a, FILE, PDQ, now)
    a.send(said, now)
    settle(ledger, now)
    told, other = (
        b.request(buyer, ())._replace(idempotency_key=buyer, evidence=sought)
        for buyer, sought in (("told", (Sought(FILE, ()),)), ("other", (Sought(PDQ, ()),)))
    )
    caller = b.caller(now)
    given = [assess_risk(ledger, caller, one, now) for one in (told, other)]
    late = now + timedelta(days=2)
    assert assess_risk(ledger, caller, told, late) == given[0]
    a.send(withdrawal(a, said, now), now)
    settle(ledger, now)
    soon = now + VALID_FOR - timedelta(microseconds=1)  # an answer that was lost on its way
    assert assess_risk(ledger, caller, told, soon) == given[0]
    with pytest.raises(InputsErased):
        assess_risk(ledger, caller, told, late)
    with pytest.raises(InputsErased):
        find_assessment(ledger, caller, given[0].id)
    assert show_merchant(ledger, caller, given[0].id)["level"] == "LOW"  # it tells of no match
    assert assess_risk(ledger, caller, other, late) == given[1]
    assert find_assessment(ledger, caller, given[1].id) == given[1]


# --- At once -----------------------------------------------------------------------------------


def test_question_without_a_match_waits_for_no_writer(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    caller, answered = shops[1].caller(now), []

    def ask() -> None:
        sought = [Sought(FILE, ((PDQ,),))]
        answered.append(match_evidence(ledger, caller, sought, now).seen)

    asking = Thread(target=ask)
    with begin_write(ledger.database):
        asking.start()
        asking.join(5)
        meanwhile = list(answered)
    asking.join()
    assert meanwhile == [(None,)]


def test_both_kinds_of_questions_search_in_a_snapshot_and_then_write(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    a.send(forgery(a, FILE, PDQ, now), now)
    settle(ledger, now)
    sought, said = (Sought(FILE, ((PDQ,),)),), []
    asked = b.request("buyer", ())._replace(evidence=sought)
    event.listen(
        ledger.database.engine, "before_cursor_execute", lambda *call: said.append(call[2])
    )
    for ask in (
        partial(match_evidence, ledger, b.caller(now), sought, now),
        partial(assess_risk, ledger, b.caller(now), asked, now),
    ):
        said.clear()
        ask()
        told = [one.split()[0] for one in said]
        search = next(place for place, one in enumerate(said) if "evidence.digest = " in one)
        begun = search - 1 - told[search - 1 :: -1].index("BEGIN")
        writing = told.index("BEGIN", search)
        assert said[begun] == ("BEGIN" if ledger.database.embedded else SNAPSHOT)
        assert said[writing] == ("BEGIN IMMEDIATE" if ledger.database.embedded else "BEGIN")
        assert told.index("INSERT") > writing


def test_what_is_withdrawn_between_search_and_record_is_not_told_and_the_rest_is(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, c = shops
    said, sought = forgery(a, FILE, PDQ, now), [Sought(FILE, ((PDQ,),))]
    farther = forgery(a, digest("farther"), near(3), now)
    for one in (said, farther):
        a.send(one, now)
    settle(ledger, now)
    with begin_read(ledger.database, snapshot=True) as connection:
        found = recognise(connection, sought, c.group)
    assert [one.distance for one in found[0]] == [None]
    a.send(withdrawal(a, said, now), now)
    b.send(forgery(b, digest("later"), near(7), now), now)
    settle(ledger, now)
    with begin_write(ledger.database) as connection:
        (kept,) = hold(connection, found, sought, c.group)
    assert {(one.group, one.distance) for one in kept} == {(a.group, 2), (b.group, 3)}
