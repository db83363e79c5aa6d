"""`risk explain`: one recorded answer, computed again, with its exact integers."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console

from cli.opening import open_own_ledger
from ledger.enrolling import list_platforms
from ledger.errors import UnknownAssessment
from ledger.replaying import replay
from ledger.risk.reason import TEXTS, explain_score

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from ledger.replaying import Replayed
    from ledger.risk.score import LinkPart
    from ledger.risk.working import Borne, LinkWorking

_BAR = 30  # cells for a whole score
_INDENT = " " * 7
_RECORDED = ("confidence", "advice", "clears")  # shown as they were answered


@click.command("explain")
@click.argument("assessment_id")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def explain(folder: Path, assessment_id: str, as_json: bool) -> None:
    """Compute a recorded answer again and print its exact integers; exit 1 where it differs.

    For the operator and an auditor: it shows what whoever asked may not see. docs/operating.md
    explains, under "Following a score", every word that is printed.
    """
    with open_own_ledger(folder, to_write=False) as ledger:
        replayed = replay(ledger, assessment_id, thoroughly=True)
        uris = {member.id: member.uri for member, _ in list_platforms(ledger)}
    if replayed is None:
        raise UnknownAssessment("No answer about a single buyer has this id.")
    if as_json:
        click.echo(json.dumps(_render(replayed, uris), indent=2, ensure_ascii=False))
    else:
        _draw(replayed, uris, Console(highlight=False, soft_wrap=True))
    sys.exit(1 if replayed.differing else 0)


def _render(replayed: Replayed, uris: Mapping[int, str]) -> dict[str, object]:
    score, working, answer = replayed.score, replayed.working, replayed.answer
    return {
        "assessment": replayed.assessment_id,
        "log_size": replayed.log_size,
        "policy_version": replayed.policy_version,
        "score": score.score,
        "direct_score": score.direct_score,
        "linked_score": score.linked_score,
        "certain_score": score.certain_score,
        "level": score.level,
        "basis": score.basis,
        "H_D": working.direct,
        "H_L": working.linked,
        "groups": [
            {
                "group": part.group,
                "platform": uris[part.platform],
                **_render_sum(borne),
                "weight": part.weight,
                "points": part.points,
            }
            for part, borne in zip(score.groups, working.groups, strict=True)
        ],
        "links": [
            {
                "number": number,
                "group": link.group,
                "platform": uris[link.platform],
                "kind": part.kind.value,
                "n": part.accounts,
                "shared": dict(link.shared),
                **_render_sum(link.borne),
                "lambda": link.strength,
                "X": link.x,
                "weight": part.weight,
                "points": part.points,
            }
            for number, (part, link) in enumerate(_pair_links(replayed), 1)
        ],
        "reasons": [
            {"code": one.code, "points": one.points, "text": TEXTS[one.code]}
            for one in explain_score(score)
        ],
        "ignored": [one._asdict() for one in score.ignored],
        **{name: answer[name] for name in _RECORDED},
        "differing": list(replayed.differing),
    }


def _pair_links(replayed: Replayed) -> Iterable[tuple[LinkPart, LinkWorking]]:
    """Pair what each linked account contributes with how; their order names them."""
    return zip(replayed.score.links, replayed.working.links, strict=True)


def _render_sum(borne: Borne) -> dict[str, int]:
    return {"S": borne.evidence, "rel": borne.reliability, "D": borne.saturated}


def _draw(replayed: Replayed, uris: Mapping[int, str], console: Console) -> None:
    score, working, answer = replayed.score, replayed.working, replayed.answer
    console.print(
        f"[bold]{score.score}[/] {score.level}  {score.basis}   direct {score.direct_score}, "
        f"linked {score.linked_score}, certain {score.certain_score}   at log size "
        f"{replayed.log_size}, policy {replayed.policy_version}"
    )
    for group, borne in zip(score.groups, working.groups, strict=True):
        console.print(_head(group.points, f"direct evidence of {group.group}"), markup=False)
        console.print(f"{_INDENT}{_sum(borne)}, weight {group.weight:,}")
    for number, (part, link) in enumerate(_pair_links(replayed), 1):
        kinds = ", ".join(f"{kind.value} on {n}" for kind, n in link.shared)
        who = f"linked account {number} at {uris[link.platform]} by {kinds}"
        console.print(_head(part.points, who), markup=False)
        pulled = f"λ {link.strength:,}, X {link.x:,}, weight {part.weight:,}"
        console.print(f"{_INDENT}{_sum(link.borne)}, {pulled}")
    direct, linked = working.direct, working.linked
    console.print(f"evidence: direct H_D {direct:,} + linked H_L {linked:,} = {direct + linked:,}")
    for reason in explain_score(score):
        console.print(f"reason {reason.code}, {reason.points} points: {TEXTS[reason.code]['en']}")
    for one in score.ignored:
        console.print(f"ignored: {one.kind.value} ({one.reason})")
    for name in _RECORDED:
        console.print(f"{name}: {_phrase(answer[name])}")
    if replayed.differing:
        console.print(f"[red]not as it was recorded[/]: {', '.join(replayed.differing)}")
    else:
        console.print("the exact score and everything that was shown agree with the record")


def _head(points: int, what: str) -> str:
    return f"{points:>6} {_bar(points)} {what}"


def _sum(borne: Borne) -> str:
    return ", ".join(f"{symbol} {value:,}" for symbol, value in _render_sum(borne).items())


def _phrase(told: object) -> str:
    """Say a member of an answer in a line."""
    if isinstance(told, dict):
        return ", ".join(f"{name} {_phrase(value)}" for name, value in told.items())
    return "none" if told is None else str(told)


def _bar(points: int) -> str:
    """Draw points as cells, of which a thousand would fill the bar."""
    eighths = points * _BAR * 8 // 1000
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
