"""The commands `graph rebuild` and `graph export`: what each prints, how it ends, what it needs."""

from __future__ import annotations

import errno
import json
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, func, select, text, update
from test_exporting import fill

from cli.errors import AskedWrongly
from cli.graph import graph
from cli.opening import open_own_ledger, prepare_sandbox
from ledger.exporting import ExportFormat
from ledger.store import tables

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from click.testing import Result


@pytest.fixture
def sandbox(tmp_path: Path, now: datetime) -> Path:
    """Give a sandbox with reports in it."""
    folder = tmp_path / "var"
    prepare_sandbox(folder)
    with open_own_ledger(folder, to_write=True) as ledger:
        fill(ledger, now)
    return folder


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(graph, arguments, obj=folder)


def test_rebuild_tells_both_hashes_and_ends_by_whether_they_agree(sandbox: Path) -> None:
    plain = run(sandbox, "rebuild")
    assert (plain.exit_code, plain.stderr) == (0, "")
    told = json.loads(run(sandbox, "rebuild", "--json").stdout)
    assert told["equal"]
    assert told["derived"] == told["live"]
    assert told["live"]["whole"] in plain.stdout
    assert told["differences"] == []
    engine = create_engine(f"sqlite:///{sandbox}/ledger.sqlite")
    with engine.begin() as connection:
        connection.execute(text("UPDATE posting SET mass = mass + 1 WHERE account = identifier"))
        posted = connection.execute(
            select(func.count()).where(tables.posting.c.identifier == tables.posting.c.account)
        ).scalar_one()
    engine.dispose()
    harmed = run(sandbox, "rebuild", "--json")
    assert (harmed.exit_code, harmed.stderr) == (1, "")
    again = json.loads(harmed.stdout)
    assert again["derived"] == told["derived"]
    assert again["live"] != told["live"]
    assert again["differing"] == posted == 7
    assert {tuple(one["fields"]) for one in again["differences"]} == {("mass",)}
    assert all(one["indexes"] for one in again["differences"])
    shown = run(sandbox, "rebuild")
    assert shown.exit_code == 1
    assert "a posting is changed (mass); entries:" in shown.stdout


def test_rebuild_tells_identifiers_that_are_gone_and_that_are_nobodys(sandbox: Path) -> None:
    engine = create_engine(f"sqlite:///{sandbox}/ledger.sqlite")
    with engine.begin() as connection:
        incident = select(tables.incident.c.account, tables.incident.c.reported_index)
        account, index = connection.execute(incident.order_by("reported_index").limit(1)).one()
        gone = select(tables.identifier.c.token).where(tables.identifier.c.id == account)
        token = connection.execute(gone).scalar_one()
        moved = update(tables.identifier).where(tables.identifier.c.token == token)
        connection.execute(moved.values(id=424_242))
    engine.dispose()
    shown = run(sandbox, "rebuild")
    told = json.loads(run(sandbox, "rebuild", "--json").stdout)
    missing, unexpected, *_ = shown.stdout.splitlines()
    assert (shown.exit_code, told["equal"], told["differing"]) == (1, False, 2)
    assert missing.startswith("an identifier is missing; entries: ")
    assert index in told["differences"][0]["indexes"]
    assert unexpected == "an identifier is unexpected; entries: none"
    assert "log audit" in run(sandbox, "rebuild", "--help").stdout


def test_export_writes_what_it_tells(sandbox: Path, tmp_path: Path) -> None:
    for form in ExportFormat:
        out = tmp_path / "exported" / form.value
        out.parent.mkdir(exist_ok=True)
        told = run(sandbox, "export", "--format", form.value, "--out", str(out), "--json")
        assert (told.exit_code, told.stderr) == (0, "")
        exported = json.loads(told.stdout)
        assert all((tmp_path / path).is_file() for path in exported["files"])
        assert min(exported["rows"].values()) > 0
    assert run(sandbox, "export", "--format", "dot", "--out", "x").exit_code == 2


@pytest.mark.parametrize("form", ExportFormat)
def test_export_that_finds_no_folder_or_a_place_that_is_taken_names_what_was_asked_for(
    sandbox: Path, tmp_path: Path, form: ExportFormat
) -> None:
    taken = tmp_path / "taken"
    (taken / "accounts.parquet" / "full").mkdir(parents=True)
    blocked = taken / "accounts.parquet" if form is ExportFormat.PARQUET else taken
    gone = tmp_path / "gone" / "x"
    for out, named, number in ((gone, gone, errno.ENOENT), (taken, blocked, errno.EISDIR)):
        told = run(sandbox, "export", "--format", form.value, "--out", str(out))
        assert isinstance(told.exception, OSError)
        assert (told.exception.errno, told.exception.filename) == (number, str(named))


@pytest.mark.parametrize("library", ["numpy", "scipy", "pyarrow"])
def test_command_without_the_extra_says_which_one_it_needs(
    sandbox: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    uses = ("rebuild",) if library != "pyarrow" else ("export", "--format", "graphml", "--out", "x")
    for name in list(sys.modules):
        if name.partition(".")[0] == library or name.startswith(
            ("ledger.re", "ledger.exp", "ledger.graph.rebuild", "ledger.store.arrays")
        ):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    result = run(sandbox, *uses)
    assert isinstance(result.exception, AskedWrongly)
    assert "`analysis`" in str(result.exception)
