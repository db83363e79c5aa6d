"""Histories at random, with crowds: the index of evidence is always what its pieces alone make it.

A place holds a member's first few pieces and its others lie aside, apart from everybody else's,
whatever was reported, corrected, taken back, refuted, erased, suspended or old, in whatever order.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from exact import settle
from exchanging import forgery, withdrawal
from kept import audit
from reports import digest
from simulator import phone_and_device
from sqlalchemy import bindparam, func, select

from ledger.enrolling import suspend_platform
from ledger.erasing import Decision, decide_erasure
from ledger.expiring import expire_due
from ledger.incident.evidence import ASIDE, Sought
from ledger.incident.incident import EvidenceItem
from ledger.incident.taxonomy import EvidenceKind, EvidenceSource
from ledger.log.leaf import Op
from ledger.matching import list_recalls, match_evidence
from ledger.store import evidence as exchange
from ledger.store.engine import begin_read
from ledger.store.tables import event, evidence, evidence_band, evidence_match

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import pytest
    from simulator import Sent, Simulator

    from ledger.incident.statement import Forgery
    from ledger.ledger import Ledger

CROWD, STEPS, SEED = 3, 30, 9
PICTURE = int.from_bytes(digest("picture"))
CHANCES = {
    "forge": 6,
    "withdraw": 4,
    "report": 5,
    "correct": 6,
    "retract": 2,
    "erase": 1,
    "refute": 1,
    "age": 1,
}


class History:
    """What three members say at random, of films and photos that are all alike."""

    def __init__(self, ledger: Ledger, shops: list[Simulator], at: datetime) -> None:
        """Begin with nothing said."""
        self.ledger, self.shops, self.at = ledger, shops, at
        self.random = Random(SEED)
        self.seen: list[tuple[Simulator, Forgery]] = []
        self.filed: list[tuple[Simulator, Sent]] = []

    def draw_evidence(self) -> tuple[EvidenceItem, ...]:
        """Draw a few files, each of which may have been reported before."""
        drawn = {}
        for _ in range(self.random.randint(1, 4)):
            file = digest(f"file {self.random.randrange(7)}")
            alike = [PICTURE ^ self.random.choice((0, 1, 2, 1 << 250)) for _ in range(4)]
            frames = tuple((one.to_bytes(32), 90) for one in alike[: self.random.randrange(5)])
            kind, source = EvidenceKind.CLAIM_VIDEO, EvidenceSource.BUYER
            drawn[file] = EvidenceItem(kind, source, file, None, None, frames=frames)
        return tuple(drawn.values())

    def go_on(self) -> None:
        """Let one thing happen, if what it needs is there."""
        (name,) = self.random.choices([*CHANCES], [*CHANCES.values()])
        shop = self.random.choice(self.shops)
        self.at += timedelta(minutes=self.random.randint(1, 90))
        getattr(self, f"_{name}")(shop)
        if self.random.random() < 0.6:  # else more is pending at once
            settle(self.ledger, self.at)

    def _forge(self, shop: Simulator) -> None:
        pieces = self.draw_evidence()
        said = forgery(shop, pieces[0].digest, None, self.at, evidence=pieces)
        shop.send(said, self.at)
        self.seen.append((shop, said))

    def _withdraw(self, _: Simulator) -> None:
        if self.seen:
            shop, said = self.seen.pop(self.random.randrange(len(self.seen)))
            shop.send(withdrawal(shop, said, self.at), self.at)

    def _report(self, shop: Simulator) -> None:
        name = f"buyer {len(self.filed)}"
        like = shop.incident(name, phone_and_device(name), self.at).proof
        proof = replace(like, evidence=(*self.draw_evidence(), *like.evidence[1:]))
        self.filed.append((shop, shop.report(name, phone_and_device(name), self.at, proof=proof)))

    def _correct(self, _: Simulator) -> None:
        if self.filed:
            shop, sent = self.random.choice(self.filed)
            old = sent.report.proof
            kept = [one for one in old.evidence if self.random.random() < 0.5]
            files = {one.digest: one for one in (*self.draw_evidence(), *old.evidence[-1:], *kept)}
            proof = replace(old, evidence=tuple(files.values()))
            shop.send(shop.correction(sent.report, self.at, proof=proof), self.at)

    def _retract(self, _: Simulator) -> None:
        if self.filed:
            shop, sent = self.filed.pop(self.random.randrange(len(self.filed)))
            shop.retract(sent, self.at)

    def _erase(self, _: Simulator) -> None:
        if self.filed:
            _, sent = self.filed.pop(self.random.randrange(len(self.filed)))
            settle(self.ledger, self.at)
            decision = Decision(sent.incident_id, Op.ERASED, "buyer-requested", "one person")
            decide_erasure(self.ledger, decision, self.at)

    def _refute(self, _: Simulator) -> None:
        if self.seen:
            _, said = self.seen.pop(self.random.randrange(len(self.seen)))
            settle(self.ledger, self.at)
            with begin_read(self.ledger.database) as connection:
                record = select(event.c.incident).where(event.c.jti == said.jti)
                about = connection.execute(record).scalar_one()
            decision = Decision(about, Op.EXPUNGED, "unfounded", "one person")
            decide_erasure(self.ledger, decision, self.at)

    def _age(self, _: Simulator) -> None:
        self.at += timedelta(days=self.random.choice((30, 200)))
        expire_due(self.ledger, self.at)

    def suspend(self) -> None:
        """Suspend a member, which says nothing more."""
        gone = self.shops.pop()
        suspend_platform(self.ledger, gone.uri, self.at)
        self.seen = [one for one in self.seen if one[0] is not gone]
        self.filed = [one for one in self.filed if one[0] is not gone]


def check_places(ledger: Ledger) -> int:
    """Check that each place holds its members' first pieces alone; count what lies aside."""
    with begin_read(ledger.database) as connection:
        pieces = connection.execute(select(evidence.c.id, evidence.c.platform)).all()
        members = {row.id: row.platform for row in pieces}
        rows = connection.execute(select(evidence_band.c.slot, evidence_band.c.evidence)).all()
    places = defaultdict(list)
    for slot, piece in rows:
        assert slot // ASIDE in {0, members[piece]}, "one member's lie apart from another's"
        places[slot % ASIDE, members[piece]].append((piece, slot >= ASIDE))
    for found in places.values():
        lies_aside = [aside for _, aside in sorted(found)]
        assert lies_aside == [number >= CROWD for number in range(len(found))]
    return sum(slot >= ASIDE for slot, _ in rows)


