"""Postings and forward decay, in integers only, so that taking back restores every bit.

A mass is written once as it would weigh at the epoch and read as of a day (Cormode et al.,
ICDE 2009). `POWERS[r] = round(2^(r/h)·2^32)` is computed in decimal arithmetic, without libm.
"""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import IntEnum
from functools import cache, lru_cache
from typing import NamedTuple

from ledger.errors import EvidenceTooHeavy

UNIT = 1_000_000
UNIX_ORDINAL = 719_163  # date(1970, 1, 1).toordinal()
_SCALE_BITS = 32
_MASS_BITS = 24
MASS_MAX = (2**63 - 1) // 10_000  # of one incident: ten thousand of them fit
_SHIFT_MAX = 62
_DIGITS = 50


def day_number(day: date) -> int:
    """Give a date as days since 1970-01-01."""
    return day.toordinal() - UNIX_ORDINAL


def month_text(day: int) -> str:
    """Give the month of a day since 1970-01-01, like "2026-11"."""
    return date.fromordinal(day + UNIX_ORDINAL).isoformat()[:7]


class HalfLife(IntEnum):
    """The half-life classes, by their stable numbers in the database."""

    FRAUD = 1
    DELIVERY = 2
    POLICY = 3
    ORGANISED = 4


class Posting(NamedTuple):
    """What one account bears under one identifier. `key` and `kind_code` are the identifier's.

    *Shape*: a tuple, since a question makes dozens; `upheld` and `overturned` count the decided
    reports of the platform's group. *Units*: `mass` in forward-decayed micro-units, days since
    1970-01-01.
    """

    key: bytes
    kind_code: int
    account: int
    platform: int
    group: str
    half_life: int
    mass: int
    incidents: int
    disputed: int
    level_a: int
    binding: int
    first_day: int
    last_day: int
    upheld: int
    overturned: int


class Multiplicity(NamedTuple):
    """How many accounts of a platform bear incidents on an identifier, and what it declared.

    *Shape*: `bucket` is the code of the latest declaration, made by the event `bucket_index`. None
    is kept of an identifier with one account in all: its postings say that there is one, and a
    declaration counts only beside others'.
    """

    key: bytes
    kind_code: int
    accounts: int
    platform: int
    group: str
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
    if q > _SHIFT_MAX or mass > MASS_MAX:
        raise EvidenceTooHeavy("The incident's mass doesn't fit; the epoch must be moved.")
    return mass


def bounded_mass(weight_micro: int, day: int, half_life_days: int, epoch_day: int) -> int:
    """Give the mass to store, or the largest there is: an accepted statement always has one."""
    try:
        return forward_mass(weight_micro, day, half_life_days, epoch_day)
    except EvidenceTooHeavy:
        return MASS_MAX if weight_micro else 0


@lru_cache(maxsize=4096)
def _divisor(today: int, half_life_days: int, epoch_day: int) -> tuple[int, int]:
    """Give by how many bits a mass is shifted, and by what it is divided, on a day."""
    q, r = divmod(today - epoch_day, half_life_days)
    power = powers(half_life_days)[r]
    return (_MASS_BITS, power << q) if q >= 0 else (_MASS_BITS - q, power)


def decayed_mass(mass: int, today: int, half_life_days: int, epoch_day: int) -> int:
    """Give what a stored mass weighs on a day, rounded to the nearest micro-unit."""
    shift, divisor = _divisor(today, half_life_days, epoch_day)
    return ((mass << shift) + divisor // 2) // divisor
