"""The root of the command line: what every command has, and how refusals end a process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from cli.asking import event, risk, token
from cli.demo import demo
from cli.members import key, platform
from cli.serving import db, serve, worker
from cli.verifying import log, receipt
from config.settings import SettingsError
from ledger.errors import InvalidInput, LedgerCorrupt, LedgerError
from ledger_client.errors import ExchangeError

_BAD, _ASKED_WRONGLY = 1, 2


class _Door(click.Group):
    """A group that ends with one sentence where the ledger refuses, never with a traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except (SettingsError, InvalidInput) as error:
            _end(error, _ASKED_WRONGLY)
        except (LedgerError, LedgerCorrupt, ExchangeError) as error:
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
    for fault in getattr(error, "faults", ()) if isinstance(error, LedgerError) else ():
        click.echo(f"     {fault.pointer}: {fault.detail} ({fault.code})", err=True)
    sys.exit(status)


@click.group(cls=_Door)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var"),
    show_default=True,
    help="Where a sandbox keeps its database and its development keys.",
)
@click.version_option("0.1.0", prog_name="bcl")
@click.pass_context
def main(context: click.Context, folder: Path) -> None:
    """Buyer Credit Ledger: a shared, verifiable memory of confirmed refund fraud."""
    context.obj = folder


for one in (serve, worker, db, key, token, platform, event, risk, log, receipt, demo):
    main.add_command(one)
