"""Ids are UUIDs of version 7 (RFC 9562 §5.7), read by the standard library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import and_, or_
from uuid import RFC_4122, UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.errors import LedgerCorrupt
from ledger.ledger import check_minted, mint_id

instants = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants them bare
NOISE = 2**128 - 1 ^ (2**48 - 1 << 80 | 0xF << 76 | 0b11 << 62)  # what isn't time, version, variant


@given(instants)
@example(datetime(2004, 2, 27, 11, 29, 49, 863000, UTC))  # as binary64 seconds it is a bit less
def test_id_is_a_uuid_of_version_7_and_of_its_millisecond(at: datetime) -> None:
    minted = mint_id("ra_", at)
    value = UUID(minted.removeprefix("ra_"))
    assert minted == f"ra_{value.hex}"
    assert (value.version, value.variant) == (7, RFC_4122)
    milliseconds = value.int >> 80
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    assert milliseconds == since // timedelta(milliseconds=1)
    check_minted(minted, at)
    with pytest.raises(LedgerCorrupt):
        check_minted(minted, at + timedelta(milliseconds=1))


def test_every_bit_that_may_differ_does(now: datetime) -> None:
    values = [UUID(mint_id("inc_", now).removeprefix("inc_")).int for _ in range(200)]
    assert reduce(or_, values) & ~reduce(and_, values) == NOISE
    assert len(set(values)) == len(values)


def test_each_random_bit_is_a_bit_of_noise_of_its_own(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fewer bits of noise decide together is easier to guess than it looks."""

    def mint(noise: int) -> int:
        def give(size: int) -> bytes:
            return noise.to_bytes(size)

        monkeypatch.setattr("ledger.ledger.secrets.token_bytes", give)
        return UUID(mint_id("inc_", now).removeprefix("inc_")).int

    nothing = mint(0)
    changed = [mint(1 << bit) ^ nothing for bit in range(80)]
    assert mint(2**80 - 1) ^ nothing == NOISE
    decided = [one for one in changed if one]
    assert len(decided) == len(set(decided)) == NOISE.bit_count() == 74
    assert all(one.bit_count() == 1 for one in decided)
