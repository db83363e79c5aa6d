"""The invariants of scores, each by its name, on 10,000 random ledgers in memory.

A history of statements is drawn from a tape of bytes; what an index in plain dicts then holds is
scored by the product's own rules. `make soak` tries every law of this file on a million more tapes.

No law of this file runs on a database. On SQLite and PostgreSQL test_score_laws.py tries, on a few
ledgers or dozens of worlds, that order plays no part, that taking back restores every row,
that repeats change nothing, that more evidence lowers nothing, and what links nobody. That the
formula's other laws hold there follows from test_score_oracle.py alone: the scores of 300 and 100
worlds are the oracle's, to which this index is held here too.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

from histories import (
    IDS,
    MEMBERS,
    NOW,
    Borne,
    MemoryIndex,
    Tape,
    describe,
    draw_world,
    expect,
    rename,
    reorder,
    tell,
    without_rows,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Oracle
from worlds import CHANGES, EVERYTHING, REPORTS, World, keep_cases, remain

from ledger.identity.identifier import AccountRef, Kind
from ledger.incident.incident import IncidentReport
from ledger.incident.statement import Change, Correction
from ledger.incident.taxonomy import ProofLevel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from ledger.assessing import AssessmentRequest
    from ledger.incident.statement import Statement
    from ledger.risk.score import RiskScore

TAPE_BYTES = 400
DATES = [(NOW + timedelta(days=days)).date() for days in (0, 200, 1000)]
FILED = (*REPORTS * 3, *CHANGES)
tapes = given(st.binary(min_size=TAPE_BYTES, max_size=TAPE_BYTES))
law = settings(max_examples=500, database=None)


def draw(world: World, kinds: Sequence[str] = EVERYTHING) -> list[Statement]:
    """Draw one to eight statements."""
    return [world.draw_statement(kinds) for _ in range(world.random.randint(1, 8))]


def draw_questions(world: World) -> list[AssessmentRequest]:
    """Draw two questions."""
    return [world.draw_question()[1] for _ in range(2)]


def score(index: MemoryIndex, questions: Iterable[AssessmentRequest]) -> list[RiskScore]:
    """Score questions today and later."""
    return [index.score(asked, day) for asked in questions for day in DATES]


def assert_alike(one: Iterable[RiskScore], other: Iterable[RiskScore]) -> None:
    """Compare scores but for what tells in which order accounts came."""
    assert [without_rows(told) for told in one] == [without_rows(told) for told in other]


def file_again(said: Statement, number: int) -> Statement:
    """Say the same as another statement; a report is one of another case."""
    return replace(said, jti=f"{said.jti} again {number}")


def multiply(world: World, statements: Sequence[Statement]) -> list[Statement]:
    """Add twenty cases like each report, now and then."""
    more = range(world.random.choice([0, 0, 20]))
    reports = [one for one in statements if isinstance(one, IncidentReport)]
    return [*statements, *(file_again(one, number) for one in reports for number in more)]


@tapes
@settings(max_examples=2000, database=None)
def test_every_score_is_the_oracles_to_the_last_integer(tape: bytes) -> None:
    chance = Tape(tape[:8])
    world = draw_world(tape[8:], crowded=chance.random() > 0.6)
    index, oracle = MemoryIndex(), Oracle(IDS)
    for group in ("first", "second"):
        index.decided[group] = oracle.decided[group] = chance.choice([(0, 0), (0, 2), (9, 1)])
    for one in draw(world):
        index.hear(one)
        oracle.hear(one)
    for asked in draw_questions(world):
        day = world.random.choice(DATES)
        assert describe(index.score(asked, day)) == expect(oracle.assess(asked, day))


def test_tapes_lead_everywhere() -> None:
    told = []
    for seed in range(400):
        world = draw_world(Random(seed).randbytes(TAPE_BYTES), crowded=seed % 3 == 0)
        told += score(tell(draw(world)), draw_questions(world))
    assert {one.level for one in told} == {"LOW", "MEDIUM", "HIGH"}
    assert len({one.basis for one in told}) == 5
    both = [one for one in told if one.groups and one.links]
    assert sum(1 for one in both if len(one.groups) > 1 and len(one.links) > 1) > 10
    assert sum(1 for one in told if one.association_kinds > 1 and not one.groups) > 20
    assert sum(1 for one in told if one.ignored and (one.groups or one.links)) > 20


@tapes
@law
def test_nothing_that_counts_is_zero(tape: bytes) -> None:
    world = draw_world(tape)
    stranger = World(Tape(tape), MEMBERS, NOW, label="elsewhere")
    questions = draw_questions(world)
    statements = draw(world)
    index = tell(statements)
    nothing = score(MemoryIndex(), questions) + score(index, draw_questions(stranger))
    for one in world.open:
        index.hear(world.reporter_of(one.issuer).retraction(one, NOW))
    nothing += score(index, questions)
    assert {(x.score, x.direct_score, x.linked_score, x.incidents) for x in nothing} == {(0,) * 4}
    assert {x.basis for x in nothing} <= {"no_record", "protected"}
    assert not [row for row in index.state() if isinstance(row, tuple) and row[0] == "posting"]


@tapes
@law
def test_order_of_statements_changes_no_score(tape: bytes) -> None:
    world = draw_world(tape, plain=True)
    statements, questions = draw(world), draw_questions(world)
    one, other = tell(statements), tell(reorder(world.random, statements))
    assert one.state(ordered=False) == other.state(ordered=False)
    assert_alike(score(one, questions), score(other, questions))


@tapes
@law
def test_taking_back_restores_every_row_and_every_score(tape: bytes) -> None:
    world = draw_world(tape)
    index = tell(draw(world))
    questions = draw_questions(world)
    state, told = index.state(), score(index, questions)
    world.open = []
    for one in draw(world, FILED):
        index.hear(one)
    for report in world.open:
        index.hear(world.reporter_of(report.issuer).retraction(report, NOW))
    assert index.state() == state
    assert score(index, questions) == told


@tapes
@law
def test_incremental_index_is_a_rebuild_from_what_remains(tape: bytes) -> None:
    world = draw_world(tape)
    statements, questions = draw(world), draw_questions(world)
    kept, rebuilt = tell(statements), tell(remain(statements))
    assert kept.state() == rebuilt.state()
    assert_alike(score(kept, questions), score(rebuilt, questions))


@tapes
@law
def test_saying_or_asking_it_again_changes_nothing(tape: bytes) -> None:
    world = draw_world(tape)
    statements, questions = draw(world), draw_questions(world)
    once = tell(statements)
    twice = tell(one for one in statements for _ in range(2))
    for one in reversed(statements):
        if not isinstance(one, IncidentReport | Correction):
            twice.hear(file_again(one, 1))
    assert once.state() == twice.state()
    told = score(once, questions)
    assert score(twice, questions) == told
    doubled = [one._replace(identifiers=one.identifiers * 2) for one in questions]
    assert [one._replace(ignored=()) for one in score(once, doubled)] == [
        one._replace(ignored=()) for one in told
    ]


@tapes
@law
def test_evidence_adds_up(tape: bytes) -> None:
    world = draw_world(tape, plain=True)
    statements = draw(world, FILED)
    asked = world.draw_question()[1]._replace(identifiers=world.draw_claims([Kind.NID]))
    whole = tell(statements)
    sums: dict[AccountRef, dict[int, Borne]] = {}
    weights: dict[tuple[date, str], int] = {}
    for group in {group for _, group in IDS.values()}:
        alone = tell(one for one in statements if IDS[one.issuer][1] == group)
        sums |= {account: borne for account, borne in alone.sums.items() if borne}
        for day in DATES:
            told = alone.score(asked, day)
            weights |= {(day, part.group): part.weight for part in told.groups}
    assert {account: borne for account, borne in whole.sums.items() if borne} == sums
    for day in DATES:
        told = whole.score(asked, day)
        assert {(day, part.group): part.weight for part in told.groups} == {
            key: weight for key, weight in weights.items() if key[0] == day
        }
        h = sum(part.weight for part in told.groups)
        assert told.direct_score == 1000 * h // (10**6 + h)
    reports = [one for one in statements if isinstance(one, IncidentReport)]
    both, odd, even = tell(reports), tell(reports[::2]), tell(reports[1::2])
    for account, borne in both.sums.items():
        for half_life, one in borne.items():
            parts = [side.sums[account].get(half_life) for side in (odd, even)]
            assert one.mass == sum(part.mass for part in parts if part)


@tapes
@law
def test_more_evidence_at_fixed_multiplicities_never_lowers_a_score(tape: bytes) -> None:
    world = draw_world(tape, plain=True)
    statements = draw(world, FILED)
    index, questions = tell(statements), draw_questions(world)
    counting = [one.report for one in index.incidents.values() if one.borne.incidents]
    before = score(index, questions)
    for known in counting:
        other = world.draw_report()
        again = replace(known, conduct=other.conduct, actor=other.actor, proof=other.proof)
        index.hear(file_again(replace(again, amount=other.amount), 1))
    for earlier, later in zip(before, score(index, questions), strict=True):
        assert later.score >= earlier.score
        assert later.direct_score >= earlier.direct_score
        assert later.linked_score >= earlier.linked_score


@tapes
@law
def test_no_score_rises_with_time_alone(tape: bytes) -> None:
    world = draw_world(tape)
    index = tell(draw(world))
    days = sorted(NOW + timedelta(days=world.random.randrange(1500)) for _ in range(6))
    for asked in draw_questions(world):
        told = [index.score(asked, day.date()) for day in days]
        for earlier, later in pairwise(told):
            assert later.score <= earlier.score
            assert later.direct_score <= earlier.direct_score
            assert later.linked_score <= earlier.linked_score


@tapes
@law
def test_every_score_keeps_its_bounds(tape: bytes) -> None:
    world = draw_world(tape, crowded=tape[-1] > 100)
    index = tell(multiply(world, draw(world)))
    for told in score(index, draw_questions(world)):
        assert 0 <= told.score < 1000
        points = [part.points for part in told.groups] + [part.points for part in told.links]
        assert sum(points) == told.score
        assert told.groups or told.score <= 499
        assert told.groups or told.association_kinds > 1 or told.score <= 249
        assert told.linked_score <= (249 if told.association_kinds < 2 else 499)
        assert len(told.groups) > 1 or told.direct_score <= 666


@tapes
@law
def test_high_takes_two_groups_or_a_finding_of_level_a(tape: bytes) -> None:
    world = draw_world(tape)
    statements, questions = multiply(world, draw(world)), draw_questions(world)
    for told in score(tell(statements), questions):
        if told.level == "HIGH" and len(told.groups) < 2:
            assert {part.group for part in told.groups} & {
                IDS[one.issuer][1]
                for one in remain(statements)
                if isinstance(one, IncidentReport) and one.proof.level is ProofLevel.A
            }
    lesser = [
        replace(one, proof=replace(one.proof, level=ProofLevel.D))
        for one in remain(statements)
        if isinstance(one, IncidentReport)
    ]
    for told in score(tell(lesser), questions):
        assert told.level != "HIGH" or len(told.groups) > 1


@tapes
@law
def test_own_account_is_never_linked_to_itself(tape: bytes) -> None:
    world = draw_world(tape)
    statements, questions = draw(world), draw_questions(world)
    index = tell(statements)
    for asked in questions:
        for told in score(index, [asked]):
            assert index.numbers.get(asked.account, 0) not in {one.account for one in told.links}
        account = [one for one in index.incidents.values() if one.report.account == asked.account]
        alone = tell(keep_cases(statements, {one.report.jti for one in account}))
        bare = score(alone, [asked._replace(identifiers=())])
        for told, known in zip(score(alone, [asked]), bare, strict=True):
            assert told._replace(ignored=()) == known._replace(
                basis=told.basis, protected=told.protected
            )


@tapes
@law
def test_names_play_no_part(tape: bytes) -> None:
    world = draw_world(tape)
    statements, questions = draw(world), draw_questions(world)
    told = score(tell(statements), questions)
    assert score(tell(map(rename, statements)), map(rename, questions)) == told
    turned = MemoryIndex({uri: (9 - number, f"{g}!") for uri, (number, g) in IDS.items()})
    for one in statements:
        turned.hear(one)
    for before, after in zip(told, score(turned, questions), strict=True):
        assert before[:7] == after[:7]
        assert {f"{part.group}!": part.weight for part in before.groups} == {
            part.group: part.weight for part in after.groups
        }


@tapes
@law
def test_report_changes_only_what_its_account_and_identifiers_reach(tape: bytes) -> None:
    world = draw_world(tape)
    index = tell(draw(world))
    questions = [asked for _ in range(3) for asked in draw_questions(world)]
    state, told = index.state(), score(index, questions)
    report = world.draw_report()
    index.hear(report)
    reached = {one.identifier for one in report.identifiers}
    for row, value in index.state().items():
        if state.get(row) != value:
            assert isinstance(row, tuple)
            assert row[1] in reached or row[:2] == ("posting", report.account)
    reached |= {
        token
        for token, edges in index.edges.items()
        if any(index.bearers[place] == report.account for place in edges)
    }
    for place, asked in enumerate(questions):
        touched = {one.identifier for one in asked.identifiers} & reached
        if not touched and asked.account != report.account:
            assert score(index, [asked]) == told[place * 3 : place * 3 + 3]


@tapes
@law
def test_evidence_two_links_away_never_counts(tape: bytes) -> None:
    world = draw_world(tape)
    statements = draw(world)
    index = tell(statements)
    for asked in draw_questions(world):
        near = {asked.account}
        for one in asked.identifiers:
            near |= {index.bearers[place] for place in index.edges[one.identifier]}
        incidents = index.incidents.values()
        kept = {one.report.jti for one in incidents if one.report.account in near}
        alone = score(tell(keep_cases(statements, kept)), [asked])
        assert_alike(alone, score(index, [asked]))


@tapes
@law
def test_removed_platform_is_as_if_it_had_never_reported(tape: bytes) -> None:
    world = draw_world(tape)
    gone = world.random.choice(MEMBERS).uri
    statements = [
        one for one in draw(world) if isinstance(one, IncidentReport | Change) or one.issuer != gone
    ]
    questions = draw_questions(world)
    index = tell(statements)
    never = tell(one for one in statements if one.issuer != gone)
    for report in world.open:
        if report.issuer == gone:
            index.hear(world.reporter_of(gone).retraction(report, NOW))
    assert index.state() == never.state()
    assert_alike(score(index, questions), score(never, questions))


@tapes
@law
def test_no_group_alone_moves_a_direct_score_above_666(tape: bytes) -> None:
    world = draw_world(tape)
    statements, questions = multiply(world, draw(world)), draw_questions(world)
    for group in ("first", "second"):
        index = tell(one for one in statements if IDS[one.issuer][1] == group)
        index.decided[group] = (10**9, 0)
        for told in score(index, questions):
            assert told.direct_score <= 666
            assert {part.group for part in told.groups} <= {group}
