"""The import contracts hold, and each one is seen to turn red where somebody breaks it.

The contracts stand in pyproject.toml. Violations are planted in a copy of the packages, all in one
run of the linter, and each must be named by the contract that it breaks. What import-linter can't
say is checked here on the syntax tree: what the log package may stand on, who imports the server.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGES = ("ledger", "api", "cli", "config", "ledger_client")
LOG_PACKAGE = ROOT / "ledger" / "log"
LAYERS = "The layers of the ledger, every module in its place"
INTERFACES = "Interfaces stand beside each other above the client and the domain"
CYCLES = "No cycles anywhere"
SQL = "Only the store speaks SQL"
JOSE = "Only identity/token.py knows the JOSE library"
GRAPHS = "NetworkX stays out of the query's way"
CLIENT = "The client stands on the pure modules alone"
HTTP = "Only the API speaks HTTP"
PICTURES = "Only the evidence package opens pictures"
VENDORED = "A member can vendor the log package"


@dataclass(frozen=True)
class Plant:
    """An import that somebody might add, the contract that it breaks, and how that is told."""

    contract: str
    module: str
    imported: str
    told: str = ""

    @property
    def path(self) -> Path:
        """The module's file, which may be new."""
        return Path(*self.module.split(".")).with_suffix(".py")

    @property
    def line(self) -> str:
        """What the linter must say of it."""
        return self.told or f"{self.module} -> {self.imported} "


PLANTS = (
    Plant(LAYERS, "ledger.utils", "ledger.errors", told="- ledger.utils"),
    Plant(LAYERS, "ledger.assessing", "ledger.enrolling"),
    Plant(LAYERS, "ledger.sequencing", "ledger.proving"),
    Plant(LAYERS, "ledger.ledger", "ledger.sequencing"),
    Plant(LAYERS, "ledger.store.ledgers", "ledger.ledger"),
    Plant(LAYERS, "ledger.risk.advice", "ledger.store.tables"),
    Plant(LAYERS, "ledger.risk.reason", "ledger.privacy.sealing"),
    Plant(LAYERS, "ledger.graph.posting", "ledger.risk.policy"),
    Plant(LAYERS, "ledger.rights.notice", "ledger.graph.link"),
    Plant(LAYERS, "ledger.incident.lifecycle", "ledger.rights.jurisdiction"),
    Plant(LAYERS, "ledger.log.leaf", "ledger.identity.key"),
    Plant(LAYERS, "ledger.errors", "ledger.strict_json"),
    Plant(INTERFACES, "api.clock", "cli.clock"),
    Plant(INTERFACES, "cli.clock", "api.events"),
    Plant(INTERFACES, "ledger.proving", "api.rendering"),
    Plant(INTERFACES, "ledger.checking", "ledger_client.clock"),
    Plant(INTERFACES, "ledger.creating", "config.settings"),
    Plant(INTERFACES, "config.settings", "ledger.errors"),
    Plant(CYCLES, "api.rendering", "api.problems", told="- .rendering -> .problems "),
    Plant(SQL, "ledger.reporting", "sqlalchemy"),
    Plant(SQL, "cli.members", "sqlalchemy"),
    Plant(SQL, "api.log", "psycopg"),
    Plant(JOSE, "ledger.identity.platform", "jwt"),
    Plant(JOSE, "ledger_client.question", "jwt"),
    Plant(GRAPHS, "ledger.graph.neighbourhood", "networkx"),
    Plant(CLIENT, "ledger_client.errors", "ledger.store.engine"),
    Plant(CLIENT, "ledger_client.clock", "config.settings"),
    Plant(CLIENT, "ledger_client.receipt", "ledger.utils"),
    Plant(HTTP, "ledger.authorizing", "flask"),
    Plant(HTTP, "cli.verifying", "werkzeug"),
    Plant(PICTURES, "cli.evidence", "PIL"),
    Plant(PICTURES, "ledger_client.client", "cv2"),
    Plant(VENDORED, "ledger.log.note", "httpx"),
)


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "COLUMNS": "500", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def contract_names() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return [one["name"] for one in project["tool"]["importlinter"]["contracts"]]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give what the linter says of each contract once everything is planted."""
    folder = tmp_path_factory.mktemp("planted")
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for plant in PLANTS:
        with (folder / plant.path).open("a", encoding="utf-8") as file:
            file.write(f"\nimport {plant.imported}\n")
    linted = lint(folder)
    assert linted.returncode == 1, linted.stdout + linted.stderr
    said = linted.stdout.partition("\nBroken contracts\n")[2]
    sections: dict[str, str] = {}
    for name in contract_names():
        _, title, rest = said.partition(f"\n{name}\n{'-' * len(name)}\n")
        following = re.search(r"\n[^\n]+\n-{10,}\n", rest)
        sections[name] = rest[: following.start() if following else None] if title else ""
    return sections


def test_every_import_contract_holds() -> None:
    linted = lint(ROOT)
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize(
    "plant", PLANTS, ids=lambda plant: f"{plant.module} imports {plant.imported}"
)
def test_planted_import_turns_its_contract_red(plant: Plant, broken: dict[str, str]) -> None:
    assert plant.line in broken[plant.contract]


def test_every_contract_was_seen_red_at_least_once() -> None:
    assert {plant.contract for plant in PLANTS} == set(contract_names())


def imported_names(source: str) -> set[str]:
    """Name every module that a source text imports, wherever the import stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or ".")
    return names


def beyond_the_log(source: str) -> set[str]:
    """Name the imports with which a member couldn't vendor a module of the log."""
    return {
        name
        for name in imported_names(source)
        if name.split(".")[0] not in {*sys.stdlib_module_names, "cryptography"}
        and name != "ledger.errors"
        and not f"{name}.".startswith("ledger.log.")
    }


@pytest.mark.parametrize("path", sorted(LOG_PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_log_module_stands_on_the_standard_library_and_cryptography(path: Path) -> None:
    assert beyond_the_log(path.read_text("utf-8")) == set()


def test_another_library_in_the_log_package_would_be_found() -> None:
    planted = "import json\nfrom ledger.log.leaf import Op\ndef f():\n    import pymerkle\n"
    assert beyond_the_log(planted) == {"pymerkle"}
    assert beyond_the_log("from ledger import strict_json") == {"ledger"}


def beyond_the_packages(source: str) -> set[str]:
    """Name the imports of what stands above or beside every package."""
    above = {"wsgi", "migrations", "tests", "bench"}
    return {name for name in imported_names(source) if name.split(".")[0] in above}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_the_door_the_migrations_or_the_tests(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert beyond_the_packages(path.read_text("utf-8")) == set(), path.name


def test_an_import_of_the_door_would_be_found() -> None:
    assert beyond_the_packages("from wsgi import application\nimport api.app") == {"wsgi"}
