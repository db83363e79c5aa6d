"""`bcl graph rings`: what it prints, and that the manual says what each word of it means."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT
from reports import claim
from sandbox import run
from simulator import Simulator

from cli.opening import open_own_ledger, prepare_sandbox
from ledger.graph.ring import RingReason
from ledger.identity.identifier import Kind

if TYPE_CHECKING:
    from pathlib import Path

SECTION = (
    (ROOT / "docs" / "operating.md").read_text("utf-8").partition("## Rings\n")[2].split("\n## ")[0]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a sandbox where four buyers, one with two accounts, share a device and a card."""
    folder = tmp_path_factory.mktemp("rings") / "var"
    now = datetime.now(UTC)
    prepare_sandbox(folder)
    with open_own_ledger(folder, to_write=True) as ledger:
        shops = [Simulator(ledger, "shop-a"), Simulator(ledger, "shop-b")]
        for shop in shops:
            shop.enrol(now)
        for number in range(4):
            own = claim(Kind.PHONE, f"phone {number}")
            tokens = (own, claim(Kind.DEVICE, "tablet"), claim(Kind.PAY, "card"))
            shops[number % 2].report(f"buyer {number}", tokens, now)
        shops[1].report("buyer 0 too", (claim(Kind.PHONE, "phone 0"), tokens[1]), now)
    return folder


def test_ring_is_told_with_its_reasons_as_the_manual_shows_it(folder: Path) -> None:
    plain = run(folder, "graph", "rings")
    assert (plain.exit_code, plain.stderr) == (0, "")
    assert SECTION.split("```")[1].strip("\n") == plain.stdout.rstrip("\n")


def test_manual_explains_every_reason_and_every_member_of_the_json(folder: Path) -> None:
    rows = re.findall(r"(?m)^\| (`.+?) \|", SECTION)
    explained = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    [told] = json.loads(run(folder, "graph", "rings", "--json").stdout)
    assert sorted(explained) == sorted([*told, *(reason.value for reason in RingReason)])


@pytest.mark.parametrize(
    ("least", "said"),
    [
        ("3", "of 3 persons or more who each share two with others, or 4 persons"),
        ("5", "of 5 persons or more who each share one with two others"),
    ],
)
def test_where_no_ring_is_found_it_is_said_what_would_be_one(
    tmp_path: Path, least: str, said: str
) -> None:
    prepare_sandbox(tmp_path / "var")
    told = run(tmp_path / "var", "graph", "rings", "--persons-min", least)
    assert told.exit_code == 0
    assert told.stdout.count("\n") == 1
    assert told.stdout.startswith("no ring ")
    assert said in told.stdout
    assert "a household is no ring" in told.stdout


def test_help_says_what_a_ring_is_and_what_each_option_does(tmp_path: Path) -> None:
    told = " ".join(run(tmp_path, "graph", "rings", "--help").stdout.split())
    assert "docs/operating.md" in told
    assert "Leave out rings of fewer persons" in told
