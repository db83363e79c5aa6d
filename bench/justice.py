"""Is the policy just? A society of known truth claims refunds, and the product's rules answer.

It runs the population in time order through the index in memory and the ledger's own rules, and
compares each answer with who truly claims. What must hold without exception is checked, and one
exception is exit 1; the rest is measured, and depends on rates that are mostly judgement.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from justice_tables import Findings, Name, draw_charts, print_table, summarise
from memory_index import POLICY, Asked, Conducted, Rulebook, conclude, judge, weigh_incident
from population import Claim, Population, Rates, Standing

from ledger.graph.link import ADDR, LOWER_BOUNDS
from ledger.identity.identifier import Bucket, Kind
from ledger.incident.incident import Money

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memory_index import Judged, MemoryIndex

    from ledger.graph.link import Presented
    from ledger.graph.neighbourhood import Bearer, Evidence

DIRECT_MAX, SHOWN, QUARTER_DAYS = 666, 10, 92  # scores are shown in steps of ten
ACTIONS = ["grant", "require_live_evidence", "require_return", "human_review"]
ACTIONS.append("decline_refund_only")
CLAIM, REPORT, LIE, OVERTURN = range(4)  # in this order on one day: a claim sees the days before


class Trial:
    """One society under one rulebook, day by day."""

    def __init__(self, rates: Rates, seed: int, rules: Rulebook) -> None:
        """Draw the society; nothing is filed yet."""
        self.society, self.rules, self.rates = Population(rates, seed), rules, rates
        self.groups = {place: f"group {place}" for place in range(len(rates.platforms))}
        self.fair = rules.ledger(self.groups)  # without the lies
        self.misled = rules.ledger(self.groups)  # with them, until they are overturned
        self.owners = {one.key: one.person for one in self.society.accounts}
        self.overturned_day = rates.first_day + rates.liar_overturned_day
        self.confirmed = defaultdict[int, set[int]](set)
        self.met: set[tuple[str, int]] = set()
        self.lies: list[int] = []
        self.filed = 0
        self.hits = defaultdict[Name, list[float]](list)
        self.marked = defaultdict[Name, set[int]](set)
        self.found = Findings(seed)

    def run(self) -> Findings:
        """Let everything happen in its order."""
        society = self.society
        events = [(one.day, CLAIM, one) for one in society.claims]
        events += [(day, REPORT, one) for day, one in society.reports]
        events += [(day, LIE, one) for day, one in society.lies]
        events.append((self.overturned_day, OVERTURN, society.lies[0][1]))
        for day, kind, claim in sorted(events, key=lambda one: one[:2]):
            if kind == CLAIM:
                self._hear(claim)
            elif kind == OVERTURN:
                for place in self.lies:
                    self.misled.remove(place)
                self._compare_all(day)
                self._visit_victims(day, "after")
            else:
                if kind == LIE and not self.lies:
                    self._visit_victims(day, "before")
                self._file(claim, is_lie=kind == LIE)
                if kind == LIE and len(self.lies) == len(society.lies):
                    self._visit_victims(day, "while they stand")
        self._sum_up()
        return self.found

    def _file(self, claim: Claim, *, is_lie: bool) -> None:
        account = self.society.accounts[claim.account]
        self.filed += 1
        bound = self.society.present(claim.account, claim.day)
        told = Conducted(claim.day, Money(claim.minor, "CNY"), claim.conduct)
        at = (self.filed, account.platform, account.key)
        one = weigh_incident(self.rules.policy, *at, bound, told)
        self.misled.add(one)
        if is_lie:
            self.lies.append(self.filed)
            return
        self.fair.add(one)
        self.confirmed[account.person].add(account.platform)

    def _ask(self, place: int, day: int) -> Asked:
        account = self.society.accounts[place]
        presented = self.society.present(place, day)
        return Asked(account.key, self.groups[account.platform], presented, day)

    def _answer(self, asked: Asked, index: MemoryIndex) -> tuple[Evidence, Judged]:
        evidence = index.read(asked.key, [one.key for one in asked.presented])
        return evidence, judge(self.rules, asked, evidence)

    def _hear(self, claim: Claim) -> None:
        """Answer a claim in the fair ledger and in the misled one, and measure."""
        asked = self._ask(claim.account, claim.day)
        evidence, judged = self._answer(asked, self.fair)
        _, misled = self._answer(asked, self.misled)
        if claim.malicious:
            self._recognise(claim, asked, evidence, judged)
        elif self.society.person_of(claim.account).standing is Standing.HONEST:
            self._spare(asked, evidence, judged)
        self._declare(asked, evidence, judged)
        self._bound(misled)
        if claim.day > self.overturned_day:
            self._test("restored", is_broken=judged.plain != misled.plain)

    def _test(self, check: str, *, is_broken: bool) -> None:
        self.found.tried[check] += 1
        self.found.broken[check] += is_broken

    def _recognise(self, claim: Claim, asked: Asked, evidence: Evidence, judged: Judged) -> None:
        """Measure a false claim of somebody whom some platform confirmed before."""
        account = self.society.accounts[claim.account]
        known = self.confirmed[account.person]
        if not known:
            return
        where = "here" if account.platform in known else "elsewhere"
        is_next = (where, account.person) not in self.met
        self.met.add((where, account.person))
        rows, counts = evidence.postings, evidence.multiplicities
        rows = [one for one in rows if one.platform == account.platform]
        counts = [one for one in counts if one.platform == account.platform]
        own = evidence._replace(postings=rows, multiplicities=counts)
        standing = self.society.people[account.person].standing.value
        names = [(where, "all"), (where, standing)] if is_next else []
        if where == "elsewhere":
            names.append(("quarter", str(1 + (claim.day - self.rates.first_day) // QUARTER_DAYS)))
        for name, one in (("ledger", judged), ("without", judge(self.rules, asked, own))):
            is_direct = one.score.direct_score >= self.rules.policy.claim_live_evidence
            for row in names:
                self.hits[*row, f"{name}: direct"].append(is_direct)
                self.hits[*row, f"{name}: any advice"].append(one.marks["any advice"])

    def _others(self, asked: Asked, bearers: Iterable[Bearer]) -> tuple[Bearer, ...]:
        """Give the accounts that belong to other people."""
        me, owner = self.owners[asked.key], self.owners
        return tuple(one for one in bearers if owner[self.fair.account_of(one.account)] != me)

    def _spare(self, asked: Asked, evidence: Evidence, judged: Judged) -> None:
        """Measure what other people's records do to somebody honest."""
        same = self._others(asked, judged.around.same_person)
        linked = self._others(asked, judged.around.associated)
        bare = judged.around._replace(own=None, same_person=same, associated=linked)
        alone = conclude(self.rules, bare, asked.day)
        kinds = {shared.kind for one in (*same, *linked) for shared in one.shared} - {ADDR}
        if (same or linked) and len(kinds) <= 1:
            self._test("one kind", is_broken=any(alone.marks.values()))
        crowd = tuple(one for one in asked.presented if is_crowded(one))
        if {one.key for one in crowd} & {one.key for one in self.fair.count_all(evidence)}:
            seen = judge(self.rules, asked._replace(presented=crowd), evidence).around
            found = self._others(asked, (*seen.same_person, *seen.associated))
            self._test("crowd", is_broken=bool(found))
        names = "+".join(Kind.from_code(one).value for one in sorted(kinds)) or "address"
        cause = f"taken for another by {names}" if same else f"linked by {names}"
        person = self.owners[asked.key]
        if alone.score.score >= SHOWN:
            self.marked["touched", cause, f"{SHOWN} points or more"].add(person)
        for column in (column for column, hit in judged.marks.items() if hit):
            row = cause if alone.marks[column] else "own record, a mistake"
            for one in (row, "all"):
                self.marked["honest", one, column].add(person)

    def _declare(self, asked: Asked, evidence: Evidence, judged: Judged) -> None:
        """Let each other member in turn declare 500+, or only agree with yet another member."""
        rows = self.fair.count_all(evidence)
        for liar in sorted({one.group for one in rows} - {asked.group}):
            most = Counter[bytes]()
            for one in rows:
                if one.group not in {asked.group, liar}:
                    most[one.key] = max(most[one.key], one.bucket)
            answers = []
            for floor in (Bucket.MASS.code, 0):
                told = [
                    one._replace(bucket=max(floor, one.bucket, most[one.key]))
                    if one.group == liar
                    else one
                    for one in rows
                ]
                answers.append(judge(self.rules, asked, evidence._replace(multiplicities=told)))
            lied, agreed = answers
            alone = all(one.group != liar or one.bucket >= most[one.key] for one in rows)
            is_broken = lied.plain != (judged if alone else agreed).plain
            self._test("one bucket", is_broken=is_broken)
            score = lied.score.score != judged.score.score
            for column, hit in (("score", score), ("advice", lied.action != judged.action)):
                for row in ("each other member in turn", "– no other declares more")[: 1 + alone]:
                    self.hits["bucket", row, column].append(hit)

    def _bound(self, judged: Judged) -> None:
        """Check an answer that nobody but the liar is behind."""
        if [one.platform for one in judged.score.groups] == [self.rates.liar]:
            is_high = judged.score.level == "HIGH" or judged.action == ACTIONS[-1]
            self._test("one liar", is_broken=is_high or judged.score.direct_score > DIRECT_MAX)

    def _visit_victims(self, day: int, when: str) -> None:
        """Ask about the victims at every other platform that knows them."""
        society = self.society
        for person in sorted({society.accounts[one.account].person for _, one in society.lies}):
            own, liar = society.people[person].accounts, self.rates.liar
            elsewhere = [one for one in own if society.accounts[one].platform != liar]
            answers = [self._answer(self._ask(one, day), self.misled)[1] for one in elsewhere]
            for one in answers:
                self._bound(one)
            if answers:
                strongest = max((one.action for one in answers), key=ACTIONS.index)
                for action in ACTIONS:
                    self.hits["liar", action, when].append(action == strongest)
                above = any(one.marks["above LOW"] for one in answers)
                self.hits["liar", "above LOW", when].append(above)

    def _compare_all(self, day: int) -> None:
        for place in range(len(self.society.accounts)):
            asked = self._ask(place, day)
            fair, misled = (self._answer(asked, one)[1] for one in (self.fair, self.misled))
            self._test("restored", is_broken=fair.plain != misled.plain)

    def _sum_up(self) -> None:
        society, values, true = self.society, self.found.values, Standing.HONEST
        honest = {number for number, one in enumerate(society.people) if one.standing is true}
        homes = [set(one.people) for one in society.homes if one.kind != "dormitory"]
        near = {one for home in homes if home - honest for one in home & honest}
        counts = {
            "honest people": len(honest),
            "of them living with an offender": len(near),
            "claims": len(society.claims),
            "of them false": sum(one.malicious for one in society.claims),
            "reports": len(society.reports),
            "of them mistaken": sum(not one.malicious for _, one in society.reports),
        }
        values |= {("society", row, "number"): count for row, count in counts.items()}
        values |= {name: 100 * fmean(hits) for name, hits in self.hits.items()}
        for name, people in self.marked.items():
            values[name] = 100_000 * len(people) / len(honest)
            if name[0] == "honest":
                values["neighbours", *name[1:]] = 100 * len(people & near) / max(1, len(near))


