"""What changes a report or overrides a link: each has its effect, and none has another.

Everything is stated by real signed events; scores are those of the one read that answers take.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import overriding
import pytest
from exact import read_index, settle
from kept import audit
from overriding import BUYER, DAY, PHONE, ask
from reports import claim
from simulator import phone_and_device
from sqlalchemy import update

from ledger.activating import activate_due
from ledger.errors import (
    EventRefused,
    IncidentClosed,
    IncidentNotReported,
    InvalidIdentifier,
    SchemaViolation,
    StandardNotMet,
)
from ledger.identity.identifier import AccountRef, Identifier, Kind
from ledger.incident.incident import Money
from ledger.incident.taxonomy import Actor, Conduct
from ledger.log.leaf import EntryReason, parse_leaf
from ledger.store import entries, overrides
from ledger.store.engine import begin_read, begin_write
from ledger.store.tables import platform

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Sent, Simulator

    from ledger.incident.statement import Statement
    from ledger.ledger import Ledger

shops = overriding.shops


# --- Corrections and restitution ---------------------------------------------------------------


def test_correction_replaces_what_a_report_weighs_and_whom_it_links(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    sent = shops[0].report("buyer", (*BUYER, claim(Kind.PAY, "wrong")), now)
    assert ask(ledger, shops[1], now).score == 374
    breach = shops[0].correction(sent.report, now, conduct=Conduct.WARDROBING, identifiers=BUYER)
    shops[0].send(breach, now)
    assert ask(ledger, shops[1], now).score < 250
    assert ask(ledger, shops[1], now, claim(Kind.PAY, "wrong")).basis == "no_record"
    other = shops[0].report("twin", phone_and_device("twin"), now, conduct=Conduct.WARDROBING)
    told = ask(ledger, shops[1], now, *phone_and_device("twin"))
    assert told.score == ask(ledger, shops[1], now).score
    shops[0].retract(sent, now)
    shops[0].retract(other, now)
    settle(ledger, now)
    assert read_index(ledger) == []
    assert audit(ledger) == ()


def test_correction_of_a_held_report_counts_when_it_is_activated(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    until = now + 3 * DAY
    sent = shops[0].send(shops[0].held_incident("buyer", BUYER, now, until), now)
    settle(ledger, now)
    honest = shops[0].incident("buyer", BUYER, now, txn=sent.report.txn, conduct=Conduct.WARDROBING)
    said = shops[0].correction(replace(honest, jti=sent.report.jti), now)
    shops[0].send(said, now)
    assert ask(ledger, shops[1], now).basis == "no_record"
    assert activate_due(ledger, until) == 1
    assert 0 < ask(ledger, shops[1], until).score < 250
    assert audit(ledger) == ()


def test_restitution_halves_an_incident_once_and_for_good(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    sent = shops[0].report("buyer", BUYER, now)
    shops[0].send(shops[0].restitution(sent.report, now), now)
    assert ask(ledger, shops[1], now).score == 264  # S = 500,000
    with pytest.raises(EventRefused):
        shops[0].send(shops[0].restitution(sent.report, now), now)
    large = Money(300_000, "CNY")
    shops[0].send(shops[0].correction(sent.report, now, amount=large), now)
    assert ask(ledger, shops[1], now).groups[0].weight == 415_384  # 0.9 · sat(2U, 600,000)
    assert audit(ledger) == ()


@pytest.mark.parametrize("change", ["correction", "restitution"])
def test_change_of_a_closed_or_unknown_or_other_report_is_refused(
    change: str, ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    sent = shops[0].report("buyer", BUYER, now)
    make = getattr(shops[0], change)
    with pytest.raises(IncidentNotReported):
        shops[0].send(replace(make(sent.report, now), incident_jti="nothing"), now)
    with pytest.raises(EventRefused):
        shops[0].send(replace(make(sent.report, now), txn="another case"), now)
    shops[0].retract(sent, now)
    with pytest.raises(IncidentClosed):
        shops[0].send(make(sent.report, now), now)
    settle(ledger, now)


def test_correction_is_judged_like_a_report(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    sent = shops[0].report("buyer", BUYER, now)
    proof = sent.report.proof
    alone = replace(proof, evidence=proof.evidence[:1])
    with pytest.raises(StandardNotMet):
        shops[0].send(shops[0].correction(sent.report, now, proof=alone), now)
    notice = sent.report.notice
    assert notice is not None
    late = replace(notice, response_until=now + DAY)
    with pytest.raises(EventRefused):
        shops[0].send(shops[0].correction(sent.report, now, notice=late), now)
    assert ask(ledger, shops[1], now).score == 374


def test_second_restitution_that_raced_the_first_has_no_effect(
    backend: str, ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    if backend == "sqlite":
        pytest.skip("SQLite sequences each statement before it takes the next")
    sent = shops[0].report("buyer", BUYER, now)
    retraction = shops[0].retraction(sent.report, now)
    shops[0].send(shops[0].restitution(sent.report, now), now)
    shops[0].send(retraction, now)
    settle(ledger, now)
    assert read_index(ledger) == []
    with begin_read(ledger.database) as connection:
        leaves = [parse_leaf(entry) for _, entry, _ in entries.stream_entries(connection)]
    assert leaves[-1].reason is EntryReason.NONE


# --- Separated accounts ------------------------------------------------------------------------


def test_separated_accounts_are_never_linked_whichever_is_asked_about(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, c = shops
    a.report("one", BUYER, now)
    b.report("two", BUYER, now)
    told = ask(ledger, b, now, buyer="two")
    assert (told.score, told.basis) == (545, "same_person")
    b.send(b.unlinking("two", a.account("one"), now), now)
    told = ask(ledger, b, now, buyer="two")
    assert (told.score, told.basis) == (374, "own_account")
    assert ask(ledger, a, now, buyer="one").basis == "own_account"
    assert ask(ledger, b, now, buyer="another").score == 545  # of whom nothing was said
    assert ask(ledger, c, now, buyer="two").score == 545
    assert audit(ledger) == ()


def test_separation_holds_for_what_is_reported_later(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    b.send(b.unlinking("two", a.account("one"), now), now)
    sent = a.report("one", BUYER, now)
    assert ask(ledger, b, now, buyer="two").basis == "no_record"
    a.retract(sent, now)
    settle(ledger, now)
    a.report("one", BUYER, now)
    assert ask(ledger, b, now, buyer="two").basis == "no_record"


def test_separation_needs_two_holders_or_two_different_nids(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    nids = [claim(Kind.NID, name).identifier for name in ("one", "two")]
    said = b.unlinking("two", a.account("one"), now)
    b.send(replace(said, nids=tuple(nids), live_checks=()), now)
    wrongs: tuple[dict[str, Any], ...] = (
        {"nids": (nids[0], nids[0]), "live_checks": ()},
        {"nids": (nids[0], PHONE.identifier), "live_checks": ()},
        {"live_checks": said.live_checks[:1] * 2},
        {"other": b.account("two")},
    )
    for wrong in wrongs:
        with pytest.raises(SchemaViolation):
            b.send(replace(said, jti=b.next_id("evt"), **wrong), now)
    foreign = replace(said, jti=b.next_id("evt"), account=AccountRef(a.uri, "acct-one"))
    with pytest.raises(SchemaViolation):
        b.send(foreign, now)
    settle(ledger, now)


# --- Recycled identifiers ----------------------------------------------------------------------


def test_recycled_number_stops_linking_its_declarers_accounts_and_everybodys_by_a_second_word(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, c = shops
    a.report("old", BUYER, now)
    b.report("old", BUYER, now)
    assert ask(ledger, c, now).score == 545
    later = now + DAY
    a.send(a.recycling(PHONE.identifier, later), later)
    told = ask(ledger, c, later)
    assert len(told.groups) == 1  # by phone and device still at b
    assert [part.kind for part in told.links] == [Kind.DEVICE]  # the device alone leads to a
    b.send(b.recycling(PHONE.identifier, later), later)
    told = ask(ledger, c, later)
    assert (told.groups, {part.kind for part in told.links}) == ((), {Kind.DEVICE})
    assert ask(ledger, c, later, PHONE).basis == "no_record"
    assert ask(ledger, a, later, *BUYER, buyer="old").basis == "own_account"
    assert audit(ledger) == ()


def test_third_partys_word_alone_cuts_nobodys_links(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, c = shops
    a.report("old", BUYER, now)
    later = now + DAY
    c.send(c.recycling(PHONE.identifier, later), later)
    assert ask(ledger, b, later).basis == "same_person"
    again = replace(c.recycling(PHONE.identifier, later), recycled_at=later - 9 * DAY)
    c.send(again, later)
    b.send(b.recycling(PHONE.identifier, later), later)
    assert ask(ledger, b, later).basis == "association"


def test_new_holder_of_a_recycled_number_is_linked_by_what_is_reported_since(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    a.report("old", (PHONE,), now)
    recycled = replace(a.recycling(PHONE.identifier, now + DAY), recycled_at=now + DAY)
    a.send(recycled, now + DAY)
    a.report("new", (PHONE,), now + 3 * DAY)
    told = ask(ledger, b, now + 3 * DAY, PHONE)
    assert (told.incidents, [part.kind for part in told.links]) == (1, [Kind.PHONE])
    late = a.incident("old", (PHONE, claim(Kind.PAY, "old")), now + 3 * DAY)
    before = replace(late, conduct_ended_at=now - DAY)
    a.send(before, now + 3 * DAY)  # the old holder's conduct of old
    assert ask(ledger, b, now + 3 * DAY, PHONE) == told
    assert ask(ledger, b, now + 3 * DAY, claim(Kind.PAY, "old")).incidents == 2
    assert audit(ledger) == ()


@pytest.mark.parametrize("recycled_first", [True, False])
def test_recycling_and_reports_give_the_same_rows_in_either_order_and_retraction_restores(
    recycled_first: bool, ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, _, _ = shops
    kept = a.report("kept", (PHONE, claim(Kind.PAY, "kept")), now + 3 * DAY)
    cut = a.incident("old", BUYER, now)
    said = a.recycling(PHONE.identifier, now + DAY)
    settle(ledger, now)
    statements: list[Statement] = [said, cut] if recycled_first else [cut, said]
    sent: list[Sent] = [a.send(one, now + DAY) for one in statements]
    settle(ledger, now)
    on_phone = [row for row in read_index(ledger) if row[2] == Kind.PHONE.code]
    assert [row[0] for row in on_phone] == ["edge", "identifier", "posting"], "who was kept alone"
    by_report = next(one for one in sent if one.statement is cut)
    a.retract(by_report, now + DAY)
    a.retract(kept, now + 4 * DAY)
    settle(ledger, now)
    assert [row[0] for row in read_index(ledger)] == ["identifier"]  # the recycled number alone
    assert audit(ledger) == ()


def test_nid_is_never_recycled_nor_anything_before_its_time(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    said = shops[0].recycling(claim(Kind.NID, "somebody").identifier, now)
    with pytest.raises(SchemaViolation):
        shops[0].send(said, now)
    early = replace(shops[0].recycling(PHONE.identifier, now), recycled_at=now + DAY)
    with pytest.raises(SchemaViolation):
        shops[0].send(early, now)
    blinded = Identifier(Kind.PHONE, 3, bytes(32))
    with pytest.raises(InvalidIdentifier):
        shops[0].send(shops[0].recycling(blinded, now), now)
    settle(ledger, now)


# --- Reliability -------------------------------------------------------------------------------


def test_reporter_weighs_less_with_each_overturned_report_and_its_whole_group_with_it(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    a = simulator("shop-a", group="one")
    twin = simulator("shop-b", group="one")
    asker = simulator("shop-c")
    a.report("buyer", BUYER, now)
    before = ask(ledger, asker, now)
    with begin_write(ledger.database) as connection:
        overrides.count_decided(connection, 1, (0, 5))
    told = ask(ledger, asker, now)
    assert (before.groups[0].weight, told.groups[0].weight) == (599_999, 479_999)  # 18 / 25
    late = simulator("shop-d", group="one")  # who shares the record of its group
    late.report("late", phone_and_device("late"), now)
    assert ask(ledger, asker, now, *phone_and_device("late")).groups[0].weight == 479_999
    twin.report("else", phone_and_device("else"), now)
    assert ask(ledger, asker, now, *phone_and_device("else")).groups[0].weight == 479_999
    with begin_write(ledger.database) as connection:
        overrides.count_decided(connection, 1, (75, 0))
    assert ask(ledger, asker, now).groups[0].weight == 619_999  # 93 / 100
    with begin_write(ledger.database) as connection:
        connection.execute(update(platform).values(upheld=0, overturned=0))
    assert ask(ledger, asker, now) == before


@pytest.mark.parametrize("actor", [Actor.COERCED_OR_MULE])
def test_correction_to_a_coerced_actor_leaves_no_trace(
    actor: Actor, ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    sent = shops[0].report("buyer", BUYER, now)
    shops[0].send(shops[0].correction(sent.report, now, actor=actor), now)
    settle(ledger, now)
    assert read_index(ledger) == []
