"""What the operator takes out of the log for others: `log prove`, `log export`."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.opening import open_own_ledger
from cli.progress import show_progress
from ledger.errors import InvalidInput
from ledger.mirroring import export_log
from ledger.proving import prove_entries, prove_growth

if TYPE_CHECKING:
    from ledger.proving import ConsistencyProof, InclusionProof

_ASKED = re.compile("(0|[1-9][0-9]{0,17})(?:-([1-9][0-9]{0,17}))?", re.ASCII)


@click.command("prove")
@click.argument("asked", metavar="INDEX|OLD-NEW...", nargs=-1, required=True)
@click.option(
    "--size", type=click.IntRange(1, 2**63 - 1), help="The size that entries are proved in."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def prove(folder: Path, asked: tuple[str, ...], size: int | None, as_json: bool) -> None:
    """Prove that an entry is in the log, or that one size of it is a prefix of another.

    In the newest published size unless --size names an earlier one. Hashes are in base64, those
    of a proof with the leaf's sibling first.
    """
    parsed = [_ASKED.fullmatch(one) for one in asked]
    indexes = [int(one[1]) for one in parsed if one and one[2] is None]
    sizes = [(int(one[1]), int(one[2])) for one in parsed if one and one[2] is not None]
    if len(indexes) + len(sizes) != len(asked):
        raise InvalidInput("Ask for an index, or for two sizes as OLD-NEW.")
    with open_own_ledger(folder, to_write=False) as ledger:
        included = iter(prove_entries(ledger, indexes, size) if indexes else ())
        grown = iter(prove_growth(ledger, sizes) if sizes else ())
    proofs: list[InclusionProof | ConsistencyProof] = [
        next(grown) if one and one[2] is not None else next(included) for one in parsed
    ]
    rendered = [_render(one) for one in proofs]
    if as_json:
        click.echo(json.dumps(rendered, indent=2))
        return
    for one in rendered:
        for name, value in one.items():
            lines = value if isinstance(value, list) else [value]
            click.echo("\n".join(f"{name} {line}" for line in lines), nl=bool(lines))
        click.echo()


def _render(proof: InclusionProof | ConsistencyProof) -> dict[str, object]:
    rendered: dict[str, object] = {}
    for one in fields(proof):
        value = getattr(proof, one.name)
        if isinstance(value, tuple):
            value = [b64encode(each).decode() for each in value]
        rendered[one.name] = b64encode(value).decode() if isinstance(value, bytes) else value
    return rendered


@click.command("export")
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.pass_obj
def export(folder: Path, target: Path) -> None:
    """Write the published log as static files, as they are served under /log/.

    Repeating it writes what came since. It may be killed at any point and started again.
    """
    with open_own_ledger(folder, to_write=False) as ledger:
        done = show_progress("exporting", lambda told: export_log(ledger, target, told))
    click.echo(json.dumps({"size": done.size, "files": done.files}))
