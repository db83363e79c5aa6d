"""The worked values of docs/scoring.md, to the last integer: through real reports and by hand.

Each scene is told once, as who bears how many fresh fraud incidents and what is shared with the
asker, and played twice: by the pure functions on hand-made postings, and through a real ledger,
where the exact score is the one recorded with the answer and the shown one its floor in tens.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT
from exact import OWN_ACCOUNT, POLICY, Shared, Sketch, settle, stored_score
from reports import claim

from ledger.assessing import assess_risk
from ledger.identity.identifier import Bucket, Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Simulator

    from ledger.ledger import Ledger

PERSON = (Shared(Kind.PHONE), Shared(Kind.DEVICE))


@dataclass(frozen=True)
class Scene:
    """Who bears what, what is asked how many days later, and what the answer must be.

    `bearers` are incidents and shared tokens, each at a platform and group of its own; without
    tokens they are the asker's own.
    """

    name: str
    bearers: tuple[tuple[int, tuple[Shared, ...]], ...]
    score: int
    level: str
    basis: str
    action: str
    days: int = 0


def scene(name: str, score: int, level: str, basis: str, action: str, **traits: Any) -> Scene:
    """Describe a scene in one line a time."""
    return Scene(name, score=score, level=level, basis=basis, action=action, **traits)


SCENES = [
    scene(
        *("one incident of the same person", 374, "MEDIUM", "same_person", "require_live_evidence"),
        bearers=((1, PERSON),),
    ),
    scene(
        *("one incident of the own account", 374, "MEDIUM", "own_account", "require_live_evidence"),
        bearers=((1, ()),),
    ),
    scene(
        *("one incident a half-life later", 264, "MEDIUM", "same_person", "require_live_evidence"),
        bearers=((1, PERSON),),
        days=365,
    ),
    scene(
        *("two incidents at one group", 473, "MEDIUM", "same_person", "require_return"),
        bearers=((2, PERSON),),
    ),
    scene(
        *("three incidents at one group", 519, "MEDIUM", "same_person", "human_review"),
        bearers=((3, PERSON),),
    ),
    scene(
        *("a hundred incidents at one group", 638, "MEDIUM", "same_person", "human_review"),
        bearers=((100, PERSON),),
    ),
    scene(
        *("one and one at two groups", 545, "MEDIUM", "same_person", "human_review"),
        bearers=((1, PERSON), (1, PERSON)),
    ),
    scene(
        *("two and two at two groups", 642, "HIGH", "same_person", "human_review"),
        bearers=((2, PERSON), (2, PERSON)),
    ),
    scene(
        *("three and three at two groups", 683, "HIGH", "same_person", "human_review"),
        bearers=((3, PERSON), (3, PERSON)),
    ),
    scene(
        *("the flatmate of an account with three", 61, "LOW", "association", "grant"),
        bearers=((3, (Shared(Kind.ADDR),)),),
    ),
    scene(
        *("the flatmate of an account with two", 53, "LOW", "association", "grant"),
        bearers=((2, (Shared(Kind.ADDR),)),),
    ),
    scene(
        *("a device alone", 114, "LOW", "association", "grant"),
        bearers=((1, (Shared(Kind.DEVICE),)),),
    ),
    scene(
        *("a phone alone", 99, "LOW", "association", "grant"),
        bearers=((1, (Shared(Kind.PHONE),)),),
    ),
    scene(
        *("a campus address", 0, "LOW", "no_record", "grant"),
        bearers=((3, (Shared(Kind.ADDR, bucket=Bucket.MASS),)),),
    ),
]


@pytest.mark.parametrize("told", SCENES, ids=lambda one: one.name)
def test_worked_value_follows_from_the_pure_functions(told: Scene, now: datetime) -> None:
    sketch = Sketch(now.date())
    for platform, (incidents, shared) in enumerate(told.bearers, 1):
        account = OWN_ACCOUNT + platform if shared else OWN_ACCOUNT
        sketch.bear(account, incidents, shared, platform=platform)
    sketch.today += timedelta(days=told.days)
    score = sketch.score()
    assert (score.score, score.level, score.basis) == (told.score, told.level, told.basis)


def test_worked_values_follow_from_real_reports(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    asker, *reporters = simulator("asker"), simulator("shop-a"), simulator("shop-b")
    questions = []
    for number, told in enumerate(SCENES):
        tokens = {
            one.kind: claim(one.kind, f"{one.kind} {number}", one.bind(), one.bucket)
            for _, shared in told.bearers
            for one in shared
        }
        for reporter, (incidents, shared) in zip(reporters, told.bearers, strict=False):
            bound = [tokens[one.kind] for one in shared] or [claim(Kind.PHONE, f"own {number}")]
            for _ in range(incidents):
                (reporter if shared else asker).report(f"buyer-{number}", bound, now)
        questions.append(asker.request(f"buyer-{number}", tuple(tokens.values())))
    settle(ledger, now)
    for told, question in zip(SCENES, questions, strict=True):
        at = now + timedelta(days=told.days)
        answer = json.loads(assess_risk(ledger, asker.caller(at), question, at).text)
        assert stored_score(ledger, answer) == told.score, told.name
        assert answer["score"] == told.score // 10 * 10, told.name
        assert (answer["level"], answer["basis"]) == (told.level, told.basis), told.name
        advice = answer["advice"]
        assert isinstance(advice, dict)
        assert advice["action"] == told.action, told.name


def read_rows(start: str) -> list[list[str]]:
    """Read the table of docs/scoring.md whose header starts with a word."""
    page = (ROOT / "docs" / "scoring.md").read_text("utf-8")
    table = page.split(f"\n| {start} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


def test_the_page_lists_these_very_values() -> None:
    assert read_rows("Who") == [[told.name, str(told.score)] for told in SCENES]


def test_the_page_lists_the_kinds_of_the_policy() -> None:
    rules = [
        [
            f"`{Kind.from_code(kind)}`",
            f"{rule.strength / 1_000_000:.2f}",
            str(rule.free),
            "none" if rule.cap is None else str(rule.cap),
        ]
        for kind, rule in POLICY.kinds.items()
    ]
    assert [row[:4] for row in read_rows("Kind")] == rules
