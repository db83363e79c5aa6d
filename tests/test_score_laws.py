"""The laws of postings and scores, each by name, on ledgers that real reports fill.

What holds for every database is tried on both: order and taking back on 40 random worlds on SQLite
and 20 on PostgreSQL, all else on one world or on ledgers made by hand. The many random ledgers of
test_invariants.py are in memory; laws of the formula alone are tried on hand-made postings in
test_links.py and test_masses.py.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

import pytest
from exact import read_index, score_exactly, settle
from reports import claim
from simulator import phone_and_device
from sqlalchemy import event
from worlds import World

from ledger.activating import activate_due
from ledger.identity.identifier import Binding, Kind
from ledger.incident.incident import Series
from ledger.incident.schema import IDENTIFIERS_MAX
from ledger.incident.taxonomy import Actor, Conduct
from ledger.reporting import accept_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from simulator import Simulator

    from ledger.assessing import AssessmentRequest
    from ledger.identity.identifier import IdentifierClaim
    from ledger.ledger import Ledger
    from ledger.risk.score import RiskScore

DERIVED = ("identifier", "edge", "posting", "multiplicity")
DAYS = (0, 200, 1000)
WORLDS = {"sqlite": 300, "postgresql": 100}
# One of each half-life.
HALF_LIVES = [Conduct.ITEM_SWAP, Conduct.NONRECEIPT_FALSE, Conduct.WARDROBING]
HALF_LIVES.append(Conduct.REFUND_SERVICE_CLIENT)


@pytest.fixture
def platforms(simulator: Callable[..., Simulator]) -> list[Simulator]:
    """Give four platforms, of which two are of one group."""
    return [
        simulator("shop-a", group="first"),
        simulator("shop-b", group="second"),
        simulator("shop-c", group="first"),
        simulator("shop-d", group="fourth"),
    ]


def draw_questions(world: World, number: int = 4) -> list[tuple[Simulator, AssessmentRequest]]:
    """Draw questions about a world's people and about strangers."""
    questions = []
    for _ in range(number):
        asker = world.random.choice(world.platforms)
        kinds = world.random.sample(list(Kind), world.random.randint(1, 6))
        buyer = f"{world.label}-{world.random.choice(['0', '1', 'unknown'])}"
        questions.append((asker, asker.request(buyer, world.draw_claims(kinds))))
    return questions


def score_all(
    ledger: Ledger, questions: Sequence[tuple[Simulator, AssessmentRequest]], now: datetime
) -> list[RiskScore]:
    """Score questions today and later."""
    return [
        score_exactly(ledger, asker, asked, now + timedelta(days=days))
        for asker, asked in questions
        for days in DAYS
    ]


def without_rows(score: RiskScore) -> RiskScore:
    """Leave out the row ids of associated accounts, which tell in which order they came."""
    links = sorted((part._replace(account=0, points=0) for part in score.links), key=repr)
    return score._replace(links=tuple(links))


def test_score_does_not_depend_on_the_order_of_reports(
    backend: str, ledger: Ledger, platforms: list[Simulator], now: datetime
) -> None:
    told = []
    for label in ("first", "second"):
        worlds = [
            World(n, platforms, now, label=f"{label} {n}", plain=True)
            for n in range(WORLDS[backend])
        ]
        reports = [world.draw_report() for world in worlds for _ in range(6)]
        questions = [one for world in worlds for one in draw_questions(world)]
        if label == "second":
            Random(1).shuffle(reports)
        for report in reports:
            worlds[0].reporter_of(report.issuer).send(report, now)
        settle(ledger, now)
        told.append([without_rows(score) for score in score_all(ledger, questions, now)])
    assert told[0] == told[1]
    assert len({score.score for score in told[0]}) > 20


def test_retraction_restores_every_row_and_every_score(
    backend: str, ledger: Ledger, platforms: list[Simulator], now: datetime
) -> None:
    worlds = [World(n, platforms, now, crowded=n % 4 == 0) for n in range(WORLDS[backend])]
    for world in worlds:
        for _ in range(4):
            report = world.draw_report()
            world.reporter_of(report.issuer).send(report, now)
    settle(ledger, now)
    questions = [one for world in worlds for one in draw_questions(world)]
    index, scores = read_index(ledger), score_all(ledger, questions, now)
    changed = 0
    for _ in range(2):
        sent = []
        for world in worlds:
            report = world.draw_report()
            sent.append(world.reporter_of(report.issuer).send(report, now))
        settle(ledger, now)
        changed += read_index(ledger) != index and score_all(ledger, questions, now) != scores
        for one in sent:
            worlds[0].reporter_of(one.statement.issuer).retract(one, now)
        settle(ledger, now)
        assert read_index(ledger) == index
        assert score_all(ledger, questions, now) == scores
    assert changed


