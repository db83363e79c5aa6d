"""What would clear a score: the solved months are those that day-by-day scoring finds."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from exact import OWN_ACCOUNT, POLICY, Shared, Sketch
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import claim
from simulator import phone_and_device

from ledger.graph.neighbourhood import Evidence, build_neighbourhood
from ledger.graph.posting import day_number
from ledger.identity.identifier import Kind
from ledger.risk.fading import fade
from ledger.risk.outlook import foresee
from ledger.sequencing import sequence

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Simulator

    from ledger.ledger import Ledger
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


def wait(sketch: Sketch, still: Callable[[RiskScore], bool]) -> str:
    """Score every single day until something holds no more, and give the month of that day."""
    began, day = sketch.today, sketch.today
    end = date(began.year + YEARS, began.month, 1)
    while day < end:
        sketch.today = day
        if not still(sketch.score()):
            break
        day += timedelta(days=1)
    sketch.today = began
    return day.isoformat()[:7]


EVIDENCE = st.lists(
    st.tuples(
        st.integers(1, 9), st.sampled_from(["own", "same", "pay", "both"]), st.integers(1, 3)
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
    evidence: list[tuple[int, str, int]],
) -> None:
    sketch = Sketch(TODAY)
    for account, (incidents, how, at) in enumerate(evidence, 2):
        own = how == "own"
        if own and any(row.account == OWN_ACCOUNT for row in sketch.rows):
            continue
        sketch.bear(OWN_ACCOUNT if own else account, incidents, SHARED[how], platform=at)
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
    flatmate = asker.ask("r", (claim(Kind.ADDR, "home"),), now)
    assert (flatmate["level"], flatmate["clears"]) == ("LOW", None)
    assert flatmate["reasons"][0]["ends"] > "2028"
    stranger = asker.ask("s", (claim(Kind.PAY, "unknown"),), now)
    assert (stranger["clears"], stranger["reasons"]) == (None, [])