def is_crowded(one: Presented) -> bool:
    """Tell whether a platform itself declares an identifier above the cap of the policy."""
    cap = POLICY.kinds[one.kind].cap
    return cap is not None and LOWER_BOUNDS[one.bucket] > cap


def exit_code(found: Sequence[Findings]) -> int:
    """Give 1 where a check broke in some society, else 0."""
    return int(any(one.broken.total() for one in found))


def try_seed(rates: Rates, seed: int) -> Findings:
    """Run one society under the product's rules."""
    return Trial(rates, seed, Rulebook()).run()


def main() -> int:
    """Run all seeds, print, and give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--charts", type=Path, metavar="FOLDER")
    parser.add_argument("--rate", action="append", default=[], metavar="NAME=VALUE")
    asked = parser.parse_args()
    changes = {name: ast.literal_eval(text) for name, text in (x.split("=") for x in asked.rate)}
    rates = Rates(people=asked.people, **changes)
    with ProcessPoolExecutor(asked.jobs) as pool:
        found = list(pool.map(partial(try_seed, rates), range(1, asked.seeds + 1)))
    summary = summarise(found)
    print(f"{rates.people:,} people in each of {asked.seeds} societies, {rates.days} days.")
    print_table(summary, found)
    if asked.charts:
        draw_charts(summary, asked.charts)
    return exit_code(found)


if __name__ == "__main__":
    sys.exit(main())