def test_index_is_what_its_pieces_make_it_and_no_answer_is_lost_whatever_came_before(
    ledger: Ledger,
    simulator: Callable[..., Simulator],
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slots = evidence_band.c.slot
    sought = select(slots).where(slots.in_(bindparam("slots", expanding=True)))
    crowded = sought.group_by(slots).having(func.count() >= CROWD)
    full = crowded.join(evidence, evidence.c.id == evidence_band.c.evidence)
    monkeypatch.setattr(exchange, "_CROWDED", crowded)
    monkeypatch.setattr(exchange, "_FULL", full.where(evidence.c.platform == bindparam("member")))
    asker, *shops = (simulator(f"shop-{name}") for name in "abcd")
    history, told, most = History(ledger, shops, now), set(), 0
    for step in range(STEPS):
        history.go_on()
        if step == STEPS * 2 // 3:
            history.suspend()
        most = max(most, check_places(ledger))
        if step % 3 == 0:
            asked = [Sought(digest(f"file {step % 7}"), ((PICTURE.to_bytes(32),),))]
            answer = match_evidence(ledger, asker.caller(history.at), asked, history.at)
            told |= {answer.id} if answer.seen[0] else set()
    settle(ledger, history.at)
    assert most > CROWD
    assert len(told) > 3
    with begin_read(ledger.database) as connection:
        bound = set(connection.execute(select(evidence_match.c.answer)).scalars())
    recalled = {one.answer for one in list_recalls(ledger, asker.caller(history.at), "", 200)[0]}
    assert told == bound | recalled
    assert recalled
    assert audit(ledger) == ()
