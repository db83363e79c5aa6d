"""The root of the command line: what every command has, and how refusals end a process."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from cli.asking import event, risk, token
from cli.checkout import is_checkout, load_operator
from cli.errors import AskedWrongly
from cli.evidence import evidence
from cli.keys import key
from cli.monitoring import log
from cli.verifying import receipt
from ledger.errors import InvalidInput, LedgerCorrupt, LedgerError
from ledger_client.errors import ExchangeError, MissingExtra, Uninspectable

_BAD, _ASKED_WRONGLY = 1, 2
# A member's command that brings a server along: imported only when it is asked for.
_SERVING = {"witness": "cli.witness"}
# The operator's commands by the modules that hold them; a member's install lacks what they import.
_OPERATOR = {
    "db": "cli.serving",
    "demo": "cli.demo",
    "graph": "cli.graph",
    "incident": "cli.incidents",
    "platform": "cli.members",
    "policy": "cli.policy",
    "serve": "cli.serving",
    "worker": "cli.serving",
}


class _Door(click.Group):
    """A group that ends with one sentence where the ledger refuses, never with a traceback.

    It imports the operator's commands when they are asked for, and lists them in a checkout alone.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        named = [*super().list_commands(ctx), *_SERVING]
        return sorted([*named, *(_OPERATOR if is_checkout() else ())])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _SERVING:
            module = import_module(_SERVING[cmd_name])
        elif cmd_name in _OPERATOR:
            module = load_operator(_OPERATOR[cmd_name], f"bcl {cmd_name}")
        else:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:  # which would suggest the member's commands alone
            raise click.NoSuchCommand(
                error.command_name, possibilities=self.list_commands(ctx), ctx=ctx
            ) from error

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except (AskedWrongly, InvalidInput, MissingExtra) as error:
            _end(error, _ASKED_WRONGLY)
        except (LedgerError, LedgerCorrupt, ExchangeError, Uninspectable) as error:
            _end(error, _BAD)
        except BrokenPipeError:
            raise  # nobody reads on: the library ends the process quietly
        except OSError as error:
            click.echo(f"bcl: {error.filename}: {error.strerror}", err=True)
            sys.exit(_ASKED_WRONGLY)


def _end(error: Exception, status: int) -> None:
    sentence = f"{error.code}: {error}" if isinstance(error, LedgerError) else str(error)
    printable = "".join(one for one in sentence if one.isprintable() or one == "\n")
    click.echo(f"bcl: {printable}", err=True)
    for fault in getattr(error, "faults", ()):
        named = f"{fault.pointer}: {fault.detail} ({fault.code})"
        click.echo(f"     {''.join(filter(str.isprintable, named))}", err=True)
    sys.exit(status)


@click.group(cls=_Door)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var"),
    show_default=True,
    help="Where a sandbox keeps its database and its keys, as seen from the present folder.",
)
@click.version_option("0.1.0", prog_name="bcl")
@click.pass_context
def main(context: click.Context, folder: Path) -> None:
    """Buyer Credit Ledger: a shared, verifiable memory of confirmed refund fraud."""
    context.obj = folder


for one in (key, token, event, evidence, risk, receipt, log):
    main.add_command(one)
