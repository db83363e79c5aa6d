"""`bcl policy …`, `bcl risk explain`: on a real sandbox, by real processes."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from conftest import ROOT
from reports import claim
from sandbox import run
from simulator import Simulator, phone_and_device

from cli.opening import open_own_ledger, prepare_sandbox
from ledger.identity.identifier import Kind

if TYPE_CHECKING:
    from pathlib import Path

MANUAL = (ROOT / "docs" / "operating.md").read_text("utf-8")
SECTION = MANUAL.partition("## Following a score\n")[2].split("\n## ")[0]


def test_policies_are_published_tried_compared_and_answers_explained(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    prepare_sandbox(folder)
    now = datetime.now(UTC)
    with open_own_ledger(folder, to_write=True) as ledger:
        reporter, asker = Simulator(ledger, "shop-a"), Simulator(ledger, "shop-b")
        for shop in (reporter, asker):
            shop.enrol(now)
        reporter.report("p", phone_and_device("p"), now)
        answer = asker.ask("q", phone_and_device("p"), now)
    text = (ROOT / "config" / "policy.toml").read_text("utf-8")
    file = tmp_path / "second.toml"
    file.write_text(
        text.replace("version = 1", "version = 2").replace("medium = 250", "medium = 400")
    )

    trial = run(folder, "policy", "try", str(file))
    assert json.loads(trial.stdout) == {"trial": 1}
    assert json.loads(run(folder, "policy", "tried", "1").stdout) == []
    for number in ("77", "0"):
        untried = run(folder, "policy", "tried", number)
        assert (untried.exit_code, untried.stdout) == (1, "")
    day = (now - timedelta(days=1)).date().isoformat()
    radius = run(folder, "policy", "backtest", "1", str(file), "--since", day, "--json")
    told = json.loads(radius.stdout)
    assert (told["assessments"], told["levels"]) == (1, {"MEDIUM → LOW": 1})
    assert (told["changed"], told["changed_and_later_reversed"]) == (1, 0)
    assert "MEDIUM → LOW" in radius.stdout
    plain = run(folder, "policy", "backtest", "1", str(file), "--since", day).stdout
    assert "MEDIUM → LOW" in plain
    assert json.loads(run(folder, "policy", "publish", str(file)).stdout) == {"version": 2}
    again = run(folder, "policy", "publish", str(file))
    assert (again.exit_code, again.stdout) == (2, "")
    versions = json.loads(run(folder, "policy", "list").stdout)
    assert [(one["version"], one["in_force"]) for one in versions] == [(1, False), (2, True)]
    shown = json.loads(run(folder, "policy", "show", "2").stdout)
    assert shown["level"]["medium"] == 400

    explained = run(folder, "risk", "explain", str(answer["id"]))
    assert explained.exit_code == 0
    assert explained.stdout.startswith("374 MEDIUM  same_person")
    assert "the exact score and everything that was shown agree" in explained.stdout
    parts = json.loads(run(folder, "risk", "explain", str(answer["id"]), "--json").stdout)
    assert f"{parts['groups'][0]['weight']:,}" in explained.stdout
    assert sum(one["points"] for one in parts["reasons"]) == parts["score"] == 374
    nothing = run(folder, "risk", "explain", f"ra_{'0' * 32}")
    assert (nothing.exit_code, nothing.stdout) == (1, "")


def test_explained_answer_shows_every_sum_of_the_worked_value(tmp_path: Path) -> None:
    """The points of docs/scoring.md: an own incident, and a flatmate with three."""
    folder = tmp_path / "var"
    # As late today as can be: the conduct, six hours before, is of the same day.
    now = datetime.now(UTC).replace(hour=23, minute=59, second=59)
    prepare_sandbox(folder)
    home = claim(Kind.ADDR, "home")
    with open_own_ledger(folder, to_write=True) as ledger:
        reporter, asker = Simulator(ledger, "shop-a"), Simulator(ledger, "shop-b")
        for shop in (reporter, asker):
            shop.enrol(now)
        asker.report("me", (claim(Kind.PHONE, "own"),), now)
        for _ in range(3):
            reporter.report("flatmate", (home,), now)
        answer = asker.ask("me", (home,), now)
    command = ("risk", "explain", str(answer["id"]))
    told = json.loads(run(folder, *command, "--json").stdout)
    plain = run(folder, *command).stdout
    [own], [link] = told["groups"], told["links"]
    assert (own["S"], own["rel"], own["D"], own["weight"]) == (1_000_000, 900_000, 599_999, 599_999)
    assert (link["S"], link["rel"], link["D"]) == (3_000_000, 900_000, 1_080_000)
    assert (link["lambda"], link["X"], link["weight"]) == (150_000, 81_000, 65_164)
    assert (link["kind"], link["n"], link["shared"]) == ("addr", 1, {"addr": 1})
    assert (own["group"], own["platform"]) == (asker.group, asker.uri)
    assert (link["group"], link["platform"]) == (reporter.group, reporter.uri)
    assert (told["H_D"], told["H_L"]) == (599_999, 65_164)
    assert (own["points"], link["points"], told["score"]) == (360, 39, 399)
    assert (told["certain_score"], told["confidence"]) == (374, "one_platform")
    assert told["advice"] == answer["advice"]
    assert told["clears"] == answer["clears"]
    first, *sums, confidence, advice, clears, _ = plain.splitlines()
    assert first.startswith("399 MEDIUM  own_account   direct 374, linked 61, certain 374 ")
    assert sums == SECTION.split("```")[1].strip("\n").splitlines()
    assert confidence == "confidence: one_platform"
    assert advice.startswith("advice: action require_live_evidence, review_window_hours 48,")
    assert clears.endswith("if_overturned 1")
    assert_every_member_is_explained(told)


def assert_every_member_is_explained(told: dict[str, Any]) -> None:
    """Compare the JSON with the tables that explain it, name by name and in order."""
    documented = re.findall(r"(?m)^\| (`.+?) \|", SECTION)
    names = [re.findall(r"`([A-Za-z_]+)`", row) for row in documented]
    members = [name for row in names for name in row]
    parts = [*told["groups"][0], *told["links"][0], *told["reasons"][0]]
    assert set(members) == {*told, *parts}
    assert len(members) == len(set(members))


def test_linked_accounts_are_told_by_platform_and_numbered_alike_by_every_explanation(
    tmp_path: Path,
) -> None:
    """A reason of two groups stands once, and beside no group as if it were that group's alone."""
    folder = tmp_path / "var"
    now = datetime.now(UTC)
    prepare_sandbox(folder)
    device = claim(Kind.DEVICE, "tablet")
    with open_own_ledger(folder, to_write=True) as ledger:
        shops = [Simulator(ledger, f"shop-{letter}") for letter in "abc"]
        for shop in shops:
            shop.enrol(now)
        shops[2].report("somebody else", (claim(Kind.PHONE, "else"),), now)
        for shop in shops[:2]:
            shop.report("me", phone_and_device("me"), now)
            shop.report("flatmate", (device,), now)
        asked = [
            shops[2].ask(buyer, (*tokens, device), now)
            for buyer, tokens in (("q", phone_and_device("me")), ("r", ()))
        ]
    for answer in asked:
        told = json.loads(run(folder, "risk", "explain", str(answer["id"]), "--json").stdout)
        assert [(one["number"], one["platform"]) for one in told["links"]] == [
            (1, shops[0].uri),
            (2, shops[1].uri),
        ]
    several, alone = (run(folder, "risk", "explain", str(one["id"])).stdout for one in asked)
    for plain in (several, alone):
        assert f"linked account 1 at {shops[0].uri} by device on " in plain
        assert f"linked account 2 at {shops[1].uri} by device on " in plain
    [reason] = [line for line in several.splitlines() if "two or more platforms" in line]
    assert "group of" not in reason
    points = sum(one["points"] for one in asked[0]["reasons"] if one["link"] is None)
    assert reason.startswith("reason CONFIRMED_INCIDENTS_AT_SEVERAL_PLATFORMS, ")
    assert abs(int(reason.split()[2]) - points) < 10
    assert several.count("direct evidence of group of shop-") == 2
    assert "direct evidence of" not in alone
