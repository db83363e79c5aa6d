"""A policy file is read whole or refused, and no policy stops what was accepted or answered."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT
from exact import POLICY, settle
from kept import audit
from reports import sample_outcome
from simulator import phone_and_device
from sqlalchemy import select, update

from ledger.answering import record_outcome
from ledger.assessing import assess_risk
from ledger.backtesting import backtest_policies
from ledger.errors import EvidenceTooHeavy, InvalidPolicy
from ledger.governing import list_policies, publish_policy, try_policy
from ledger.graph.posting import MASS_MAX, bounded_mass, day_number, forward_mass
from ledger.incident.incident import Money
from ledger.incident.taxonomy import Conduct
from ledger.ledger import open_ledger
from ledger.risk.policy import check_successor, parse_policy
from ledger.store.engine import begin_read, begin_write
from ledger.store.tables import assessment, incident, shadow_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from simulator import Simulator

    from ledger.ledger import Ledger
    from ledger.rights.jurisdiction import JurisdictionProfile

TEXT = (ROOT / "config" / "policy.toml").read_text("utf-8")
BUYER = phone_and_device("buyer")
PHONE = "[kind.phone]\nstrength_per_mille = 550\nfree = 2\nhub_cap = 10\n"
WRONG = [
    ("kind.phone", PHONE, ""),
    ("severity_per_mille.organised", "organised = 1200\n", ""),
    ("confirmation_per_mille.C", "C = 1000\n", ""),
    ("confirmation_per_mille.B", "C = 1000\n", "B = 1000\nC = 1000\n"),
    ("severity_per_mille.fraud", "fraud = 1000\n", "fraud = 1000.5\n"),
    ("severity_per_mille.fraud", "fraud = 1000\n", "fraud = -1000\n"),
    ("severity_per_mille.fraud", "fraud = 1000\n", "fraud = true\n"),
    ("kind.phone.strength_per_mille", "= 550", "= 5500"),
    ("kind.phone.free", "550\nfree = 2", "550\nfree = 0"),
    ("kind.phone.hub_cap", "free = 2\nhub_cap = 10\n\n[kind.addr]", "free = 2\n\n[kind.addr]"),
    ("kind.addr.hub_cap", "hub_cap = 50", "hub_cap = 500"),
    ("kind.nid.hub_cap", "950\n", "950\nhub_cap = 9\n"),
    ("multiplicity_k", "multiplicity_k = 4", "multiplicity_k = 0"),
    ("epoch", "2024-01-01", "2024-01-01T00:00:00Z"),
    ("half_life_days.policy", "policy = 90", "policy = 0"),
    ("half_life_days.policy", "policy = 90", "policy = 100000"),
    ("reliability.prior_upheld", "prior_upheld = 18", "prior_upheld = 21"),
    ("reliability.prior_reports", "prior_reports = 20", "prior_reports = 0"),
    ("level", "medium = 250", "medium = 600"),
    ("claim", "human_review = 500", "human_review = 399"),
    ("checkout", "withhold_instant_refund = 400", "withhold_instant_refund = 249"),
    ("amount.currency", 'currency = "CNY"', 'currency = "EUR"'),
    ("amount", "[amount]", "[amounts]"),
    ("surprise", "version = 1\n", "version = 1\nsurprise = 2\n"),
    ("series.surprise", "claims_max = 3", "claims_max = 3\nsurprise = 1"),
    ("severity_per_mille.fraud", "A = 1500", "A = 15000"),
]


def write(version: int, before: str = "", after: str = "") -> str:
    """Write another policy."""
    assert before in TEXT
    text = TEXT.replace(before, after, 1) if before else TEXT
    return text.replace("version = 1\n", f"version = {version}\n", 1)


@pytest.mark.parametrize(("field", "before", "after"), WRONG)
def test_field_that_is_wrong_is_named(field: str, before: str, after: str) -> None:
    assert before in TEXT
    with pytest.raises(InvalidPolicy, match=rf"^{re.escape(field)}:"):
        parse_policy(TEXT.replace(before, after, 1))


def test_every_line_of_the_file_is_needed() -> None:
    """Only a foreign currency may be left out: its amounts aren't compared."""
    lines = TEXT.splitlines()
    spared = []
    for place, line in enumerate(lines):
        if "=" in line and not line.startswith("#"):
            try:
                parse_policy("\n".join(lines[:place] + lines[place + 1 :]))
            except InvalidPolicy:
                continue
            spared.append(line.split()[0])
    assert spared == ["EUR", "GBP", "HKD", "JPY", "USD"]


