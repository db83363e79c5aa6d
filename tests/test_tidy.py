"""The rules of the house, each one a function of a source text that names the alternative.

Every rule is first shown to find a planted violation and to pass what it asks for instead, and
then run over the tree. Rules about meaning read the syntax tree, so that no comment misleads them.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

PYTHON = ("ledger", "api", "cli", "config", "ledger_client", "migrations", "tests", "bench")
MADE = {"var", "build", "dist", "__pycache__"}  # folders that no commit holds
PURE_FOLDERS = ("identity", "incident", "rights", "log", "graph", "risk", "privacy")
PURE = ("errors.py", "strict_json.py", *(f"{name}/" for name in PURE_FOLDERS))
CLOCKS = ("api/clock.py", "ledger_client/clock.py", "cli/", "tests/", "bench/")
LINES_MAX, FUNCTION_LINES_MAX = 400, 70
BANNED = re.compile(
    "models|(util|helper|common|base|core|misc|data|info|service|manager|handler|processor|lib)s?"
)
CLOCK_CALLS = re.compile(
    r"datetime\.(datetime\.(now|utcnow|today)|date\.today)"
    r"|time\.(time|monotonic|perf_counter|process_time|thread_time)(_ns)?"
    r"|time\.(gmtime|localtime|ctime|clock_gettime(_ns)?)"
    r"|sqlalchemy\.func\.(now|current_timestamp)"
)
ENVIRONMENT = re.compile(r"os\.(environb?|getenvb?|putenv|unsetenv)(\..*)?")
RANDOMNESS = re.compile(r"(secrets|random|uuid|numpy\.random)(\..*)?|os\.(urandom|getrandom)")
HTTP_NAMES = re.compile(r"(?i)(http_?status|http_?code|status_?code)")
WEB_LIBRARIES = {"flask", "werkzeug", "http", "httpx"}
# In pieces, so that this file keeps the rules that it states.
REGISTRIES = [f"{one}.org" for one in ("py" + "pi", "python" + "hosted", "npm" + "js")]
MARKERS = re.compile("|".join(rf"\b{one}\b" for one in ("TO" + "DO", "FIX" + "ME", "X" * 3)))
HOMES = re.compile(r"(?:/(?:home|root|Users)/|[A-Z]:\\+Users\\)[\w.-]")


@dataclass(frozen=True)
class Source:
    """A file of the tree: its path from the root, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree of a Python file."""
        return ast.parse(self.text)

    @cached_property
    def names(self) -> list[tuple[int, str]]:
        """Every imported or used name with its line, dotted, through whatever alias."""
        known: dict[str, str] = {}
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    known[alias.asname or top] = alias.name if alias.asname else top
                    found.append((node.lineno, alias.name))
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    known[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"
                    found.append((node.lineno, f"{node.module or ''}.{alias.name}"))
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute | ast.Name):
                first, *rest = dotted(node)
                if first in known:
                    found.append((node.lineno, ".".join((known[first], *rest))))
        return found


def dotted(node: ast.expr) -> list[str]:
    """Give the parts of a dotted name; of another expression only the attributes."""
    if isinstance(node, ast.Attribute):
        return [*dotted(node.value), node.attr]
    return [node.id if isinstance(node, ast.Name) else ""]


def functions(source: Source) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Walk every function and method."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def is_truth(value: ast.expr | None) -> bool:
    """Tell whether an expression plainly gives True or False."""
    if isinstance(value, ast.Constant):
        return isinstance(value.value, bool)
    is_negation = isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not)
    return is_negation or isinstance(value, ast.Compare)


def is_under(path: str, places: Iterable[str]) -> bool:
    """Tell whether a path is one of some files or lies in one of some folders."""
    return any(
        path == place or (place.endswith("/") and path.startswith(place)) for place in places
    )


# --- The rules ------------------------------------------------------------------------------


def find_long_file(source: Source) -> Iterator[str]:
    """Find a file of more than 400 lines."""
    lines = len(source.text.splitlines())
    if lines > LINES_MAX:
        yield f"{lines} lines: give the second noun or verb in it a file of its own"


def find_long_functions(source: Source) -> Iterator[str]:
    """Find functions of more than 70 lines."""
    for node in functions(source):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            yield f"{node.lineno}: {node.name} has {lines} lines: name its steps as functions"


def find_missing_module_docstring(source: Source) -> Iterator[str]:
    """Find a module without a docstring."""
    if not (ast.get_docstring(source.tree) or "").strip():
        yield "1: start with a paragraph on what it knows and what it refuses to know"


def find_banned_words(source: Source) -> Iterator[str]:
    """Find modules and classes that aren't named for what they are."""
    named = [(1, part) for part in source.path.removesuffix(".py").split("/")]
    classes = (node for node in ast.walk(source.tree) if isinstance(node, ast.ClassDef))
    for line, name in (*named, *((node.lineno, node.name) for node in classes)):
        words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
        if any(BANNED.fullmatch(word.lower()) for word in words):
            yield f"{line}: {name} says nothing: name the noun or the verb that is in it"


