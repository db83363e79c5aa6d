"""The documents don't lie: what they name exists, and what exists is named.

Commands, dependencies, reasons and decisions are compared with the documents that list them, and
every link and every path of the repository that any document mentions must lead somewhere.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import click
import pytest
from conftest import ROOT

from cli.main import main
from ledger.risk.reason import TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DECISIONS = ROOT / "docs" / "adr"
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part == "var" for part in path.relative_to(ROOT).parts)
)
MADE = ("var", ".venv")  # places that the documents name and no commit holds
WRITTEN = re.compile(r"[\w.-]+(/[\w.-]+)*/?")
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)(?: \"[^\"]*\")?\)")


def name_document(path: Path) -> str:
    """Name a document by its path from the root."""
    return path.relative_to(ROOT).as_posix()


def read(name: str) -> str:
    """Read a file of the repository."""
    return (ROOT / name).read_text("utf-8")


def strip_code(text: str) -> str:
    """Take fenced code out of a document."""
    return re.sub(r"(?ms)^ *(```|~~~).*?^ *\1", "", text)


# --- Links and paths ------------------------------------------------------------------------


def find_anchors(text: str) -> set[str]:
    """Give the anchors of a document's headings, as code hosts make them."""
    headings = re.findall(r"(?m)^#{1,6} +(.+?) *#*$", strip_code(text))
    bare = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", one) for one in headings]
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in bare}


def find_dead_links(text: str, document: Path) -> list[str]:
    """Give the relative links of a text, as if it stood in a document, that lead nowhere."""
    dead = []
    for target in LINK.findall(strip_code(text)):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        place, _, anchor = target.partition("#")
        path = document.parent / place if place else document
        if path != document and not path.exists():
            dead.append(target)
        elif anchor and path.suffix == ".md":
            there = text if path == document else path.read_text("utf-8")
            if anchor not in find_anchors(there):
                dead.append(target)
    return dead


def find_missing_paths(text: str, document: Path) -> list[str]:
    """Give the paths in backticks that look like the repository's and aren't there.

    *Shape*: from the root, from `ledger/` or from the document; `a/` names a folder.
    """
    tops = {path.name for folder in (ROOT, ROOT / "ledger") for path in folder.iterdir()}
    missing = []
    for written in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", strip_code(text)):
        first, slash, _ = written.partition("/")
        is_ours = bool(slash) and first in tops
        is_file = re.search(r"\.(py|md|toml|lock|mako)$", written) is not None
        if first in MADE or not WRITTEN.fullmatch(written) or not (is_ours or is_file):
            continue
        bases = (ROOT, ROOT / "ledger", document.parent)
        exists = (base / written for base in bases)
        if not any(path.is_dir() if written.endswith("/") else path.exists() for path in exists):
            missing.append(written)
    return missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_document)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    assert find_dead_links(document.read_text("utf-8"), document) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_document)
def test_every_mentioned_path_exists(document: Path) -> None:
    assert find_missing_paths(document.read_text("utf-8"), document) == []


def test_dead_links_would_be_found() -> None:
    text = (
        "# Big *words*, here\n[a](gone.md) [b](settings.md) [c](#big-words-here) [d](#small)\n"
        "[e](settings.md#settings) [f](settings.md#gone) [g](https://ledger.example/gone)\n"
        "```\n[h](in-code.md)\n```\n"
    )
    document = ROOT / "docs" / "page.md"
    assert find_dead_links(text, document) == ["gone.md", "#small", "settings.md#gone"]


def test_paths_that_are_gone_would_be_found() -> None:
    text = (
        "`ledger/gone.py` `identity/token.py` `identity/gone.py` `gone.md` `api/` `apis/x`\n"
        "`cli/main.py/` `application/json` `/v1/events` `var/ledger.sqlite` `python -m gone.py`"
    )
    document = ROOT / "docs" / "page.md"
    assert find_missing_paths(text, document) == [
        "ledger/gone.py",
        "identity/gone.py",
        "gone.md",
        "cli/main.py/",
    ]


# --- Commands -------------------------------------------------------------------------------


def list_inner(command: click.Command) -> dict[str, click.Command]:
    """Give the commands of a group by name, also those that it imports when it is asked."""
    if not isinstance(command, click.Group):
        return {}
    context = click.Context(command)
    found = {name: command.get_command(context, name) for name in command.list_commands(context)}
    return {name: one for name, one in found.items() if one is not None}


def walk_commands(command: click.Command, words: tuple[str, ...]) -> Iterator[str]:
    """Walk the commands that do something, by their full names."""
    inner = list_inner(command)
    for name, one in inner.items():
        yield from walk_commands(one, (*words, name))
    if not inner:
        yield " ".join(words)


NOUNS = list_inner(main)
COMMANDS = sorted(walk_commands(main, ("bcl",)))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_operating_manual(command: str) -> None:
    assert re.search(rf"`(\./)?{re.escape(command)}\b", read("docs/operating.md"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_document)
def test_every_mentioned_command_exists(document: Path) -> None:
    mentioned = re.findall(
        r"`(?:\./)?bcl ([a-z]+)(?: ([a-z][a-z-]*))?", document.read_text("utf-8")
    )
    groups = {name for name, one in NOUNS.items() if isinstance(one, click.Group)}
    for noun, verb in mentioned:
        assert noun in NOUNS, f"bcl {noun}"
        if noun in groups and verb:
            assert f"bcl {noun} {verb}" in COMMANDS


# --- Lists ----------------------------------------------------------------------------------


def test_every_direct_dependency_has_its_reason_and_nothing_else_has() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["analysis"], *extras["evidence"], *extras["dev"]]
    names = [re.split(r"[\[<>=~!; ]", one)[0] for one in wanted]
    rows = re.findall(r"(?m)^\| `([^`]+)` \| (.+) \|$", read("docs/dependencies.md"))
    assert [name for name, _ in rows] == sorted(set(names), key=names.index)
    assert [name for name, reason in rows if len(reason.split()) < 5] == []


def test_every_reason_code_is_explained_and_no_other() -> None:
    page = read("docs/scoring.md")
    assert set(re.findall(r"`((?:CONFIRMED|LINKED)_[A-Z_]+)`", page)) == set(TEXTS)
    assert all(text["zh-CN"].strip() not in {"", text["en"]} for text in TEXTS.values())


def test_every_decision_is_listed_once_under_its_title() -> None:
    listed = re.findall(r"(?m)^\| \[(\d{4})\]\((\S+)\) \| (.+?) \|", read("docs/adr/README.md"))
    files = sorted(path for path in DECISIONS.glob("[0-9]*.md"))
    assert [name for _, name, _ in listed] == [path.name for path in files]
    for number, name, title in listed:
        assert name.startswith(f"{number}-")
        assert read(f"docs/adr/{name}").startswith(f"# {number} {title}\n")


@pytest.mark.parametrize("path", sorted(DECISIONS.glob("[0-9]*.md")), ids=lambda path: path.name)
def test_every_decision_tells_what_is_bad_about_it(path: Path) -> None:
    text = path.read_text("utf-8")
    titles = re.findall(r"(?m)^## (.+)$", text)
    assert titles == ["Context", "Options", "Decision", "Consequences"]
    assert re.search(r"(?m)^- Bad: ", text.partition("## Consequences")[2])
    assert re.search(r"(?m)^(Accepted|Superseded by \[\d{4}\]\(\S+\)), \d{4}-\d{2}$", text)


def test_changelog_starts_with_what_is_unreleased() -> None:
    titles = re.findall(r"(?m)^## (.+)$", read("CHANGELOG.md"))
    assert titles[0] == "[Unreleased]"