def test_ledger_without_any_active_report_keeps_no_row(
    ledger: Ledger, platforms: list[Simulator], now: datetime
) -> None:
    world = World(7, platforms, now)
    sent = []
    for _ in range(12):
        report = world.draw_report()
        sent.append(world.reporter_of(report.issuer).send(report, now))
    settle(ledger, now)
    assert read_index(ledger)
    world.random.shuffle(sent)
    for one in sent:
        world.reporter_of(one.statement.issuer).retract(one, now)
    settle(ledger, now)
    assert read_index(ledger) == []


def test_exact_repeat_changes_no_row(
    ledger: Ledger, platforms: list[Simulator], now: datetime
) -> None:
    sent = platforms[0].report("buyer", phone_and_device("buyer"), now)
    settle(ledger, now)
    index = read_index(ledger)
    repeated = accept_event(ledger, sent.token, now)
    settle(ledger, now)
    assert repeated.repeated
    assert read_index(ledger) == index


def test_more_evidence_at_fixed_multiplicities_never_lowers_a_score(
    ledger: Ledger, platforms: list[Simulator], now: datetime
) -> None:
    world = World(11, platforms, now, plain=True)
    for _ in range(8):
        report = world.draw_report()
        world.reporter_of(report.issuer).send(report, now)
    settle(ledger, now)
    questions = draw_questions(world, 12)
    again = World(11, platforms, now, plain=True)
    rises = 0
    for _ in range(8):
        before = score_all(ledger, questions, now)
        report = again.draw_report()  # the same conduct of the same account, as another case
        again.reporter_of(report.issuer).send(report, now)
        settle(ledger, now)
        for earlier, later in zip(before, score_all(ledger, questions, now), strict=True):
            assert later.score >= earlier.score
            assert later.direct_score >= earlier.direct_score
            assert later.linked_score >= earlier.linked_score
            rises += later.score > earlier.score
    assert rises > 10


def test_held_incident_leaves_no_trace_until_its_window_has_passed(
    ledger: Ledger, platforms: list[Simulator], now: datetime
) -> None:
    reporter, asker = platforms[:2]
    empty = read_index(ledger)
    until = now + timedelta(days=3)
    held = reporter.held_incident("buyer", phone_and_device("buyer"), now, until)
    sent = reporter.send(held, now)
    settle(ledger, now)
    question = asker.request("same", phone_and_device("buyer"))
    assert reporter.look_up(sent.incident_id, now).state == "held"
    assert read_index(ledger) == empty == []
    nothing = score_exactly(ledger, asker, question, now)
    assert (nothing.score, nothing.basis, nothing.incidents) == (0, "no_record", 0)
    assert activate_due(ledger, until) == 1
    assert score_exactly(ledger, asker, question, until).basis == "same_person"


def test_retracted_held_incident_never_counts(
    ledger: Ledger, platforms: list[Simulator], now: datetime
) -> None:
    reporter = platforms[0]
    until = now + timedelta(days=3)
    held = reporter.held_incident("buyer", phone_and_device("buyer"), now, until)
    reporter.retract(reporter.send(held, now), now)
    settle(ledger, now)
    assert activate_due(ledger, until) == 0
    assert read_index(ledger) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"actor": Actor.COERCED_OR_MULE},
        {"actor": Actor.VICTIM, "conduct": Conduct.ACCOUNT_TAKEOVER_REFUND},
    ],
    ids=["coerced", "victim"],
)
def test_victims_and_coerced_persons_weigh_nothing_and_leave_no_trace(
    changes: dict[str, object], ledger: Ledger, platforms: list[Simulator], now: datetime
) -> None:
    sent = platforms[0].report("buyer", phone_and_device("buyer"), now, **changes)
    settle(ledger, now)
    assert platforms[0].look_up(sent.incident_id, now).state == "active"
    assert read_index(ledger) == []
    platforms[0].retract(sent, now)
    settle(ledger, now)
    assert platforms[0].look_up(sent.incident_id, now).state == "retracted"
    assert read_index(ledger) == []


def test_own_account_is_never_linked_to_itself(
    ledger: Ledger, platforms: list[Simulator], now: datetime
) -> None:
    tokens = (*phone_and_device("me"), claim(Kind.ADDR, "home"), claim(Kind.EMAIL, "me"))
    platforms[0].report("me", tokens, now)
    settle(ledger, now)
    score = score_exactly(ledger, platforms[0], platforms[0].request("me", tokens), now)
    assert (score.score, score.basis, score.links, score.incidents) == (374, "own_account", (), 1)


def test_evidence_two_links_away_never_counts(
    ledger: Ledger, platforms: list[Simulator], now: datetime
) -> None:
    near, far, asker = platforms[0], platforms[1], platforms[3]
    mine = (claim(Kind.PHONE, "mine"), claim(Kind.DEVICE, "mine"))
    theirs = (claim(Kind.NID, "theirs"), claim(Kind.PAY, "theirs"))
    near.report("near", (*mine, *theirs), now)
    settle(ledger, now)
    question = asker.request("me", mine)
    before = score_exactly(ledger, asker, question, now)
    for _ in range(5):
        far.report("far", theirs, now)
    settle(ledger, now)
    assert before.score == 374
    assert score_exactly(ledger, asker, question, now) == before


