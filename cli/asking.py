"""What a member does over HTTP: `token issue`, `event send`, `risk assess`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape

from cli.checkout import is_checkout, load_operator
from cli.membership import as_member, read_json
from ledger.errors import InvalidInput, InvalidToken
from ledger.identity.token import EVENT_TYPE, payload_of, read_key_id, sign_token
from ledger.incident.statement import parse_event
from ledger.strict_json import parse_json
from ledger_client.errors import InvalidAnswer

if TYPE_CHECKING:
    from cli.membership import Membership

_INPUT = click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)


@click.group()
def token() -> None:
    """Get access tokens."""


@token.command("issue")
@as_member
@click.option("--scope", help="Space-separated scopes.  [default: all that the platform has]")
def issue(membership: Membership, scope: str | None) -> None:
    """Get an access token for curl and print it. It lives for ten minutes."""
    with membership.connect() as client:
        click.echo(client.get_access(scope=scope))


@click.group()
def event() -> None:
    """Send signed statements."""


@event.command("send")
@as_member
@click.argument("file", type=_INPUT)
@click.option(
    "--token-out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep the token here: it alone opens the receipt.",
)
@click.option(
    "--journal",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Note here what is sent, for `bcl log monitor`.",
)
def send(membership: Membership, file: Path, token_out: Path | None, journal: Path | None) -> None:
    """Send a statement: FILE holds its claims (docs/format.md), or its signed token.

    Claims are checked here by the ledger's own rules of form, and signed with the key. Sending
    the same statement again is answered like the first time.
    """
    raw = _read(file).strip()
    if raw.startswith(b"{"):
        parse_event(raw)
        claims = parse_json(raw)
        if not isinstance(claims, dict):
            raise InvalidInput("The file doesn't hold the claims of a token.")
        text = sign_token(claims, membership.key, typ=EVENT_TYPE)
    else:
        text = _read_token(raw)
    if token_out is not None:
        token_out.write_text(text, "ascii")
    if json.loads(payload_of(text)).get("iss") != membership.member:
        raise InvalidInput(f"The statement isn't one of {membership.member}.")
    with membership.connect(journal) as client:
        sent = client.send_event(text)
    told = {"incident": sent.incident_id}
    click.echo(json.dumps(told if token_out else told | {"token": sent.token}))


class _Asking(click.Group):
    """Questions, and in a checkout what the operator may see of an answer."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *(["explain"] if is_checkout() else [])])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name != "explain":
            return super().get_command(ctx, cmd_name)
        command: click.Command = load_operator("cli.explaining", "bcl risk explain").explain
        return command


@click.group(cls=_Asking)
def risk() -> None:
    """Ask about buyers, and explain what was answered."""


@risk.command("assess")
@as_member
@click.argument("file", type=_INPUT)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as it came.")
def assess(membership: Membership, file: Path, as_json: bool) -> None:
    """Ask about a buyer: FILE holds the body of POST /v1/risk-assessments."""
    body = read_json(file)
    if not isinstance(body, dict):
        raise InvalidInput("The file doesn't hold a JSON object.")
    with membership.connect() as client:
        answer = client.assess_raw(body)
    if as_json:
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        print_answer(Console(highlight=False, soft_wrap=True), answer)


def print_answer(console: Console, answer: dict[str, Any], *, indent: int = 0) -> None:
    """Print an assessment for a person: what it says, why, and what is suggested.

    What a server sent is printed as plain text. *Raises*: InvalidAnswer for another shape.
    """
    left = " " * indent
    try:
        colour = {"LOW": "green", "MEDIUM": "yellow", "HIGH": "red"}.get(answer["level"], "white")
        advice = answer["advice"] or {"action": "no advice for this purpose", "rule": ""}
        said = f"{_plain(answer['level'])}  {_plain(answer['basis'])}"
        advised = f"[bold]{_plain(advice['action'])}[/] [dim]{_plain(advice['rule'])}[/]"
        score = f"[bold {colour}]{_plain(answer['score'])}[/]"
        lines = [f"{left}score {score}  {said}  →  {advised}"]
        for reason in answer["reasons"]:
            text = _plain(reason["message"].get("en", ""))
            points = _plain(reason["points"]).rjust(5)
            lines.append(f"{left}{points}  {_plain(reason['code'])}  [dim]{text}[/]")
        for link in answer["ignored_links"]:
            why = _plain(link["reason"])
            lines.append(f"{left}    –  {_plain(link['kind'])} ignored  [dim]{why}[/]")
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidAnswer("The answer isn't an assessment.") from error
    for line in lines:
        console.print(line)


def _plain(sent: object) -> str:
    """Give what was sent without anything that a terminal or the printing would obey."""
    return escape("".join(one for one in str(sent) if one.isprintable()))


def _read_token(raw: bytes) -> str:
    """Read a signed token. *Raises*: InvalidInput, before anything was sent."""
    try:
        read_key_id(raw, typ=EVENT_TYPE)
    except InvalidToken as error:
        raise InvalidInput(
            "The file holds neither the claims of a statement nor its token."
        ) from error
    return raw.decode("ascii")


def _read(file: Path) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read()
    return file.read_bytes()
