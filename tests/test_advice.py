"""What is advised at each threshold, for a claim and for a checkout, and what never is."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT
from exact import NOTHING_FORESEEN, OWN_ACCOUNT, POLICY, Shared, Sketch, settle
from reports import claim
from simulator import phone_and_device

from ledger.identity.identifier import Kind
from ledger.incident.incident import EvidenceItem
from ledger.incident.taxonomy import EvidenceKind, EvidenceSource, ProofLevel
from ledger.risk.advice import Advice, Purpose, advise
from ledger.risk.answer import render_answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Simulator

    from ledger.ledger import Ledger
    from ledger.risk.score import RiskScore

TODAY = date(2026, 11, 22)
NID, PHONE, DEVICE = Shared(Kind.NID), Shared(Kind.PHONE), Shared(Kind.DEVICE)
PAY, EMAIL, ADDR = Shared(Kind.PAY), Shared(Kind.EMAIL), Shared(Kind.ADDR)
NOTHING = Sketch(TODAY).score()
CLAIM, CHECKOUT = Purpose.REFUND_ONLY_CLAIM, Purpose.CHECKOUT


def told(score: RiskScore, purpose: Purpose = CLAIM) -> tuple[str, str]:
    """Give the action that is advised and the rule that led to it."""
    advice = advise(score, purpose, POLICY)
    assert advice is not None
    return advice.action, advice.rule


# --- Thresholds -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("direct", "claimed", "checked_out"),
    [
        (0, "grant", "proceed"),
        (249, "grant", "proceed"),
        (250, "require_live_evidence", "require_delivery_proof"),
        (399, "require_live_evidence", "require_delivery_proof"),
        (400, "require_return", "withhold_instant_refund"),
        (499, "require_return", "withhold_instant_refund"),
        (500, "human_review", "withhold_instant_refund"),
        (599, "human_review", "withhold_instant_refund"),
        (600, "human_review", "withhold_instant_refund"),
        (999, "human_review", "withhold_instant_refund"),
    ],
)
def test_advice_follows_the_direct_score(direct: int, claimed: str, checked_out: str) -> None:
    score = NOTHING._replace(score=direct, direct_score=direct, level="MEDIUM")
    rule = "direct_score" if direct >= 250 else "below_every_threshold"
    assert told(score) == (claimed, rule)
    assert told(score, CHECKOUT) == (checked_out, rule)


@pytest.mark.parametrize(
    ("direct", "certain", "certain_high", "level", "action", "rule"),
    [
        (600, 600, True, "HIGH", "decline_refund_only", "confirmed_at_two_groups_or_by_a_court"),
        (600, 600, True, "MEDIUM", "human_review", "direct_score"),
        (599, 599, True, "HIGH", "human_review", "direct_score"),
        (900, 599, True, "HIGH", "human_review", "same_person_without_nid"),
        (900, 900, False, "HIGH", "human_review", "same_person_without_nid"),
    ],
)
def test_refund_only_is_declined_on_certain_evidence_at_the_top_level_alone(
    direct: int, certain: int, certain_high: bool, level: str, action: str, rule: str
) -> None:
    score = NOTHING._replace(score=direct, direct_score=direct, level=level)
    score = score._replace(certain_score=certain, certain_high=certain_high)
    assert told(score) == (action, rule)


@pytest.mark.parametrize(
    ("linked", "kinds", "action"),
    [
        (149, 2, "grant"),
        (150, 2, "require_live_evidence"),
        (499, 5, "require_live_evidence"),
        (249, 1, "grant"),
    ],
)
def test_association_by_two_kinds_asks_for_live_evidence_and_never_more(
    linked: int, kinds: int, action: str
) -> None:
    score = NOTHING._replace(score=linked, linked_score=linked, association_kinds=kinds)
    rule = "below_every_threshold" if action == "grant" else "association_by_two_kinds"
    assert told(score) == (action, rule)
    assert told(score, CHECKOUT) == ("proceed", "below_every_threshold")


def test_disputed_incident_that_was_active_keeps_the_floor_and_no_more() -> None:
    floor = NOTHING._replace(was_active_disputed=True)
    assert told(floor) == ("require_live_evidence", "disputed_incident")
    assert told(floor._replace(direct_score=250)) == ("require_live_evidence", "direct_score")
    assert told(floor._replace(direct_score=400)) == ("require_return", "direct_score")


@pytest.mark.parametrize("purpose", [one for one in Purpose if one not in {CLAIM, CHECKOUT}])
def test_other_purposes_get_no_advice(purpose: Purpose) -> None:
    score = NOTHING._replace(score=999, direct_score=999, level="HIGH")
    assert advise(score, purpose, POLICY) is None
    assert render_answer(score, None, NOTHING_FORESEEN, POLICY)["advice"] is None


def test_advice_carries_the_time_to_review_it_unless_nothing_is_to_be_reviewed() -> None:
    asked_for_more = NOTHING._replace(direct_score=400)
    for purpose in (CLAIM, CHECKOUT):
        idle, busy = (advise(score, purpose, POLICY) for score in (NOTHING, asked_for_more))
        assert isinstance(idle, Advice)
        assert isinstance(busy, Advice)
        assert (idle.review_window_hours, busy.review_window_hours) == (0, 48)
        shown = render_answer(asked_for_more, busy, NOTHING_FORESEEN, POLICY)["advice"]
        assert isinstance(shown, dict)
        assert shown["not_for_sole_use"] is True


# --- From evidence to advice ----------------------------------------------------------------


def test_level_needs_two_groups_or_a_finding_of_level_a_to_be_high() -> None:
    one_group = Sketch(TODAY).bear(2, 100, (NID,))
    assert (one_group.score().score, one_group.score().level) == (638, "MEDIUM")
    assert told(one_group.score()) == ("human_review", "direct_score")
    court = Sketch(TODAY).bear(2, 100, (NID,), level_a=1)
    assert court.score().level == "HIGH"
    assert told(court.score())[0] == "decline_refund_only"
    two = Sketch(TODAY).bear(2, 2, (NID,)).bear(3, 2, (NID,), platform=2)
    assert (two.score().score, two.score().level) == (642, "HIGH")
    assert told(two.score())[0] == "decline_refund_only"


def test_finding_about_an_associated_account_raises_no_level() -> None:
    sketch = Sketch(TODAY).bear(OWN_ACCOUNT, 100).bear(2, 9, (PAY, EMAIL), platform=2, level_a=1)
    assert sketch.score().score > 638
    assert sketch.score().level == "MEDIUM"


def test_level_begins_at_its_threshold() -> None:
    assert (POLICY.level_medium, POLICY.level_high) == (250, 600)
    one = Sketch(TODAY, replace(POLICY, level_medium=374)).bear(OWN_ACCOUNT, 1)
    assert (one.score().score, one.score().level) == (374, "MEDIUM")
    one.policy = replace(POLICY, level_medium=375)
    assert one.score().level == "LOW"
    two = Sketch(TODAY, replace(POLICY, level_high=545)).bear(OWN_ACCOUNT, 1)
    two.bear(2, 1, (NID,), platform=2)
    assert (two.score().score, two.score().level) == (545, "HIGH")
    two.policy = replace(POLICY, level_high=546)
    assert two.score().level == "MEDIUM"


def test_same_person_without_a_shared_nid_stops_at_human_review() -> None:
    known_by_phone = (
        Sketch(TODAY).bear(2, 3, (PHONE, DEVICE)).bear(3, 3, (PHONE, DEVICE), platform=2)
    )
    assert (known_by_phone.score().score, known_by_phone.score().level) == (683, "HIGH")
    assert told(known_by_phone.score()) == ("human_review", "same_person_without_nid")
    known_by_nid = Sketch(TODAY).bear(2, 3, (NID,)).bear(3, 3, (NID,), platform=2)
    assert told(known_by_nid.score()) == (
        "decline_refund_only",
        "confirmed_at_two_groups_or_by_a_court",
    )
    half = Sketch(TODAY).bear(2, 3, (NID,)).bear(3, 3, (PHONE, DEVICE), platform=2)
    assert told(half.score()) == ("human_review", "same_person_without_nid")
    own_and_nid = Sketch(TODAY).bear(OWN_ACCOUNT, 3).bear(3, 3, (NID,), platform=2)
    assert told(own_and_nid.score())[0] == "decline_refund_only"


def test_address_never_makes_a_second_kind() -> None:
    by_device = Sketch(TODAY).bear(2, 100, (DEVICE, ADDR))
    assert by_device.score().linked_score >= 150
    assert by_device.score().association_kinds == 1
    assert told(by_device.score()) == ("grant", "below_every_threshold")
    by_two = Sketch(TODAY).bear(2, 1, (DEVICE, PAY))
    assert by_two.score().association_kinds == 2
    assert told(by_two.score()) == ("require_live_evidence", "association_by_two_kinds")


def test_associated_evidence_never_counts_as_direct() -> None:
    sketch = Sketch(TODAY)
    for account in range(2, 30):
        pay, email = (Shared(kind, name=str(account)) for kind in (Kind.PAY, Kind.EMAIL))
        sketch.bear(account, 100, (pay, email), platform=account)
    assert sketch.score().direct_score == 0
    assert sketch.score().level == "MEDIUM"
    assert told(sketch.score()) == ("require_live_evidence", "association_by_two_kinds")
    assert told(sketch.score(), CHECKOUT)[0] == "proceed"


def test_confidence_speaks_of_who_confirmed_what_counts_directly() -> None:
    def confidence(sketch: Sketch) -> object:
        return render_answer(sketch.score(), None, NOTHING_FORESEEN, POLICY)["confidence"]

    own = Sketch(TODAY).bear(OWN_ACCOUNT, 1)
    assert confidence(Sketch(TODAY)) == "none"
    assert confidence(own) == "one_platform"
    assert confidence(own.bear(2, 1, (ADDR,), platform=2)) == "one_platform"
    assert confidence(own.bear(3, 1, (NID,), platform=3)) == "two_or_more_platforms"
    flatmates = Sketch(TODAY).bear(2, 1, (ADDR,)).bear(3, 1, (ADDR,), platform=2)
    assert confidence(flatmates) == "two_or_more_platforms"


def test_the_page_names_every_action_with_its_rule() -> None:
    page = (ROOT / "docs" / "scoring.md").read_text("utf-8")
    rows = set(re.findall(r"(?m)^\| .+ \| `([a-z_]+)` \| `([a-z_]+)` \|$", page))
    steps = range(0, 1000, 50)
    scores = [NOTHING._replace(direct_score=direct) for direct in steps]
    scores += [
        NOTHING._replace(was_active_disputed=True),
        NOTHING._replace(linked_score=150, association_kinds=2),
        *(
            one._replace(level="HIGH", certain_score=one.direct_score, certain_high=certain)
            for one in scores
            for certain in (True, False)
        ),
    ]
    assert rows == {told(score, purpose) for score in scores for purpose in (CLAIM, CHECKOUT)}


# --- Through a real ledger ------------------------------------------------------------------


def test_each_purpose_is_advised_on_by_a_real_ledger(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    asker, *others = simulator("asker"), simulator("shop-a"), simulator("shop-b")
    person = (*phone_and_device("them"), claim(Kind.NID, "them"))
    for reporter in others:
        for _ in range(3):
            reporter.report("them", person, now)
    settle(ledger, now)
    answers = {one: asker.ask("me", person, now, purpose=one) for one in Purpose}
    assert {
        one: answer["advice"] and answer["advice"]["action"] for one, answer in answers.items()
    } == {
        Purpose.REFUND_ONLY_CLAIM: "decline_refund_only",
        Purpose.CHECKOUT: "withhold_instant_refund",
        Purpose.RETURN_CLAIM: None,
        Purpose.DISPUTE_HANDLING: None,
        Purpose.SUBJECT_ACCESS: None,
    }
    assert {(answer["score"], answer["level"]) for answer in answers.values()} == {(680, "HIGH")}
    without_nid = asker.ask("me", person[:2], now)
    assert without_nid["advice"] == {
        "action": "human_review",
        "review_window_hours": 48,
        "not_for_sole_use": True,
        "rule": "same_person_without_nid",
    }


def test_finding_of_a_court_makes_one_group_enough_in_a_real_ledger(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    reporter, asker = simulator("shop-a"), simulator("asker")
    person = (claim(Kind.NID, "them"),)
    plain = reporter.incident("them", person, now)
    decision = EvidenceItem(EvidenceKind.DECISION, EvidenceSource.AUTHORITY, b"d" * 32, None)
    evidence = (*plain.proof.evidence, decision)
    proof = replace(plain.proof, level=ProofLevel.A, evidence=evidence)
    reporter.send(replace(plain, proof=proof), now)
    for _ in range(20):
        reporter.report("them", person, now)
    settle(ledger, now)
    answer = asker.ask("me", person, now)
    assert (answer["score"], answer["level"]) == (620, "HIGH")
    assert answer["advice"]["action"] == "decline_refund_only"
