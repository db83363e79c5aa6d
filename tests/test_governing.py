"""Policies as data: published in the log, tried in the shadow, compared on what was asked."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT
from exact import POLICY, settle
from kept import audit
from reports import claim, sample_outcome
from simulator import phone_and_device
from sqlalchemy import select

from ledger.answering import record_outcome
from ledger.assessing import assess_batch, assess_risk
from ledger.backtesting import backtest_policies
from ledger.errors import InvalidInput, UnknownPolicy
from ledger.governing import (
    describe_policy,
    list_policies,
    publish_policy,
    shadow_disagreements,
    try_policy,
)
from ledger.identity.identifier import Kind
from ledger.incident.incident import Money
from ledger.ledger import open_ledger
from ledger.replaying import replay_assessment
from ledger.risk.advice import Purpose
from ledger.risk.policy import parse_policy
from ledger.store.engine import begin_read
from ledger.store.tables import assessment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from simulator import Simulator

    from ledger.ledger import Ledger
    from ledger.rights.jurisdiction import JurisdictionProfile

TEXT = (ROOT / "config" / "policy.toml").read_text("utf-8")
BUYER = phone_and_device("buyer")


def rewrite(version: int, *changes: tuple[str, str]) -> str:
    """Write another policy."""
    text = TEXT.replace("version = 1\n", f"version = {version}\n", 1)
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    return text


STRICT = ("require_live_evidence = 250", "require_live_evidence = 100")
MEDIUM = ("medium = 250", "medium = 400")


def test_published_policy_scores_from_its_entry_on_in_every_process(
    ledger: Ledger,
    simulator: Callable[..., Simulator],
    profiles: Mapping[str, JurisdictionProfile],
    now: datetime,
) -> None:
    reporter, asker = simulator("shop-a"), simulator("shop-b")
    reporter.report("p", BUYER, now)
    settle(ledger, now)
    url = ledger.database.engine.url.render_as_string(hide_password=False)
    another = open_ledger(url, ledger.keys, profiles)
    caller = asker.caller(now)
    before = json.loads(assess_risk(another, caller, asker.request("q", BUYER), now).text)
    assert publish_policy(ledger, rewrite(2, MEDIUM), now) == 2
    settle(ledger, now)
    after = json.loads(assess_risk(another, caller, asker.request("r", BUYER), now).text)
    another.database.engine.dispose()
    assert [(one["policy_version"], one["level"]) for one in (before, after)] == [
        (1, "MEDIUM"),
        (2, "LOW"),
    ]
    assert replay_assessment(ledger, caller, before["id"]).differing == ()
    assert replay_assessment(ledger, caller, after["id"]).differing == ()
    assert [(one.version, one.in_force) for one in list_policies(ledger)] == [
        (1, False),
        (2, True),
    ]
    assert describe_policy(ledger, 2).members["level"] == {"medium": 400, "high": 600}
    assert audit(ledger) == ()


def test_incident_weighs_by_the_policy_in_force_at_its_entry(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    reporter, asker = simulator("shop-a"), simulator("shop-b")
    reporter.report("before", BUYER, now)
    settle(ledger, now)
    publish_policy(ledger, rewrite(2, ("fraud = 1000", "fraud = 2000")), now)
    settle(ledger, now)
    sent = reporter.report("after", phone_and_device("other"), now)
    settle(ledger, now)
    assert asker.ask("q", BUYER, now)["score"] == 370
    assert asker.ask("r", phone_and_device("other"), now)["score"] == 470
    reporter.retract(sent, now)
    settle(ledger, now)
    assert asker.ask("s", phone_and_device("other"), now)["score"] == 0
    assert audit(ledger) == ()


@pytest.mark.parametrize(
    "text",
    [
        rewrite(1),
        rewrite(3),
        rewrite(2, ("epoch = 2024-01-01", "epoch = 2024-01-02")),
        rewrite(2, ("organised = 730", "organised = 700")),
        rewrite(2, ("A = 1500", "A = 15000")),
        "version = 2",
        "nonsense",
    ],
    ids=["same version", "gap", "epoch", "half-life", "too heavy", "fields", "no TOML"],
)
def test_policy_that_cannot_follow_is_refused_and_leaves_nothing(
    text: str, ledger: Ledger, now: datetime
) -> None:
    with pytest.raises(InvalidInput):
        publish_policy(ledger, text, now)
    assert len(list_policies(ledger)) == 1
    with pytest.raises(UnknownPolicy):
        describe_policy(ledger, 2)


def shadows(ledger: Ledger) -> list[Any]:
    """Give what was recorded of the tried policy, oldest first."""
    with begin_read(ledger.database) as connection:
        rows = connection.execute(select(assessment.c.shadow).order_by(assessment.c.id))
        return [json.loads(one) if one else None for one in rows.scalars()]


def test_tried_policy_is_scored_beside_the_live_one_and_never_shown(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    reporter, asker = simulator("shop-a"), simulator("shop-b")
    reporter.report("p", (*BUYER, claim(Kind.ADDR, "home")), now)
    settle(ledger, now)
    later = [now + timedelta(seconds=second) for second in range(5)]
    plain = asker.ask("q", BUYER, later[0])
    number = try_policy(ledger, rewrite(7, MEDIUM, ("fraud = 365", "fraud = 365")), now)
    answers = [asker.ask(f"r{n}", BUYER, later[n]) for n in (1, 2)]
    caller = asker.caller(now)
    assess_batch(ledger, caller, [asker.request("s", BUYER)], later[3])
    assert try_policy(ledger, None, now) == 0
    asker.ask("t", BUYER, later[4])
    kept = {"score": 374, "level": "LOW", "action": "require_live_evidence", "version": number}
    assert shadows(ledger) == [None, kept, kept, kept, None]
    unlike = {"id", "assessed_at", "valid_until"}
    for one in answers:
        assert {k: v for k, v in one.items() if k not in unlike} == {
            k: v for k, v in plain.items() if k not in unlike
        }
    counted = shadow_disagreements(ledger, number)
    assert counted == {("MEDIUM", "require_live_evidence", "LOW", "require_live_evidence"): 3}
    assert try_policy(ledger, rewrite(7), now) == number + 1
    with pytest.raises(InvalidInput):
        try_policy(ledger, rewrite(2, ("organised = 730", "organised = 700")), now)
    assert audit(ledger) == ()


def test_backtest_counts_what_another_policy_would_have_changed(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    reporter, asker = simulator("shop-a"), simulator("shop-b")
    shared = claim(Kind.PAY, "card")
    reporter.report("p", (*BUYER, shared), now)
    gone = reporter.report("gone", phone_and_device("gone"), now)
    settle(ledger, now)
    caller = asker.caller(now)

    def ask(buyer: str, amount: str, *tokens: Any) -> str:
        asked = asker.request(buyer, tokens, amount=Money(int(amount), "CNY"))
        return assess_risk(ledger, caller, asked, now).id

    known = ask("known", "10000", *BUYER)
    by_card = ask("card", "2000", shared)
    ask("nobody", "700", claim(Kind.PAY, "unknown"))
    erased = ask("gone", "1", *phone_and_device("gone"))
    told = sample_outcome(Money(1500, "CNY"), reversed_on_appeal=True)
    record_outcome(ledger, caller, by_card, told, now)
    reporter.retract(gone, now)
    settle(ledger, now)
    milder = parse_policy(
        rewrite(2, ("require_live_evidence = 250", "require_live_evidence = 380"))
    )
    steps: list[tuple[int, int]] = []
    radius = backtest_policies(
        ledger, POLICY, milder, now - timedelta(days=1), lambda done, of: steps.append((done, of))
    )
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1] >= 4
    assert (radius.assessments, radius.erased) == (3, 1)
    assert radius.actions == {("require_live_evidence", "grant"): 1}
    assert (radius.changed, radius.let_through_minor, radius.held_back_minor) == (1, 10_000, 0)
    heavier = parse_policy(
        rewrite(2, ("fraud = 1000", "fraud = 3000"), ("medium = 250", "medium = 150"))
    )
    radius = backtest_policies(ledger, POLICY, heavier, now - timedelta(days=1), lambda *_: None)
    assert radius.levels == {("LOW", "MEDIUM"): 1}
    assert radius.actions == {("require_live_evidence", "human_review"): 1}
    assert (radius.reviews_old, radius.reviews_new) == (0, 1)
    assert radius.reviews_per_10_000(1) == 10_000 // radius.claims
    assert radius.changed_reversed == 1  # the grant by card was reversed
    assert known != erased
    live = backtest_policies(
        ledger, POLICY, replace(POLICY, version=9), now - timedelta(days=1), lambda *_: None
    )
    assert live.changed == 0
    nothing = backtest_policies(ledger, POLICY, heavier, now + timedelta(days=1), lambda *_: None)
    assert (nothing.assessments, nothing.reviews_per_10_000(3)) == (0, 0)


def test_backtest_counts_each_order_once_by_its_last_answer(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    reporter, asker = simulator("shop-a"), simulator("shop-b")
    reporter.report("p", BUYER, now)
    settle(ledger, now)
    caller = asker.caller(now)
    asked = asker.request("q", BUYER, amount=Money(10_000, "CNY"))
    given = [assess_risk(ledger, caller, asked, now + timedelta(seconds=n)).id for n in range(5)]
    last = asked._replace(amount=Money(9000, "CNY"))
    assess_risk(ledger, caller, last, now + timedelta(seconds=5))
    told = sample_outcome(Money(8000, "CNY"))
    record_outcome(ledger, caller, given[0], told, now)
    bought = last._replace(purpose=Purpose.CHECKOUT)
    assess_risk(ledger, caller, bought, now + timedelta(seconds=6))
    milder = parse_policy(
        rewrite(2, ("require_live_evidence = 250", "require_live_evidence = 380"))
    )
    radius = backtest_policies(ledger, milder, POLICY, now - timedelta(days=1), lambda *_: None)
    assert (radius.assessments, radius.changed, radius.claims) == (7, 6, 1)
    assert (radius.held_back_minor, radius.loss_avoided_minor) == (9000, 8000)
    faded = now + timedelta(days=800)  # of which both policies advise a grant
    assess_risk(ledger, caller, last, faded)
    radius = backtest_policies(ledger, milder, POLICY, now - timedelta(days=1), lambda *_: None)
    assert (radius.held_back_minor, radius.loss_avoided_minor) == (0, 8000)
    radius = backtest_policies(ledger, POLICY, milder, now - timedelta(days=1), lambda *_: None)
    assert (radius.let_through_minor, radius.loss_avoided_minor) == (0, 0)
