"""How a claim's photo stands to the shop's, and a claim's files to one another: `evidence compare`.

Nothing of it is sent. It draws what the comparison gives and decides nothing, so that it ends with
0 however much departs.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.errors import AskedWrongly
from cli.membership import FILE
from ledger_client.evidence.comparison import (
    ITEMS_MAX,
    FindingKind,
    Turn,
    compare,
    compare_set,
    write_png,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ledger_client.evidence.comparison import Comparison, Drawing, Finding, SetComparison

_NEAR, _QUALITY_MIN = 31, 50
_PLAIN, _TOLD, _DOUBTFUL = "", "bold yellow", "bold red"
_COLUMNS = 96
_SHOWN_REGIONS = 5
_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60
_PAIR = 2


@click.command("compare")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=FILE,
    metavar="CLAIM LISTING | FILE...",
)
@click.option("--set", "is_set", is_flag=True, help="Compare the files of one claim, 2 to 12.")
@click.option(
    "--overlay",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the picture for the reviewer here, as PNG.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare_files(
    files: tuple[Path, ...], is_set: bool, overlay: Path | None, as_json: bool
) -> None:
    """Show where a claim's photo departs from the shop's photo.

    With --set, show what the pictures and videos of one claim contradict of one another.
    """
    if is_set and not _PAIR <= len(files) <= ITEMS_MAX:
        raise AskedWrongly(f"A set has 2 to {ITEMS_MAX} files.")
    if not is_set and len(files) != _PAIR:
        raise AskedWrongly("Name the claim's photo and the shop's, or give --set.")
    screen = Console()
    if is_set:
        collation = compare_set(files)
        told = render_set(collation)
        picture: Drawing | None = collation.sheet
        drawn = _draw_set(files, collation)
    else:
        comparison = compare(files[0], files[1])
        told, picture = render_comparison(comparison), comparison.overlay
        drawn = _draw_rows("claim over shop", _list_rows(comparison))
    if overlay and picture:
        overlay.write_bytes(write_png(picture))
        click.echo(f"Wrote {click.format_filename(overlay)}.", err=True)
    elif overlay:
        click.echo("Neither lies over the other: no picture was written.", err=True)
    if as_json:
        click.echo(json.dumps(told))
        return
    screen.print(drawn)
    if picture and screen.color_system:
        screen.print(draw_blocks(picture, min(_COLUMNS, screen.width)))


def render_comparison(comparison: Comparison) -> dict[str, object]:
    """Give what was measured as a JSON object, without the picture."""
    fields = asdict(comparison)
    del fields["overlay"]
    return fields


def render_set(collation: SetComparison) -> dict[str, object]:
    """Give what was measured as a JSON object, without the picture."""
    return {
        "frames": list(collation.frames),
        "findings": [asdict(one) for one in collation.findings],
    }


def draw_blocks(drawing: Drawing, columns: int) -> Text:
    """Draw a picture in coloured half blocks, two rows of points in a row of characters."""
    columns = min(columns, drawing.width)
    rows = max(2, drawing.height * columns // drawing.width) // 2 * 2
    text = Text(no_wrap=True)
    for row in range(0, rows, 2):
        for column in range(columns):
            upper, lower = (
                _find_colour(drawing, column / columns, at / rows) for at in (row, row + 1)
            )
            text.append("▀", style=f"{upper} on {lower}")
        text.append("\n")
    return text


def _find_colour(drawing: Drawing, across: float, down: float) -> str:
    x, y = int(across * drawing.width), int(down * drawing.height)
    at = 3 * (y * drawing.width + x)
    return f"#{drawing.pixels[at : at + 3].hex()}"


def _draw_rows(title: str, rows: Iterator[tuple[str, str, str]]) -> Panel:
    table = Table.grid(padding=(0, 2))
    for name, words, style in rows:
        table.add_row(Text(name, style="dim"), Text(words, style=style, overflow="fold"))
    return Panel(table, title=title, title_align="left", expand=False)


def _list_rows(shown: Comparison) -> Iterator[tuple[str, str, str]]:
    """Give names, texts and styles, from what matters most."""
    if shown.is_same_bytes:
        yield "bytes", "the very same file", _TOLD
    is_weak = min(shown.qualities) < _QUALITY_MIN
    near = "looks the same" if shown.distance <= _NEAR else "doesn't look the same as a whole"
    turned = "" if shown.turn is Turn.AS_IS else f", {shown.turn.value.replace('_', ' ')}"
    words = "too featureless to tell" if is_weak else f"{near}{turned}"
    yield "PDQ distance", f"{shown.distance} of 256: {words}", _DOUBTFUL if is_weak else _PLAIN
    place = shown.placement
    if place is None:
        yield "laid over", "no: not the same picture, or too little of it", _PLAIN
        return
    mirrored = "mirrored, " if place.is_mirrored else ""
    words = f"{mirrored}scaled by {place.scale:g}, turned by {place.degrees:g}°"
    by = f"{place.agreeing} landmarks" if place.agreeing else "its hash alone"
    yield "laid over", f"{words}, by {by}", _PLAIN
    yield "covers", f"{place.covered_per_mille / 10:g} % of the shop's photo", _PLAIN
    if not shown.regions:
        yield "departs", "nowhere that can be measured", _PLAIN
        return
    count = f"{len(shown.regions)} region{'s' if len(shown.regions) > 1 else ''}"
    yield "departs", f"in {count}, {shown.departed_per_mille / 10:g} % of the frame", _TOLD
    for one in shown.regions[:_SHOWN_REGIONS]:
        corner = f"{one.left / 10:g} % from the left, {one.top / 10:g} % from the top"
        yield "", f"{corner}, {one.width / 10:g} × {one.height / 10:g} %", _PLAIN


def _draw_set(files: tuple[Path, ...], collation: SetComparison) -> Panel:
    def list_rows() -> Iterator[tuple[str, str, str]]:
        for number, (file, frames) in enumerate(zip(files, collation.frames, strict=True), 1):
            yield str(number), f"{file.name}{f', {frames} frames' if frames > 1 else ''}", _PLAIN
        if not collation.findings:
            yield "", "nothing that contradicts", _PLAIN
        for one in collation.findings:
            both = f"{one.first}, {one.second}" if one.first != one.second else str(one.first)
            yield both, _tell(one), _TOLD

    return _draw_rows("one claim", list_rows())


_SENTENCES: Mapping[FindingKind, str] = {
    FindingKind.SAME_BYTES: "the very same file",
    FindingKind.SAME_PICTURE: "the same picture saved anew, {0:g} of 256 bits apart",
    FindingKind.TURNED_PICTURE: "the same picture mirrored or turned, {0:g} of 256 bits apart",
    FindingKind.SAME_SCENE: "the same picture, of which one is a part",
    FindingKind.SCENE_DEPARTS: "the same scene; regions that depart: {0:g}",
    FindingKind.CAMERAS_DIFFER: "taken with different cameras, by their records",
    FindingKind.SHAPES_DIFFER: "one camera, but of different shape, by {0:g} times",
    FindingKind.SIZE_CONTRADICTS: "not of the recorded size, which has {0:g} times its pixels",
    FindingKind.TIMES_APART: "taken {1} apart, by their records",
    FindingKind.SAVED_LATER: "saved anew {1} after it was taken, by its record",
    FindingKind.SAVED_BEFORE: "saved {1} before it was taken, by its record",
}


def _tell(finding: Finding) -> str:
    return _SENTENCES[finding.kind].format(finding.amount, _tell_seconds(finding.amount))


def _tell_seconds(seconds: float) -> str:
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:g} s"
