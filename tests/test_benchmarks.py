"""`make bench` gives each benchmark the arguments that it needs. Nothing is measured here."""

from __future__ import annotations

import argparse
import re
import runpy
import sys

import pytest
from conftest import ROOT

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
    monkeypatch.setattr(sys, "argv", [])
    run("bench/linking.py")
    assert capsys.readouterr().out == "No graph was given: linking alone isn't measured.\n"