def find_environment_reads(source: Source) -> Iterator[str]:
    """Find reads of the environment outside config/."""
    if not is_under(source.path, ("config/", "tests/")):
        for line, name in source.names:
            if ENVIRONMENT.fullmatch(name):
                yield f"{line}: {name}: add a field to config/settings.py and pass its value"


def find_clocks(source: Source) -> Iterator[str]:
    """Find who tells the time outside the three clocks."""
    if not is_under(source.path, CLOCKS):
        for line, name in source.names:
            if CLOCK_CALLS.fullmatch(name):
                yield f"{line}: {name}: take the instant as an argument; the edges have clock.py"


def find_randomness(source: Source) -> Iterator[str]:
    """Find randomness in the pure core."""
    if is_under(source.path, [f"ledger/{place}" for place in PURE]):
        for line, name in source.names:
            if RANDOMNESS.fullmatch(name):
                yield f"{line}: {name}: take the random bytes as an argument, as sealing.py does"


def find_json_under_hashes(source: Source) -> Iterator[str]:
    """Find JSON that is made where bytes are hashed."""
    if source.path.startswith("ledger/log/"):
        for line, name in source.names:
            if re.fullmatch(r"(json|simplejson|orjson|ujson)(\.(JSONEncoder|dumps?).*)?", name):
                yield f"{line}: {name}: lay the bytes out by hand, as log/leaf.py does"


def find_undocumented(source: Source) -> Iterator[str]:
    """Find public functions of the ledger whose first line isn't a sentence."""
    if source.path.startswith("ledger/"):
        classes = [one for one in source.tree.body if isinstance(one, ast.ClassDef)]
        for node in (*source.tree.body, *(one for owner in classes for one in owner.body)):
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            if not (ast.get_docstring(node) or "").partition("\n")[0].endswith("."):
                yield f"{node.lineno}: {node.name}: complete 'This function will …', with a period"


def find_http(source: Source) -> Iterator[str]:
    """Find words of HTTP in the domain."""
    if source.path.startswith("ledger/"):
        told = "raise a LedgerError; api/problems.py gives it a status"
        for line, name in source.names:
            if name.partition(".")[0] in WEB_LIBRARIES:
                yield f"{line}: {name}: {told}"
        for node in ast.walk(source.tree):
            word = getattr(node, "attr", getattr(node, "id", getattr(node, "arg", None)))
            if isinstance(word, str) and HTTP_NAMES.fullmatch(word):
                yield f"{getattr(node, 'lineno', 1)}: {word}: {told}"


def find_imports_of_the_root(source: Source) -> Iterator[str]:
    """Find imports of the package `ledger` itself."""
    if source.path == "ledger/__init__.py":
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield f"{node.lineno}: import the module where its names are used"


