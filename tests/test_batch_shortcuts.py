"""What batches do once for most questions stays out of the way of the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from exact import settle
from reports import claim
from simulator import phone_and_device
from sqlalchemy import select, update
from test_batches import told

from ledger.assessing import assess_batch, assess_risk
from ledger.errors import OrderConflict
from ledger.governing import try_policy
from ledger.identity.identifier import Bucket, Kind
from ledger.risk.advice import Purpose
from ledger.store.assessments import GivenAnswer
from ledger.store.engine import begin_read, begin_write
from ledger.store.tables import assessment, multiplicity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from simulator import Simulator

    from ledger.assessing import AssessmentRequest
    from ledger.ledger import Ledger

BUYER = phone_and_device("liu")


@pytest.mark.parametrize("bound_first", [True, False])
def test_order_that_is_bound_is_held_to_it_beside_one_that_is_new(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime, *, bound_first: bool
) -> None:
    asker = simulator("shop-a")
    caller, names = asker.caller(now), ("a", "b")
    old, new = names if bound_first else names[::-1]
    whole = asker.request("liu", BUYER)._replace(order_commitment=old)
    assess_batch(ledger, caller, [whole], now)
    fewer = whole._replace(identifiers=BUYER[:1])
    other = whole._replace(account=asker.account("wang"))
    fresh = asker.request("wang", BUYER)._replace(order_commitment=new)
    answers = assess_batch(ledger, caller, [fewer, fresh, other, whole], now)
    assert [type(one) for one in answers] == [
        *(OrderConflict, GivenAnswer, OrderConflict, GivenAnswer),
    ]


def test_order_that_a_batch_asks_about_twice_is_bound_to_the_first(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    asker = simulator("shop-a")
    caller = asker.caller(now)
    first = asker.request("liu", BUYER, order="one")
    second = asker.request("wang", BUYER, order="one")
    answers = assess_batch(ledger, caller, [first, second], now)
    assert [type(one) for one in answers] == [GivenAnswer, OrderConflict]
    assert isinstance(assess_batch(ledger, caller, [first], now)[0], GivenAnswer)


def both(
    ledger: Ledger, asker: Simulator, asked: Sequence[AssessmentRequest], now: datetime
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Ask one by one and at once, of other orders."""
    caller = asker.caller(now)
    alone = [told(assess_risk(ledger, caller, one, now)) for one in asked]
    again = [one._replace(order_commitment=f"{one.order_commitment}x") for one in asked]
    return alone, [told(one) for one in assess_batch(ledger, caller, again, now)]


def test_marked_buyer_and_crowded_token_without_any_record_are_told_in_batches_too(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    reporter, asker = simulator("shop-a"), simulator("shop-b")
    crowded = claim(Kind.ADDR, "a tower")
    for buyer in ("liu", "chen"):
        reporter.report(buyer, (crowded,), now)
    asker.send(asker.marking("wang", (), now), now)
    settle(ledger, now)
    with begin_write(ledger.database) as connection:
        connection.execute(update(multiplicity).values(accounts=500))
    asked = [asker.request("wang", BUYER), asker.request("zhao", (crowded,))]
    alone, together = both(ledger, asker, asked, now)
    assert together == alone
    assert [one["basis"] for one in together] == ["protected", "no_record"]
    assert together[1]["ignored_links"] == [{"kind": "addr", "reason": "hub"}]


def test_answers_about_nobody_differ_by_purpose_and_by_what_was_ignored(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    asker = simulator("shop-a")
    settle(ledger, now)
    crowd = claim(Kind.EMAIL, "everybody", here=Bucket.MASS)
    asked = [
        asker.request("liu", tokens, purpose=purpose)
        for purpose in Purpose
        for tokens in (BUYER, (*BUYER, crowd))
    ]
    alone, together = both(ledger, asker, asked, now)
    assert together == alone
    actions = [one["advice"] and one["advice"]["action"] for one in together]
    assert actions == ["grant", "grant", "proceed", "proceed", *[None] * 6]
    hub = [{"kind": "email", "reason": "hub"}]
    assert [one["ignored_links"] for one in together] == [[], hub] * 5


def test_policy_that_is_tried_scores_buyers_without_a_record_in_batches_too(
    ledger: Ledger, simulator: Callable[..., Simulator], policy_text: str, now: datetime
) -> None:
    asker = simulator("shop-a")
    settle(ledger, now)
    number = try_policy(ledger, policy_text.replace("version = 1", "version = 2", 1), now)
    assess_batch(ledger, asker.caller(now), [asker.request("liu", BUYER)], now)
    with begin_read(ledger.database) as connection:
        kept = connection.execute(select(assessment.c.shadow)).scalar_one()
    assert json.loads(kept)["version"] == number
