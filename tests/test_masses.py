"""The numbers under a score: powers, masses that fade, and what a report weighs when it is fresh.

Everything is compared with plain integer arithmetic, never with what the code computed before.
"""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest
from exact import POLICY
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import EvidenceTooHeavy
from ledger.graph.posting import UNIT, HalfLife, decayed_mass, forward_mass, powers
from ledger.incident.incident import Money
from ledger.incident.taxonomy import Actor, Conduct, ProofLevel
from ledger.risk.score import least_evidence, score_evidence

EPOCH = 19_723  # days from 1970-01-01 to 2024-01-01
HALF_LIVES = (90, 180, 365, 730)
SMALL = Money(12_990, "CNY")


@pytest.mark.parametrize("h", HALF_LIVES)
def test_every_power_is_the_nearest_integer(h: int) -> None:
    assert len(powers(h)) == h
    assert powers(h)[0] == 1 << 32
    for r, p in enumerate(powers(h)):  # p − ½ < 2^(r/h)·2^32 < p + ½, to the h-th power
        assert (2 * p - 1) ** h < 1 << (r + 33 * h) < (2 * p + 1) ** h


def test_the_epoch_of_the_policy_is_the_published_day() -> None:
    assert POLICY.epoch_day == EPOCH == (date(2024, 1, 1) - date(1970, 1, 1)).days


@pytest.mark.parametrize(
    ("weight", "day", "h", "mass"),
    [
        (UNIT, 0, 365, 256_000_000),
        (UNIT, 365, 365, 512_000_000),
        (UNIT, 1, 365, (UNIT * powers(365)[1]) >> 24),
        (UNIT, -365, 365, 128_000_000),
        (UNIT, -1, 365, (UNIT * powers(365)[364]) >> 25),
        (300_000, -1800, 90, 73),
        (0, 500, 365, 0),
    ],
)
def test_mass_is_stored_as_it_would_weigh_at_the_epoch(
    weight: int, day: int, h: int, mass: int
) -> None:
    assert forward_mass(weight, EPOCH + day, h, EPOCH) == mass


@pytest.mark.parametrize(
    ("mass", "day", "weight"),
    [
        (256_000_000, 0, 1_000_000),
        (256_000_000, 365, 500_000),
        (256_000_000, -365, 2_000_000),
        (128, 0, 1),  # half a micro-unit counts as one
        (127, 0, 0),
        (256_000_000, 365 * 21, 0),
        (256_000_000, 365 * 20, 1),
    ],
)
def test_mass_is_read_to_the_nearest_micro_unit(mass: int, day: int, weight: int) -> None:
    assert decayed_mass(mass, EPOCH + day, 365, EPOCH) == weight


@settings(deadline=None, derandomize=True, database=None)
@given(
    weight=st.integers(1, 3_000_000),
    day=st.integers(0, 1800),
    later=st.integers(0, 3),
    h=st.sampled_from(HALF_LIVES),
)
def test_fresh_mass_weighs_exactly_what_it_was_given_and_halves_in_each_half_life(
    weight: int, day: int, later: int, h: int
) -> None:
    mass = forward_mass(weight, EPOCH + day, h, EPOCH)
    read = decayed_mass(mass, EPOCH + day + later * h, h, EPOCH)
    assert abs(read * 2**later - weight) <= 2**later // 2 + 1
    assert later or read == weight


@settings(deadline=None, derandomize=True, database=None)
@given(
    weight=st.integers(0, 3_000_000),
    day=st.integers(-1800, 1800),
    h=st.sampled_from(HALF_LIVES),
    start=st.integers(-1800, 3000),
)
def test_no_mass_rises_from_one_day_to_the_next(weight: int, day: int, h: int, start: int) -> None:
    mass = forward_mass(weight, EPOCH + day, h, EPOCH)
    read = [decayed_mass(mass, EPOCH + today, h, EPOCH) for today in range(start, start + 40)]
    assert all(before >= after for before, after in pairwise(read))


def test_ten_thousand_of_the_heaviest_incidents_fit_in_64_bits_for_five_years() -> None:
    heaviest = 3 * 300_000 * 3 // 2 * 6 // 5
    mass = forward_mass(heaviest, EPOCH + 5 * 365, 90, EPOCH)
    assert 10_000 * mass < 2**63


def test_mass_that_would_not_fit_is_refused() -> None:
    with pytest.raises(EvidenceTooHeavy):
        forward_mass(UNIT, EPOCH + 6 * 365, 90, EPOCH)
    with pytest.raises(EvidenceTooHeavy):
        forward_mass(1, EPOCH + 90 * 63, 90, EPOCH)


