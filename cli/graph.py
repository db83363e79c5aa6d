"""The index as a whole: `graph rebuild`, `export`, `rings`. None writes to the ledger."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import clock
from cli.errors import AskedWrongly
from cli.opening import open_own_ledger
from cli.progress import show_progress

if TYPE_CHECKING:
    from ledger.exporting import Exported
    from ledger.graph.rebuild import StateHash
    from ledger.graph.ring import Ring
    from ledger.rebuilding import DifferingRow, Rebuilt

_ANALYSIS = {"networkx", "numpy", "scipy", "pyarrow"}


@click.group()
def graph() -> None:
    """Derive the graph's index again, export it, find rings in it."""


@graph.command("rebuild")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def rebuild(folder: Path, as_json: bool) -> None:
    """Derive all postings again and compare state hashes; exit 1 where they differ.

    Which identifiers there must be follows from what refers to them. Incidents, edges and the kinds
    of identifiers are taken as stored: only `bcl log audit` holds those against the statements.
    """
    rebuilding = _load("ledger.rebuilding")
    with open_own_ledger(folder, to_write=False) as ledger:
        rebuilt: Rebuilt = show_progress(
            "rebuilding", lambda told: rebuilding.rebuild_index(ledger, told)
        )
    if as_json:
        click.echo(json.dumps(_render(rebuilt), indent=2))
    else:
        _tell(rebuilt)
    sys.exit(0 if rebuilt.is_equal else 1)


@graph.command("export")
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(["parquet", "graphml", "node-link"]),
    help="Parquet for everything, the others for drawings of a few thousand nodes.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The folder of the Parquet files, or the one file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def export(folder: Path, form: str, out: Path, as_json: bool) -> None:
    """Export accounts, identifiers and edges by numbers, without any lookup key or pseudonym."""
    exporting = _load("ledger.exporting")
    with open_own_ledger(folder, to_write=False) as ledger:
        exported: Exported = show_progress(
            "exporting",
            lambda told: exporting.export_graph(ledger, out, exporting.ExportFormat(form), told),
        )
    files = [str(path) for path in exported.files]
    if as_json:
        click.echo(json.dumps({"files": files, "rows": dict(exported.rows)}, indent=2))
        return
    counts = ", ".join(f"{number} {name}" for name, number in exported.rows.items())
    click.echo(f"{', '.join(files)}: {counts}")


@graph.command("rings")
@click.option(
    "--persons-min",
    type=click.IntRange(min=3),
    default=3,
    show_default=True,
    help="Leave out rings of fewer persons; all accounts of one buyer are one person.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def rings(folder: Path, persons_min: int, as_json: bool) -> None:
    """Find groups of confirmed accounts that act as one, with what makes each a ring.

    Accounts are confirmed that bear incidents. A ring is three persons or more who each share two
    kinds of identifiers with others of it, or four or more who each share one with two others;
    addresses don't count, and a household is none. docs/operating.md explains, under "Rings",
    every word that is printed.

    For an analyst: nothing of it is kept, and nothing feeds a score.
    """
    analysing = _load("ledger.analysing")
    with open_own_ledger(folder, to_write=False) as ledger:
        found = analysing.find_ledger_rings(ledger, clock.now(), persons_min=persons_min)
    told = [_render_ring(one) for one in found]
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    for number, one in enumerate(found, 1):
        shared = ", ".join(f"{part.kind.value} on {part.accounts}" for part in one.shared[:6])
        click.echo(
            f"ring {number}: {one.persons} persons, {len(one.members)} accounts, {one.groups} "
            f"groups, evidence {one.evidence / 1e6:.1f}; {', '.join(one.reasons)}; {shared}"
        )
    if not found:
        click.echo(_say_sought(persons_min))


def _say_sought(persons_min: int) -> str:
    """Say what would have been a ring."""
    alone = _load("ledger.graph.ring").ONE_KIND_MIN
    sought = f"{max(persons_min, alone)} persons or more who each share one with two others"
    if persons_min < alone:
        sought = f"{persons_min} persons or more who each share two with others, or {sought}"
    return (
        "no ring among those who bear incidents: looked, by kinds of identifiers without the "
        f"address, for groups of {sought}; a household is no ring"
    )


def _render_ring(one: Ring) -> dict[str, object]:
    return {
        "persons": one.persons,
        "accounts": [member.account for member in one.members],
        "platforms": one.platforms,
        "groups": one.groups,
        "evidence_micro": one.evidence,
        "density_per_mille": one.density_per_mille,
        "core": list(one.core),
        "core_ties": one.core_ties,
        "shared": [
            {"identifier": part.identifier, "kind": part.kind.value, "accounts": part.accounts}
            for part in one.shared
        ],
        "reasons": [reason.value for reason in one.reasons],
    }


def _load(module: str) -> Any:  # noqa: ANN401 - a module
    """Import a use case that stands on the libraries of an extra. *Raises*: AskedWrongly."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _ANALYSIS:
            raise
        raise AskedWrongly(
            "`bcl graph` needs the extra `analysis`, which `make .venv/dev` sets up."
        ) from error


def _render(rebuilt: Rebuilt) -> dict[str, object]:
    return {
        "incidents": rebuilt.incidents,
        "edges": rebuilt.edges,
        "identifiers": rebuilt.identifiers,
        "postings": rebuilt.postings,
        "multiplicities": rebuilt.multiplicities,
        "equal": rebuilt.is_equal,
        "derived": _render_hash(rebuilt.derived),
        "live": _render_hash(rebuilt.live),
        "differing": rebuilt.differing,
        "differences": [
            {"table": one.table, "how": one.how, "fields": one.fields, "indexes": one.indexes}
            for one in rebuilt.differences
        ],
    }


def _render_hash(state: StateHash) -> dict[str, str]:
    parts = ("whole", "keys", "kinds", "postings", "multiplicities")
    return {name: getattr(state, name).hex() for name in parts}


def _tell(rebuilt: Rebuilt) -> None:
    for one in rebuilt.differences:
        click.echo(_describe(one))
    if rebuilt.differing > len(rebuilt.differences):
        click.echo(f"and {rebuilt.differing - len(rebuilt.differences)} more rows that differ")
    derived = rebuilt.derived.whole.hex()
    counts = f"{rebuilt.postings} postings and {rebuilt.multiplicities} multiplicities"
    if rebuilt.is_equal:
        click.echo(f"{counts}, as derived again; state hash {derived}")
    else:
        click.echo(f"{counts} derived: state hash {derived}, live {rebuilt.live.whole.hex()}")


def _describe(one: DifferingRow) -> str:
    where = ", ".join(map(str, one.indexes)) or "none"
    fields = f" ({', '.join(one.fields)})" if one.fields else ""
    article = "an" if one.table == "identifier" else "a"
    return f"{article} {one.table} is {one.how}{fields}; entries: {where}"
