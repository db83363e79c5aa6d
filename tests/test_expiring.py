"""Retention: a record goes at the local midnight that its jurisdiction names, and not before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

import pytest
from erasing import stored_of
from exact import settle
from hypothesis import given
from hypothesis import strategies as st
from kept import BUYER, audit, hold, nothing_kept, read_log, report_of, see

from ledger.activating import activate_due
from ledger.errors import EventRefused
from ledger.expiring import expire_due
from ledger.log.leaf import EntryReason, Op
from ledger.rights.retention import last_expired_day, local_day, retention_end

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulator import Simulator

    from ledger.rights.jurisdiction import JurisdictionProfile

DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
INSTANTS = st.datetimes(datetime(2019, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


@pytest.fixture
def shop(simulator: Callable[[str], Simulator]) -> Simulator:
    """Give a platform that reports."""
    return simulator("shop-a")


def end_of(shop: Simulator, conduct_ended_at: datetime) -> datetime:
    """Give the midnight at which a record of a conduct must be gone."""
    return retention_end(conduct_ended_at, shop.ledger.jurisdiction)


# --- The rule -----------------------------------------------------------------------------------


def test_five_years_in_china_end_at_midnight_in_shanghai(
    profiles: Mapping[str, JurisdictionProfile],
) -> None:
    profile = profiles["CN"]
    ended_at = datetime(2021, 11, 22, 17, 0, tzinfo=UTC)  # already the 23rd there
    midnight = datetime(2026, 11, 22, 16, 0, tzinfo=UTC)
    day = (date(2021, 11, 23) - date(1970, 1, 1)).days
    assert local_day(ended_at, profile) == day
    assert last_expired_day(midnight - TICK, profile) == day - 1
    assert last_expired_day(midnight, profile) == day


@given(ended_at=INSTANTS, years=st.integers(1, 9), zone=st.sampled_from(["CN", "SANDBOX"]))
def test_day_that_retention_counts_by_agrees_with_its_end_at_every_instant(
    profiles: Mapping[str, JurisdictionProfile], ended_at: datetime, years: int, zone: str
) -> None:
    profile = replace(profiles[zone], retention_years=years)
    end = retention_end(ended_at, profile)
    for at in (end - DAY, end - TICK, end, end + TICK, end + DAY):
        is_over = local_day(ended_at, profile) <= last_expired_day(at, profile)
        assert is_over == (at >= end), at


@pytest.mark.parametrize("today", ["2028-02-28", "2028-02-29", "2028-03-01", "2029-02-28"])
@pytest.mark.parametrize("years", [1, 4, 5])
def test_leap_days_are_no_exception(
    profiles: Mapping[str, JurisdictionProfile], today: str, years: int
) -> None:
    profile = replace(profiles["SANDBOX"], retention_years=years)
    at = datetime.combine(date.fromisoformat(today), time(), UTC)
    last = date(1970, 1, 1) + timedelta(days=last_expired_day(at, profile))
    ends = [retention_end(datetime.combine(last + n * DAY, time(9), UTC), profile) for n in (0, 1)]
    assert ends[0] <= at < ends[1]


# --- The job ------------------------------------------------------------------------------------


def test_record_is_there_until_its_midnight_and_then_no_more(
    shop: Simulator, now: datetime
) -> None:
    old, young = (
        shop.report(name, BUYER, now, conduct_ended_at=now - age * DAY)
        for name, age in (("old", 400), ("young", 300))
    )
    settle(shop.ledger, now)
    end = end_of(shop, report_of(old).conduct_ended_at)
    with nothing_kept(shop.ledger):
        assert expire_due(shop.ledger, end - TICK) == 0
    assert expire_due(shop.ledger, end) == 1
    assert see(shop, old, now) == ("expired", 2)
    assert see(shop, young, now)[0] == "active"
    assert stored_of(shop.ledger, old).sealed is None
    last = read_log(shop.ledger)[-1]
    assert (last.op, last.reason, last.ref) == (Op.EXPIRED, EntryReason.RETENTION_ENDED, 2)
    with nothing_kept(shop.ledger):
        assert expire_due(shop.ledger, end + DAY) == 0
    assert audit(shop.ledger) == ()


def test_held_record_expires_without_ever_counting(shop: Simulator, now: datetime) -> None:
    sent = hold(shop, now, until=now + 4000 * DAY)
    settle(shop.ledger, now)
    assert expire_due(shop.ledger, now + 6 * 366 * DAY) == 1
    assert activate_due(shop.ledger, now + 5000 * DAY) == 0
    assert see(shop, sent, now)[0] == "expired"
    assert audit(shop.ledger) == ()


@pytest.mark.parametrize("moved", [-300, 300], ids=["earlier", "later"])
def test_correction_brings_the_end_nearer_and_never_puts_it_off(
    shop: Simulator, now: datetime, moved: int
) -> None:
    ended = now - 400 * DAY
    sent = shop.report("buyer", BUYER, now, conduct_ended_at=ended)
    settle(shop.ledger, now)
    other = ended + moved * DAY
    shop.send(shop.correction(report_of(sent), now, conduct_ended_at=other), now)
    settle(shop.ledger, now)
    end = end_of(shop, min(ended, other))
    assert expire_due(shop.ledger, end - TICK) == 0
    assert expire_due(shop.ledger, end) == 1
    assert see(shop, sent, now)[0] == "expired"
    assert audit(shop.ledger) == ()


def test_correction_tells_of_no_conduct_after_the_report(shop: Simulator, now: datetime) -> None:
    sent = shop.report("buyer", BUYER, now)
    settle(shop.ledger, now)
    later = now + 1700 * DAY
    before = shop.ask("asked", BUYER, later)["score"]
    fresh = shop.incident("buyer", BUYER, later)
    dates = ("conduct_ended_at", "confirmed_at", "notice", "proof", "series")
    moved = {name: getattr(fresh, name) for name in dates}
    with pytest.raises(EventRefused, match="after"), nothing_kept(shop.ledger):
        shop.send(shop.correction(report_of(sent), later, **moved), later)
    assert shop.ask("asked", BUYER, later)["score"] == before
    assert expire_due(shop.ledger, now + 6 * 366 * DAY) == 1


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_what_is_pending_about_a_record_is_judged_first(shop: Simulator, now: datetime) -> None:
    sent = shop.report("buyer", BUYER, now)
    settle(shop.ledger, now)
    much_later = now + 6 * 366 * DAY
    shop.send(shop.restitution(report_of(sent), now), now)
    assert expire_due(shop.ledger, much_later) == 0
    settle(shop.ledger, now)
    assert expire_due(shop.ledger, much_later) == 1


def test_years_are_those_of_the_profile(shop: Simulator, now: datetime) -> None:
    shop.report("buyer", BUYER, now)
    settle(shop.ledger, now)
    sooner = replace(shop.ledger.jurisdiction, retention_years=2)
    ledger = replace(shop.ledger, jurisdiction=sooner)
    assert expire_due(ledger, now + 365 * DAY) == 0
    assert expire_due(ledger, now + 2 * 366 * DAY) == 1
