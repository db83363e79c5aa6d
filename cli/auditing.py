"""What the operator checks and shows of the log: the group `log`, its `audit` and `checkpoint`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console

from cli.opening import open_own_ledger
from cli.progress import show_progress
from cli.proving import export, prove
from ledger.auditing import audit_ledger
from ledger.proving import latest_checkpoint

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
        erased = [
            {"class": state, "reason": reason, "incidents": number}
            for (state, reason), number in report.erased.items()
        ]
        told = {"entries": report.entries, "erased": erased, "findings": findings}
        click.echo(json.dumps(told, indent=2))
    else:
        for one in report.findings:
            where = "log" if one.index is None else f"entry {one.index}"
            click.echo(f"{where}: {one.code}: {one.detail}")
        if not report.findings:
            click.echo(f"{report.entries} entries, everything is as the statements say")
        for (state, reason), number in report.erased.items():
            why = "" if reason == "none" else f" ({reason})"
            click.echo(f"{number} erased: {state}{why}")
    sys.exit(1 if report.findings else 0)


def run_audit(ledger: Ledger, talk: Console) -> AuditReport:
    """Audit a ledger behind a progress bar."""
    return show_progress("auditing", lambda told: audit_ledger(ledger, told), talk)


@log.command("checkpoint")
@click.pass_obj
def checkpoint(folder: Path) -> None:
    """Print the newest published checkpoint, a signed note."""
    with open_own_ledger(folder, to_write=False) as ledger:
        click.echo(latest_checkpoint(ledger), nl=False)


for one in (prove, export):
    log.add_command(one)
