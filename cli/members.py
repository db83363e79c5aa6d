"""Who may report and ask: `platform enrol`, `list`, `suspend`, `add-key`, `revoke-key`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from cli import clock
from cli.membership import FILE
from cli.opening import open_own_ledger
from ledger.enrolling import (
    enrol_platform,
    list_platforms,
    revoke_key,
    rotate_key,
    suspend_platform,
)
from ledger.errors import InvalidInput
from ledger.identity.key import encode_base64url, parse_jwks
from ledger.identity.platform import SCOPES

if TYPE_CHECKING:
    from pathlib import Path

_WIDTH_PIPED = 1000  # columns, so that every platform has one line


@click.group()
def platform() -> None:
    """Enrol, list and suspend members."""


@platform.command("enrol")
@click.option("--id", "uri", required=True, metavar="URL", help="Its name: an https URL.")
@click.option("--name", required=True, help="What people call it.")
@click.option("--group", required=True, help="Its corporate group; a group counts once.")
@click.option(
    "--jurisdiction",
    "jurisdictions",
    required=True,
    multiple=True,
    metavar="CODE",
    help="Whose law its incidents may fall under; may be repeated.",
)
@click.option(
    "--jwks",
    required=True,
    type=FILE,
    help="Its public keys as a JWK set.",
)
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(sorted(SCOPES)), help="What it may do."
)
@click.pass_obj
def enrol(
    folder: Path,
    uri: str,
    name: str,
    group: str,
    jurisdictions: tuple[str, ...],
    jwks: Path,
    scopes: tuple[str, ...],
) -> None:
    """Enrol a platform and print what it must know.

    The tag key is a secret between the ledger and this platform: with it the platform recognises
    its own entries in the public log. It is printed once.
    """
    keys = parse_jwks(jwks.read_bytes())
    with open_own_ledger(folder, to_write=True) as ledger:
        enrolled = enrol_platform(
            ledger,
            uri=uri,
            name=name,
            group=group,
            jurisdictions=jurisdictions,
            scopes=scopes,
            keys=keys,
            at=clock.now(),
        )
        member = enrolled.platform
        described = {
            "id": member.uri,
            "name": member.name,
            "group": member.group,
            "jurisdictions": list(member.jurisdictions),
            "scopes": list(member.scopes),
            "kids": [kid for kid, _, _ in keys],
            "tag_key": encode_base64url(enrolled.tag_key),
            "audience": ledger.issuer,
            "vkey": ledger.vkey,
        }
    click.echo(json.dumps(described, indent=2, ensure_ascii=False))


@platform.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_members(folder: Path, as_json: bool) -> None:
    """List the platforms with their keys."""
    with open_own_ledger(folder, to_write=False) as ledger:
        members = [
            {
                "id": member.uri,
                "name": member.name,
                "group": member.group,
                "state": member.state.value,
                "jurisdictions": list(member.jurisdictions),
                "scopes": list(member.scopes),
                "keys": [{"kid": one.kid, "state": one.state.value} for one in keys],
            }
            for member, keys in list_platforms(ledger)
        ]
    if as_json:
        click.echo(json.dumps(members, indent=2, ensure_ascii=False))
        return
    table = Table(box=None)
    for title in ("platform", "name", "group", "state", "scopes", "keys"):
        table.add_column(title, overflow="fold")  # long names take a second line, never dots
    for member, keys in zip(members, [one["keys"] for one in members], strict=True):
        scopes = " ".join(str(one) for one in member["scopes"])
        table.add_row(
            *(str(member[n]) for n in ("id", "name", "group", "state")), scopes, str(len(keys))
        )
    width = None if sys.stdout.isatty() else _WIDTH_PIPED
    Console(highlight=False, width=width).print(table)


@platform.command("suspend")
@click.argument("uri", metavar="URL")
@click.pass_obj
def suspend(folder: Path, uri: str) -> None:
    """Suspend a platform: it can neither report nor ask, and nothing undoes it. The log says so.

    The forged evidence that it reported matches no more, and whoever was told of it is told again.
    """
    with open_own_ledger(folder, to_write=True) as ledger:
        suspend_platform(ledger, uri, clock.now())
    click.echo(json.dumps({"id": uri, "state": "suspended"}))


@platform.command("add-key")
@click.argument("uri", metavar="URL")
@click.option("--jwks", required=True, type=FILE, help="The new public key as a JWK.")
@click.pass_obj
def add_key(folder: Path, uri: str, jwks: Path) -> None:
    """Add a key beside the present ones. The log says so."""
    keys = parse_jwks(jwks.read_bytes())
    if len(keys) != 1:
        raise InvalidInput("One key is added at a time.")
    with open_own_ledger(folder, to_write=True) as ledger:
        rotate_key(ledger, uri, keys[0], clock.now())
    click.echo(json.dumps({"id": uri, "kid": keys[0][0], "state": "active"}))


@platform.command("revoke-key", context_settings={"ignore_unknown_options": True})
@click.argument("uri", metavar="URL")
@click.argument("kid")
@click.pass_obj
def withdraw_key(folder: Path, uri: str, kid: str) -> None:
    """Revoke a key for good: what it signs from now on is refused. The log says so.

    One key id in 64 begins with a hyphen, and is no option.
    """
    with open_own_ledger(folder, to_write=True) as ledger:
        revoke_key(ledger, uri, kid, clock.now())
    click.echo(json.dumps({"id": uri, "kid": kid, "state": "revoked"}))