@pytest.mark.parametrize(
    ("conduct", "half_life", "days", "micro"),
    [
        (Conduct.EVIDENCE_FORGED_AI, HalfLife.FRAUD, 365, 1_000_000),
        (Conduct.EVIDENCE_FORGED_EDIT, HalfLife.FRAUD, 365, 1_000_000),
        (Conduct.EVIDENCE_STAGED, HalfLife.FRAUD, 365, 1_000_000),
        (Conduct.DATE_TAMPER, HalfLife.FRAUD, 365, 1_000_000),
        (Conduct.EMPTY_RETURN, HalfLife.FRAUD, 365, 1_000_000),
        (Conduct.ITEM_SWAP, HalfLife.FRAUD, 365, 1_000_000),
        (Conduct.RETURN_TRACKING_FAKE, HalfLife.FRAUD, 365, 1_000_000),
        (Conduct.NO_RETURN_SHIPPED, HalfLife.FRAUD, 365, 1_000_000),
        (Conduct.DOUBLE_DIP, HalfLife.FRAUD, 365, 1_000_000),
        (Conduct.CHARGEBACK_FALSE, HalfLife.FRAUD, 365, 1_000_000),
        (Conduct.EXTORTION_CLAIM, HalfLife.FRAUD, 365, 1_000_000),
        (Conduct.NONRECEIPT_FALSE, HalfLife.DELIVERY, 180, 700_000),
        (Conduct.MISSING_ITEM_FALSE, HalfLife.DELIVERY, 180, 700_000),
        (Conduct.REFUND_SERVICE_OPERATOR, HalfLife.ORGANISED, 730, 1_200_000),
        (Conduct.REFUND_SERVICE_CLIENT, HalfLife.ORGANISED, 730, 1_200_000),
        (Conduct.COMPETITOR_DIRECTED, HalfLife.ORGANISED, 730, 1_200_000),
        (Conduct.WARDROBING, HalfLife.POLICY, 90, 300_000),
        (Conduct.PRICE_ARBITRAGE, HalfLife.POLICY, 90, 300_000),
        (Conduct.PROMO_MULTI_ACCOUNT, HalfLife.POLICY, 90, 300_000),
    ],
)
def test_conduct_weighs_and_fades_as_its_class(
    conduct: Conduct, half_life: HalfLife, days: int, micro: int
) -> None:
    weight = POLICY.weigh(conduct, Actor.FIRST_PARTY, ProofLevel.D, SMALL, 1)
    assert (weight.half_life, weight.micro) == (half_life, micro)
    assert POLICY.half_life_days(half_life) == days


def test_victims_conduct_weighs_nothing_whoever_is_named() -> None:
    for actor in Actor:
        taken_over = Conduct.ACCOUNT_TAKEOVER_REFUND
        assert POLICY.weigh(taken_over, actor, ProofLevel.A, SMALL, 9).micro == 0


@pytest.mark.parametrize("conduct", list(Conduct))
@pytest.mark.parametrize("actor", [Actor.VICTIM, Actor.COERCED_OR_MULE])
def test_victims_and_coerced_persons_weigh_nothing_whatever_was_done(
    conduct: Conduct, actor: Actor
) -> None:
    assert POLICY.weigh(conduct, actor, ProofLevel.A, Money(10**9, "CNY"), 9).micro == 0


@pytest.mark.parametrize(
    ("level", "micro"),
    [(ProofLevel.A, 1_500_000), (ProofLevel.C, 1_000_000), (ProofLevel.D, 1_000_000)],
)
def test_proof_counts_by_its_level(level: ProofLevel, micro: int) -> None:
    assert POLICY.weigh(Conduct.ITEM_SWAP, Actor.FIRST_PARTY, level, SMALL, 1).micro == micro


@pytest.mark.parametrize(
    ("amount", "micro"),
    [
        (Money(299_999, "CNY"), 1_000_000),
        (Money(300_000, "CNY"), 1_200_000),
        (Money(38_461, "EUR"), 1_000_000),  # 38,461 · 7.8 = 299,995.8
        (Money(38_462, "EUR"), 1_200_000),
        (Money(61_224, "JPY"), 1_000_000),  # whole yen at 4.9 fen each
        (Money(61_225, "JPY"), 1_200_000),
        (Money(10**9, "CHF"), 1_000_000),  # no reference rate: never large
    ],
)
def test_amount_counts_from_the_threshold_on_at_reference_rates(amount: Money, micro: int) -> None:
    weight = POLICY.weigh(Conduct.ITEM_SWAP, Actor.FIRST_PARTY, ProofLevel.D, amount, 1)
    assert weight.micro == micro


@pytest.mark.parametrize(("claims", "micro"), [(1, 1), (2, 2), (3, 3), (4, 3), (500, 3)])
def test_series_weighs_its_claims_up_to_three(claims: int, micro: int) -> None:
    weight = POLICY.weigh(Conduct.ITEM_SWAP, Actor.FIRST_PARTY, ProofLevel.D, SMALL, claims)
    assert weight.micro == micro * UNIT


def test_factors_multiply() -> None:
    weight = POLICY.weigh(
        Conduct.REFUND_SERVICE_CLIENT, Actor.ORGANISED, ProofLevel.A, Money(300_000, "CNY"), 3
    )
    assert weight.micro == 6_480_000  # 1.2 · 1.5 · 1.2 · 3


def test_reliability_is_the_posterior_mean_of_decided_disputes() -> None:
    assert [POLICY.reliability(*one) for one in ((0, 0), (80, 0), (0, 20))] == [
        900_000,
        980_000,
        450_000,
    ]


def test_least_evidence_gives_its_score_and_a_unit_less_does_not() -> None:
    for score in range(1, 1000):
        least = least_evidence(score)
        assert score_evidence(least) >= score > score_evidence(least - 1), score
