"""The standard of proof, pillar by pillar: what is too little is refused and every gap is named.

Pure: no database. Independence is compared with a slow judge that tries every pairing, and
suspicion is shown to have no word on the wire.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from random import Random
from typing import Any

import pytest
from pydantic import TypeAdapter
from reports import NOW, digest, sample_report

from ledger.errors import SchemaViolation, StandardNotMet
from ledger.incident.incident import EvidenceItem, IncidentReport, Money, Series
from ledger.incident.lifecycle import State, next_state
from ledger.incident.proof_standard import count_independent, judge_report
from ledger.incident.rendering import render_event
from ledger.incident.schema import Claims, Confirmed, Retracted, Text, Uri
from ledger.incident.statement import CONFIRMED, parse_event
from ledger.incident.taxonomy import (
    Actor,
    Conduct,
    Consequence,
    EvidenceKind,
    EvidenceSource,
    ProofLevel,
)
from ledger.log.leaf import Op

HOUR = timedelta(hours=1)
FREE = [TypeAdapter(one).json_schema()["pattern"] for one in (Text, Uri)]
SERIES = Series(7, NOW - timedelta(days=90), NOW - timedelta(days=2), Money(12_990, "CNY"))
SUSPICIONS = (
    "suspected",
    "suspicion",
    "suspicious",
    "alleged",
    "allegation",
    "possible",
    "probable",
    "pending",
    "unconfirmed",
    "under_review",
    "claim_filed",
    "complaint",
    "chargeback",
    "bad_review",
    "detector_hit",
    "high_risk",
)


def item(
    kind: EvidenceKind = EvidenceKind.CLAIM_PHOTO,
    source: EvidenceSource = EvidenceSource.BUYER,
    content: str = "claim",
) -> EvidenceItem:
    return EvidenceItem(kind, source, digest(content), None)


def judge(report: IncidentReport) -> dict[str, str]:
    """Judge a report; give the code of each fault by its place."""
    try:
        judge_report(report, received_at=NOW)
    except StandardNotMet as refusal:
        return {fault.pointer: fault.code for fault in refusal.faults}
    return {}


def with_proof(report: IncidentReport | None = None, **changes: Any) -> IncidentReport:
    honest = report or sample_report()
    return replace(honest, proof=replace(honest.proof, **changes))


def parse(members: dict[str, Any]) -> IncidentReport:
    """Parse the honest event with some members of it replaced, as it would come off the wire."""
    claims: dict[str, Any] = render_event(sample_report(), "https://ledger.example/sandbox")
    claims["events"][CONFIRMED] |= members
    parsed = parse_event(json.dumps(claims).encode())
    assert isinstance(parsed, IncidentReport)
    return parsed


# --- P2: independent evidence ---------------------------------------------------------------


def count_slowly(evidence: tuple[EvidenceItem, ...]) -> int:
    """Count by trying every choice: the largest set in which all digests and sources differ."""
    sound = [
        one
        for one in evidence
        if EvidenceKind.DETECTOR is not one.kind and EvidenceSource.DETECTOR is not one.source
    ]
    for size in range(len(sound), 0, -1):
        for chosen in combinations(sound, size):
            digests, sources = ({getattr(one, name) for one in chosen} for name in NAMES)
            if len(digests) == len(sources) == size:
                return size
    return 0


NAMES = ("digest", "source")


def test_independence_is_the_largest_choice_of_different_digests_and_sources() -> None:
    random = Random(29)
    counted = set()
    for _ in range(400):
        evidence = tuple(
            item(
                random.choice([EvidenceKind.CHAT] * 6 + [EvidenceKind.DETECTOR]),
                random.choice(list(EvidenceSource)),
                random.choice("abcd"),
            )
            for _ in range(random.randint(0, 7))
        )
        expected = count_slowly(evidence)
        counted.add(expected)
        assert count_independent(evidence) == expected
    assert counted == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    "evidence",
    [
        (item(),),
        (item(content="first"), item(content="second"), item(content="third")),
        (item(), item(source=EvidenceSource.MERCHANT)),
        (item(), item(EvidenceKind.DETECTOR, EvidenceSource.PLATFORM, "verdict")),
        (item(), item(EvidenceKind.CHAT, EvidenceSource.DETECTOR, "verdict")),
        (item(EvidenceKind.DETECTOR), item(EvidenceKind.DETECTOR, EvidenceSource.PLATFORM, "x")),
        (item(), item(EvidenceKind.DETECTOR, EvidenceSource.DETECTOR, "a"), item()),
    ],
    ids=[
        "one-item",
        "many-pictures-of-one-source",
        "one-picture-of-two-sources",
        "a-detector's-verdict-as-evidence",
        "a-detector-as-source",
        "two-detectors",
        "the-same-item-twice-and-a-detector",
    ],
)
def test_evidence_that_is_not_independent_twice_over_is_refused(
    evidence: tuple[EvidenceItem, ...],
) -> None:
    assert judge(with_proof(evidence=evidence)) == {"/proof/evidence": "P2"}


def test_two_items_of_two_sources_are_enough_whatever_stands_beside_them() -> None:
    two = (item(), item(EvidenceKind.PACKING_VIDEO, EvidenceSource.MERCHANT, "packing"))
    verdict = item(EvidenceKind.DETECTOR, EvidenceSource.DETECTOR, "verdict")
    assert judge(with_proof(evidence=two)) == {}
    assert judge(with_proof(evidence=(verdict, *two, verdict))) == {}


# --- P1: grounds, by the level of proof -----------------------------------------------------

FINDINGS = {
    ProofLevel.A: {EvidenceKind.DECISION},
    ProofLevel.C: {EvidenceKind.ADMISSION, EvidenceKind.RESTITUTION},
}
UNHEARD: dict[str, Any] = {
    "human_decision": False,
    "buyer_heard": False,
    "appeal_window_ended_at": None,
}


@pytest.mark.parametrize("level", [ProofLevel.A, ProofLevel.C])
def test_level_needs_its_own_finding_and_nothing_of_level_d(level: ProofLevel) -> None:
    honest = sample_report().proof.evidence
    for kind in EvidenceKind:
        proof = with_proof(level=level, evidence=(*honest, item(kind, content="more")), **UNHEARD)
        assert judge(proof) == ({} if kind in FINDINGS[level] else {"/proof/level": "P1"})


def test_restitution_is_a_ground_of_level_c_alone_and_no_second_item_by_itself() -> None:
    paid_back = item(EvidenceKind.RESTITUTION, EvidenceSource.PAYMENT_PROVIDER, "reversal")
    assert judge(with_proof(level=ProofLevel.C, evidence=(item(), paid_back), **UNHEARD)) == {}
    alone = with_proof(level=ProofLevel.C, evidence=(paid_back,), **UNHEARD)
    assert judge(alone) == {"/proof/evidence": "P2"}
    unheard = with_proof(level=ProofLevel.D, evidence=(item(), paid_back), **UNHEARD)
    assert judge(unheard) == {f"/proof/{name}": "P1" for name in UNHEARD}


def test_restitution_is_a_kind_of_evidence_on_the_wire_and_nothing_like_it_is() -> None:
    paid_back = item(EvidenceKind.RESTITUTION, content="reversal")
    honest = with_proof(evidence=(*sample_report().proof.evidence, paid_back))
    claims: Any = render_event(honest, "x")
    proof = claims["events"][CONFIRMED]["proof"]
    assert proof["evidence"][-1]["kind"] == "restitution"
    assert parse({"proof": proof}).proof == honest.proof
    proof["evidence"][-1]["kind"] = "restituted"
    with pytest.raises(SchemaViolation):
        parse({"proof": proof})


def test_level_b_is_refused_whatever_the_evidence() -> None:
    honest = sample_report().proof.evidence
    more = tuple(item(kind, EvidenceSource.AUTHORITY, kind) for kind in EvidenceKind)
    proved = with_proof(level=ProofLevel.B, evidence=(*honest, *more))
    assert judge(proved) == {"/proof/level": "P1"}


@pytest.mark.parametrize("missing", ["human_decision", "buyer_heard"])
def test_level_d_without_a_human_or_a_hearing_is_refused(missing: str) -> None:
    without: dict[str, Any] = {missing: False}
    assert judge(with_proof(**without)) == {f"/proof/{missing}": "P1"}


def test_merchant_need_not_be_heard() -> None:
    assert judge(with_proof(merchant_heard=False)) == {}


def test_appeal_window_has_passed_when_a_report_is_signed_and_received() -> None:
    fault = {"/proof/appeal_window_ended_at": "P1"}
    assert judge(with_proof(appeal_window_ended_at=None)) == fault
    assert judge(with_proof(appeal_window_ended_at=NOW)) == {}
    assert judge(with_proof(appeal_window_ended_at=NOW + timedelta(microseconds=1))) == fault
    # A token that is dated a minute ahead doesn't move the clock; neither does a late arrival.
    ahead = replace(sample_report(), issued_at=NOW + HOUR)
    assert judge(with_proof(ahead, appeal_window_ended_at=NOW + HOUR / 2)) == fault
    early = replace(sample_report(), issued_at=NOW - HOUR)
    assert judge(with_proof(early, appeal_window_ended_at=NOW - HOUR / 2)) == fault


# --- P3 and P4: a recognised conduct, a consequence -------------------------------------------


def test_takeover_has_a_victim_and_no_other_conduct_has_one() -> None:
    takeover = Conduct.ACCOUNT_TAKEOVER_REFUND
    for conduct in Conduct:
        for actor in Actor:
            belongs = (conduct is takeover) == (actor is Actor.VICTIM)
            judged = judge(replace(sample_report(), conduct=conduct, actor=actor))
            assert judged == ({} if belongs else {"/actor": "P3"}), (conduct, actor)


@pytest.mark.parametrize("consequence", Consequence)
def test_every_published_consequence_is_one(consequence: Consequence) -> None:
    assert judge(with_proof(consequence=consequence)) == {}
    assert parse({}).proof.consequence is Consequence.REFUND_REFUSED


@pytest.mark.parametrize("consequence", ["none", "warned", "", None])
def test_report_without_a_consequence_cannot_be_written(consequence: str | None) -> None:
    proof = render_event(sample_report(), "x")["events"][CONFIRMED]["proof"]  # type: ignore[index]  # JSON
    with pytest.raises(SchemaViolation):
        parse({"proof": proof | {"consequence": consequence}})


# --- Series and dates -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({}, {}),
        ({"first_at": SERIES.last_at}, {}),
        ({"first_at": SERIES.last_at + HOUR}, {"/series": "order"}),
        ({"last_at": NOW}, {"/series": "order"}),
        ({"total": Money(12_991, "CNY")}, {"/series/total": "total"}),
        ({"total": Money(12_990, "USD")}, {"/series/total": "total"}),
        (
            {"last_at": NOW, "total": Money(1, "CNY")},
            {"/series": "order", "/series/total": "total"},
        ),
    ],
)
def test_series_lies_within_the_conduct_and_its_total_is_the_amount(
    changes: dict[str, Any], faults: dict[str, str]
) -> None:
    assert judge(replace(sample_report(), series=replace(SERIES, **changes))) == faults


@pytest.mark.parametrize("claims", [-1, 0, 1, 10_001, 2.0, True, "7"])
def test_series_has_two_claims_or_more(claims: object) -> None:
    honest = render_event(replace(sample_report(), series=SERIES), "x")
    series = honest["events"][CONFIRMED]["series"]  # type: ignore[index]  # JSON
    assert parse({"series": series}).series == SERIES
    with pytest.raises(SchemaViolation):
        parse({"series": series | {"claims": claims}})


def test_conduct_ends_before_it_is_confirmed_and_that_before_the_token_is_signed() -> None:
    honest = sample_report()
    text = {name: getattr(honest, name) for name in ("conduct_ended_at", "confirmed_at")}
    assert text["conduct_ended_at"] < text["confirmed_at"] < honest.issued_at
    late = (honest.issued_at + timedelta(seconds=1)).isoformat()
    same = honest.issued_at.isoformat()
    assert parse({"conduct_ended_at": same, "confirmed_at": same}).confirmed_at == honest.issued_at
    for wrong in (
        {
            "conduct_ended_at": honest.confirmed_at.isoformat(),
            "confirmed_at": text["conduct_ended_at"].isoformat(),
        },
        {"confirmed_at": late},
        {"conduct_ended_at": late, "confirmed_at": late},
    ):
        with pytest.raises(SchemaViolation) as caught:
            parse(wrong)
        assert [fault.code for fault in caught.value.faults] == ["order"]


# --- All at once, and nothing below the standard ----------------------------------------------


def test_every_fault_is_named_at_once() -> None:
    broken = replace(
        with_proof(evidence=(item(),), **UNHEARD),
        actor=Actor.VICTIM,
        series=replace(SERIES, last_at=NOW, total=Money(1, "CNY")),
    )
    assert judge(broken) == {
        "/proof/evidence": "P2",
        "/proof/human_decision": "P1",
        "/proof/buyer_heard": "P1",
        "/proof/appeal_window_ended_at": "P1",
        "/actor": "P3",
        "/series": "order",
        "/series/total": "total",
    }


@pytest.mark.parametrize("word", SUSPICIONS)
def test_suspicion_has_no_word_on_the_wire(word: str) -> None:
    proof = render_event(sample_report(), "x")["events"][CONFIRMED]["proof"]  # type: ignore[index]  # JSON
    for members in (
        {"conduct": word},
        {"actor": word},
        {"status": word},
        {"state": word},
        {word: True},
        {"proof": proof | {"level": word}},
        {"proof": proof | {"confidence": word}},
    ):
        with pytest.raises(SchemaViolation):
            parse(members)
    with pytest.raises(ValueError, match="is not a valid State"):
        State(word)


def test_incident_begins_confirmed_and_in_no_other_way() -> None:
    assert {op: next_state(None, op) for op in Op if next_state(None, op)} == {
        Op.INCIDENT_CONFIRMED: State.HELD
    }


def test_schema_has_no_free_text_where_a_status_could_hide() -> None:
    """Walk the published schemas: every string is a closed list, of a form, or a known name."""
    free = set()
    for model in (Claims[Confirmed], Claims[Retracted]):
        schema = model.model_json_schema()
        for name, definition in {"": schema, **schema["$defs"]}.items():
            assert definition.get("additionalProperties", False) is False or "enum" in definition
            for member, shape in definition.get("properties", {}).items():
                free |= {(name, member) for one in _options(shape) if _is_free_text(one)}
    named = {member for _, member in free}
    assert named == {"iss", "aud", "jti", "txn", "sub", "id", "receipt_id", "incident_jti"}


def _options(shape: dict[str, Any]) -> list[dict[str, Any]]:
    return list(shape.get("anyOf", [shape]))


def _is_free_text(shape: dict[str, Any]) -> bool:
    closed = {"enum", "const", "format"} & shape.keys() or shape.get("pattern", FREE[0]) not in FREE
    return shape.get("type") == "string" and not closed
