"""What an operator decides about incidents: `incident erase`, `expunge`, `matched`, `list`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from cli import clock
from cli.opening import open_own_ledger
from ledger.erasing import Decision, decide_erasure, list_erased, list_matched
from ledger.incident.decision import DECISION_REASONS, reason_name
from ledger.log.leaf import Op

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@click.group()
def incident() -> None:
    """Destroy incidents' content, and list what was destroyed."""


def _decision(op: Op) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give the argument and the options of a decision."""
    reasons = [reason_name(one) for one in DECISION_REASONS[op]]

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in (
            click.option(
                "--confirm",
                "confirms",
                metavar="JTI",
                help="The first person's statement, where you are the second.",
            ),
            click.option("--person", required=True, help="Who decides: you."),
            click.option("--reason", required=True, type=click.Choice(reasons), help="Why."),
            click.argument("incident_id", metavar="INCIDENT"),
        ):
            command = option(command)
        return command

    return add


@incident.command("erase")
@_decision(Op.ERASED)
@click.pass_obj
def erase(folder: Path, incident_id: str, reason: str, person: str, confirms: str | None) -> None:
    """Destroy what was said about an incident, whatever its state. Nothing brings it back.

    Outside a sandbox two persons decide: the first command prints its statement's jti, the second
    names it by --confirm.
    """
    _decide(folder, Decision(incident_id, Op.ERASED, reason, person, confirms))


@incident.command("expunge")
@_decision(Op.EXPUNGED)
@click.pass_obj
def expunge(folder: Path, incident_id: str, reason: str, person: str, confirms: str | None) -> None:
    """Destroy a disputed incident, or forged evidence (`evd_…`) that is none: the objection holds.

    Whoever was told of the evidence is told again. Two persons as for `erase`.
    """
    _decide(folder, Decision(incident_id, Op.EXPUNGED, reason, person, confirms))


def _decide(folder: Path, decision: Decision) -> None:
    with open_own_ledger(folder, to_write=True) as ledger:
        decided = decide_erasure(ledger, decision, clock.now())
    click.echo(json.dumps({"statement": decided.jti, "done": decided.is_final}))
    if decided.is_final:
        click.echo("Deleted rows still lie in pages and logs: `bcl db scrub`.", err=True)
    else:
        click.echo(f"Another person says the same with --confirm {decided.jti}", err=True)


@incident.command("matched")
@click.argument("answer", metavar="ANSWER")
@click.pass_obj
def matched(folder: Path, answer: str) -> None:
    """List the reports on whose evidence an answer rests: who objects to a match names that.

    One JSON object a line. What was taken back since isn't among them.
    """
    with open_own_ledger(folder, to_write=False) as ledger:
        for record, platform, jti in list_matched(ledger, answer):
            click.echo(json.dumps({"record": record, "platform": platform, "jti": jti}))


@incident.command("list")
@click.option("--unacknowledged", is_flag=True, help="Those alone whose submitter may hold a copy.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_all(folder: Path, unacknowledged: bool, as_json: bool) -> None:
    """List the erased incidents, oldest first: class, reason, age, whether acknowledged."""
    with open_own_ledger(folder, to_write=False) as ledger:
        found = list_erased(ledger, clock.now(), unacknowledged=unacknowledged)
    rows = [
        {
            "incident": one.incident_id,
            "platform": one.platform,
            "jti": one.jti,
            "class": one.state,
            "reason": one.reason,
            "index": one.index,
            "erased_at": one.erased_at.isoformat(),
            "age_days": one.age.days,
            "acknowledged_at": one.acknowledged_at and one.acknowledged_at.isoformat(),
        }
        for one in found
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        told = "acknowledged" if row["acknowledged_at"] else "not acknowledged"
        why = f" ({row['reason']})" if row["reason"] else ""
        click.echo(
            f"{row['age_days']:>5} d  {row['incident']}  {row['platform']}  {row['jti']}  "
            f"{row['class']}{why}, {told}"
        )
