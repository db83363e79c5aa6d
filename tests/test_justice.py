"""What the justice benchmark says must never happen doesn't, and each check turns red when it does.

A small, crowded society runs in-process under the product's rules, and then under copies of them
that are broken in one place each.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT

from ledger.graph.link import Presented
from ledger.graph.neighbourhood import Evidence
from ledger.graph.posting import UNIT, Multiplicity, Posting, forward_mass
from ledger.identity.identifier import Bucket, Kind

sys.path.append(str(ROOT / "bench"))

import justice
from justice import Trial, exit_code
from justice_tables import (
    CHARTS,
    CHECKS,
    SECTIONS,
    Findings,
    draw_charts,
    name_seeds,
    print_table,
    summarise,
)
from memory_index import POLICY, Asked, MemoryIndex, Rulebook, judge
from population import Population, Rates, Standing

if TYPE_CHECKING:
    from pathlib import Path

SEED = 1
# One dormitory so large that a platform declares 500+, families that share, many false claims.
SMALL = Rates(
    people=800,
    platforms=(70, 15, 15),
    accounts=(40, 40, 20),
    dormitory=0.75,
    dormitory_size=(600, 600),
    locker_people=100,
    tablet=0.9,
    tablet_user=0.9,
    tablet_account=0.9,
    alone=0.05,
    alone_claims=8.0,
    rings=0.004,
    services=0.002,
    detected=0.6,
    honest_claims=0.25,
    mistaken=0.03,
    liar=0,
    liar_reports=20,
)


def run(rules: Rulebook | None = None) -> Findings:
    """Run the small society under some rules."""
    return Trial(SMALL, SEED, rules or Rulebook()).run()


def copy_module(path: str, name: str, *changes: tuple[str, str]) -> ModuleType:
    """Make a module of a changed copy of a file; every change must find its place."""
    source = (ROOT / path).read_text("utf-8")
    for before, after in changes:
        assert source.count(before) == 1, before
        source = source.replace(before, after)
    module = ModuleType(name)
    sys.modules[name] = module  # where dataclasses look up their annotations
    exec(compile(source, name, "exec"), module.__dict__)  # noqa: S102 - our own file
    return module


def without_hubs() -> Rulebook:
    """Let no identifier be a hub."""
    kinds = {code: rule._replace(cap=None) for code, rule in POLICY.kinds.items()}
    return Rulebook(policy=replace(POLICY, kinds=kinds))


def with_one_kind_uncapped() -> Rulebook:
    """Let one kind of link weigh as much as several."""
    broken = copy_module("ledger/risk/score.py", "broken_cap", ("else UNIT // 3", "else UNIT"))
    return Rulebook(score=broken.score_on_day)


def with_high_from_one_group() -> Rulebook:
    """Let one platform group be enough for HIGH."""
    broken = copy_module(
        "ledger/risk/score.py",
        "broken_level",
        ("return finding or groups > 1", "return finding or groups > 0"),
    )
    return Rulebook(score=broken.score_on_day)


def with_the_largest_bucket() -> Rulebook:
    """Let the largest declaration count instead of the second-largest."""
    copy_module("ledger/graph/link.py", "broken_link", (")[-2]", ")[-1]"))
    change = ("from ledger.graph.link import (", "from broken_link import (")
    broken = copy_module("ledger/graph/neighbourhood.py", "broken_neighbourhood", change)
    return Rulebook(build=broken.build_neighbourhood)


class Unforgiving(MemoryIndex):
    """An index that keeps what was taken back."""

    def remove(self, place: int) -> None:
        """Do nothing."""


BREAKS = {
    "one kind": with_one_kind_uncapped,
    "crowd": without_hubs,
    "one liar": with_high_from_one_group,
    "restored": lambda: Rulebook(ledger=Unforgiving),
    "one bucket": with_the_largest_bucket,
}


@pytest.fixture(scope="module")
def found() -> Findings:
    """Give what the small society showed under the product's rules."""
    return run()


def test_nothing_happens_that_must_never_happen(found: Findings) -> None:
    assert found.broken.total() == 0
    assert exit_code([found]) == 0
    assert {check for check, tried in found.tried.items() if tried >= 20} == set(CHECKS)


@pytest.mark.parametrize("check", CHECKS)
def test_check_turns_red_where_its_rule_is_broken(check: str) -> None:
    broken = run(BREAKS[check]())
    assert broken.broken[check] > 0
    assert exit_code([Findings(), broken]) == 1


def test_member_with_more_bearers_than_the_cap_decides_alone_by_its_bucket() -> None:
    kind, day, key = Kind.EMAIL.code, POLICY.epoch_day, b"key"
    mass = forward_mass(UNIT, day, POLICY.half_lives[1], day)

    def ask(bearers: int, bucket: Bucket) -> int:
        groups = [(1, "liar")] * bearers + [(2, "other")]
        postings = [
            Posting(key, kind, account, *at, 1, mass, 1, 0, 0, 1, day, day, 0, 0)
            for account, at in enumerate(groups, 1)
        ]
        counts = [Multiplicity(key, kind, bearers, *groups[0], bucket.code, 1)]
        counts.append(Multiplicity(key, kind, 1, *groups[-1], Bucket.ONE.code, 0))
        presented = (Presented(key, kind, 1, Bucket.ONE.code),)
        evidence = Evidence(0, 1, postings, counts)
        return judge(Rulebook(), Asked(b"me", "asker", presented, day), evidence).score.score

    cap = POLICY.kinds[kind].cap or 0
    assert [ask(cap, bucket) for bucket in Bucket] == [172] * len(Bucket)
    assert [ask(cap + 1, bucket) for bucket in Bucket] == [179, 179, 179, 0, 0, 0]


