"""What would clear a score: the solved months are those that day-by-day scoring finds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from exact import OWN_ACCOUNT, POLICY, Shared, Sketch, settle
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import claim
from simulator import phone_and_device

from api.risk import ASSESSED
from ledger.expiring import expire_due
from ledger.graph.neighbourhood import Evidence, build_neighbourhood
from ledger.graph.posting import day_number
from ledger.identity.identifier import Kind
from ledger.incident.incident import Series
from ledger.incident.taxonomy import Conduct
from ledger.rights.retention import day_years_before, retention_end
from ledger.risk.fading import fade
from ledger.risk.outlook import foresee
from ledger.sequencing import sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulator import Simulator

    from ledger.graph.posting import Posting
    from ledger.ledger import Ledger
    from ledger.rights.jurisdiction import JurisdictionProfile
    from ledger.risk.outlook import Outlook
    from ledger.risk.score import RiskScore

TODAY = date(2026, 11, 22)
YEARS = 5
exhaust = settings(deadline=None, derandomize=True, database=None, max_examples=40)


def foretell(sketch: Sketch) -> Outlook:
    """Foresee a sketch, as an answer does."""
    neighbourhood = build_neighbourhood(
        b"the asker's own account",
        "the asker's group",
        tuple(sketch.presented.values()),
        Evidence(0, 1, sketch.rows, tuple(sketch.seen.values())),
        POLICY.kinds,
    )
    return foresee(
        fade(neighbourhood, POLICY), sketch.score(), POLICY, day_number(sketch.today), YEARS
    )


def is_kept(row: Posting, day: date) -> bool:
    """Tell whether a day is before that on which what a row bears has been kept long enough."""
    ended = date(1970, 1, 1) + timedelta(days=row.last_day)
    due = (ended.year + YEARS, ended.month, ended.day)
    if due[1:] == (2, 29):  # no leap year is five years after another
        due = (due[0], 2, 28)
    return (day.year, day.month, day.day) < due


def wait(sketch: Sketch, still: Callable[[RiskScore], bool]) -> str:
    """Score every single day until something holds no more, and give the month of that day.

    On each day the rows are gone that may be kept no longer.
    """
    day = sketch.today
    while still(
        replace(sketch, today=day, rows=[row for row in sketch.rows if is_kept(row, day)]).score()
    ):
        day += timedelta(days=1)
    return day.isoformat()[:7]


AGES = st.one_of(st.just(0), st.integers(0, YEARS * 366 + 30))  # in days: some are due already
EVIDENCE = st.lists(
    st.tuples(
        st.integers(1, 9),
        st.sampled_from(["own", "same", "pay", "both"]),
        st.integers(1, 3),
        AGES,
        st.integers(0, 1),
    ),
    min_size=1,
    max_size=4,
)
SHARED = {
    "own": (),
    "same": (Shared(Kind.PHONE), Shared(Kind.DEVICE)),
    "pay": (Shared(Kind.PAY, verified=False),),
    "both": (Shared(Kind.PAY, verified=False), Shared(Kind.EMAIL, verified=False)),
}


@exhaust
@given(EVIDENCE)
def test_months_are_those_in_which_day_by_day_scoring_falls_below(
    evidence: list[tuple[int, str, int, int, int]],
) -> None:
    sketch = Sketch(TODAY)
    for account, (incidents, how, at, age, finding) in enumerate(evidence, 2):
        own = how == "own"
        if own and any(row.account == OWN_ACCOUNT for row in sketch.rows):
            continue
        bearer = OWN_ACCOUNT if own else account
        sketch.today = TODAY - timedelta(days=age)
        sketch.bear(bearer, incidents, SHARED[how], platform=at, level_a=finding)
    sketch.today = TODAY
    score, told = sketch.score(), foretell(sketch)
    medium = POLICY.level_medium
    below = wait(sketch, lambda one: one.score >= medium) if score.score >= medium else None
    assert told.below_medium == below
    high = wait(sketch, lambda one: one.level == "HIGH") if score.level == "HIGH" else None
    assert told.below_high == high
    assert told.direct_ends == (
        wait(sketch, lambda one: one.direct_score > 0) if score.groups else None
    )
    assert told.links_end == (
        wait(sketch, lambda one: one.linked_score > 0) if score.links else None
    )


def test_one_fresh_incident_fades_below_medium_after_thirteen_months() -> None:
    told = foretell(Sketch(TODAY).bear(OWN_ACCOUNT, 1))
    assert told == (None, "2028-01", 1, "2031-11", None)


def test_nothing_counts_beyond_the_month_in_which_it_is_destroyed() -> None:
    sketch = Sketch(date(2022, 5, 24)).bear(OWN_ACCOUNT, 40)
    sketch.bear(2, 40, SHARED["same"], platform=2).bear(3, 40, SHARED["both"], platform=3)
    sketch.today = TODAY
    told = foretell(sketch)
    assert told == ("2027-05", "2027-05", None, "2027-05", "2027-05")


def test_links_end_with_what_bears_them_however_long_the_rest_stays() -> None:
    sketch = Sketch(date(2022, 5, 24)).bear(2, 40, SHARED["both"], platform=2)
    sketch.today = TODAY
    told = foretell(sketch.bear(OWN_ACCOUNT, 1))
    assert (told.direct_ends, told.links_end) == ("2031-11", "2027-05")


def test_level_is_high_no_longer_than_the_finding_is_kept_that_allows_it() -> None:
    sketch = Sketch(date(2022, 5, 24)).bear(2, 1, SHARED["same"], level_a=1)
    sketch.today = TODAY
    told = foretell(sketch.bear(OWN_ACCOUNT, 60))
    assert (told.below_high, told.below_medium) == ("2027-05", "2031-11")


def test_what_is_due_and_not_destroyed_yet_counts_today_and_clears_this_month() -> None:
    sketch = Sketch(date(2021, 11, 1)).bear(OWN_ACCOUNT, 90)
    sketch.today = TODAY
    assert sketch.score().level == "MEDIUM"
    assert foretell(sketch) == (None, "2026-11", None, "2026-11", None)


def test_overturned_incidents_are_counted_the_weightiest_first() -> None:
    sketch = Sketch(TODAY).bear(OWN_ACCOUNT, 1).bear(2, 1, SHARED["same"], platform=2)
    assert foretell(sketch).if_overturned == 2
    assert foretell(Sketch(TODAY).bear(OWN_ACCOUNT, 3)).if_overturned == 3
    assert foretell(Sketch(TODAY).bear(OWN_ACCOUNT, 100)).if_overturned is None
    links = Sketch(TODAY).bear(OWN_ACCOUNT, 1)
    for account in range(2, 5):
        links.bear(account, 1, (Shared(Kind.ADDR),))
    assert foretell(links).if_overturned == 1


def test_of_equal_incidents_that_of_the_higher_platform_is_overturned_first() -> None:
    for platforms, number in (((1, 2), 1), ((2, 1), 2)):
        sketch = Sketch(TODAY).bear(OWN_ACCOUNT, 2, platform=platforms[0])
        sketch.bear(2, 1, SHARED["same"], platform=platforms[1])
        sketch.today += timedelta(days=800)  # each weighs 219,000
        assert foretell(sketch).if_overturned == number


def test_aged_evidence_counts_no_longer_than_it_is_kept(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    asker = simulator("asker")
    ended = datetime(2022, 5, 24, 9, tzinfo=UTC)
    for reporter in (simulator("shop-a"), simulator("shop-b")):
        for _ in range(3):
            traits = {"conduct": Conduct.REFUND_SERVICE_OPERATOR, "conduct_ended_at": ended}
            plain = reporter.incident("p", phone_and_device("p"), now, **traits)
            reporter.send(replace(plain, series=Series(3, ended, ended, plain.amount)), now)
    settle(ledger, now)
    told = asker.ask("q", phone_and_device("p"), now)
    assert (told["score"], told["level"]) == (650, "HIGH")
    assert told["clears"] == {
        "below_high": "2027-05",
        "below_medium": "2027-05",
        "if_overturned": "3-9",
    }
    assert {one["ends"] for one in told["reasons"]} == {"2027-05"}
    for at, destroyed, score in (
        (datetime(2027, 5, 23, 23, 59, tzinfo=UTC), 0, 630),
        (datetime(2027, 5, 24, tzinfo=UTC), 6, 0),
    ):
        assert expire_due(ledger, at) == destroyed
        assert asker.ask("q", phone_and_device("p"), at)["score"] == score


@given(
    at=st.datetimes(datetime(2019, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
    years=st.integers(1, 9),
    hours=st.integers(-12, 14),
)
def test_no_record_outlasts_the_day_on_which_the_outlook_drops_it(
    profiles: Mapping[str, JurisdictionProfile], at: datetime, years: int, hours: int
) -> None:
    zone = ZoneInfo(f"Etc/GMT{-hours:+}")
    profile = replace(profiles["SANDBOX"], time_zone=zone, retention_years=years)
    last = retention_end(at, profile).date()  # of UTC
    days = [last + number * timedelta(days=1) for number in (-1, 0, 1)]
    drops = [day_years_before(day, years) >= day_number(at.date()) for day in days]
    assert drops[:1] + drops[2:] == [False, True]
    assert drops[1] or hours


def test_answer_says_what_clears_it_and_when_each_reason_ends(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    reporter, asker = simulator("shop-a"), simulator("shop-b")
    reporter.report("p", (*phone_and_device("p"), claim(Kind.ADDR, "home")), now)
    sequence(ledger, now)
    known = asker.ask("q", phone_and_device("p"), now)
    assert known["clears"] == {
        "below_high": None,
        "below_medium": "2028-01",
        "if_overturned": "1",
    }
    assert [one["ends"] for one in known["reasons"]] == ["2031-11"]
    published = ASSESSED.example
    assert isinstance(published, dict)
    assert (
        known | {name: published[name] for name in ("id", "log", "client_reference")} == published
    )
    flatmate = asker.ask("r", (claim(Kind.ADDR, "home"),), now)
    assert (flatmate["level"], flatmate["clears"]) == ("LOW", None)
    assert flatmate["reasons"][0]["ends"] > "2028"
    stranger = asker.ask("s", (claim(Kind.PAY, "unknown"),), now)
    assert (stranger["clears"], stranger["reasons"]) == (None, [])
