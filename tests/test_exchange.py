"""Forged evidence is seen again: by file and by likeness, without a person, until it is withdrawn.

Everything is stated by real signed events. Likeness is held against a scan that counts the bits of
every pair.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from exact import settle
from exchanging import forgery, withdrawal
from kept import audit
from reports import digest, sample_report
from simulator import phone_and_device
from sqlalchemy import select

from ledger.assessing import assess_risk
from ledger.errors import (
    EvidenceNotReported,
    IncidentClosed,
    SchemaViolation,
    StandardNotMet,
    UnknownRecall,
)
from ledger.incident.evidence import DISTANCE_MAX, Sought, list_slots, probe_slots
from ledger.incident.incident import EvidenceItem
from ledger.incident.proof_standard import count_independent
from ledger.incident.taxonomy import Conduct, EvidenceKind, EvidenceSource
from ledger.log.leaf import EntryReason, Op, parse_leaf
from ledger.matching import acknowledge, list_recalls, match_evidence
from ledger.store import entries
from ledger.store.engine import begin_read, begin_write
from ledger.store.evidence import find_like
from ledger.store.tables import evidence, evidence_band, evidence_match, recall

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Sent, Simulator

    from ledger.ledger import Ledger

RANDOM = random.Random("evidence")
PDQ = RANDOM.randbytes(32)
FILE = digest("forged")
BUYER = phone_and_device("buyer")


def flip(pdq: bytes, bits: int, seed: int = 0) -> bytes:
    """Flip so many bits of a hash."""
    places = random.Random(seed).sample(range(256), bits)
    value = int.from_bytes(pdq)
    for place in places:
        value ^= 1 << place
    return value.to_bytes(32)


def seen(
    shop: Simulator, at: datetime, pdq: bytes | None = None, file: bytes | None = None
) -> dict[str, Any] | None:
    settle(shop.ledger, at)
    sought = Sought(file, ((pdq,),) if pdq else ())
    return match_evidence(shop.ledger, shop.caller(at), [sought], at).seen[0]


@pytest.fixture
def shops(simulator: Callable[..., Simulator]) -> list[Simulator]:
    """Give three members of three groups."""
    return [simulator(f"shop-{name}") for name in "abc"]


def photo(pdq: bytes, quality: int = 100) -> EvidenceItem:
    kind, source = EvidenceKind.CLAIM_PHOTO, EvidenceSource.BUYER
    return EvidenceItem(kind, source, FILE, pdq, quality)


# --- Likeness ----------------------------------------------------------------------------------


def test_every_hash_within_the_distance_shares_a_probed_place_and_each_is_probed_once() -> None:
    for seed in range(300):
        near = flip(PDQ, DISTANCE_MAX, seed)
        assert set(list_slots(near)) & set(probe_slots(PDQ))
    assert len(set(probe_slots(PDQ))) == 16 * 17
    # The worst case spreads the difference as evenly as it can.
    even = int.from_bytes(PDQ) ^ sum(0b11 << 16 * band for band in range(15)) ^ 1 << 255
    assert set(list_slots(even.to_bytes(32))) & set(probe_slots(PDQ))


def test_search_finds_what_a_scan_of_all_pairs_finds_and_nothing_else(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    known = [flip(PDQ, RANDOM.randrange(0, 60), seed) for seed in range(40)]
    pieces = tuple(
        replace(photo(pdq), digest=digest(f"file {place}")) for place, pdq in enumerate(known)
    )
    for part in (pieces[:20], pieces[20:]):
        shops[0].send(forgery(shops[0], part[0].digest, None, now, evidence=part), now)
    settle(ledger, now)
    with begin_write(ledger.database) as connection:
        rows = connection.execute(select(evidence.c.id, evidence.c.pdq)).all()
        for asked in (PDQ, *known[:10]):
            scanned = {
                number: (int.from_bytes(pdq) ^ int.from_bytes(asked)).bit_count()
                for number, pdq in rows
            }
            scanned = {number: far for number, far in scanned.items() if far <= DISTANCE_MAX}
            assert find_like(connection, [asked]) == scanned
    assert len(rows) == 40


# --- Reported and seen -------------------------------------------------------------------------


def test_forged_picture_is_recognised_by_file_and_likeness_in_bands_by_everybody_else(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, c = shops
    a.send(forgery(a, FILE, PDQ, now), now)
    told = {"platforms": "1", "first_seen": "2026-11", "source": False}
    assert seen(b, now, file=FILE) == {"distance": "same_file"} | told
    assert seen(b, now, flip(PDQ, 15)) == {"distance": "0-15"} | told
    assert seen(b, now, flip(PDQ, 31)) == {"distance": "16-31"} | told
    assert seen(b, now, flip(PDQ, 32)) is None
    assert seen(a, now, PDQ, FILE) is None  # one's own says nothing
    c.send(forgery(c, digest("again"), flip(PDQ, 4), now), now)
    assert seen(b, now, PDQ) == {"distance": "0-15"} | told | {"platforms": "2+"}
    assert seen(a, now, PDQ) == {"distance": "0-15"} | told
    assert audit(ledger) == ()


def test_original_that_was_reused_is_told_as_such(shops: list[Simulator], now: datetime) -> None:
    shops[0].send(forgery(shops[0], FILE, PDQ, now, is_original=True), now)
    told = seen(shops[1], now, PDQ)
    assert told is not None
    assert told["source"] is True


@pytest.mark.parametrize("quality", [0, 49, None])
def test_featureless_picture_is_recognised_by_its_file_alone(
    quality: int | None, shops: list[Simulator], now: datetime
) -> None:
    piece = replace(photo(PDQ), quality=quality)
    shops[0].send(forgery(shops[0], FILE, None, now, evidence=(piece,)), now)
    assert seen(shops[1], now, PDQ) is None
    assert seen(shops[1], now, file=FILE) is not None


def test_key_frames_of_a_video_are_recognised(shops: list[Simulator], now: datetime) -> None:
    other = RANDOM.randbytes(32)
    video = EvidenceItem(
        *(EvidenceKind.CLAIM_VIDEO, EvidenceSource.BUYER, FILE, None, None),
        frames=((PDQ, 90), (other, 60), (bytes(32), 10)),
    )
    shops[0].send(forgery(shops[0], FILE, None, now, evidence=(video,)), now)
    assert seen(shops[1], now, other) is not None
    assert seen(shops[1], now, bytes(32)) is None


# --- Incidents' own evidence -------------------------------------------------------------------


def report(shop: Simulator, at: datetime, **changes: Any) -> Sent:
    honest = sample_report(at).proof
    proof = replace(honest, evidence=(photo(PDQ), honest.evidence[1]))
    return shop.report("buyer", BUYER, at, proof=proof, **changes)


def test_held_incident_s_photo_matches_from_filing_and_stops_when_it_is_retracted(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    until = now.replace(year=2027)
    held = shops[0].held_incident("buyer", BUYER, now, until)
    proof = replace(held.proof, evidence=(photo(PDQ), held.proof.evidence[1]))
    sent = shops[0].send(replace(held, proof=proof), now)
    assert seen(shops[1], now, PDQ) is not None
    assert seen(shops[1], now, file=digest("packing")) is None  # the merchant's own
    shops[0].retract(sent, now)
    assert seen(shops[1], now, PDQ, FILE) is None
    with begin_read(ledger.database) as connection:
        assert connection.execute(select(evidence)).all() == []
        assert connection.execute(select(evidence_band)).all() == []
    assert audit(ledger) == ()


def test_correction_replaces_the_photo_and_conduct_that_forges_nothing_has_none(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    sent = report(shops[0], now)
    other = RANDOM.randbytes(32)
    proof = replace(sent.report.proof, evidence=(photo(other), sent.report.proof.evidence[1]))
    shops[0].send(shops[0].correction(sent.report, now, proof=proof), now)
    assert seen(shops[1], now, PDQ) is None
    assert seen(shops[1], now, other) is not None
    shops[0].send(shops[0].correction(sent.report, now, conduct=Conduct.EMPTY_RETURN), now)
    assert seen(shops[1], now, other, FILE) is None
    assert audit(ledger) == ()


# --- What is refused ---------------------------------------------------------------------------


def test_forged_evidence_is_judged_as_incidents_are(shops: list[Simulator], now: datetime) -> None:
    a, b, _ = shops
    honest = forgery(a, FILE, PDQ, now)
    proof = honest.proof
    for weak in (
        replace(proof, evidence=proof.evidence[:1]),
        replace(proof, human_decision=False),
        replace(proof, buyer_heard=False),
        replace(proof, appeal_window_ended_at=None),
    ):
        with pytest.raises(StandardNotMet):
            a.send(replace(honest, proof=weak), now)
    for wrong in ({"digest": digest("other")}, {"conduct": Conduct.EMPTY_RETURN}):
        with pytest.raises(SchemaViolation):
            a.send(replace(honest, **wrong), now)
    a.send(honest, now)
    for no_such in (
        withdrawal(b, honest, now),
        withdrawal(a, honest, now, digest=digest("other")),
        withdrawal(a, honest, now, txn="another case"),
    ):
        sender = b if no_such.issuer == b.uri else a
        with pytest.raises(EvidenceNotReported):
            sender.send(no_such, now)
    a.send(withdrawal(a, honest, now), now)
    with pytest.raises(IncidentClosed):
        a.send(withdrawal(a, honest, now), now)


def test_labels_and_matches_are_one_item_of_proof_at_most() -> None:
    buyer, label, match = (
        EvidenceItem(kind, source, digest(kind.value), None)
        for kind, source in (
            (EvidenceKind.CLAIM_PHOTO, EvidenceSource.BUYER),
            (EvidenceKind.AI_LABEL, EvidenceSource.PLATFORM),
            (EvidenceKind.EVIDENCE_MATCH, EvidenceSource.MERCHANT),
        )
    )
    detector = EvidenceItem(EvidenceKind.DETECTOR, EvidenceSource.PLATFORM, digest("d"), None)
    assert count_independent((label, match)) == 1
    assert count_independent((buyer, label, match)) == 2
    assert count_independent((label, match, detector)) == 1
    assert count_independent((buyer, replace(label, digest=buyer.digest))) == 1


# --- Laws --------------------------------------------------------------------------------------


def test_match_raises_no_score_and_names_nobody(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    sent = report(a, now)
    settle(ledger, now)
    for buyer in ("nobody", "buyer"):
        asked = b.request(buyer, BUYER if buyer == "buyer" else phone_and_device("nobody"))
        told = []
        for number, sought in enumerate(((), (Sought(FILE, ((PDQ,),)),))):
            one = asked._replace(
                evidence=sought,
                order_commitment=f"hmac-sha-256:{number}{asked.order_commitment[14:]}",
            )
            told.append(json.loads(assess_risk(ledger, b.caller(now), one, now).text))
        plain, matched = told
        before = matched["evidence"].pop("seen_before")
        assert before["platforms"] == "1"
        assert plain["evidence"].pop("seen_before") is None
        for changing in ("id", "assessed_at"):
            plain.pop(changing), matched.pop(changing)
        assert plain == matched
        shown = json.dumps(before)
        for name in (a.uri, a.name, a.group, sent.incident_id, FILE.hex(), PDQ.hex()):
            assert name not in shown
    with begin_read(ledger.database) as connection:
        rows = connection.execute(select(evidence_match)).all()
        assert len(rows) == 2
        assert all(FILE not in bytes(str(row), "ascii") for row in rows)


def test_withdrawal_recalls_every_answer_of_everybody_once_and_no_later_one(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, c = shops
    said = forgery(a, FILE, PDQ, now)
    a.send(said, now)
    for asker in (b, b, c):
        assert seen(asker, now, PDQ) is not None
    a.send(withdrawal(a, said, now), now)
    assert seen(b, now, PDQ) is None
    found, more = list_recalls(ledger, b.caller(now), "", 1)
    assert more
    rest, more = list_recalls(ledger, b.caller(now), found[0].id, 1)
    assert not more
    assert len({one.answer for one in (*found, *rest)}) == 2
    assert len(list_recalls(ledger, c.caller(now), "", 9)[0]) == 1
    assert list_recalls(ledger, a.caller(now), "", 9) == ([], False)
    with pytest.raises(UnknownRecall):
        acknowledge(ledger, c.caller(now), found[0].id, now)
    first = acknowledge(ledger, b.caller(now), found[0].id, now)
    later = acknowledge(ledger, b.caller(now), found[0].id, now.replace(year=2027))
    assert first == later
    assert first.acknowledged_at == now
    with begin_read(ledger.database) as connection:
        assert connection.execute(select(evidence_match)).all() == []
        assert len(connection.execute(select(recall)).all()) == 3
        leaves = [parse_leaf(entry) for _, entry, _ in entries.stream_entries(connection)]
    assert [one.op for one in leaves[-2:]] == [Op.EVIDENCE_SEEN, Op.EVIDENCE_WITHDRAWN]
    assert (leaves[-1].ref, leaves[-1].reason) == (len(leaves) - 2, EntryReason.NONE)
    assert audit(ledger) == ()


def test_correction_recalls_only_where_evidence_is_no_longer_as_it_was(
    ledger: Ledger, shops: list[Simulator], now: datetime
) -> None:
    a, b, _ = shops
    sent = report(a, now)
    before = seen(b, now, PDQ)
    assert before is not None
    amount = replace(sent.report.amount, minor=1)
    a.send(a.correction(sent.report, now, amount=amount), now)
    photos = (photo(PDQ), replace(photo(RANDOM.randbytes(32)), digest=digest("another")))
    more = replace(sent.report.proof, evidence=(*photos, sent.report.proof.evidence[1]))
    a.send(a.correction(sent.report, now, proof=more), now)
    assert seen(b, now, PDQ) == before
    assert seen(b, now, file=digest("another")) is not None
    assert list_recalls(ledger, b.caller(now), "", 9) == ([], False)
    assert audit(ledger) == ()
    a.send(a.correction(sent.report, now, amount=amount), now)  # of the first photo alone
    settle(ledger, now)
    assert len(list_recalls(ledger, b.caller(now), "", 9)[0]) == 3
    with begin_read(ledger.database) as connection:
        assert connection.execute(select(evidence_match)).all() == []
    assert audit(ledger) == ()