def find_verdicts(source: Source) -> Iterator[str]:
    """Find verifiers that give a bool instead of the verified value."""
    for node in functions(source):
        if node.name.startswith("verify_"):
            told = f"{node.lineno}: {node.name}: return what was verified, or raise a LedgerError"
            if node.returns is None or re.search(r"\bbool\b", ast.unparse(node.returns)):
                yield told
            for one in ast.walk(node):
                if isinstance(one, ast.Return) and is_truth(one.value):
                    yield told


def find_vague_writes(source: Source) -> Iterator[str]:
    """Find functions of the store that don't say what changes."""
    if source.path.startswith("ledger/store/"):
        for node in functions(source):
            if re.match(r"_?(save|update)(_|$)", node.name):
                yield f"{node.lineno}: {node.name}: say what: insert_x, advance_x, suspend_x"


def find_registries(source: Source) -> Iterator[str]:
    """Find package registries by name."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if any(host in line for host in REGISTRIES):
            yield f"{number}: name the package and leave the registry to the reader's settings"


def find_home_paths(source: Source) -> Iterator[str]:
    """Find paths of somebody's home."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if HOMES.search(line):
            yield f"{number}: give the path from the root of the repository"


def find_markers(source: Source) -> Iterator[str]:
    """Find what is left for later."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if MARKERS.search(line):
            yield f"{number}: do it, or open an issue and say in prose what isn't there yet"


PYTHON_RULES: tuple[Callable[[Source], Iterator[str]], ...] = (
    find_long_file,
    find_long_functions,
    find_missing_module_docstring,
    find_banned_words,
    find_environment_reads,
    find_clocks,
    find_randomness,
    find_json_under_hashes,
    find_undocumented,
    find_http,
    find_imports_of_the_root,
    find_verdicts,
    find_vague_writes,
)
TEXT_RULES: tuple[Callable[[Source], Iterator[str]], ...] = (
    find_registries,
    find_home_paths,
    find_markers,
)
ROOT_MODULE, LOG = "ledger/__init__.py", "ledger/log/a.py"
STEPS = " x\n"
# Each line: a rule, a path, what breaks the rule there, and what keeps it.
PLANTED: tuple[tuple[Callable[[Source], Iterator[str]], str, str, str], ...] = (
    (find_long_file, "a.py", "x = 1\n" * 401, "x = 1\n" * 400),
    (find_long_functions, "a.py", "def f():\n" + STEPS * 70, "def f():\n" + STEPS * 69),
    (find_long_functions, "a.py", "class A:\n def f():\n" + "  x\n" * 70, "x\n" * 80),
    (find_missing_module_docstring, "a.py", "# a comment\nx = 1", "'One paragraph.'\nx = 1"),
    (find_banned_words, "a.py", "class HTTPHandler: ...", "class Database(BaseModel): ..."),
    (find_banned_words, "a.py", "class Utils2: ...", "class Handle2: ..."),
    (find_environment_reads, "cli/a.py", "import os\nos.environ['A']", "import os\nos.sep"),
    (find_environment_reads, "a.py", "from os import getenv as g\ng('A')", "'os.environ'"),
    (find_clocks, "ledger/a.py", "import datetime as d\nd.datetime.now()", "# datetime.now()"),
    (find_clocks, "api/a.py", "from datetime import date as d\nd.today()", "a.today()"),
    (find_clocks, "a.py", "from time import time as t\nt()", "from datetime import time\ntime()"),
    (find_clocks, "ledger/store/a.py", "from sqlalchemy import func\nfunc.now()", "at.now"),
    (find_randomness, "ledger/risk/a.py", "import random", "def f(nonce): ..."),
    (find_randomness, "ledger/privacy/a.py", "from os import urandom", "from os import sep"),
    (find_json_under_hashes, LOG, "from json import dumps as d\nd(1)", "'json.dumps'"),
    (find_undocumented, "ledger/a.py", "def f(x):\n 'Do it'", "def f(x):\n 'Do it.'"),
    (find_undocumented, "ledger/a.py", "class A:\n def f(self): ...", "def _f(): ..."),
    (find_http, "ledger/a.py", "from http import HTTPStatus", "'It knows nothing of HTTP.'"),
    (find_http, "ledger/a.py", "error.status_code = 4", "sign_status(error)"),
    (find_imports_of_the_root, ROOT_MODULE, "from ledger import log", "'The domain.'"),
    (find_verdicts, "a.py", "def verify_x(y) -> bool: ...", "def verify_x(y) -> Token: ..."),
    (find_verdicts, "a.py", "def verify_x(y): ...", "def is_x(y) -> bool: ..."),
    (find_verdicts, "a.py", "def verify_x(y) -> X:\n return y == 1", "def f() -> X: return True"),
    (find_vague_writes, "ledger/store/a.py", "def save_key(): ...", "def insert_key(): ..."),
    (find_registries, "a.md", f"https://{REGISTRIES[0]}/x", "pip install x"),
    (find_home_paths, "a.md", f"see /{'home'}/ada/x", "see docs/home.md"),
    (find_markers, "a.toml", f"# {'TO'}DO: later", "# todo lists are for issues"),
)


@pytest.mark.parametrize(("rule", "path", "bad", "good"), PLANTED)
def test_rule_finds_a_planted_violation_and_passes_the_alternative(
    rule: Callable[[Source], Iterator[str]], path: str, bad: str, good: str
) -> None:
    assert list(rule(Source(path, bad)))
    assert not list(rule(Source(path, good)))


def test_every_rule_was_seen_to_find_something() -> None:
    assert {rule for rule, *_ in PLANTED} == {*PYTHON_RULES, *TEXT_RULES}


@pytest.mark.parametrize("path", ["ledger/utils.py", "api/core/a.py", "ledger/log_helper.py"])
def test_module_or_folder_with_a_banned_word_is_found(path: str) -> None:
    assert list(find_banned_words(Source(path, "")))


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (find_environment_reads, "config/a.py", "import os\nos.environ"),
        (find_clocks, "api/clock.py", "from datetime import datetime\ndatetime.now()"),
        (find_randomness, "ledger/sequencing.py", "import secrets"),
        (find_json_under_hashes, "api/rendering.py", "import json\njson.dumps(1)"),
        (find_http, "api/problems.py", "from http import HTTPStatus"),
    ],
)
def test_the_place_that_a_rule_names_is_free_of_it(
    rule: Callable[[Source], Iterator[str]], path: str, text: str
) -> None:
    assert not list(rule(Source(path, text)))


def read_tree(root: Path) -> list[Source]:
    """Read every text file that a commit of the tree would hold."""
    sources = []
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        hidden = any(part.startswith(".") and part != ".ci" for part in inside.parts[:-1])
        if hidden or set(inside.parts) & MADE or not path.is_file():
            continue
        content = path.read_bytes()
        if b"\0" not in content:
            sources.append(Source(inside.as_posix(), content.decode("utf-8")))
    return sources


@pytest.fixture(scope="module")
def tree() -> list[Source]:
    """Give the tree as it is."""
    return read_tree(ROOT)


def test_the_tree_is_read_whole(tree: list[Source]) -> None:
    paths = {source.path for source in tree}
    assert {"wsgi.py", "pyproject.toml", ".ci/run", "ledger/log/leaf.py"} <= paths
    assert not [path for path in paths if path.startswith((".venv", ".git/"))]


@pytest.mark.parametrize("rule", PYTHON_RULES)
def test_every_python_file_keeps_the_rule(
    rule: Callable[[Source], Iterator[str]], tree: list[Source]
) -> None:
    ours = ("wsgi.py", *(f"{name}/" for name in PYTHON))
    kept = [one for one in tree if one.path.endswith(".py") and is_under(one.path, ours)]
    assert [f"{one.path}:{told}" for one in kept for told in rule(one)] == []


@pytest.mark.parametrize("rule", TEXT_RULES)
def test_every_file_keeps_the_rule(
    rule: Callable[[Source], Iterator[str]], tree: list[Source]
) -> None:
    assert [f"{one.path}:{told}" for one in tree for told in rule(one)] == []
