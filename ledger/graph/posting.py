"""Postings and forward decay, in integers only, so that taking back restores every bit.

A mass is written once as it would weigh at the epoch and read as of a day (Cormode et al.,
ICDE 2009). `POWERS[r] = round(2^(r/h)·2^32)` is computed in decimal arithmetic, without libm.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import IntEnum
from functools import cache

from ledger.errors import EvidenceTooHeavy

UNIT = 1_000_000
_SCALE_BITS = 32
_MASS_BITS = 24
_MASS_MAX = 2**63 - 1
_SHIFT_MAX = 62
_DIGITS = 50


class HalfLife(IntEnum):
    """The half-life classes, by their stable numbers in the database."""

    FRAUD = 1
    DELIVERY = 2
    POLICY = 3
    ORGANISED = 4


@dataclass(frozen=True, slots=True)
class Posting:
    """What one account bears under one identifier. `key` and `kind_code` are the identifier's.

    *Units*: `mass` in forward-decayed micro-units, days since 1970-01-01.
    """

    key: bytes
    kind_code: int
    account: int
    platform: int
    group: str
    half_life: int
    mass: int
    count: int
    disputed: int
    level_a: int
    binding: int
    first_day: int
    last_day: int


@dataclass(frozen=True, slots=True)
class Multiplicity:
    """How many accounts of a platform bear incidents on an identifier, and what it declared.

    *Shape*: `bucket` is the code of the latest declaration, made by the event `bucket_index`.
    """

    key: bytes
    kind_code: int
    platform: int
    group: str
    accounts: int
    bucket: int
    bucket_index: int


@cache
def powers(half_life_days: int) -> tuple[int, ...]:
    """Give round(2^(r/h)·2^32) for r = 0 … h−1.

    Decimal arithmetic of fixed precision gives the same digits on every machine; only r = 0 is
    rational, so that no value lies near a tie. The tests check each against integer powers.
    """
    context = Context(prec=_DIGITS, rounding=ROUND_HALF_EVEN)
    two, h = Decimal(2), Decimal(half_life_days)
    return tuple(
        int(
            context.multiply(
                context.power(two, context.divide(Decimal(r), h)), two**_SCALE_BITS
            ).to_integral_value(ROUND_HALF_EVEN)
        )
        for r in range(half_life_days)
    )


def forward_mass(weight_micro: int, day: int, half_life_days: int, epoch_day: int) -> int:
    """Give the mass to store for a weight that was earned on a day.

    *Raises*: EvidenceTooHeavy where it would leave 64 bits.
    """
    q, r = divmod(day - epoch_day, half_life_days)
    scaled = weight_micro * powers(half_life_days)[r]
    mass = (scaled << q if q >= 0 else scaled >> -q) >> _MASS_BITS
    if q > _SHIFT_MAX or mass > _MASS_MAX // 10_000:
        raise EvidenceTooHeavy("The incident's mass doesn't fit; the epoch must be moved.")
    return mass


def decayed_mass(mass: int, today: int, half_life_days: int, epoch_day: int) -> int:
    """Give what a stored mass weighs on a day, rounded to the nearest micro-unit."""
    q, r = divmod(today - epoch_day, half_life_days)
    power = powers(half_life_days)[r]
    if q >= 0:
        divisor = power << q
        return ((mass << _MASS_BITS) + divisor // 2) // divisor
    return (((mass << _MASS_BITS) << -q) + power // 2) // power
