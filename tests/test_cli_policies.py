"""`bcl policy …`, `bcl risk explain`: on a real sandbox, by real processes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from conftest import ROOT
from sandbox import run
from simulator import Simulator, phone_and_device

from cli.opening import open_own_ledger, prepare_sandbox

if TYPE_CHECKING:
    from pathlib import Path


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
