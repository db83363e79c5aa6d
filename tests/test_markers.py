"""Protective markers: a buyer is asked who they are, and nothing else changes for them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import overriding
import pytest
from exact import settle
from kept import audit
from overriding import BUYER, DAY, DEVICE, PHONE, ask
from reports import claim
from sqlalchemy import select

from ledger.activating import activate_due
from ledger.errors import (
    EventRefused,
    IncidentNotReported,
    SchemaViolation,
)
from ledger.identity.identifier import Kind
from ledger.incident.incident import Money
from ledger.incident.taxonomy import MarkerKind
from ledger.replaying import replay_assessment
from ledger.store.engine import begin_read
from ledger.store.overrides import MARKERS_MAX
from ledger.store.tables import marker

if TYPE_CHECKING:
    from datetime import datetime

    from simulator import Simulator

    from ledger.ledger import Ledger

shops = overriding.shops


# --- Protective markers ------------------------------------------------------------------------


def test_marker_asks_for_proof_of_identity_while_it_lasts_and_changes_no_score(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    email = claim(Kind.EMAIL, "marked")
    a.send(a.marking("them", (email.identifier,), now, kind=MarkerKind.IMPERSONATED), now)
    told = ask(ledger, b, now, email)
    assert (told.score, told.basis, told.protected) == (0, "protected", True)
    answer = b.ask("somebody", (email,), now)
    assert answer["basis"] == "protected"
    assert answer["advice"]["action"] == "require_identity_proof"
    assert a.ask("them", (), now)["basis"] == "protected"
    late = now + timedelta(days=331)
    assert b.ask("somebody", (email,), late)["advice"]["action"] == "grant"
    assert audit(ledger) == ()


@pytest.mark.parametrize("reverse", [False, True])
def test_days_between_two_markers_are_marked_by_neither(
    reverse: bool, ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    email = claim(Kind.EMAIL, "marked")
    marking = a.marking("them", (email.identifier,), now)
    days = [(-300, -290), (300, 310), (301, 309), (305, 320)]
    for first, last in days[::-1] if reverse else days:
        begins, until = now + first * DAY, now + last * DAY
        a.send(replace(marking, jti=a.next_id("evt"), begins=begins, until=until), now)
    for day, basis in ((-301, False), (-295, True), (0, False), (300, True), (320, True)):
        at = now + day * DAY
        assert ask(ledger, b, at, email).protected is basis
        assert ask(ledger, a, at, buyer="them").protected is basis
        if day >= 0:
            answer = b.ask("somebody", (email,), at)
            assert replay_assessment(ledger, b.caller(at), str(answer["id"])).differing == ()
    with begin_read(ledger.database) as connection:
        rows = connection.execute(select(marker.c.first_day, marker.c.last_day)).all()
    assert len(rows) == 2 * 3  # what lies within another isn't kept
    assert audit(ledger) == ()


def test_of_one_members_markers_those_that_end_last_are_kept(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, c = shops
    phone = PHONE.identifier
    for place in (3, 1, 4, 0, 2, 5):
        for shop, kind in ((a, MarkerKind.TAKEOVER_VICTIM), (a, MarkerKind.IMPERSONATED)):
            begins = now + 20 * place * DAY
            said = shop.marking("them", (phone,), now, kind=kind)
            shop.send(replace(said, begins=begins, until=begins + 10 * DAY), now)
    settle(ledger, now)
    with begin_read(ledger.database) as connection:
        rows = connection.execute(select(marker.c.identifier, marker.c.kind)).all()
    assert set(Counter((row[0], row[1]) for row in rows).values()) == {MARKERS_MAX}
    told = [ask(ledger, c, now + 20 * place * DAY, PHONE).protected for place in range(6)]
    assert told == [False, False, True, True, True, True]
    b.send(replace(b.marking("them", (phone,), now), until=now + 5 * DAY), now)
    assert ask(ledger, c, now, PHONE).protected  # another member's word has places of its own
    assert audit(ledger) == ()


def test_marker_never_weakens_advice(ledger: Ledger, shops: list[Simulator], now: datetime) -> None:
    a, b, c = shops
    for shop in (a, b):
        for _ in range(3):
            shop.report("buyer", BUYER, now)
    a.send(a.marking("them", (PHONE.identifier,), now), now)
    settle(ledger, now)
    answer = c.ask("asked", BUYER, now)
    assert (answer["score"], answer["basis"]) == (680, "protected")
    assert answer["advice"]["action"] == "human_review"


def test_victims_marker_waives_the_incidents_of_the_takeover_and_none_later(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    stolen = a.report("buyer", BUYER, now)
    kept = a.report("buyer", BUYER, now)
    held = a.send(a.held_incident("buyer", BUYER, now, now + DAY), now)
    names = (stolen.report.jti, held.report.jti)
    a.send(a.marking("buyer", (), now, incidents=names), now)
    assert ask(ledger, b, now).incidents == 1
    assert activate_due(ledger, now + DAY) == 1
    a.send(a.correction(stolen.report, now, amount=Money(300_000, "CNY")), now)
    told = ask(ledger, b, now)
    assert (told.incidents, told.score) == (1, 374)
    a.report("buyer", BUYER, now)
    assert ask(ledger, b, now).score == 473
    a.retract(stolen, now)
    a.retract(kept, now)
    assert ask(ledger, b, now).incidents == 1
    assert audit(ledger) == ()


def test_markers_time_is_held_against_the_corrected_date(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    sent = a.report("buyer", BUYER, now)
    ended = sent.report.conduct_ended_at
    moved = a.correction(sent.report, now, conduct_ended_at=ended - 9 * DAY)
    a.send(moved, now)
    late = replace(
        a.marking("buyer", (), now, incidents=(sent.report.jti,)),
        begins=ended - DAY,
        until=ended + DAY,
    )
    with pytest.raises(EventRefused):
        a.send(late, now)
    a.send(replace(late, begins=ended - 10 * DAY), now)
    assert ask(ledger, b, now).incidents == 0
    with pytest.raises(IncidentNotReported):
        a.send(a.marking("buyer", (), now, incidents=(moved.jti,)), now)


@pytest.mark.parametrize(
    ("wrong", "refusal"),
    [
        ({"incident_jtis": ("unknown",)}, IncidentNotReported),
        ({"kind": MarkerKind.IMPERSONATED}, EventRefused),
        ({"account": "else"}, EventRefused),
        ({"begins": timedelta(days=1), "until": timedelta(days=2)}, EventRefused),
        ({"until": timedelta(days=500)}, SchemaViolation),
        ({"until": timedelta(days=-40)}, SchemaViolation),
        ({"identifiers": (DEVICE.identifier,)}, SchemaViolation),
    ],
)
def test_marker_that_says_too_much_is_refused(
    wrong: dict[str, Any],
    refusal: type[Exception],
    ledger: Ledger,
    shops: list[Simulator],
    now: datetime,
) -> None:
    a = shops[0]
    sent = a.report("buyer", BUYER, now)
    changes = {
        name: now + value if isinstance(value, timedelta) else value
        for name, value in wrong.items()
    }
    if "account" in changes:
        changes["account"] = a.account("else")
    marking: Any = a.marking("buyer", (), now, incidents=(sent.report.jti,))
    said = replace(marking, **changes)
    with pytest.raises(refusal):
        a.send(said, now)
    assert ask(ledger, shops[1], now).score == 374