def test_all_that_an_account_bears_counts_whichever_of_its_tokens_is_shared(
    ledger: Ledger, platforms: list[Simulator], now: datetime
) -> None:
    reporter, asker = platforms[:2]
    phone, device = phone_and_device("them")
    email = claim(Kind.EMAIL, "them")
    first = reporter.report("them", (phone, email), now, conduct=Conduct.WARDROBING)
    reporter.report("them", (device,), now)
    reporter.report("them", (phone,), now)
    settle(ledger, now)

    def ask(*tokens: IdentifierClaim) -> RiskScore:
        return score_exactly(ledger, asker, asker.request("me", tokens), now)

    whole = ask(phone, device)
    assert whole.basis == "same_person"
    assert whole.direct_score == 490  # S = 2,300,000
    assert ask(device, phone) == whole
    assert [ask(one).incidents for one in (phone, device, email)] == [3, 3, 3]
    reporter.retract(first, now)
    settle(ledger, now)
    assert ask(phone, device).direct_score == 473
    assert [ask(one).incidents for one in (phone, device, email)] == [2, 2, 0]


def test_series_weighs_as_its_claims_and_at_most_three(
    ledger: Ledger, platforms: list[Simulator], now: datetime
) -> None:
    reporter, asker = platforms[:2]
    expected = {2: 473, 3: 519, 12: 519}
    for claims, score in expected.items():
        tokens = phone_and_device(str(claims))
        plain = reporter.incident(str(claims), tokens, now)
        first = plain.conduct_ended_at - timedelta(days=60)
        series = Series(claims, first, plain.conduct_ended_at, plain.amount)
        reporter.send(replace(plain, series=series), now)
        settle(ledger, now)
        told = score_exactly(ledger, asker, asker.request("me", tokens), now)
        assert (told.score, told.incidents) == (score, 1)
        assert (told.last_day or 0) - (told.first_day or 0) == 60


@contextmanager
def count_rows(ledger: Ledger) -> Iterator[Counter[str]]:
    """Count the rows that are written to each derived table."""
    written: Counter[str] = Counter()

    def listen(*happened: object) -> None:
        cursor, statement = happened[1], str(happened[2]).split()
        place = {"INSERT": 2, "DELETE": 2, "UPDATE": 1}.get(statement[0])
        if place and (table := statement[place]) in DERIVED:
            written[table] += getattr(cursor, "rowcount", 0)

    event.listen(ledger.database.engine, "after_cursor_execute", listen)
    try:
        yield written
    finally:
        event.remove(ledger.database.engine, "after_cursor_execute", listen)


def test_report_writes_few_rows_however_full_the_ledger_is(
    ledger: Ledger, platforms: list[Simulator], now: datetime
) -> None:
    crowd = [claim(kind, "everybody's") for kind in Kind]
    for number in range(20):
        platforms[0].report(str(number), crowd, now)
    settle(ledger, now)
    most = 0
    live: set[IdentifierClaim] = set()
    for number, conduct in enumerate((Conduct.ITEM_SWAP, Conduct.NONRECEIPT_FALSE) * 3):
        tokens = {*crowd[: number % 3], *phone_and_device(str(number % 4))}
        live |= tokens
        report = platforms[1].incident("buyer", tuple(tokens), now, conduct=conduct)
        with count_rows(ledger) as written:
            platforms[1].send(report, now)
            settle(ledger, now)
        assert written["posting"]
        assert written.total() <= 2 + (2 + 3) * len(live)
        most = max(most, written.total())
    assert most > 15


@pytest.mark.parametrize("half_lives", [1, 2, 3, 4])
def test_report_writes_at_most_three_rows_and_one_a_half_life_under_each_token(
    half_lives: int, ledger: Ledger, platforms: list[Simulator], now: datetime
) -> None:
    other, reporter = platforms[:2]
    tokens = [claim(Kind.EMAIL, str(number)) for number in range(IDENTIFIERS_MAX)]
    other.report("only", tokens, now)
    *earlier, conduct = HALF_LIVES[:half_lives]
    for one in earlier:
        reporter.report("buyer", (claim(Kind.PHONE, "another"),), now, conduct=one)
    settle(ledger, now)
    others = [one._replace(binding=Binding.NONE) for one in tokens]
    for named, is_new, beside in ((tokens, not earlier, 3), (others, False, 2)):
        # Each is met by another platform's only account, and then bound otherwise.
        report = reporter.incident("buyer", named, now, conduct=conduct)
        with count_rows(ledger) as written:
            reporter.send(report, now)
            settle(ledger, now)
        unnamed = len(earlier[:1])
        assert written.total() == 1 + is_new + (half_lives + beside) * len(tokens) + unnamed
        live = len(tokens) + unnamed
        is_costliest = half_lives == len(HALF_LIVES) and named is tokens
        assert (written.total() > 6 * (1 + live)) == is_costliest
        assert written.total() <= 7 * (1 + live)
