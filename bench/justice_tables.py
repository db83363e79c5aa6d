"""What societies showed, as tables and charts: each value with its seeds and its interval."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

Name = tuple[str, str, str]
Summary = dict[Name, tuple[float, float]]
CHECKS = {
    "one kind": "through an address or one shared kind nobody honest is above LOW or advised on",
    "crowd": "an identifier that the asker declares above its cap links nobody honest",
    "one liar": "one platform's own decisions give no HIGH, no decline, no direct score above 666",
    "restored": "what was overturned leaves every answer as if it had never been filed",
    "one bucket": "one member's 500+ does nothing alone, and no more than agreeing with another",
}
SECTIONS = {
    "society": "The society",
    "elsewhere": "Offenders confirmed elsewhere: next false claim on another platform, seen, %",
    "here": "Offenders confirmed here: next false claim on the same platform, seen, %",
    "quarter": "Offenders confirmed elsewhere: all false claims by quarter, seen, %",
    "honest": "Honest people marked at some claim in the whole time, for 100,000 of them",
    "neighbours": "Honest people who live with an offender: marked at some claim, %",
    "touched": "Honest people shown points for others' records, however few, for 100,000",
    "liar": "Victims of one lying platform at the others: strongest advice, %",
    "bucket": "One other member declares 500+ on what the asker asks about: changed, %",
}
COUNTED = {"honest", "neighbours", "touched"}  # what a seed doesn't show is nothing there
CHARTS = ("quarter", "honest", "touched", "liar")
# Colours that colour-blind people tell apart (Okabe and Ito), and marks beside them.
COLOURS, MARKS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7"), "osD^"
HATCHES = ("", "//", "\\\\", "xx")
# 97.5 % quantiles of Student's t for 1 to 9 degrees of freedom, the last one also beyond.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


@dataclass
class Findings:
    """What one society showed: values by section, row and column; checks tried and broken."""

    seed: int = 0
    values: dict[Name, float] = field(default_factory=dict)
    tried: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)


def summarise(found: Sequence[Findings]) -> Summary:
    """Give each value's mean over the seeds, and half its 95 % confidence interval."""
    summary = {}
    for name in dict.fromkeys(name for one in found for name in one.values):
        values = [one.values for one in found if name in one.values or name[0] in COUNTED]
        seen = [one.get(name, 0.0) for one in values]
        n = len(seen)
        spread = stdev(seen) / n**0.5 if n > 1 else float("nan")
        summary[name] = (fmean(seen), STUDENT[min(n - 1, len(STUDENT)) - 1] * spread)
    return summary


def lay_out(summary: Summary, section: str) -> tuple[list[str], list[str]]:
    """Give the rows and the columns of a section, both in order."""
    named = [name for name in summary if name[0] == section]
    rows = list(dict.fromkeys(row for _, row, _ in named))
    is_sorted = section in COUNTED | {"quarter"}
    return sorted(rows) if is_sorted else rows, list(dict.fromkeys(name[2] for name in named))


def name_seeds(seeds: Iterable[int]) -> str:
    """Name seeds in ascending order, like "1–3, 5"."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], seed]
        else:
            runs.append([seed])
    return ", ".join("–".join(map(str, run)) for run in runs)


def find_seeds(found: Sequence[Findings], section: str, row: str) -> str:
    """Name the seeds behind a row: those that show it, or all where what isn't shown is none."""
    shown = [
        one.seed
        for one in found
        if section in COUNTED or any(name[:2] == (section, row) for name in one.values)
    ]
    return name_seeds(shown)


def print_table(summary: Summary, found: Sequence[Findings]) -> None:
    """Print every section with the seeds of each row, and the checks."""
    seeds = name_seeds(one.seed for one in found)
    print(f"Means over seeds {seeds}, ± half of the 95 % confidence interval (Student's t).")
    print("A row is of the seeds at its end: those in which it has any case.")
    for section, title in SECTIONS.items():
        rows, columns = lay_out(summary, section)
        print(f"\n{title}\n{' ' * 36}" + "".join(f"{one:>20}" for one in columns) + "  seeds")
        for row in rows:
            cells = [summary.get((section, row, one), (0.0, 0.0)) for one in columns]
            shown = (f"{m:>10.3f} {f'±{h:>8.3f}' if h >= 0 else '–':>9}" for m, h in cells)
            print(f"  {row:<34}" + "".join(shown) + f"  {find_seeds(found, section, row)}")
    print(f"\nWhat must hold without exception, in seeds {seeds}")
    for check, claim in CHECKS.items():
        broken, tried = sum(x.broken[check] for x in found), sum(x.tried[check] for x in found)
        word = "BROKEN" if broken else "holds" if tried else "not tried"
        print(f"  {word:<9}  {broken} of {tried}: {claim}")


def draw_charts(summary: Summary, folder: Path) -> None:
    """Draw some sections as SVG, byte for byte the same for the same values."""
    import matplotlib as mpl  # noqa: PLC0415 - only whoever wants charts needs it
    from matplotlib.figure import Figure  # noqa: PLC0415

    mpl.rcParams.update({"svg.hashsalt": "justice", "svg.fonttype": "none", "font.size": 11})
    mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
    folder.mkdir(parents=True, exist_ok=True)
    for section in (one for one in CHARTS if any(name[0] == one for name in summary)):
        rows, columns = lay_out(summary, section)
        figure = Figure(figsize=(9, 4.2 if section == "quarter" else 1.6 + 0.55 * len(rows)))
        axes = figure.subplots()
        for place, column in enumerate(columns):
            cells = [summary.get((section, row, column), (0.0, 0.0)) for row in rows]
            means, halves = [mean for mean, _ in cells], [half for _, half in cells]
            look: dict[str, Any] = {"color": COLOURS[place], "capsize": 3, "label": column}
            if section == "quarter":
                axes.errorbar(rows, means, halves, marker=MARKS[place], **look)
                continue
            height = 0.8 / len(columns)
            at = [number + height * (place - (len(columns) - 1) / 2) for number in range(len(rows))]
            look |= {"hatch": HATCHES[place], "edgecolor": "white", "ecolor": "black"}
            bars = axes.barh(at, means, height, xerr=halves, **look)
            axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=9)
        if section == "quarter":
            axes.set(xlabel="quarter", ylim=(0, 100))
        else:
            axes.set_yticks(range(len(rows)), rows)
            axes.invert_yaxis()
            axes.set_xlim(0)
        axes.set_title(SECTIONS[section], fontsize=11, loc="left")
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.02, 1))
        figure.savefig(
            folder / f"justice-{section}.svg", bbox_inches="tight", metadata={"Date": None}
        )
