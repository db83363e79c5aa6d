"""What a member proves without any server: `receipt verify`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from cli import clock
from cli.membership import FILE, check_vkey, read_witness_policy
from ledger.errors import InvalidReceipt
from ledger_client.receipt import verify_standing

if TYPE_CHECKING:
    from pathlib import Path


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
@click.option(
    "--witness-policy", type=FILE, help="The policy of witnesses, a quorum of whom must agree."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(
    file: Path,
    event: Path | None,
    vkey: str,
    status: Path | None,
    witness_policy: Path | None,
    as_json: bool,
) -> None:
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
        witnesses=read_witness_policy(witness_policy),
    )
    proved = standing.receipt
    described = {
        "origin": proved.checkpoint.origin,
        "index": proved.index,
        "tree_size": proved.checkpoint.size,
        "op": proved.leaf.op.name.lower(),
        "opened": proved.opened,
        "witnessed": witness_policy is not None,
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
