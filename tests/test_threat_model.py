"""The threat model names tests that exist, and names one for each threat that code answers."""

from __future__ import annotations

import ast
import re

from conftest import ROOT

PAGE = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
NAMED = re.compile(r"`(tests/test_\w+\.py)::(test_\w+)`")


def find_missing(text: str) -> list[str]:
    """Give the tests that a text names and that aren't there."""
    missing = []
    for path, name in NAMED.findall(text):
        file = ROOT / path
        tree = ast.parse(file.read_text("utf-8")) if file.exists() else ast.parse("")
        defined = {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}
        if name not in defined:
            missing.append(f"{path}::{name}")
    return missing


def test_every_test_that_the_threat_model_names_exists() -> None:
    assert len(NAMED.findall(PAGE)) > 20
    assert find_missing(PAGE) == []
    gone = ("`tests/test_gone.py::test_a`", "`tests/test_threat_model.py::test_gone`")
    assert len(find_missing(" ".join(gone))) == 2


def test_every_covered_threat_names_its_test_and_no_uncovered_one_does() -> None:
    covered, _, rest = PAGE.partition("\n## What isn't covered\n")
    rows = [line for line in covered.splitlines() if line.startswith("|")]
    threats = [row for row in rows if not re.match(r"\| Threat|\|---", row)]
    assert len(threats) > 15
    assert [row for row in threats if not NAMED.search(row)] == []
    assert NAMED.search(rest) is None
