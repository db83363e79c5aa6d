"""Forged evidence between members: `evidence match`, `evidence report`, `evidence recalls`.

Hashes are taken by option, from what `evidence inspect --json` printed, or, where the extra that
inspects files is installed, from the files themselves. Nothing but hashes is asked about.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.membership import as_member
from ledger.errors import InvalidInput
from ledger.identity.token import EVENT_TYPE, sign_token
from ledger.incident.statement import Forgery, Withdrawal, parse_event
from ledger.strict_json import parse_json
from ledger_client.evidence.attributes import render_evidence
from ledger_client.evidence.inspection import inspect

if TYPE_CHECKING:
    from cli.membership import Membership

_HASH = re.compile("[0-9a-f]{64}", re.ASCII)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command("match")
@as_member
@click.argument("files", nargs=-1, type=_FILE, metavar="[FILE]...")
@click.option("--sha256", metavar="HEX", help="A file's SHA-256.")
@click.option(
    "--pdq", "pdqs", metavar="HEX", multiple=True, help="One form of its PDQ; repeatable."
)
@click.option("--json", "as_json", is_flag=True, help="Print the answers as they came.")
def match(
    membership: Membership,
    files: tuple[Path, ...],
    sha256: str | None,
    pdqs: tuple[str, ...],
    as_json: bool,
) -> None:
    """Ask whether files were reported as forged by another platform.

    A FILE is a picture, a video, or JSON as `evidence inspect --json` prints it.
    """
    asked = [one for file in files for one in _read_hashes(file)]
    names = [str(one.get("file", "")) for one in asked]
    if sha256 or pdqs:
        if any(_HASH.fullmatch(one) is None for one in (*pdqs, *filter(None, [sha256]))):
            raise InvalidInput("A hash is 64 digits of lower-case hexadecimal.")
        given: dict[str, Any] = {"pdq": [{"forms": list(pdqs)}] if pdqs else []}
        asked.append(given | ({"sha256": sha256} if sha256 else {}))
        names.append("the hashes given")
    if not asked:
        raise click.UsageError("Name a FILE, a --sha256 or a --pdq.")
    with membership.connect() as client:
        told = client.match_evidence(asked)
    if as_json:
        click.echo(json.dumps(told))
        return
    for name, seen in zip(names, told, strict=True):
        said = "not seen before" if seen is None else _tell(seen)
        click.echo("".join(one for one in f"{name}: {said}" if one.isprintable()))


def _tell(seen: dict[str, Any]) -> str:
    what = "an original that was used falsely" if seen.get("source") else "reported as forged"
    by = "one platform" if seen.get("platforms") == "1" else "two platforms or more"
    near = seen.get("distance")
    how = "the same file" if near == "same_file" else f"{near} of 256 bits differ"
    return f"{what} by {by} since {seen.get('first_seen')} ({how}); look closely, it is no proof"


@click.command("report")
@as_member
@click.argument("file", type=_FILE)
def report(membership: Membership, file: Path) -> None:
    """Report forged evidence, or withdraw it: FILE holds the event's claims (docs/format.md)."""
    raw = file.read_bytes()
    claims = parse_json(raw)
    if not isinstance(parse_event(raw), Forgery | Withdrawal) or not isinstance(claims, dict):
        raise InvalidInput("The file doesn't hold a statement about forged evidence.")
    with membership.connect() as client:
        sent = client.send_event(sign_token(claims, membership.key, typ=EVENT_TYPE))
    click.echo(json.dumps({"token": sent.token}))


@click.command("recalls")
@as_member
@click.option("--acknowledge", metavar="ID", help="Tell that this one is known.")
def recalls(membership: Membership, acknowledge: str | None) -> None:
    """List the answers that rest on what was taken back since, one JSON object a line."""
    with membership.connect() as client:
        if acknowledge is not None:
            client.acknowledge_recall(acknowledge)
            return
        for one in client.recalls():
            click.echo(json.dumps(one))


def _read_hashes(file: Path) -> list[dict[str, Any]]:
    """Read the hashes of a file: its own, or those that are printed in it, an object a line."""
    with file.open("rb") as opened:
        is_printed = opened.read(64).lstrip().startswith(b"{")
    if not is_printed:
        return [render_evidence(inspect(file).evidence) | {"file": str(file)}]
    found = [parse_json(line) for line in file.read_bytes().splitlines() if line.strip()]
    shown = [one.get("evidence", one) for one in found if isinstance(one, dict)]
    if len(shown) != len(found) or not all(isinstance(one, dict) for one in shown):
        raise InvalidInput("The file doesn't hold a JSON object a line.")
    return [{"file": str(file)} | one for one in shown]
