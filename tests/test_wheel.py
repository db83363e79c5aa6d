"""An installed package: a member's commands run in it, and the operator's say what they need.

What a wheel brings is laid out in a fresh virtual environment as an installer would: the packages
that pyproject.toml names, their Python files alone, and the console script. The libraries are this
environment's. No wheel file is built, since the tools for that aren't among the pinned ones; the
commands run as processes in an empty folder, and nothing else of the checkout can be imported.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sysconfig
import tomllib
import venv
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from conftest import ROOT
from reports import sample_report
from sandbox import enrol, environment, serving

from cli.main import main
from ledger.incident.rendering import render_event
from ledger_client.client import Client

SHOP = "https://shop-a.example"
MEMBER = {"event", "evidence", "key", "log", "receipt", "risk", "token", "witness"}
OPERATOR = (
    ("db", "upgrade"),
    ("demo",),
    ("graph", "rebuild"),
    ("incident", "list"),
    ("log", "audit"),
    ("log", "export", "mirror"),
    ("log", "prove", "0"),
    ("platform", "list"),
    ("policy", "list"),
    ("serve",),
    ("serve", "--help"),
    ("worker", "--once"),
    ("key", "new", "keys", "--ledger"),
)
QUESTION = {
    "subject": {
        "format": "aliases",
        "identifiers": [{"format": "iss_sub", "iss": SHOP, "sub": "buyer-1"}],
    },
    "context": {
        "purpose": "refund_only_claim",
        "order_commitment": f"hmac-sha-256:{'B' * 43}",
        "bindings": {},
    },
}


@dataclass(frozen=True)
class Installed:
    """The programs of an environment with the package in it, and the folder that they run in."""

    programs: Path
    folder: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run its Python in the folder, without a setting or a path of the checkout."""
        command: list[str] = [str(self.programs / "python"), *arguments]
        kept = {name: text for name, text in environment().items() if name != "PYTHONPATH"}
        return subprocess.run(
            command,
            cwd=self.folder,
            env=kept,
            capture_output=True,
            text=True,
            check=False,
        )

    def bcl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command. Whatever happens, it ends without a traceback."""
        ended = self.run(str(self.programs / "bcl"), *arguments)
        assert "Traceback" not in ended.stderr
        return ended

    def told(self, *arguments: str) -> str:
        """Give what a command ended well with."""
        ended = self.bcl(*arguments)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout


def skip_what_no_wheel_holds(folder: str, names: list[str]) -> list[str]:
    """Name the entries of a folder of source that aren't Python files or their folders."""
    kept = {name for name in names if name.endswith(".py") or (Path(folder) / name).is_dir()}
    return [name for name in names if name not in kept - {"__pycache__"}]


def lay_out(home: Path) -> Path:
    """Make an environment, install in it what a wheel would bring, and give its programs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    venv.EnvBuilder(symlinks=True).create(home)
    programs = home / "bin"
    asked = [
        str(programs / "python"),
        "-c",
        "import sysconfig; print(sysconfig.get_path('purelib'))",
    ]
    site = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    libraries = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    (site / "libraries.pth").write_text("\n".join(sorted(libraries)))
    for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]:
        for package in filter(Path.is_dir, ROOT.glob(pattern)):
            shutil.copytree(
                package, site / package.name, ignore=skip_what_no_wheel_holds, dirs_exist_ok=True
            )
    module, _, name = project["project"]["scripts"]["bcl"].partition(":")
    (programs / "bcl").write_text(f"import sys\nfrom {module} import {name}\nsys.exit({name}())\n")
    return programs


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the programs of an environment with the package."""
    return lay_out(tmp_path_factory.mktemp("installed"))


@pytest.fixture
def installed(programs: Path, tmp_path: Path) -> Installed:
    """Give the installed package, with an empty folder to run in."""
    return Installed(programs, tmp_path)


def test_nothing_else_of_the_checkout_can_be_imported(installed: Installed) -> None:
    assert installed.run("-c", "import cli.main, ledger_client.client").returncode == 0
    for name in ("api", "config", "migrations", "wsgi", "cli.opening"):
        assert "ModuleNotFoundError" in installed.run("-c", f"import {name}").stderr


def test_help_lists_a_member_s_commands_and_a_checkout_s_lists_all(installed: Installed) -> None:
    listed = installed.told("--help").partition("Commands:\n")[2]
    assert set(re.findall(r"(?m)^  ([a-z]+)", listed)) == MEMBER
    in_checkout = main.list_commands(click.Context(main))
    assert set(in_checkout) == MEMBER | {words[0] for words in OPERATOR}


@pytest.mark.parametrize("words", OPERATOR, ids=" ".join)
def test_operator_s_command_says_that_it_needs_a_checkout(
    installed: Installed, words: tuple[str, ...]
) -> None:
    refused = installed.bcl(*words)
    assert (refused.returncode, refused.stdout) == (2, "")
    named = {"key": "key new --ledger", "log": " ".join(words[:2])}.get(words[0], words[0])
    assert refused.stderr == (
        f"bcl: `bcl {named}` needs a checkout of the ledger: an installed package has the "
        "commands of a member alone.\n"
    )
    assert list(installed.folder.iterdir()) == []


def test_member_reports_asks_and_verifies_with_the_installed_package(
    installed: Installed, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mine, sandbox = installed.folder, tmp_path_factory.mktemp("served") / "var"
    (mine / "shop.jwks").write_text(installed.told("key", "new", "shop.jwk"))
    (mine / "question.json").write_text(json.dumps(QUESTION))
    report = sample_report(datetime.now(UTC), issuer=SHOP)
    (mine / "claims.json").write_text(json.dumps(render_event(report, "https://localhost/sandbox")))
    with serving(sandbox) as url:
        assert enrol(sandbox, SHOP, mine / "shop.jwks").exit_code == 0
        vkey = (sandbox / "vkey").read_text().strip()
        who = ("--id", SHOP, "--key", "shop.jwk", "--url", url, "--vkey", vkey)
        assert len(installed.told("token", "issue", *who).split()) == 1
        sent = json.loads(
            installed.told("event", "send", "claims.json", "--token-out", "token", *who)
        )
        answer = json.loads(installed.told("risk", "assess", "question.json", "--json", *who))
        assert answer["log"]["origin"] == "localhost/sandbox"
        private = json.loads((mine / "shop.jwk").read_text())
        with Client(url, vkey=vkey, platform=SHOP, key=private) as client:
            (mine / "receipt").write_text(client.fetch_receipt(sent["incident"]))
    verify = ("receipt", "verify", "receipt", "--vkey", vkey, "--event", "token", "--json")
    assert json.loads(installed.told(*verify))["opened"]
    unreached = installed.bcl("token", "issue", *who)
    assert (unreached.returncode, unreached.stdout) == (1, "")
    assert url in unreached.stderr
