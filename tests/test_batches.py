"""Many questions at once: each is answered and recorded as if it had been asked alone."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from exact import read_index, settle
from pydantic import TypeAdapter
from reports import claim
from simulator import phone_and_device
from sqlalchemy import func, select
from worlds import World

from api.questions import QUESTION, RiskAssessmentRequest, read_question
from ledger.answering import find_assessment, show_merchant
from ledger.assessing import Subject, assess_batch, assess_risk, count_portfolio
from ledger.errors import (
    InvalidIdentifier,
    InvalidInput,
    InvalidIssuer,
    OrderConflict,
    SchemaViolation,
    UnknownAssessment,
)
from ledger.identity.identifier import (
    AccountRef,
    Binding,
    Bucket,
    Identifier,
    IdentifierClaim,
    Kind,
)
from ledger.store.assessments import GivenAnswer
from ledger.store.engine import begin_read
from ledger.store.tables import assessed_order, assessment

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Simulator

    from ledger.assessing import AssessmentRequest
    from ledger.ledger import Ledger


def told(answer: object) -> dict[str, Any]:
    """Give an answer without what no two answers share."""
    assert isinstance(answer, GivenAnswer)
    return {k: v for k, v in json.loads(answer.text).items() if k != "id"}


def count(ledger: Ledger) -> tuple[int, int]:
    """Count recorded answers and bound orders."""
    with begin_read(ledger.database) as connection:
        answers, orders = (
            int(connection.execute(select(func.count()).select_from(table)).scalar_one())
            for table in (assessment, assessed_order)
        )
    return answers, orders


def test_batch_answers_each_question_as_it_would_be_answered_alone(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    shops = [
        simulator(f"shop-{name}", group=group) for name, group in zip("abc", "112", strict=True)
    ]
    worlds = [World(number, shops, now, crowded=number % 2 == 0) for number in range(6)]
    for world in worlds:
        for _ in range(9):
            report = world.draw_report()
            world.reporter_of(report.issuer).send(report, now)
    settle(ledger, now)
    asker = shops[0]
    asker.send(asker.unlinking("0-0", shops[1].account("0-1"), now), now)
    asker.send(asker.marking("1-0", (), now), now)
    settle(ledger, now)
    questions: list[AssessmentRequest] = []
    for world in worlds:
        for buyer in ("0", "1", "unknown"):
            kinds = world.random.sample(list(Kind), world.random.randint(1, 6))
            tokens = world.draw_claims(kinds)
            questions.append(asker.request(f"{world.label}-{buyer}", tokens))
    caller = asker.caller(now)
    alone = [assess_risk(ledger, caller, one, now) for one in questions]
    again = [one._replace(order_commitment=f"{one.order_commitment}x") for one in questions]
    together = assess_batch(ledger, caller, again, now)
    assert [told(one) for one in together] == [told(one) for one in alone]
    assert len({told(one)["score"] for one in alone}) > 5
    assert count(ledger) == (2 * len(questions), 2 * len(questions))
    assert assess_batch(ledger, caller, questions, now)  # of orders that were asked about before


def test_order_conflict_refuses_its_own_question_and_no_other(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    asker = simulator("shop-a")
    phone, device = phone_and_device("liu")
    more = claim(Kind.PAY, "card")
    whole = asker.request("liu", (phone, device), order="one")
    fewer = asker.request("liu", (phone,), order="one")
    wider = asker.request("liu", (phone, device, more), order="one")
    other = asker.request("wang", (phone, device), order="two")
    questions = [whole, fewer, wider, whole, other]
    answers = assess_batch(ledger, asker.caller(now), questions, now)
    assert [type(one) for one in answers] == [
        *(GivenAnswer, OrderConflict, GivenAnswer, OrderConflict, GivenAnswer),
    ]
    settle(ledger, now)
    assert count(ledger) == (3, 2)
    with pytest.raises(OrderConflict):
        assess_risk(ledger, asker.caller(now), whole, now)


def test_nothing_of_a_batch_is_recorded_where_one_question_is_invalid(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    asker = simulator("shop-a")
    good = asker.request("liu", phone_and_device("liu"))
    foreign = good._replace(account=AccountRef("https://shop-b.example", "liu"))
    blinded = IdentifierClaim(Identifier(Kind.PAY, 1, bytes(32)), Binding.PSP, None, Bucket.ONE)
    for wrong, refusal in (
        (foreign, InvalidIssuer),
        (good._replace(identifiers=(blinded,)), InvalidIdentifier),
    ):
        with pytest.raises(refusal):
            assess_batch(ledger, asker.caller(now), [good, wrong], now)
    assert count(ledger) == (0, 0)
    settle(ledger, now)


def test_portfolio_counts_levels_about_and_names_nobody(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    reporter, asker = simulator("shop-a"), simulator("shop-b")
    for number in range(19):
        reporter.report(str(number), phone_and_device(str(number)), now)
    settle(ledger, now)
    rows = read_index(ledger)
    questions = [
        Subject(asker.account(str(number)), phone_and_device(str(number))) for number in range(1000)
    ]
    answer = json.loads(count_portfolio(ledger, asker.caller(now), questions, now).text)
    levels = answer["levels"]
    assert 960 <= levels["LOW"] <= 990
    assert 0 <= levels["MEDIUM"] <= 20
    assert 0 <= levels["HIGH"] <= 10
    assert all(number % 10 == 0 for number in levels.values())
    again = json.loads(count_portfolio(ledger, asker.caller(now), questions[::-1], now).text)
    assert again["levels"] == levels  # asking again tells nothing more
    changed = set()
    for number in range(60):  # one account more or less can't be told by difference
        others = [*questions[1:], Subject(asker.account(f"other {number}"), ())]
        told = json.loads(count_portfolio(ledger, asker.caller(now), others, now).text)
        changed.add(told["levels"]["MEDIUM"])
    assert len(changed) > 1
    assert answer["subjects"] == 1000
    assert set(answer) == {
        *("id", "assessed_at", "subjects", "levels", "policy_version", "log"),
    }
    assert count(ledger) == (62, 0)
    assert read_index(ledger) == rows


def test_portfolio_is_of_many_accounts_that_share_next_to_nothing(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    asker = simulator("shop-a")
    caller = asker.caller(now)
    accounts = [Subject(asker.account(str(number)), ()) for number in range(1000)]
    phone = phone_and_device("victim")[:1]
    probing = [one._replace(identifiers=phone) for one in accounts[:4]]
    for wrong in ([accounts[0]] * 1000, [*probing, *accounts[4:]]):
        with pytest.raises(InvalidInput):
            count_portfolio(ledger, caller, wrong, now)
    assert count(ledger) == (0, 0)
    counted = count_portfolio(ledger, caller, [*probing[:3], *accounts[3:]], now)
    with pytest.raises(UnknownAssessment):
        show_merchant(ledger, caller, counted.id)
    with pytest.raises(UnknownAssessment):
        find_assessment(ledger, caller, counted.id)
    settle(ledger, now)


def test_two_texts_of_one_key_are_one_identifier() -> None:
    body: dict[str, Any] = deepcopy(QUESTION)
    phone, device = list(body["context"]["bindings"])
    again = phone.replace("bcl1.0.", "bcl1.1.")
    body["subject"]["identifiers"][2]["id"] = again
    body["context"]["bindings"][again] = body["context"]["bindings"].pop(device)
    asked = TypeAdapter(RiskAssessmentRequest).validate_json(json.dumps(body))
    with pytest.raises(SchemaViolation):
        read_question(asked, b"", None)
