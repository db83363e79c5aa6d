"""An operator erases, a submitter acknowledges: who may, when, and what is told afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from erasing import decide, dispute, stored_of
from exact import settle
from kept import BUYER, audit, hold, nothing_kept, read_log, report_of, see
from simulator import Simulator

from ledger.erasing import Decision, decide_erasure, list_erased
from ledger.errors import (
    Conflict,
    ContentErased,
    EventIdReused,
    EventRefused,
    IncidentClosed,
    IncidentNotReported,
    InvalidInput,
    SchemaViolation,
    UnknownIncident,
)
from ledger.identity.token import payload_of
from ledger.incident.statement import parse_event
from ledger.log.leaf import EntryReason, Op
from ledger.reporting import accept_event
from ledger.store.engine import begin_read
from ledger.store.overrides import count_decided_before
from ledger_client.receipt import verify_standing

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ledger.identity.identifier import IdentifierClaim
    from ledger.ledger import Ledger

DAY = timedelta(days=1)


@pytest.fixture
def shop(simulator: Callable[[str], Simulator]) -> Simulator:
    """Give a platform that reports."""
    return simulator("shop-a")


# --- What an operator decides -------------------------------------------------------------------


def test_erased_incident_weighs_nothing_and_its_entry_says_why(
    shop: Simulator, now: datetime
) -> None:
    sent = shop.report("buyer", BUYER, now)
    assert see(shop, sent, now)[0] == "active"
    receipt = shop.fetch_receipt(sent.incident_id, now)
    assert shop.ask("buyer", BUYER, now)["score"] > 0
    decided = decide(shop.ledger, sent.incident_id, now)
    assert decided.is_final, "in a sandbox one person is enough"
    assert see(shop, sent, now) == ("erased", 2)
    last = read_log(shop.ledger)[-1]
    assert (last.op, last.reason, last.ref) == (Op.ERASED, EntryReason.BUYER_REQUESTED, 2)
    assert shop.ask("buyer", BUYER, now)["score"] == 0
    told = shop.look_up(sent.incident_id, now)
    assert (told.acknowledgement, told.response_until, told.active_from) == (None, None, None)
    assert told.erasure_acknowledgement_due
    with pytest.raises(ContentErased):
        shop.fetch_receipt(sent.incident_id, now)
    proved = verify_standing(receipt, shop.ledger.vkey, event=sent.token, status=None, now=now)
    assert proved.receipt.opened, "whoever kept token and receipt can still prove the record"
    assert audit(shop.ledger) == ()


def test_outside_a_sandbox_two_persons_decide(
    found_ledger: Callable[[str], Ledger], now: datetime
) -> None:
    ledger = found_ledger("CN")
    shop = Simulator(ledger, "shop-a")
    shop.enrol(now)
    sent = shop.send(shop.incident("buyer", epoch_1(), now), now)
    settle(ledger, now)
    first = decide(ledger, sent.incident_id, now)
    assert not first.is_final
    assert stored_of(ledger, sent).sealed is not None
    for same in ("Kim", "kim", " KIM ", "\uff2bim", "\u212aim"):  # full width, the Kelvin sign
        with pytest.raises(Conflict):
            decide(ledger, sent.incident_id, now, person=same, confirms=first.jti)
    for wrong in ("evt_unknown", sent.report.jti):
        with pytest.raises(Conflict):
            decide(ledger, sent.incident_id, now, person="Lee", confirms=wrong)
    for_another_reason = Decision(sent.incident_id, Op.ERASED, "ordered", "Lee", first.jti)
    with pytest.raises(Conflict):
        decide_erasure(ledger, for_another_reason, now)
    assert stored_of(ledger, sent).sealed is not None
    second = decide(ledger, sent.incident_id, now, person="Lee", confirms=first.jti)
    assert second.is_final
    assert stored_of(ledger, sent).sealed is None
    reasons = [leaf.reason for leaf in read_log(ledger) if leaf.op is Op.ERASED]
    assert reasons == [EntryReason.FIRST_OF_TWO, EntryReason.BUYER_REQUESTED]
    assert audit(ledger) == ()


def test_first_of_two_overturns_nothing(
    found_ledger: Callable[[str], Ledger], now: datetime
) -> None:
    ledger = found_ledger("CN")
    shop = Simulator(ledger, "shop-a")
    shop.enrol(now)
    sent = shop.send(shop.incident("buyer", epoch_1(), now), now)
    settle(ledger, now)
    dispute(ledger, sent.incident_id, now)
    first = decide(ledger, sent.incident_id, now, Op.EXPUNGED)
    with begin_read(ledger.database) as connection:
        assert count_decided_before(connection, 100)[1] == (0, 0)
    decide(ledger, sent.incident_id, now, Op.EXPUNGED, person="Lee", confirms=first.jti)
    with begin_read(ledger.database) as connection:
        assert count_decided_before(connection, 100)[1] == (0, 1)
    assert "reliability-differs" not in {one.code for one in audit(ledger)}


def epoch_1() -> tuple[IdentifierClaim, ...]:
    """Claim the one identifier that a ledger of real people takes here."""
    phone = BUYER[0]
    return (phone._replace(identifier=phone.identifier._replace(epoch=1, value=ELEMENT)),)


# The encoding of a ristretto255 element (RFC 9496 appendix A.1, the generator).
ELEMENT = bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76")


def test_only_a_disputed_incident_is_expunged_and_it_counts_as_overturned(
    shop: Simulator, now: datetime
) -> None:
    sent = shop.report("buyer", BUYER, now)
    settle(shop.ledger, now)
    with pytest.raises(IncidentClosed), nothing_kept(shop.ledger):
        decide(shop.ledger, sent.incident_id, now, Op.EXPUNGED)
    dispute(shop.ledger, sent.incident_id, now)
    decide(shop.ledger, sent.incident_id, now, Op.EXPUNGED)
    assert see(shop, sent, now)[0] == "expunged"
    with begin_read(shop.ledger.database) as connection:
        assert count_decided_before(connection, 100)[1] == (0, 1)


def test_what_no_operator_may_decide_is_refused_and_leaves_nothing(
    shop: Simulator, now: datetime
) -> None:
    sent = shop.report("buyer", BUYER, now)
    settle(shop.ledger, now)
    name = sent.incident_id
    wrong = [
        (Decision("inc_unknown", Op.ERASED, "ordered", "Kim"), UnknownIncident),
        (Decision(name, Op.ERASED, "unfounded", "Kim"), InvalidInput),
        (Decision(name, Op.ERASED, "ordered", " "), InvalidInput),
        (Decision(name, Op.ERASED, "ordered", "K" * 65), InvalidInput),
        (Decision(name, Op.ERASED, "ordered", "K\nim"), InvalidInput),
    ]
    for decision, refusal in wrong:
        with pytest.raises(refusal), nothing_kept(shop.ledger):
            decide_erasure(shop.ledger, decision, now)
    decide(shop.ledger, name, now)
    with pytest.raises(IncidentClosed), nothing_kept(shop.ledger):
        decide(shop.ledger, name, now)


def test_what_is_pending_is_judged_before_the_decision(shop: Simulator, now: datetime) -> None:
    sent = shop.report("buyer", BUYER, now)
    decide(shop.ledger, sent.incident_id, now)
    assert see(shop, sent, now)[0] == "erased"
    assert audit(shop.ledger) == ()


def test_held_and_retracted_incidents_are_erased_too(shop: Simulator, now: datetime) -> None:
    held = hold(shop, now, until=now + DAY)
    gone = shop.report("gone", BUYER, now)
    settle(shop.ledger, now)
    shop.retract(gone, now)
    settle(shop.ledger, now)
    for one in (held, gone):
        decide(shop.ledger, one.incident_id, now)
        assert see(shop, one, now)[0] == "erased"
    assert audit(shop.ledger) == ()


# --- What a platform may still say --------------------------------------------------------------


def test_nothing_can_be_said_about_an_erased_report(shop: Simulator, now: datetime) -> None:
    sent = shop.report("buyer", BUYER, now)
    settle(shop.ledger, now)
    decide(shop.ledger, sent.incident_id, now)
    report = report_of(sent)
    for said in (shop.retraction(report, now), shop.correction(report, now)):
        with pytest.raises(IncidentClosed):
            shop.send(said, now)
    with pytest.raises(IncidentClosed):
        shop.send(shop.marking("buyer", (), now, incidents=(report.jti,)), now)
    with pytest.raises(EventIdReused):
        shop.send(report, now)


def test_retraction_whose_answer_was_lost_is_known_again_and_no_other_is(
    shop: Simulator, now: datetime
) -> None:
    first, second = (shop.report(name, BUYER, now) for name in "ab")
    said = shop.retraction(report_of(first), now)
    token = shop.sign(said)
    accept_event(shop.ledger, token, now)
    settle(shop.ledger, now)
    with nothing_kept(shop.ledger):
        again = accept_event(shop.ledger, token, now)
        assert (again.incident_id, again.repeated) == (first.incident_id, True)
        other = report_of(second)
        with pytest.raises(EventIdReused):
            shop.send(replace(said, incident_jti=other.jti, txn=other.txn), now)
        with pytest.raises(EventIdReused):
            shop.send(replace(shop.incident("c", BUYER, now), jti=said.jti), now)


def test_acknowledgement_is_taken_once_and_only_of_what_was_erased(
    shop: Simulator, simulator: Callable[[str], Simulator], now: datetime
) -> None:
    sent = shop.report("buyer", BUYER, now)
    settle(shop.ledger, now)
    said = shop.acknowledgement(report_of(sent), now)
    with pytest.raises(EventRefused):
        shop.send(said, now)
    shop.retract(sent, now)
    settle(shop.ledger, now)
    with pytest.raises(EventRefused):
        shop.send(replace(said, txn="another case"), now)
    other = simulator("shop-b")
    with pytest.raises(IncidentNotReported):
        other.send(replace(said, issuer=other.uri), now)
    (row,) = list_erased(shop.ledger, now + 3 * DAY, unacknowledged=True)
    assert (row.state, row.age, row.jti) == ("retracted", 3 * DAY, report_of(sent).jti)
    shop.send(said, now)
    settle(shop.ledger, now)
    assert list_erased(shop.ledger, now, unacknowledged=True) == []
    (row,) = list_erased(shop.ledger, now, unacknowledged=False)
    assert row.acknowledged_at == now
    last = read_log(shop.ledger)[-1]
    assert (last.op, last.reason, last.ref) == (Op.ERASURE_ACKNOWLEDGED, EntryReason.NONE, 2)
    with pytest.raises(EventRefused):
        shop.send(shop.acknowledgement(report_of(sent), now), now)
    assert audit(shop.ledger) == ()


def test_acknowledgement_names_the_report_alone(shop: Simulator, now: datetime) -> None:
    said = shop.acknowledgement(shop.incident("buyer", BUYER, now), now)
    payload = payload_of(shop.sign(said))
    assert b"acct-buyer" not in payload
    assert parse_event(payload) == said
    with pytest.raises(SchemaViolation):
        parse_event(payload.replace(b'"opaque","id":"evt-', b'"opaque","id":"other-'))
