"""An answer is computed again from the prefix of the log that it names, whatever came later."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from erasing import decide
from exact import settle
from reports import claim
from simulator import phone_and_device
from sqlalchemy import update
from worlds import World

from ledger.answering import find_assessment, show_merchant
from ledger.assessing import assess_batch, assess_risk
from ledger.errors import InputsErased, UnknownAssessment
from ledger.identity.identifier import Bucket, Kind
from ledger.incident.taxonomy import Conduct
from ledger.recording import VALID_FOR, Asking
from ledger.replaying import replay_assessment
from ledger.risk.advice import Purpose
from ledger.store.engine import begin_write
from ledger.store.tables import assessment

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Simulator

    from ledger.ledger import Ledger

BUYER = phone_and_device("buyer")


def test_every_answer_of_random_worlds_is_replayed_to_the_last_integer(
    backend: str, ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    shops = [simulator(f"shop-{name}") for name in "abc"]
    given: list[tuple[Simulator, str]] = []
    for number in range(6 if backend == "sqlite" else 2):
        world = World(number, shops, now, crowded=number % 2 == 0)
        for _ in range(5):
            for _ in range(3):
                report = world.draw_report()
                world.reporter_of(report.issuer).send(report, now)
            settle(ledger, now)
            asker = world.random.choice(shops)
            kinds = world.random.sample(list(Kind), 4)
            asked = asker.request(f"{number}-0", world.draw_claims(kinds))
            at = now + timedelta(days=world.random.choice([0, 400]))
            given.append((asker, assess_risk(ledger, asker.caller(now), asked, at).id))
    scores = set()
    for asker, answer_id in given:
        replayed = replay_assessment(ledger, asker.caller(now), answer_id)
        assert replayed.differing == ()
        scores.add(replayed.score.score)
    assert len(scores) > 3


def test_replay_ignores_what_was_stated_after_the_answer(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    a, b, c = (simulator(f"shop-{name}") for name in "abc")
    sent = a.report("one", BUYER, now)
    settle(ledger, now)
    answer_id = assess_risk(ledger, c.caller(now), c.request("asked", BUYER), now).id
    b.report("two", BUYER, now)
    a.report("one", (claim(Kind.PAY, "card"), *BUYER), now)
    a.send(a.restitution(sent.report, now), now)
    c.send(c.unlinking("asked", b.account("two"), now), now)
    c.send(c.marking("asked", (), now), now)
    settle(ledger, now)
    replayed = replay_assessment(ledger, c.caller(now), answer_id)
    assert (replayed.differing, replayed.score.score) == ((), 374)
    later = c.ask("asked", BUYER, now)
    assert (later["basis"], later["score"]) != ("same_person", 370)
    again = replay_assessment(ledger, c.caller(now), str(later["id"]))
    assert (again.differing, again.score.protected) == ((), True)


def test_replay_says_that_inputs_are_gone_once_they_were_taken_back(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    a, b = simulator("shop-a"), simulator("shop-b")
    sent = a.report("one", BUYER, now)
    settle(ledger, now)
    relied = assess_risk(ledger, b.caller(now), b.request("asked", BUYER), now).id
    other = assess_risk(ledger, b.caller(now), b.request("else", ()), now).id
    a.retract(sent, now)
    settle(ledger, now)
    with pytest.raises(InputsErased):
        replay_assessment(ledger, b.caller(now), relied)
    assert replay_assessment(ledger, b.caller(now), other).differing == ()


def test_answer_that_rested_on_what_was_erased_is_shown_to_nobody_again(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    a, b = simulator("shop-a"), simulator("shop-b")
    sent = a.report("one", BUYER, now)
    settle(ledger, now)
    caller = b.caller(now)
    relied = assess_risk(ledger, caller, b.request("asked", BUYER), now).id
    other = assess_risk(ledger, caller, b.request("else", ()), now)
    assert find_assessment(ledger, caller, relied).id == relied
    decide(ledger, sent.incident_id, now)
    for recall in (find_assessment, show_merchant, replay_assessment):
        with pytest.raises(InputsErased) as told:
            recall(ledger, caller, relied)
        assert told.value.detail == (
            "The statement in log entry 3 was erased since, and this answer may rest on it."
        )
    assert find_assessment(ledger, caller, other.id).text == other.text
    assert replay_assessment(ledger, caller, other.id).differing == ()
    after = assess_risk(ledger, caller, b.request("asked", BUYER), now)
    assert find_assessment(ledger, caller, after.id).text == after.text


@pytest.mark.parametrize(
    ("erased", "named"),
    [(2, "3 and 5"), (10, "3, 5, 7, 9, 11, 13, 15, 17, 19 and 21"), (12, "19, 21 and 2 more")],
)
def test_entries_that_were_erased_are_named_up_to_ten(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime, erased: int, named: str
) -> None:
    a, b = simulator("shop-a"), simulator("shop-b")
    sent = [a.report(f"buyer {number}", BUYER, now) for number in range(12)]
    settle(ledger, now)
    asking = Asking("batch", b"one body")
    many = [b.request("asked", BUYER)]
    assess_batch(ledger, b.caller(now), many, now, asking)
    for one in sent[:erased]:
        decide(ledger, one.incident_id, now)
    with pytest.raises(InputsErased) as told:
        assess_batch(ledger, b.caller(now), many, now + VALID_FOR, asking)
    assert told.value.detail.startswith("The statements in log entries 3")
    rest = f"{named} were erased since, and this answer may rest on them."
    assert told.value.detail.endswith(rest)


def test_idempotency_key_shows_nothing_that_rested_on_what_was_erased(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    a, b = simulator("shop-a"), simulator("shop-b")
    sent = a.report("one", BUYER, now)
    settle(ledger, now)
    caller = b.caller(now)
    relied = b.request("asked", BUYER)._replace(idempotency_key="relied")
    other = b.request("else", ())._replace(idempotency_key="other")
    given = [assess_risk(ledger, caller, one, now) for one in (relied, other)]
    many = [b.request("asked", BUYER), b.request("else", ())]
    asking = Asking("batch", b"one body")
    batch = assess_batch(ledger, caller, many, now, asking)
    late = now + timedelta(days=300)
    assert assess_risk(ledger, caller, relied, late) == given[0]
    assert assess_batch(ledger, caller, many, late, asking) == batch
    decide(ledger, sent.incident_id, now)
    soon = now + VALID_FOR - timedelta(microseconds=1)  # an answer that was lost on its way
    assert assess_risk(ledger, caller, relied, soon) == given[0]
    assert assess_batch(ledger, caller, many, soon, asking) == batch
    for at in (now + VALID_FOR, late):
        with pytest.raises(InputsErased):
            assess_risk(ledger, caller, relied, at)
        with pytest.raises(InputsErased):
            assess_batch(ledger, caller, many, at, asking)
        assert assess_risk(ledger, caller, other, at) == given[1]


def test_later_recycling_or_correction_is_no_tampering(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    a, b = simulator("shop-a"), simulator("shop-b")
    sent = b.report("one", BUYER, now)
    settle(ledger, now)
    relied = assess_risk(ledger, a.caller(now), a.request("asked", BUYER), now).id
    b.send(b.correction(sent.report, now, identifiers=(claim(Kind.PAY, "other"),)), now)
    settle(ledger, now)
    with pytest.raises(InputsErased):
        replay_assessment(ledger, a.caller(now), relied)


def test_order_in_which_hubs_were_presented_is_no_difference(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    asker = simulator("shop-a")
    hubs = [claim(kind, "everybody's", here=Bucket.MASS) for kind in list(Kind)[1:]]
    for order in (hubs, hubs[::-1]):
        given = assess_risk(ledger, asker.caller(now), asker.request("asked", order), now)
        told = json.loads(given.text)["ignored_links"]
        assert [one["kind"] for one in told] == [kind.value for kind in list(Kind)[1:]]
        assert replay_assessment(ledger, asker.caller(now), given.id).differing == ()


def test_replay_names_what_was_changed_in_a_recorded_answer(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    a, b = simulator("shop-a"), simulator("shop-b")
    a.report("one", BUYER, now, conduct=Conduct.ITEM_SWAP)
    settle(ledger, now)
    given = assess_risk(ledger, b.caller(now), b.request("asked", BUYER), now)
    forged = json.loads(given.text) | {"level": "HIGH", "score": 900}
    with begin_write(ledger.database) as connection:
        connection.execute(update(assessment).values(answer=json.dumps(forged), score=901))
    replayed = replay_assessment(ledger, b.caller(now), given.id)
    assert replayed.differing == ("score", "level", "exact_score")
    with pytest.raises(UnknownAssessment):
        replay_assessment(ledger, a.caller(now), given.id)


def test_merchant_sees_the_band_and_the_time_and_nothing_else(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    a, b = simulator("shop-a"), simulator("shop-b")
    a.report("one", BUYER, now)
    settle(ledger, now)
    given = assess_risk(ledger, b.caller(now), b.request("asked", BUYER), now)
    assert show_merchant(ledger, b.caller(now), given.id) == {
        "assessment": given.id,
        "level": "MEDIUM",
        "review_window_hours": 48,
        "valid_until": "2026-11-22T12:10:00Z",
    }
    with pytest.raises(UnknownAssessment):
        show_merchant(ledger, a.caller(now), given.id)


def test_time_to_review_tells_a_merchant_that_low_is_not_granted_and_not_which_of_two_causes(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    """At a checkout the marker is the only cause: docs/scoring.md and the threat model say so."""
    a, b = simulator("shop-a"), simulator("shop-b")
    shared = (claim(Kind.PAY, "card"), claim(Kind.DEVICE, "tablet"))
    a.report("one", shared, now)
    b.send(b.marking("marked", (), now), now)
    settle(ledger, now)
    hours = []
    for purpose in (Purpose.REFUND_ONLY_CLAIM, Purpose.CHECKOUT):
        for buyer, tokens in (("nobody", ()), ("marked", ()), ("flatmate", shared)):
            question = b.request(buyer, tokens, purpose=purpose)
            given = assess_risk(ledger, b.caller(now), question, now)
            shown = show_merchant(ledger, b.caller(now), given.id)
            assert shown["level"] == "LOW"
            hours.append(shown["review_window_hours"])
    assert hours == [0, 48, 48, 0, 48, 0]
