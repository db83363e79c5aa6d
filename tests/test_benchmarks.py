"""`make bench` gives each benchmark the arguments that it needs; linking reads any graph."""

from __future__ import annotations

import argparse
import importlib
import re
import runpy
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

COMMANDS = re.findall(r"python (bench/\w+\.py)(.*)", (ROOT / "Makefile").read_text("utf-8"))


class ParsedError(Exception):
    """The arguments were taken, and nothing was run."""


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let benchmarks import one another, as the target does."""
    monkeypatch.syspath_prepend(ROOT / "bench")


def run(script: str, *arguments: str) -> None:
    """Run a benchmark in this process."""
    sys.argv[:] = [script, *arguments]
    runpy.run_path(str(ROOT / script), run_name="__main__")


@pytest.mark.parametrize(("script", "arguments"), COMMANDS)
def test_benchmark_takes_what_make_gives_it(
    script: str, arguments: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser) -> None:
        parse(parser)
        raise ParsedError

    source = (ROOT / script).read_text("utf-8")
    if "argparse" not in source:
        assert not arguments
        return
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", [])
    with pytest.raises(ParsedError):
        run(script, *arguments.split())


def test_linking_without_a_graph_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    linking = importlib.import_module("linking")
    monkeypatch.setattr(linking, "GRAPH", ROOT / "no such graph.npz")
    monkeypatch.setattr(sys, "argv", ["linking.py"])
    linking.main()
    told = capsys.readouterr().out
    assert told == (
        "There is no graph at ../shared/data/reddit_bans.npz, and none was given: "
        "linking isn't measured.\n"
    )


SIZE, TEAMS, BAD = 8, 12, 3
LABEL = [int(account < SIZE * BAD) for account in range(SIZE * TEAMS)]
# The accounts of each team share an identifier, or all know the first of them.
SHARED = [(account, SIZE * TEAMS + account // SIZE) for account in range(SIZE * TEAMS)]
KNOWN = [(account, account - account % SIZE) for account in range(SIZE * TEAMS)]


@pytest.fixture
def link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """Give what measures linking on a graph, and gives what it prints."""

    def measure(edges: npt.ArrayLike, label: list[int], *arguments: str) -> list[str]:
        np.savez(tmp_path / "graph.npz", edges=np.array(edges), label=np.array(label))
        graph = str(tmp_path / "graph.npz")
        monkeypatch.setattr(sys, "argv", ["linking.py", graph, "--seeds", "3", *arguments])
        importlib.import_module("linking").main()
        return capsys.readouterr().out.splitlines()

    return measure


def test_linking_reads_any_undirected_graph(link: Callable[..., list[str]]) -> None:
    first, *rows = link(SHARED, LABEL)
    assert first == (
        "96 accounts, 24 of them bad, on 12 identifiers; 40 % of the labels known; "
        "each identifier a device"
    )
    assert [row.split()[0] for row in rows] == ["seed", "seed", "seed", "mean", "spread"]
    assert float(rows[3].split()[3]) > 0.99
    both = [*SHARED, *((high, low) for low, high in SHARED), (0, 0)]
    assert link(np.array(both).T, LABEL) == [first, *rows]
    # Identifiers first, and none of them an account: each account is one more, of itself alone.
    turned = [(identifier - len(LABEL), TEAMS + account) for account, identifier in SHARED]
    assert link(turned, [-1] * TEAMS + LABEL) == [first.replace("12 id", "108 id"), *rows]
    first, *rows = link(KNOWN, LABEL)
    assert first.startswith("96 accounts, 24 of them bad, on 96 identifiers;")
    assert float(rows[3].split()[3]) > 0.99


def test_linking_ends_badly_below_what_is_asked_and_where_nothing_is_measured(
    link: Callable[..., list[str]],
) -> None:
    mixed = [int(account % 4 == 0) for account in range(len(LABEL))]
    assert float(link(SHARED, mixed)[4].split()[3]) < 0.6
    for edges, label, arguments, told in (
        (SHARED, mixed, ["--least", "0.9"], "The mean is below 0.9."),
        (SHARED, [0] * len(LABEL), [], "The accounts whose labels are hidden"),
        ([(1, 1)], LABEL, [], "`edges` names no two nodes"),
        ([(0, 1, 2)], LABEL, [], "`edges` has neither two rows nor two columns."),
    ):
        with pytest.raises(SystemExit, match=told):
            link(edges, label, *arguments)


def test_linking_reads_the_graph_beside_the_repository_and_holds_it_to_its_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    linking = importlib.import_module("linking")
    place = ROOT.parent / "shared" / "data" / "reddit_bans.npz"
    assert linking.GRAPH.resolve() == place.resolve()
    graph = tmp_path / "graph.npz"
    monkeypatch.setattr(linking, "GRAPH", graph)
    mixed = [int(account % 4 == 0) for account in range(len(LABEL))]
    for arguments in ([], [str(graph)]):
        monkeypatch.setattr(sys, "argv", ["linking.py", *arguments])
        np.savez(graph, edges=np.array(SHARED), label=np.array(LABEL))
        linking.main()
        assert capsys.readouterr().out.startswith("96 accounts, 24 of them bad, on 12 identifiers")
        np.savez(graph, edges=np.array(SHARED), label=np.array(mixed))
        with pytest.raises(SystemExit, match=r"The mean is below 0\.64\."):
            linking.main()
