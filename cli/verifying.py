"""Proofs: `log audit`, `log checkpoint`, `receipt verify`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from cli import clock
from cli.opening import FILE, check_vkey, open_own_ledger
from ledger.auditing import audit_ledger
from ledger.errors import InvalidReceipt
from ledger.proving import latest_checkpoint
from ledger_client.receipt import verify_standing

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.auditing import AuditReport
    from ledger.ledger import Ledger


@click.group()
def log() -> None:
    """Audit and show the log."""


@log.command("audit")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def audit(folder: Path, as_json: bool) -> None:
    """Derive everything again from the signed statements and compare; exit 1 with findings."""
    with open_own_ledger(folder, to_write=False) as ledger:
        report = run_audit(ledger, Console(stderr=True))
    if as_json:
        findings = [
            {"index": one.index, "code": one.code, "detail": one.detail} for one in report.findings
        ]
        click.echo(json.dumps({"entries": report.entries, "findings": findings}, indent=2))
    else:
        for one in report.findings:
            where = "log" if one.index is None else f"entry {one.index}"
            click.echo(f"{where}: {one.code}: {one.detail}")
        if not report.findings:
            click.echo(f"{report.entries} entries, everything is as the statements say")
    sys.exit(1 if report.findings else 0)


def run_audit(ledger: Ledger, talk: Console) -> AuditReport:
    """Audit a ledger behind a progress bar."""
    columns = (TextColumn("auditing"), BarColumn(), MofNCompleteColumn())
    unseen = not talk.is_terminal
    with Progress(*columns, console=talk, transient=True, disable=unseen) as progress:
        bar = progress.add_task("auditing", total=None)
        return audit_ledger(ledger, lambda done, of: progress.update(bar, completed=done, total=of))


@log.command("checkpoint")
@click.pass_obj
def checkpoint(folder: Path) -> None:
    """Print the newest published checkpoint, a signed note."""
    with open_own_ledger(folder, to_write=False) as ledger:
        click.echo(latest_checkpoint(ledger), nl=False)


@click.group()
def receipt() -> None:
    """Verify receipts."""


@receipt.command("verify")
@click.argument("file", type=FILE)
@click.option("--event", type=FILE, help="The statement's token, exactly as it was sent.")
@click.option(
    "--vkey", required=True, metavar="V", callback=check_vkey, help="The log's verifier key."
)
@click.option("--status", type=FILE, help="The signed status, at most 24 hours old.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(file: Path, event: Path | None, vkey: str, status: Path | None, as_json: bool) -> None:
    """Verify a receipt offline.

    Without --event it proves that some entry was logged, without --status not how it stands
    today: its standing is "historic".
    """
    standing = verify_standing(
        _read_text(file),
        vkey,
        event=event.read_bytes().strip() if event else None,
        status=_read_text(status).strip() if status else None,
        now=clock.now(),
    )
    proved = standing.receipt
    described = {
        "origin": proved.checkpoint.origin,
        "index": proved.index,
        "tree_size": proved.checkpoint.size,
        "op": proved.leaf.op.name.lower(),
        "opened": proved.opened,
        "standing": standing.state,
        "as_of": standing.as_of.isoformat() if standing.as_of else None,
    }
    if as_json:
        click.echo(json.dumps(described, indent=2))
        return
    what = "this statement is" if proved.opened else "some statement is"
    click.echo(
        f"{what} entry {proved.index} of {proved.checkpoint.origin}, under the signed root of "
        f"{proved.checkpoint.size} entries; standing: {standing.state}"
    )


def _read_text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidReceipt("The receipt or the status isn't text.") from error
