"""What is summed again from the incidents that remain is what was summed as they came."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from exact import read_index, settle
from reports import claim, digest

from ledger.graph.posting import HalfLife, day_number
from ledger.identity.identifier import Kind
from ledger.incident.incident import EvidenceItem, Series
from ledger.incident.taxonomy import Conduct, EvidenceKind, EvidenceSource, ProofLevel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from simulator import Simulator

    from ledger.incident.incident import IncidentReport
    from ledger.ledger import Ledger

FRAUD, POLICY = Conduct.ITEM_SWAP, Conduct.WARDROBING
# Days since the conduct, of what half-life, how proven: out of order, and turned so that each comes
# first once. The oldest is a series that began some days before.
BORNE = [
    (310, FRAUD, ProofLevel.D),
    (40, FRAUD, ProofLevel.A),
    (290, POLICY, ProofLevel.D),
    (620, FRAUD, ProofLevel.D),
    (3, POLICY, ProofLevel.A),
    (500, POLICY, ProofLevel.D),
    (90, FRAUD, ProofLevel.A),
]
SERIES_DAYS = 60
EARLIEST = 620
SURPLUS = [(900, FRAUD, ProofLevel.A), (0, FRAUD, ProofLevel.D), (0, POLICY, ProofLevel.A)]


@pytest.fixture
def shop(simulator: Callable[..., Simulator]) -> Simulator:
    """Give a member."""
    return simulator("shop-a")


def state(
    shop: Simulator, buyer: str, of: tuple[int, Conduct, ProofLevel], now: datetime
) -> IncidentReport:
    """State an incident of so many days ago, under two identifiers of the buyer's own."""
    age, conduct, level = of
    tokens = (claim(Kind.PHONE, buyer), claim(Kind.EMAIL, buyer))
    stated = shop.incident(buyer, tokens, now, conduct=conduct)
    ended = stated.conduct_ended_at - timedelta(days=age)
    proof = replace(stated.proof, level=level)
    if level is ProofLevel.A:
        found = EvidenceItem(EvidenceKind.DECISION, EvidenceSource.AUTHORITY, digest("it"), None)
        proof = replace(proof, evidence=(*proof.evidence, found))
    series = None
    if age == EARLIEST:
        series = Series(2, ended - timedelta(days=SERIES_DAYS), ended, stated.amount)
    return replace(stated, conduct_ended_at=ended, proof=proof, series=series)


def read_borne(ledger: Ledger, first: datetime) -> dict[bytes, list[tuple[Any, ...]]]:
    """Read what each account bears: its postings, without names, days counted before `first`."""
    borne: dict[bytes, list[tuple[Any, ...]]] = {}
    for table, *row in read_index(ledger):
        if table == "posting":
            _, kind, account, _, half_life, mass, count, disputed, level_a, binding, *days = row
            ages = [day_number(first.date()) - int(str(day)) for day in days]
            assert isinstance(account, bytes)
            rows = borne.setdefault(account, [])
            rows.append((kind, half_life, mass, count, disputed, level_a, binding, *ages))
    return {account: sorted(rows) for account, rows in borne.items()}


def state_rotations(
    shop: Simulator, now: datetime
) -> Iterator[tuple[int, list[tuple[int, Conduct, ProofLevel]]]]:
    """State the incidents in every rotation, each of a buyer of its own, and give each rotation."""
    for turn in range(len(BORNE)):
        turned = BORNE[turn:] + BORNE[:turn]
        for one in turned:
            shop.send(state(shop, f"plain {turn}", one, now), now)
        yield turn, turned


def check_borne(ledger: Ledger, now: datetime) -> None:
    """Check that all accounts bear the same, and that it is what these incidents say.

    There is one account for each rotation, and one for each with each surplus.
    """
    number = len(BORNE) * (1 + len(SURPLUS))
    conduct_day = now - timedelta(hours=6)
    first, *others = read_borne(ledger, conduct_day).values()
    assert others == [first] * (number - 1)
    for half_life, conduct in ((HalfLife.FRAUD, FRAUD), (HalfLife.POLICY, POLICY)):
        of = [(age, level) for age, one, level in BORNE if one is conduct]
        ages = [age + (SERIES_DAYS if age == EARLIEST else 0) for age, _ in of]
        proven = sum(level is ProofLevel.A for _, level in of)
        rows = [row for row in first if row[1] == half_life]
        assert [row[0] for row in rows] == [0, Kind.EMAIL.code, Kind.PHONE.code]
        for _, _, _, count, disputed, level_a, _, first_age, last_age in rows:
            told = (count, disputed, level_a, first_age, last_age)
            assert told == (len(of), 0, proven, max(ages), min(age for age, _ in of))


def test_rows_after_a_retraction_are_those_of_what_remains(
    ledger: Ledger, shop: Simulator, now: datetime
) -> None:
    for turn, turned in state_rotations(shop, now):
        for surplus in SURPLUS:
            buyer = f"retracted {turn} {surplus}"
            taken = [state(shop, buyer, one, now) for one in (*turned[:3], surplus, *turned[3:])]
            sent = [shop.send(one, now) for one in taken]
            shop.retract(sent[3], now)
    settle(ledger, now)
    check_borne(ledger, now)


def test_rows_after_a_correction_are_those_of_what_is_right(
    ledger: Ledger, shop: Simulator, now: datetime
) -> None:
    for turn, turned in state_rotations(shop, now):
        for wrong in SURPLUS:
            buyer = f"corrected {turn} {wrong}"
            taken = [state(shop, buyer, one, now) for one in (*turned[:3], wrong, *turned[4:])]
            for stated in taken:
                shop.send(stated, now)
            right = state(shop, buyer, turned[3], now)
            changes = {
                name: getattr(right, name)
                for name in ("conduct", "conduct_ended_at", "proof", "series")
            }
            shop.send(shop.correction(taken[3], now, **changes), now)
    settle(ledger, now)
    check_borne(ledger, now)
