"""Scoring policies: `policy publish`, `list`, `show`, `try`, `tried`, `backtest`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import clock
from cli.membership import FILE
from cli.opening import open_own_ledger
from cli.progress import show_progress
from ledger.backtesting import backtest_policies
from ledger.errors import InvalidInput
from ledger.governing import (
    describe_policy,
    list_policies,
    publish_policy,
    shadow_disagreements,
    try_policy,
)
from ledger.risk.policy import parse_policy

if TYPE_CHECKING:
    from ledger.backtesting import BlastRadius
    from ledger.ledger import Ledger
    from ledger.risk.policy import RiskPolicy

_NAMED_MAX = 10
_MINUTES = 15  # judgement: what one human review takes


@click.group()
def policy() -> None:
    """Publish scoring policies, try them in the shadow, compare them."""


@policy.command("publish")
@click.argument("file", type=FILE)
@click.pass_obj
def publish(folder: Path, file: Path) -> None:
    """Publish a policy as a log entry. Nothing takes it back; another version may follow."""
    with open_own_ledger(folder, to_write=True) as ledger:
        version = publish_policy(ledger, file.read_text("utf-8"), clock.now())
    click.echo(json.dumps({"version": version}))


@policy.command("list")
@click.pass_obj
def list_versions(folder: Path) -> None:
    """List the published policies, as JSON."""
    with open_own_ledger(folder, to_write=False) as ledger:
        published = [
            {
                "version": one.version,
                "published_at": one.published_at.isoformat(),
                "in_force": one.in_force,
            }
            for one in list_policies(ledger)
        ]
    click.echo(json.dumps(published, indent=2))


@policy.command("show")
@click.argument("version", type=int)
@click.pass_obj
def show(folder: Path, version: int) -> None:
    """Show one published policy, as JSON."""
    with open_own_ledger(folder, to_write=False) as ledger:
        members = describe_policy(ledger, version).members
    click.echo(json.dumps(members, indent=2, default=str, ensure_ascii=False))


@policy.command("try")
@click.argument("file", type=FILE, required=False)
@click.option("--none", "ends", is_flag=True, help="Try no policy any more.")
@click.pass_obj
def begin_trial(folder: Path, file: Path | None, ends: bool) -> None:
    """Score a policy beside the live one on every question; whoever asks never sees it."""
    if ends == (file is not None):
        raise click.UsageError("Name a FILE, or say --none.")
    with open_own_ledger(folder, to_write=True) as ledger:
        number = try_policy(ledger, file.read_text("utf-8") if file else None, clock.now())
    click.echo(json.dumps({"trial": number}))


@policy.command("tried")
@click.argument("number", type=int)
@click.pass_obj
def tried(folder: Path, number: int) -> None:
    """Count what the live policy and the one of a trial said, pair by pair, as JSON."""
    with open_own_ledger(folder, to_write=False) as ledger:
        counted = shadow_disagreements(ledger, number)
    names = ("live_level", "live_action", "tried_level", "tried_action")
    rows = [
        dict(zip(names, key, strict=True)) | {"answers": count}
        for key, count in counted.most_common()
    ]
    click.echo(json.dumps(rows, indent=2))


@policy.command("backtest")
@click.argument("old")
@click.argument("new")
@click.option("--since", required=True, type=click.DateTime(["%Y-%m-%d"]), help="The first day.")
@click.option(
    "--minutes-per-review", type=click.IntRange(min=1), default=_MINUTES, show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def backtest(
    folder: Path, old: str, new: str, since: datetime, minutes_per_review: int, as_json: bool
) -> None:
    """Answer every past question again under two policies and count what differs.

    OLD and NEW are published versions, or files. Each is taken to have been in force always.
    """
    with open_own_ledger(folder, to_write=False) as ledger:
        first, second = (_read_policy(ledger, one) for one in (old, new))
        began = since.replace(tzinfo=UTC)
        radius = show_progress(
            "scoring again", lambda told: backtest_policies(ledger, first, second, began, told)
        )
    told = _render(radius, minutes_per_review)
    if as_json:
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    for name, value in told.items():
        if isinstance(value, dict):
            click.echo(f"{name.replace('_', ' ')}:")
            for change, number in value.items():
                click.echo(f"  {number:>6}  {change}")
        elif isinstance(value, list):
            click.echo("".join(f"  {one}\n" for one in value), nl=False)
        else:
            click.echo(f"{name.replace('_', ' ')}: {value}")


def _read_policy(ledger: Ledger, named: str) -> RiskPolicy:
    """Read a policy by its published version, or from a file. *Raises*: InvalidInput."""
    if named.isdigit():
        describe_policy(ledger, int(named))
        return ledger.policies[int(named)]
    path = Path(named)
    if not path.is_file():
        raise InvalidInput(f"{named} is neither a published version nor a file.")
    return parse_policy(path.read_text("utf-8"))


def _render(radius: BlastRadius, minutes: int) -> dict[str, object]:
    reviews = radius.reviews_new - radius.reviews_old
    return {
        "assessments": radius.assessments,
        "inputs_erased": radius.erased,
        "not_as_recorded": len(radius.differing),
        "not_as_recorded_ids": radius.differing[:_NAMED_MAX],
        "changed": radius.changed,
        "changed_and_later_reversed": radius.changed_reversed,
        "levels": {f"{a} → {b}": number for (a, b), number in radius.levels.most_common()},
        "actions": {
            f"{a or 'none'} → {b or 'none'}": number
            for (a, b), number in radius.actions.most_common()
        },
        "reviews_per_10_000_claims_old": radius.reviews_per_10_000(radius.reviews_old),
        "reviews_per_10_000_claims_new": radius.reviews_per_10_000(radius.reviews_new),
        "review_hours_more": round(reviews * minutes / 60, 1),
        "amount_held_back_minor": radius.held_back_minor,
        "amount_let_through_minor": radius.let_through_minor,
        "loss_avoided_minor": radius.loss_avoided_minor,
        "currency": radius.currency,
    }
