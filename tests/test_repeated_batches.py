"""A batch or a portfolio that is sent again under its Idempotency-Key gets what it got before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from exact import settle
from reports import claim
from simulator import phone_and_device, render_portfolio, render_question
from test_batches import count
from test_http_answers import Wire, problem

from ledger.answering import find_assessment
from ledger.assessing import Subject, assess_batch, assess_risk, count_portfolio
from ledger.errors import IdempotencyKeyReused, OrderConflict, UnknownAssessment
from ledger.identity.identifier import Kind
from ledger.recording import Asking
from ledger.store.assessments import GivenAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from simulator import Simulator

    from ledger.assessing import AssessmentRequest
    from ledger.ledger import Ledger

BUYER = phone_and_device("buyer")
ONE = Asking("key-1", b"one body")
OTHER = Asking("key-1", b"another body")


def plain(told: Sequence[GivenAnswer | OrderConflict]) -> list[object]:
    return [one if isinstance(one, GivenAnswer) else one.detail for one in told]


def ask_for(asker: Simulator) -> list[AssessmentRequest]:
    """Give a question, one that conflicts with it, and one of another buyer."""
    return [
        asker.request("liu", BUYER, order="one"),
        asker.request("liu", BUYER[:1], order="one"),
        asker.request("wang", (claim(Kind.PAY, "card"),), order="two"),
    ]


def test_repeated_batch_gets_the_same_answers_and_refusals_and_is_recorded_once(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    reporter, asker = simulator("shop-a"), simulator("shop-b")
    settle(ledger, now)
    caller, questions = asker.caller(now), ask_for(asker)
    first = assess_batch(ledger, caller, questions, now, ONE)
    assert [type(one) for one in first] == [GivenAnswer, OrderConflict, GivenAnswer]
    recorded = count(ledger)
    reporter.report("liu", BUYER, now)  # which a new answer would tell
    settle(ledger, now)
    assert plain(assess_batch(ledger, caller, questions, now, ONE)) == plain(first)
    assert count(ledger) == recorded
    assert plain(assess_batch(ledger, caller, questions, now)) != plain(first)
    theirs = reporter.caller(now)
    own = assess_batch(ledger, theirs, [reporter.request("liu", BUYER)], now, ONE)
    assert isinstance(own[0], GivenAnswer)  # the key is of one platform


def test_batch_of_refusals_alone_is_repeated_too(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    asker = simulator("shop-a")
    settle(ledger, now)
    whole, fewer, _ = ask_for(asker)
    assess_risk(ledger, asker.caller(now), whole, now)
    first = assess_batch(ledger, asker.caller(now), [fewer], now, ONE)
    assert plain(assess_batch(ledger, asker.caller(now), [fewer], now, ONE)) == plain(first)
    with pytest.raises(IdempotencyKeyReused):
        assess_batch(ledger, asker.caller(now), [fewer], now, OTHER)


def test_key_of_one_body_answers_no_other_whichever_way_it_is_asked(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    asker = simulator("shop-a")
    settle(ledger, now)
    caller = asker.caller(now)
    subjects = [Subject(asker.account(str(number)), ()) for number in range(3)]
    counted = count_portfolio(ledger, caller, subjects, now, ONE)
    assert count_portfolio(ledger, caller, subjects, now, ONE) == counted
    single = asker.request("liu", BUYER)
    assert single.digest != ONE.digest
    before = count(ledger)
    with pytest.raises(IdempotencyKeyReused):
        count_portfolio(ledger, caller, subjects, now, OTHER)
    with pytest.raises(IdempotencyKeyReused):
        assess_batch(ledger, caller, ask_for(asker), now, OTHER)
    assert count(ledger) == before
    with pytest.raises(UnknownAssessment):
        find_assessment(ledger, caller, counted.id)


def test_batch_that_arrives_twice_at_once_is_answered_once(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    asker = simulator("shop-a")
    settle(ledger, now)
    caller, questions = asker.caller(now), ask_for(asker)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(assess_batch, ledger, caller, questions, now, ONE) for _ in range(4)]
        told = [plain(one.result()) for one in asked]
    assert told == told[:1] * 4
    assert count(ledger) == (3, 2)  # two answers, and which they are


def test_keys_of_batches_and_portfolios_hold_on_the_wire(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    wire = Wire(ledger, simulator, now)
    with wire.http as http:
        shop, access = wire.join("shop-a")
        wire.work()
        keyed = access | {"Idempotency-Key": "batch-1"}
        asked = [render_question(one) for one in ask_for(shop.platform)]
        batch = {"questions": asked}
        first = http.post("/v1/risk-assessments/batch", json=batch, headers=keyed)
        again = http.post("/v1/risk-assessments/batch", json=batch, headers=keyed)
        assert (first.status_code, again.content) == (200, first.content)
        fewer = {"questions": asked[:1]}
        other = http.post("/v1/risk-assessments/batch", json=fewer, headers=keyed)
        assert problem(other) == (409, "idempotency-key-reused")
        portfolio: Any = render_portfolio(ask_for(shop.platform)[0], 1000)
        keyed = access | {"Idempotency-Key": "portfolio-1"}
        counted = [
            http.post("/v1/portfolio-statistics", json=portfolio, headers=keyed) for _ in range(2)
        ]
        assert counted[0].status_code == 200
        assert counted[0].content == counted[1].content
        few = portfolio | {"subjects": portfolio["subjects"][1:]}
        refused = http.post("/v1/portfolio-statistics", json=few, headers=access)
        assert refused.json()["errors"][0]["detail"] == "At least 1,000 subjects are needed."
