"""What files declare of themselves, told on a terminal or as JSON: `evidence inspect`.

Nothing of it is sent; what is, stands in `cli/exchanging.py`. It draws what the inspection gives
and decides nothing.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.comparing import compare_files
from cli.exchanging import match, recalls, report
from cli.membership import FILE
from ledger_client.errors import Uninspectable
from ledger_client.evidence.attributes import C2paState, SoftwareClass, render_evidence
from ledger_client.evidence.inspection import inspect, require_extra

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ledger_client.evidence.attributes import Evidence, Inspection, PerceptualHash

_SIDE = 16  # a perceptual hash is a square of bits
_BLOCKS = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}
_QUALITY_MIN = 50
_DECLARED, _PLAIN, _DOUBTFUL = "bold yellow", "", "bold red"
_SHOWN_FRAMES = 4


@click.group()
def evidence() -> None:
    """Tell what pictures and videos declare, and whether they were reported as forged.

    Only `match`, `report` and `recalls` speak to the ledger, and send hashes alone.
    """


for one in (compare_files, match, report, recalls):
    evidence.add_command(one)


@evidence.command("inspect")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=FILE,
    metavar="FILE...",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
@click.option(
    "--provider", is_flag=True, help="Also what labels say of the AI provider: not for reports."
)
def inspect_files(files: tuple[Path, ...], as_json: bool, provider: bool) -> None:
    """Inspect JPEG, PNG, WebP, MP4 and MOV files; exit 1 where one can't be inspected."""
    require_extra()
    screen, is_bad = Console(), False
    for file in files:
        try:
            found = inspect(file)
        except Uninspectable as error:
            click.echo(f"bcl: {click.format_filename(file)}: {error}", err=True)
            is_bad = True
            continue
        if as_json:
            click.echo(json.dumps(_render(file, found, provider=provider)))
        else:
            screen.print(_draw(file, found, provider=provider))
    sys.exit(1 if is_bad else 0)


def _render(file: Path, found: Inspection, *, provider: bool) -> dict[str, object]:
    told: dict[str, object] = {"file": str(file), "evidence": render_evidence(found.evidence)}
    if provider:
        told["provider"] = [
            {"content_producer": one.content_producer, "produce_id": one.produce_id}
            for one in found.kept
        ]
    return told


def _draw(file: Path, found: Inspection, *, provider: bool) -> Panel:
    """Draw a file: the squares of its hashes beside what it declares."""
    shown = found.evidence
    rows = Table.grid(padding=(0, 2))
    for name, text, style in _list_rows(shown):
        rows.add_row(Text(name, style="dim"), Text(text, style=style, overflow="fold"))
    if provider:
        for one in found.kept:
            rows.add_row(Text("provider", style="dim"), Text(one.content_producer))
            rows.add_row(Text("produce id", style="dim"), Text(one.produce_id))
    squares = Table.grid(padding=(0, 1))
    squares.add_row(*(_draw_square(one) for one in shown.perceptual[:_SHOWN_FRAMES]))
    both: Group | Table = Group(squares, rows)  # a film's frames in a row above
    if len(shown.perceptual) == 1:
        both = Table.grid(padding=(0, 3))
        both.add_row(squares, rows)
    title = Text(str(file), style=_DECLARED if shown.ai_declared else "bold")
    return Panel(both, title=title, title_align="left", expand=False)


def _list_rows(shown: Evidence) -> Iterator[tuple[str, str, str]]:
    """Give names, texts and styles, from what matters most to the bytes."""
    if shown.ai_declared:
        yield "declares", "made or altered by AI, by its own words", _DECLARED
    else:
        yield "declares", "nothing of AI; that proves nothing", _PLAIN
    for label in shown.aigc:
        words = f"{label.declaration} ({label.raw!r}), {label.producer_class} named"
        grammar = "" if label.is_well_formed else ", not as the standard spells it"
        yield "AIGC label", f"{words}, in {label.place}{grammar}", _DECLARED
    if shown.digital_source_type:
        yield "IPTC source", shown.digital_source_type, _PLAIN
    if shown.c2pa is not C2paState.ABSENT:
        is_sound = shown.c2pa is C2paState.INTACT
        source = f", {shown.c2pa_source_type}" if shown.c2pa_source_type else ""
        yield "C2PA", f"{shown.c2pa}{source}", _PLAIN if is_sound else _DOUBTFUL
    if shown.software is not SoftwareClass.NONE:
        yield "written by", shown.software.value.replace("_", " "), _PLAIN
    if shown.unreadable:
        yield "unreadable", ", ".join(shown.unreadable), _DOUBTFUL
    yield "type", shown.mime, _PLAIN
    qualities = ", ".join(str(one.quality) for one in shown.perceptual)
    weak = " (below 50 tells nothing)"
    is_weak = any(one.quality < _QUALITY_MIN for one in shown.perceptual)
    yield "PDQ quality", f"{qualities}{weak if is_weak else ''}", _PLAIN
    yield "SHA-256", shown.sha256.hex(), _PLAIN


def _draw_square(hashed: PerceptualHash) -> Panel:
    """Draw the 256 bits of a hash as they lie, two rows of them in a row of characters."""
    bits = "".join(f"{byte:08b}" for byte in hashed.forms[0])
    rows = [bits[at : at + _SIDE] for at in range(0, len(bits), _SIDE)]
    lines = [
        "".join(_BLOCKS[int(upper), int(lower)] for upper, lower in zip(*pair, strict=True))
        for pair in zip(rows[::2], rows[1::2], strict=True)
    ]
    return Panel(Text("\n".join(lines)), expand=False, padding=0, style="dim")
