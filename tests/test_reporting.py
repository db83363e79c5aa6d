"""Reports and retractions as they are accepted, sequenced and looked up, on both databases.

Which tokens are accepted is tested elsewhere (test_event_tokens, test_event_claims); here is what
becomes of them. On PostgreSQL a statement is pending until `settle` does the worker's work.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from exact import settle
from kept import BUYER, hold, nothing_kept, read_log, report_of, see

from ledger.deriving import open_event
from ledger.errors import (
    CaseReported,
    EventIdReused,
    EventRefused,
    EventTooOld,
    IncidentClosed,
    IncidentNotReported,
    InsufficientScope,
    StandardNotMet,
    UnknownIncident,
)
from ledger.identity.identifier import AccountRef
from ledger.identity.key import Algorithm
from ledger.identity.token import ACKNOWLEDGEMENT_TYPE, STATUS_TYPE, verify_ledger_statement
from ledger.incident.incident import IncidentReport, Money
from ledger.log.leaf import NO_REF, EntryReason, Op, commit
from ledger.reporting import accept_event, sign_status
from ledger.store import entries
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator import Simulator


DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)


@pytest.fixture
def shop(simulator: Callable[[str], Simulator]) -> Simulator:
    """Give a platform that reports."""
    return simulator("shop-a")


@pytest.fixture
def other(simulator: Callable[[str], Simulator]) -> Simulator:
    """Give another platform."""
    return simulator("shop-b")


# --- Reports -----------------------------------------------------------------------------------


def test_report_whose_window_has_passed_is_active_at_once_by_two_entries(
    shop: Simulator, now: datetime
) -> None:
    before = len(read_log(shop.ledger)) if shop.ledger.database.embedded else 2
    sent = shop.report("buyer", BUYER, now)
    assert see(shop, sent, now) == ("active", before)
    confirmed, activated = read_log(shop.ledger)[before:]
    assert (confirmed.op, confirmed.reason, confirmed.ref) == (
        Op.INCIDENT_CONFIRMED,
        EntryReason.NONE,
        NO_REF,
    )
    assert (activated.op, activated.reason, activated.ref) == (
        Op.ACTIVATED,
        EntryReason.WINDOW_PASSED,
        before,
    )
    assert shop.ask("buyer", BUYER, now)["score"] > 0


def test_report_whose_window_is_open_is_held_by_one_entry_and_weighs_nothing(
    shop: Simulator, now: datetime
) -> None:
    sent = hold(shop, now, until=now + DAY)
    assert see(shop, sent, now) == ("held", 2)
    assert [leaf.op for leaf in read_log(shop.ledger)[2:]] == [Op.INCIDENT_CONFIRMED]
    seen = shop.look_up(sent.incident_id, now)
    assert (seen.active_from, seen.response_until) == (now + DAY, now + DAY)
    assert shop.ask("buyer", BUYER, now)["score"] == 0


def test_report_is_received_until_it_is_sequenced(shop: Simulator, now: datetime) -> None:
    sent = shop.report("buyer", BUYER, now)
    seen = shop.look_up(sent.incident_id, now)
    embedded = shop.ledger.database.embedded
    assert (seen.state, seen.log_index) == (("active", 2) if embedded else ("received", None))


def test_exact_repeat_is_answered_as_before_and_keeps_nothing(
    shop: Simulator, now: datetime
) -> None:
    sent = shop.report("buyer", BUYER, now)
    signed_anew = shop.sign(sent.statement)
    for at in (now, now + 8 * DAY, now + 400 * DAY):
        for token in (sent.token, signed_anew):
            with nothing_kept(shop.ledger):
                again = accept_event(shop.ledger, token, at)
            assert (again.incident_id, again.repeated) == (sent.incident_id, True)
        settle(shop.ledger, at)


def test_repeat_signed_anew_by_another_key_of_the_platform_is_a_repeat(
    simulator: Callable[..., Simulator], now: datetime
) -> None:
    shop = simulator("shop-e", algorithm=Algorithm.ES256)
    sent = shop.report("buyer", BUYER, now)
    signed_anew = shop.sign(sent.statement)
    assert signed_anew != sent.token  # ECDSA signs differently each time
    with nothing_kept(shop.ledger):
        assert accept_event(shop.ledger, signed_anew, now).incident_id == sent.incident_id


def test_same_jti_with_another_content_is_refused(shop: Simulator, now: datetime) -> None:
    sent = shop.report("buyer", BUYER, now)
    for other_content in (
        replace(sent.statement, txn="another case"),
        replace(report_of(sent), amount=Money(1, "CNY")),
        replace(shop.retraction(report_of(sent), now), jti=sent.statement.jti),
    ):
        with nothing_kept(shop.ledger), pytest.raises(EventIdReused):
            shop.send(other_content, now)


def test_same_case_under_another_jti_is_refused(shop: Simulator, now: datetime) -> None:
    sent = shop.report("buyer", BUYER, now)
    with nothing_kept(shop.ledger), pytest.raises(CaseReported):
        shop.send(replace(sent.statement, jti="another"), now)
    shop.retract(sent, now)
    with nothing_kept(shop.ledger), pytest.raises(CaseReported):
        shop.send(replace(sent.statement, jti="another"), now)


def test_same_jti_and_case_of_another_platform_are_another_report(
    shop: Simulator, other: Simulator, now: datetime
) -> None:
    sent = shop.report("buyer", BUYER, now)
    theirs = other.report("buyer", BUYER, now, jti=sent.statement.jti, txn=sent.statement.txn)
    assert theirs.incident_id != sent.incident_id
    assert see(other, theirs, now)[0] == see(shop, sent, now)[0] == "active"


def test_refusal_keeps_nothing(shop: Simulator, now: datetime) -> None:
    honest = shop.incident("buyer", BUYER, now)
    refusals: list[tuple[IncidentReport, datetime, type[EventRefused | StandardNotMet]]] = [
        (replace(honest, proof=replace(honest.proof, buyer_heard=False)), now, StandardNotMet),
        (replace(honest, notice=None), now, StandardNotMet),
        (honest, now + 7 * DAY + timedelta(seconds=1), EventTooOld),
    ]
    for report, at, refusal in refusals:
        with nothing_kept(shop.ledger), pytest.raises(refusal):
            shop.send(report, at)
    assert shop.send(honest, now).accepted.repeated is False


# --- Retractions -------------------------------------------------------------------------------


def test_retraction_takes_the_weight_of_an_active_incident_away_at_once(
    shop: Simulator, other: Simulator, now: datetime
) -> None:
    sent = shop.report("buyer", BUYER, now)
    settle(shop.ledger, now)
    assert other.ask("them", BUYER, now)["score"] > 0
    taken_back = shop.retract(sent, now)
    assert taken_back.incident_id == sent.incident_id
    assert see(shop, sent, now) == ("retracted", 3)
    last = read_log(shop.ledger)[-1]
    assert (last.op, last.reason, last.ref) == (Op.RETRACTED, EntryReason.NONE, 3)
    assert other.ask("them", BUYER, now)["score"] == 0


def test_retraction_that_has_no_right_is_refused(
    shop: Simulator, other: Simulator, now: datetime
) -> None:
    sent, theirs = shop.report("buyer", BUYER, now), other.report("buyer", BUYER, now)
    report = report_of(sent)
    honest = shop.retraction(report, now)
    sneaky = replace(other.retraction(report, now), account=other.account("buyer"))
    for by, retraction, refusal in (
        (other, sneaky, IncidentNotReported),
        (shop, replace(honest, incident_jti="unknown"), IncidentNotReported),
        (shop, replace(honest, incident_jti=theirs.statement.jti), IncidentNotReported),
        (shop, replace(honest, account=AccountRef(shop.uri, "acct-else")), EventRefused),
        (shop, replace(honest, txn="another case"), EventRefused),
    ):
        with nothing_kept(shop.ledger), pytest.raises(refusal) as caught:
            by.send(retraction, now)
        assert caught.type is refusal
    assert see(shop, sent, now)[0] == "active"


def test_retraction_of_a_retraction_is_refused(shop: Simulator, now: datetime) -> None:
    sent = shop.report("buyer", BUYER, now)
    taken_back = shop.retract(sent, now)
    undone = shop.retraction(report_of(sent), now, incident_jti=taken_back.statement.jti)
    with nothing_kept(shop.ledger), pytest.raises(IncidentNotReported):
        shop.send(undone, now)


@pytest.mark.parametrize("settled", [True, False])
def test_second_retraction_is_refused_and_the_first_repeated_is_answered(
    shop: Simulator, now: datetime, *, settled: bool
) -> None:
    sent = shop.report("buyer", BUYER, now)
    first = shop.retract(sent, now)
    if settled:
        settle(shop.ledger, now)
    with nothing_kept(shop.ledger):
        with pytest.raises(IncidentClosed):
            shop.retract(sent, now)
        assert accept_event(shop.ledger, first.token, now + 9 * DAY).repeated


def test_retracted_report_is_never_created_again(shop: Simulator, now: datetime) -> None:
    sent = shop.report("buyer", BUYER, now)
    shop.retract(sent, now)
    settle(shop.ledger, now)
    with nothing_kept(shop.ledger):
        for again in (report_of(sent), replace(report_of(sent), amount=Money(1, "CNY"))):
            with pytest.raises(EventIdReused):
                shop.send(again, now)
        with pytest.raises(CaseReported):
            shop.report("buyer", BUYER, now, txn=report_of(sent).txn)
    assert see(shop, sent, now)[0] == "retracted"


# --- What the reporter is told -----------------------------------------------------------------


def test_acknowledgement_verifies_under_the_log_s_key_and_its_commitment_opens(
    shop: Simulator, now: datetime
) -> None:
    ledger = shop.ledger
    sent = shop.report("buyer", BUYER, now)
    early = shop.look_up(sent.incident_id, now).acknowledgement
    settle(ledger, now)
    seen = shop.look_up(sent.incident_id, now)
    assert early is not None
    assert seen.acknowledgement == early, "a promise doesn't change"
    claims = verify_ledger_statement(
        early, ledger.public_jwks["keys"][0], typ=ACKNOWLEDGEMENT_TYPE, issuer=ledger.issuer
    ).claims
    with begin_read(ledger.database) as connection:
        stored = entries.find_entry_event(connection, seen.log_index or 0)
    assert stored is not None
    assert stored.salt is not None
    assert open_event(ledger, stored) == sent.token
    commitment = commit(stored.salt, sent.token)
    assert read_log(ledger)[seen.log_index or 0].commitment == commitment
    assert claims == {
        "iss": ledger.issuer,
        "jti": sent.statement.jti,
        "commitment": commitment.hex(),
        "received_at": "2026-11-22T12:00:00Z",
        "sequenced_within_seconds": 60,
    }


def test_status_says_how_an_incident_stands_and_since_when_that_is_known(
    shop: Simulator, now: datetime
) -> None:
    ledger, caller = shop.ledger, shop.caller(now)
    sent = shop.report("buyer", BUYER, now)
    told = []
    for state in ("active", "retracted"):
        if state == "retracted":
            shop.retract(sent, now)
        settle(ledger, now)
        signed = sign_status(ledger, caller, sent.incident_id, now)
        key = ledger.public_jwks["keys"][0]
        told.append(verify_ledger_statement(signed, key, typ=STATUS_TYPE, issuer=ledger.issuer))
    expected = {
        "iss": ledger.issuer,
        "jti": sent.statement.jti,
        "index": 2,
        "as_of": "2026-11-22T12:00:00Z",
    }
    assert [one.claims for one in told] == [
        expected | {"state": "active"},
        expected | {"state": "retracted"},
    ]


def test_nobody_but_its_reporter_sees_an_incident(
    shop: Simulator, other: Simulator, now: datetime
) -> None:
    sent = shop.report("buyer", BUYER, now)
    settle(shop.ledger, now)
    for incident_id in (sent.incident_id, "inc_unknown", ""):
        with pytest.raises(UnknownIncident):
            other.look_up(incident_id, now)
        with pytest.raises(UnknownIncident):
            sign_status(other.ledger, other.caller(now), incident_id, now)
    asking_only = replace(shop.caller(now), scopes=frozenset({"risk:read"}))
    with pytest.raises(InsufficientScope):
        sign_status(shop.ledger, asking_only, sent.incident_id, now)
