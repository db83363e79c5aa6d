"""Exported files hold the ledger's very graph, read by other libraries, and no key of anybody."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import networkx as nx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from exact import settle
from reports import claim
from simulator import Simulator, phone_and_device
from sqlalchemy import select, text

from ledger.errors import InvalidInput, LedgerCorrupt
from ledger.exporting import NODES_MAX, ExportFormat, export_graph
from ledger.graph.posting import HalfLife
from ledger.identity.identifier import Binding, Bucket, Kind
from ledger.incident.taxonomy import Conduct
from ledger.store import tables
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from ledger.exporting import Exported
    from ledger.ledger import Ledger

EPOCH = date(1970, 1, 1)
NAMES: dict[str, Callable[[int], str]] = {
    "half_life": lambda code: HalfLife(code).name.lower(),
    "binding": lambda code: Binding.from_code(code).value,
    "declared": lambda code: Bucket.from_code(code).value,
}
WHOLE = {"accounts", "identifiers", "edges", "postings"}
NUMBERS = {"int32", "int64", "date32[day]"}
WORDS = {*Kind, *Binding, *Bucket, *(one.name.lower() for one in HalfLife)}
ADDRESS = claim(Kind.ADDR, "of many", here=Bucket.FEW)


def export(ledger: Ledger, target: Path, form: ExportFormat) -> Exported:
    told: list[tuple[int, int]] = []
    exported = export_graph(ledger, target, form, lambda done, of: told.append((done, of)))
    assert told[-1][0] == told[-1][1]
    return exported


def fill(ledger: Ledger, now: datetime) -> list[Simulator]:
    """Report what some accounts of two platforms did, and take one back."""
    shops = [Simulator(ledger, "shop-a"), Simulator(ledger, "shop-b")]
    for shop in shops:
        shop.enrol(now)
    for number in range(6):
        tokens = (*phone_and_device(f"person {number // 2}"), ADDRESS)
        shops[number % 2].report(f"buyer {number}", tokens, now)
    shops[0].report("buyer 0", phone_and_device("second"), now, conduct=Conduct.WARDROBING)
    again = (*phone_and_device("person 0"), claim(Kind.ADDR, "of many", here=Bucket.MANY))
    shops[0].report("buyer 0", again, now)
    gone = shops[1].report("gone", (*phone_and_device("gone"), ADDRESS), now)
    settle(ledger, now)
    shops[1].retract(gone, now)
    settle(ledger, now)
    return shops


@pytest.fixture
def shops(ledger: Ledger, now: datetime) -> list[Simulator]:
    """Give two platforms that reported something."""
    return fill(ledger, now)


def read_stored(ledger: Ledger) -> dict[str, Any]:
    """Read nodes, links and postings, with lookup keys for names."""
    with begin_read(ledger.database) as connection:
        stored = {
            table.name: [dict(row._mapping) for row in connection.execute(select(table))]
            for table in (tables.identifier, tables.edge, tables.posting, tables.incident)
        }
    reports = {row["reported_index"]: row for row in stored["incident"]}
    for row in stored["edge"]:
        row |= {name: reports[row["event_index"]][name] for name in ("account", "platform")}
    return stored


def number_rows(stored: dict[str, Any]) -> dict[int, int]:
    """Give the numbers of an export: the places of rows in the order of their ids."""
    return {i: place for place, i in enumerate(sorted(row["id"] for row in stored["identifier"]))}


# --- The same graph --------------------------------------------------------------------------


def test_parquet_holds_every_row_by_numbers(
    ledger: Ledger, shops: list[Simulator], tmp_path: Path
) -> None:
    exported = export(ledger, tmp_path / "out", ExportFormat.PARQUET)
    assert shops
    stored = read_stored(ledger)
    number = number_rows(stored)
    read = {path.stem: pq.read_table(path).to_pylist() for path in exported.files}
    assert set(read) == WHOLE
    assert {name: len(rows) for name, rows in read.items()} == exported.rows
    kinds = {number[row["id"]]: row["kind"] for row in stored["identifier"]}
    assert {row["identifier"]: row["kind"] for row in read["identifiers"]} == {
        i: Kind.from_code(kind).value for i, kind in kinds.items() if kind
    }
    accounts = {i for i, kind in kinds.items() if not kind}
    assert {row["account"] for row in read["accounts"]} == accounts
    assert len(accounts) == 6
    for table, name in (("edge", "edges"), ("posting", "postings")):
        expected = [dict(row) for row in stored[table]]
        for row in expected:
            row |= {key: number[row[key]] for key in ("identifier", "account")}
            row |= {
                key: EPOCH + timedelta(days=row[key])
                for key in ("first_day", "last_day")
                if key in row
            }
            row |= {key: name(row[key]) for key, name in NAMES.items() if key in row}
        assert sorted(map(repr, (sorted(row.items()) for row in expected))) == sorted(
            map(repr, (sorted(row.items()) for row in read[name]))
        )
    borne = {row["account"]: row for row in read["accounts"]}
    for row in stored["incident"]:
        if row["account"] is not None:
            told = borne[number[row["account"]]]
            assert told["platform"] == row["platform"]
            assert told["first_day"] <= EPOCH + timedelta(days=row["first_day"])
            told["count"] -= row["count"]
    assert {row["count"] for row in borne.values()} == {0}


@pytest.mark.parametrize("form", [ExportFormat.GRAPHML, ExportFormat.NODE_LINK])
def test_drawing_is_read_by_networkx_with_the_same_nodes_and_edges(
    ledger: Ledger, shops: list[Simulator], tmp_path: Path, form: ExportFormat
) -> None:
    path = tmp_path / "graph.out"
    exported = export(ledger, path, form)
    assert exported.files == (path,)
    assert shops
    if form is ExportFormat.GRAPHML:
        read = nx.relabel_nodes(nx.read_graphml(path), lambda name: int(name[1:]))
    else:
        read = nx.node_link_graph(json.loads(path.read_text("utf-8")))
    assert not read.is_directed()
    stored = read_stored(ledger)
    number = number_rows(stored)
    kinds = {number[row["id"]]: row["kind"] for row in stored["identifier"]}
    named = {i: Kind.from_code(kind).value if kind else "account" for i, kind in kinds.items()}
    assert dict(read.nodes(data="kind")) == named
    links: dict[frozenset[int], list[Any]] = {}
    for row in sorted(stored["edge"], key=lambda row: row["event_index"]):
        links.setdefault(frozenset((number[row["account"]], number[row["identifier"]])), []).append(
            row
        )
    assert {frozenset(ends) for ends in read.edges} == set(links)
    assert exported.rows == {"nodes": len(named), "edges": len(links)}
    for one, other, told in read.edges(data=True):
        rows = links[frozenset((one, other))]
        assert told["events"] == len(rows)
        assert told["accounts_here"] == Bucket.from_code(rows[-1]["declared"]).value
    incidents = sorted(n for _, n in read.nodes(data="incidents") if n)
    assert incidents == [1, 1, 1, 1, 1, 3]
    assert nx.is_bipartite(read)


@pytest.mark.parametrize("form", ExportFormat)
def test_no_file_holds_a_lookup_key_a_pseudonym_or_a_statement(
    ledger: Ledger, shops: list[Simulator], tmp_path: Path, form: ExportFormat
) -> None:
    exported = export(ledger, tmp_path / "out", form)
    held = b"".join(path.read_bytes() for path in exported.files)
    with begin_read(ledger.database) as connection:
        keys = [
            bytes(key) for key in connection.execute(select(tables.identifier.c.token)).scalars()
        ]
        incidents = list(connection.execute(select(tables.incident.c.id)).scalars())
    assert len(keys) > 10
    tokens = [one.identifier for number in range(3) for one in phone_and_device(f"person {number}")]
    texts = [*incidents, "buyer", "acct", *(shop.uri for shop in shops), "shop-"]
    hidden = [*keys, *(one.value for one in tokens), *map(str.encode, texts)]
    hidden += [key.hex().encode() for key in keys]
    assert not [one for one in hidden if one in held]
    for path in exported.files:
        assert path.stat().st_mode & 0o077 == 0
        if form is ExportFormat.PARQUET:  # packed as it is: only its known words are text
            table = pq.read_table(path)
            worded = [column for column in table.columns if pa.types.is_dictionary(column.type)]
            assert {str(one.type) for one in table.columns if one not in worded} <= NUMBERS
            assert {word for column in worded for word in column.to_pylist()} <= WORDS


def test_manual_explains_every_column_of_every_parquet_file_and_no_other(
    ledger: Ledger, shops: list[Simulator], tmp_path: Path
) -> None:
    exported = export(ledger, tmp_path / "out", ExportFormat.PARQUET)
    assert shops
    manual = (ROOT / "docs" / "operating.md").read_text("utf-8")
    section = manual.partition("## An exported graph\n")[2].split("\n## ")[0]
    explained = re.findall(r"(?m)^\| (`.+?`) \| (.+?) \| .+ \|$", section)
    columns = [
        (file, name)
        for names, files in explained
        for name in re.findall(r"`(\w+)`", names)
        for file in files.split(", ")
    ]
    held = [(path.stem, name) for path in exported.files for name in pq.read_schema(path).names]
    assert sorted(columns) == sorted(held)


@pytest.mark.parametrize("form", ExportFormat)
@pytest.mark.parametrize(("table", "name"), [("identifier", "kind"), ("edge", "binding")])
def test_code_without_a_meaning_is_refused(
    ledger: Ledger,
    shops: list[Simulator],
    tmp_path: Path,
    form: ExportFormat,
    table: str,
    name: str,
) -> None:
    assert shops
    with begin_write(ledger.database) as connection:
        connection.execute(text(f"UPDATE {table} SET {name} = 77"))
    with pytest.raises(LedgerCorrupt, match=name):
        export(ledger, tmp_path / "out", form)
    assert not list(tmp_path.glob("*out*"))


def test_empty_ledger_is_exported_in_every_form(ledger: Ledger, tmp_path: Path) -> None:
    for form in ExportFormat:
        exported = export(ledger, tmp_path / form.value, form)
        assert set(exported.rows.values()) == {0}
    assert nx.read_graphml(tmp_path / "graphml").number_of_nodes() == 0
    assert pq.read_table(tmp_path / "parquet" / "accounts.parquet").num_rows == 0


def test_large_graph_is_refused_as_a_drawing_and_written_as_parquet(
    ledger: Ledger, tmp_path: Path
) -> None:
    numbers = range(1, NODES_MAX + 2)
    many = [{"token": number.to_bytes(16), "id": number, "kind": 3} for number in numbers]
    with begin_write(ledger.database) as connection:
        connection.execute(tables.identifier.insert(), many)
    for form in (ExportFormat.GRAPHML, ExportFormat.NODE_LINK):
        with pytest.raises(InvalidInput):
            export(ledger, tmp_path / "out", form)
    assert not list(tmp_path.glob("out*"))
    exported = export(ledger, tmp_path / "out", ExportFormat.PARQUET)
    assert exported.rows["identifiers"] == NODES_MAX + 1


@pytest.mark.parametrize("form", ExportFormat)
def test_row_that_refers_to_nothing_is_refused_and_leaves_the_file_before(
    ledger: Ledger, shops: list[Simulator], tmp_path: Path, form: ExportFormat
) -> None:
    target = tmp_path / "out"
    files = export(ledger, target, form).files
    before = {path: path.read_bytes() for path in files}
    assert shops
    with begin_write(ledger.database) as connection:
        connection.execute(tables.identifier.delete().where(tables.identifier.c.kind > 2))
    with pytest.raises(LedgerCorrupt):
        export(ledger, target, form)
    assert {path: path.read_bytes() for path in files} == before
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("form", ExportFormat)
def test_export_that_cannot_be_put_in_its_place_leaves_nothing(
    ledger: Ledger, shops: list[Simulator], tmp_path: Path, form: ExportFormat
) -> None:
    assert shops
    folder = tmp_path / "here"
    taken = folder / "edges.parquet" if form is ExportFormat.PARQUET else folder
    (taken / "taken").mkdir(parents=True)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(OSError, match="directory"):
        export(ledger, folder, form)
    assert set(tmp_path.rglob("*")) - before <= {folder / f"{name}.parquet" for name in WHOLE}


def test_second_export_replaces_the_first(
    ledger: Ledger, shops: list[Simulator], tmp_path: Path, now: datetime
) -> None:
    for form in ExportFormat:
        target = tmp_path / form.value
        before = export(ledger, target, form)
        shops[0].report(f"later {form}", phone_and_device(form.value), now)
        settle(ledger, now)
        after = export(ledger, target, form)
        assert sum(after.rows.values()) > sum(before.rows.values())
        assert after.files == before.files
