"""Export the graph of accounts and identifiers, for analysis elsewhere.

An account or an identifier is a number that holds for this export alone, given in the order in
which rows came. Lookup keys, pseudonyms and statements stay inside. Parquet holds everything,
however large; GraphML and node-link JSON are for drawings of a few thousand nodes. Each file
appears whole or not at all, and only its owner may read it. Nothing of the ledger changes.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ledger.errors import InvalidInput, LedgerCorrupt
from ledger.graph.posting import HalfLife
from ledger.graph.rebuild import rank_numbers, sum_incidents
from ledger.identity.identifier import Binding, Bucket, Kind
from ledger.store import arrays
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ledger.graph.rebuild import Array, Columns
    from ledger.ledger import Ledger
    from ledger.store.engine import Connection

NODES_MAX = 5000
_ACCOUNT_CODE = 0
_NUMBERED = ("id", "identifier", "account")
_DAYS = ("first_day", "last_day")
# What the codes of a column mean.
_WORDS: dict[str, dict[int, str]] = {
    "kind": {_ACCOUNT_CODE: "account", **{one.code: one.value for one in Kind}},
    "half_life": {one.value: one.name.lower() for one in HalfLife},
    "binding": {one.code: one.value for one in Binding},
    "declared": {one.code: one.value for one in Bucket},
}
_GRAPHML = "http://graphml.graphdrawing.org/xmlns"
Attributes: TypeAlias = "dict[str, str | int]"


class ExportFormat(StrEnum):
    """In which form the graph is written."""

    PARQUET = "parquet"
    GRAPHML = "graphml"
    NODE_LINK = "node-link"


@dataclass(frozen=True, slots=True)
class Exported:
    """The files that were written, and how many rows or elements of each sort they hold."""

    files: tuple[Path, ...]
    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Graph:
    """Nodes by number, and the latest edge between each account and each of its identifiers."""

    nodes: dict[int, Attributes]
    edges: dict[tuple[int, int], Attributes]


def export_graph(
    ledger: Ledger, target: Path, form: ExportFormat, on_progress: Callable[[int, int], None]
) -> Exported:
    """Export the graph of one snapshot into a folder (Parquet) or a file.

    *Shape*: `on_progress` is told how many of how many rows were read. *Raises*: InvalidInput
    where the graph is too large for the form, LedgerCorrupt where its rows can't be read.
    """
    with begin_read(ledger.database, snapshot=True) as connection:
        nodes = arrays.count_table(connection, "identifier")
        if form is not ExportFormat.PARQUET and nodes > NODES_MAX:
            raise InvalidInput(
                f"The graph has more than {NODES_MAX} nodes, too many for {form.value}: "
                "export it as parquet."
            )
        tables = ["identifier", "incident", "edge"]
        if form is ExportFormat.PARQUET:
            tables.append("posting")
        read = _read_numbered(connection, tables, on_progress)
    if form is ExportFormat.PARQUET:
        return _write_tables(target, read)
    graph = _draw(read)
    render = _render_graphml if form is ExportFormat.GRAPHML else _render_node_link
    _write_files({target: lambda file: file.write(render(graph))})
    return Exported((target,), {"nodes": len(graph.nodes), "edges": len(graph.edges)})


def _read_numbered(
    connection: Connection, tables: list[str], on_progress: Callable[[int, int], None]
) -> dict[str, Columns]:
    """Read tables, with numbers of this export in the place of row ids."""
    of = sum(arrays.count_table(connection, table) for table in tables)
    done = 0

    def count(rows: int) -> None:
        nonlocal done
        done += rows
        on_progress(done, of)

    read = {table: arrays.read_table(connection, table, count) for table in tables}
    on_progress(of, of)
    numbers = rank_numbers(np.sort(read["identifier"]["id"]))
    for table, columns in read.items():
        for name in _NUMBERED:
            if name in columns:
                columns[name] = numbers.look_up(columns[name])
                if (columns[name] < 0).any():
                    raise LedgerCorrupt(f"A row of table {table} refers to nothing.")
        for name, words in _WORDS.items():
            if name in columns and not np.isin(columns[name], list(words)).all():
                raise LedgerCorrupt(f"A row of table {table} has a {name} that means nothing.")
    return read


def _sum_accounts(incidents: Columns) -> Columns:
    """Sum what each account bears, over all half-lives."""
    borne = sum_incidents(incidents)
    accounts, starts = np.unique(borne["account"], return_index=True)
    columns = {"account": accounts.astype(np.int32), "platform": borne["platform"][starts]}
    merges = {
        "count": np.add,
        "level_a": np.add,
        "first_day": np.minimum,
        "last_day": np.maximum,
    }
    for name, merge in merges.items():
        column = borne[name].astype(np.int32)
        columns[name] = merge.reduceat(column, starts) if len(starts) else column
    return {name: column.astype(np.int32) for name, column in columns.items()}


# --- Parquet: whole tables ------------------------------------------------------------------


def _write_tables(folder: Path, read: dict[str, Columns]) -> Exported:
    """Write one file for each table into a folder, which may be there."""
    known = read["identifier"]
    chosen = known["kind"] != _ACCOUNT_CODE
    tables = {
        "accounts": _sum_accounts(read["incident"]),
        "identifiers": {"identifier": known["id"][chosen], "kind": known["kind"][chosen]},
        "edges": read["edge"],
        "postings": read["posting"],
    }
    folder.mkdir(mode=0o700, exist_ok=True)
    files = {folder / f"{name}.parquet": _table(columns) for name, columns in tables.items()}
    _write_files({path: partial(pq.write_table, table) for path, table in files.items()})
    return Exported(tuple(files), {name: len(next(iter(c.values()))) for name, c in tables.items()})


def _table(columns: Columns) -> pa.Table:
    """Make an Arrow table of columns; days become dates, and codes their words."""
    return pa.table({name: _column(name, column) for name, column in columns.items()})


def _column(name: str, column: Array) -> pa.Array:
    if name in _DAYS:
        return pa.array(column.astype("M8[D]"))
    if name not in _WORDS:
        return pa.array(column)
    codes, words = list(_WORDS[name]), list(_WORDS[name].values())
    places = np.searchsorted(codes, column).astype(np.int8)
    return pa.DictionaryArray.from_arrays(pa.array(places), words)


# --- GraphML and node-link JSON: drawings ---------------------------------------------------


def _draw(read: dict[str, Columns]) -> _Graph:
    """Draw accounts and identifiers with the names of their codes."""
    bears = {
        row[0]: {"platform": row[1], "incidents": row[2]}
        for row in zip(*(c.tolist() for c in _sum_accounts(read["incident"]).values()), strict=True)
    }
    nodes: dict[int, Attributes] = {}
    known = read["identifier"]
    for number, code in zip(known["id"].tolist(), known["kind"].tolist(), strict=True):
        nodes[number] = {"kind": _WORDS["kind"][code], **bears.get(number, {})}
    edges: dict[tuple[int, int], Attributes] = {}
    events = read["edge"]
    order = np.argsort(events["event_index"], kind="stable")
    columns = ("account", "identifier", "binding", "declared")
    for row in zip(*(events[name][order].tolist() for name in columns), strict=True):
        ends = row[0], row[1]
        before = edges.get(ends, {"events": 0})
        edges[ends] = {
            "binding": _WORDS["binding"][row[2]],
            "accounts_here": _WORDS["declared"][row[3]],
            "events": int(before["events"]) + 1,
        }
    return _Graph(nodes, edges)


def _render_node_link(graph: _Graph) -> bytes:
    """Render node-link JSON as NetworkX and D3 read it."""
    rendered = {
        "directed": False,
        "multigraph": False,
        "graph": {},
        "nodes": [{"id": number, **told} for number, told in graph.nodes.items()],
        "edges": [
            {"source": account, "target": identifier, **told}
            for (account, identifier), told in graph.edges.items()
        ],
    }
    return json.dumps(rendered, indent=1).encode()


def _render_graphml(graph: _Graph) -> bytes:
    """Render GraphML, with the types of all attributes declared."""
    root = ET.Element("graphml", {"xmlns": _GRAPHML})
    declared: dict[tuple[str, str], str] = {}
    drawn = ET.Element("graph", {"edgedefault": "undirected"})

    def describe(element: ET.Element, on: str, told: Attributes) -> None:
        for name, value in told.items():
            if (on, name) not in declared:
                key = declared[on, name] = f"d{len(declared)}"
                sort = "string" if isinstance(value, str) else "int"
                traits = {"id": key, "for": on, "attr.name": name, "attr.type": sort}
                ET.SubElement(root, "key", traits)
            ET.SubElement(element, "data", {"key": declared[on, name]}).text = str(value)

    for number, told in graph.nodes.items():
        describe(ET.SubElement(drawn, "node", {"id": f"n{number}"}), "node", told)
    for (account, identifier), told in graph.edges.items():
        ends = {"source": f"n{account}", "target": f"n{identifier}"}
        describe(ET.SubElement(drawn, "edge", ends), "edge", told)
    root.append(drawn)
    ET.indent(root)
    rendered: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return rendered


# --- Files ----------------------------------------------------------------------------------


def _write_files(writers: Mapping[Path, Callable[[BinaryIO], object]]) -> None:
    """Write all files beside their places, then put each into its place.

    If we die before the first has its place, all is as it was; between two, some files are of
    this export and others of the one before.
    """
    written: dict[Path, Path] = {}
    try:
        for path, write in writers.items():
            with _blaming(path):
                descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
                written[path] = Path(name)
                with os.fdopen(descriptor, "wb") as file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())
        for path, half in written.items():
            with _blaming(path):
                half.replace(path)
        for folder in {path.parent for path in writers}:
            _sync_folder(folder)
    finally:
        for half in written.values():
            with suppress(FileNotFoundError):
                half.unlink()


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Let what the system refuses name this file in the place of its half-written one."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
