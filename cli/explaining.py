"""`risk explain`: one recorded answer, computed again, with its exact integers."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from cli.opening import open_own_ledger
from ledger.errors import UnknownAssessment
from ledger.replaying import replay
from ledger.risk.reason import TEXTS, explain_score

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.replaying import Replayed

_BAR = 30  # cells for a whole score


@click.command("explain")
@click.argument("assessment_id")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def explain(folder: Path, assessment_id: str, as_json: bool) -> None:
    """Compute a recorded answer again and print its exact integers; exit 1 where it differs.

    For the operator and an auditor: it shows what whoever asked may not see.
    """
    with open_own_ledger(folder, to_write=False) as ledger:
        replayed = replay(ledger, assessment_id)
    if replayed is None:
        raise UnknownAssessment("No answer about a single buyer has this id.")
    if as_json:
        click.echo(json.dumps(_render(replayed), indent=2, ensure_ascii=False))
    else:
        _draw(replayed, Console(highlight=False, soft_wrap=True))
    sys.exit(1 if replayed.differing else 0)


def _render(replayed: Replayed) -> dict[str, object]:
    score = replayed.score
    return {
        "assessment": replayed.assessment_id,
        "log_size": replayed.log_size,
        "policy_version": replayed.policy_version,
        "score": score.score,
        "direct_score": score.direct_score,
        "linked_score": score.linked_score,
        "level": score.level,
        "basis": score.basis,
        "groups": [one._asdict() for one in score.groups],
        "links": [one._asdict() for one in score.links],
        "reasons": [
            {"code": one.code, "points": one.points, "text": TEXTS[one.code]}
            for one in explain_score(score)
        ],
        "ignored": [one._asdict() for one in score.ignored],
        "differing": list(replayed.differing),
    }


def _draw(replayed: Replayed, console: Console) -> None:
    score = replayed.score
    console.print(
        f"[bold]{score.score}[/] {score.level}  {score.basis}   direct {score.direct_score}, "
        f"linked {score.linked_score}   at log size {replayed.log_size}, policy "
        f"{replayed.policy_version}"
    )
    table = Table(box=None, pad_edge=False)
    for title in ("points", "", "why", "weight"):
        table.add_column(title, justify="right" if title in {"points", "weight"} else "left")
    for group in score.groups:
        table.add_row(str(group.points), _bar(group.points), group.group, f"{group.weight:,}")
    for link in score.links:
        why = f"account {link.account} by {link.kind.value}, on {link.accounts}"
        table.add_row(str(link.points), _bar(link.points), why, f"{link.weight:,}")
    console.print(table)
    for one in score.ignored:
        console.print(f"ignored: {one.kind.value} ({one.reason})")
    if replayed.differing:
        console.print(f"[red]not as it was recorded[/]: {', '.join(replayed.differing)}")
    else:
        console.print("the exact score and everything that was shown agree with the record")


def _bar(points: int) -> str:
    """Draw points as cells, of which a thousand would fill the bar."""
    eighths = points * _BAR * 8 // 1000
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