def test_policy_whose_heaviest_incident_does_not_fit_that_day_is_refused() -> None:
    heavy = parse_policy(write(2, "policy = 300", "policy = 3700"))
    day = day_number(date(2028, 5, 1))
    with pytest.raises(EvidenceTooHeavy):
        forward_mass(20_000_000, day, 90, POLICY.epoch_day)
    with pytest.raises(InvalidPolicy, match=r"^severity_per_mille\.policy:"):
        check_successor(POLICY, heavy, day)
    check_successor(POLICY, heavy, day - 365)
    check_successor(POLICY, POLICY, day)
    assert bounded_mass(20_000_000, day, 90, POLICY.epoch_day) == MASS_MAX
    assert bounded_mass(0, day + 36_500, 90, POLICY.epoch_day) == 0


HEAVY = ("policy = 300", "policy = 3000")
LATE = 2029  # by May a policy abuse fits under the first policy, and not under the heavy one


def test_report_is_judged_by_the_policy_in_force_whenever_the_process_began(
    ledger: Ledger,
    simulator: Callable[..., Simulator],
    profiles: Mapping[str, JurisdictionProfile],
    now: datetime,
) -> None:
    reporter = simulator("shop-a")
    late = now.replace(year=LATE, month=5)
    url = ledger.database.engine.url.render_as_string(hide_password=False)
    another = open_ledger(url, ledger.keys, profiles)
    publish_policy(another, write(2, *HEAVY), now)
    settle(another, now)
    another.database.engine.dispose()
    with pytest.raises(EvidenceTooHeavy):
        reporter.report("p", BUYER, late, conduct=Conduct.WARDROBING)


def test_trial_that_can_not_be_scored_never_fails_an_answer(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    reporter, asker = simulator("shop-a"), simulator("shop-b")
    reporter.report("p", BUYER, now)
    settle(ledger, now)
    number = try_policy(ledger, write(7), now)
    with begin_write(ledger.database) as connection:
        connection.execute(update(shadow_policy).values(body="nonsense"))
    assert asker.ask("q", BUYER, now)["score"] == 370
    ledger.shadows[number] = replace(parse_policy(TEXT), kinds={}, half_lives={})
    assert asker.ask("r", BUYER, now)["score"] == 370
    failed = {"version": number, "score": None, "level": "failed", "action": None}
    with begin_read(ledger.database) as connection:
        kept = connection.execute(select(assessment.c.shadow)).scalars().all()
    assert [json.loads(str(one)) for one in kept] == [failed, failed]


def test_report_accepted_under_one_policy_gets_its_place_under_a_heavier_one(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    """On SQLite a policy is in force at once, so that the report is refused instead."""
    reporter = simulator("shop-a")
    late = now.replace(year=LATE, month=5)
    settle(ledger, now)
    publish_policy(ledger, write(2, *HEAVY), now)
    if ledger.database.embedded:
        with pytest.raises(EvidenceTooHeavy):
            reporter.report("p", BUYER, late, conduct=Conduct.WARDROBING)
        return
    reporter.report("p", BUYER, late, conduct=Conduct.WARDROBING)
    settle(ledger, late)
    assert [one.in_force for one in list_policies(ledger)] == [False, True]
    with begin_read(ledger.database) as connection:
        assert connection.execute(select(incident.c.mass)).scalar_one() == MASS_MAX
    assert audit(ledger) == ()


def test_backtest_converts_each_loss_before_it_takes_the_largest(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    reporter, asker = simulator("shop-a"), simulator("shop-b")
    reporter.report("p", BUYER, now)
    settle(ledger, now)
    caller = asker.caller(now)
    asked = asker.request("q", BUYER, amount=Money(5000, "CNY"))
    given = assess_risk(ledger, caller, asked, now)
    losses = Money(2000, "CNY"), Money(1000, "EUR")  # 1,000 cents are 7,800 fen
    for second, loss in enumerate(losses):
        told = sample_outcome(loss)
        record_outcome(ledger, caller, given.id, told, now + timedelta(seconds=second))
    mild = parse_policy(write(2, "require_live_evidence = 250", "require_live_evidence = 390"))
    radius = backtest_policies(ledger, mild, POLICY, now - timedelta(days=1), lambda *_: None)
    assert radius.held_back_minor == 5000
    assert radius.loss_avoided_minor == 7800