def test_ledger_recognises_more_than_a_platform_alone(found: Findings) -> None:
    direct = {
        name: found.values["elsewhere", "all", f"{name}: direct"] for name in ("ledger", "without")
    }
    assert direct["without"] < direct["ledger"] / 10


def test_same_seed_gives_the_same_findings(found: Findings) -> None:
    assert run() == found


def test_society_holds_what_the_benchmark_is_about() -> None:
    society = Population(SMALL, SEED)
    assert {one.standing for one in society.people} == set(Standing)
    assert {one.kind for one in society.homes} == {"family", "flat", "dormitory"}
    owners = defaultdict[tuple[int, bytes], set[int]](set)
    changes = 0
    for account in society.accounts:
        for held in account.holdings:
            owners[held.token].add(account.person)
            changes += held.since > SMALL.first_day and held.token.kind == Kind.PHONE.code
    shared = {kind for (kind, _), people in owners.items() if len(people) > 1}
    assert shared == {one.code for one in (Kind.PAY, Kind.DEVICE, Kind.PHONE, Kind.ADDR)}
    assert changes
    last = SMALL.first_day + SMALL.days - 1
    buckets = {
        one.bucket
        for number in range(len(society.accounts))
        for one in society.present(number, last)
    }
    assert {Bucket.ONE.code, Bucket.FEW.code, Bucket.MASS.code} <= buckets
    days = [one.day for one in society.claims]
    assert days == sorted(days)
    assert all(20_00 <= one.minor <= 500_00 for one in society.claims)


def test_command_prints_every_section_and_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["justice.py", "--people", "800", "--seeds", "2"])
    assert justice.main() == 0
    told = capsys.readouterr().out
    assert all(title in told for title in SECTIONS.values())
    assert all(f": {claim}" in told for claim in CHECKS.values())
    first, second, *_ = told.splitlines()
    assert first == "800 people in each of 2 societies, 730 days."
    assert second.startswith("Means over seeds 1–2, ± half of the 95 % confidence interval")
    for table in told.split("\n\n")[1:-1]:
        heading, *rows = table.splitlines()[1:]
        assert heading.endswith("  seeds")
        for row in rows:  # of two seeds every value has its interval, of one none
            assert row.rsplit("  ", 1)[-1] in {"1–2", "1", "2"}, row
            assert row.endswith("  1–2") == ("±" in row) == (" –" not in row[36:-6]), row


def test_rows_name_the_seeds_that_they_are_of(
    found: Findings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [name_seeds(seeds) for seeds in ((), (3,), (3, 1, 2), (1, 2, 4, 7, 6))] == [
        *("", "3", "1–3", "1–2, 4, 6–7"),
    ]
    assert found.seed == SEED
    values = {("liar", "grant", "before"): 1.0, ("honest", "all", "above LOW"): 2.0}
    some = [Findings(seed, values if seed in {2, 3, 5} else {}) for seed in range(1, 6)]
    print_table(summarise(some), some)
    told = capsys.readouterr().out
    (grant,) = (row for row in told.splitlines() if row.startswith("  grant "))
    (marked,) = (row for row in told.splitlines() if row.startswith("  all "))
    assert grant.endswith("1.000 ±   0.000  2–3, 5")
    assert marked.endswith("1.200 ±   1.360  1–5")  # what two of them don't show is nothing there
    assert told.startswith("Means over seeds 1–5,")
    assert "What must hold without exception, in seeds 1–5" in told


def test_one_seed_has_no_interval_and_a_bound_without_cases_isnt_said_to_hold(
    found: Findings, capsys: pytest.CaptureFixture[str]
) -> None:
    check = next(iter(CHECKS))
    print_table(summarise([found]), [found])
    told = capsys.readouterr().out
    assert "nan" not in told
    assert "–" in told
    print_table(summarise([found]), [replace(found, broken=Counter(), tried=Counter())])
    assert f"not tried  0 of 0: {CHECKS[check]}" in capsys.readouterr().out


def test_charts_are_small_and_the_same_every_time(found: Findings, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    summary = summarise([found, found])
    for folder in ("first", "second"):
        draw_charts(summary, tmp_path / folder)
    drawn = sorted((tmp_path / "first").glob("*.svg"))
    assert len(drawn) == len(CHARTS)
    for chart in drawn:
        content = chart.read_bytes()
        assert content == (tmp_path / "second" / chart.name).read_bytes()
        assert len(content) < 100_000
        assert b"<dc:date>" not in content
