"""Being a witness of a log: `witness new`, `witness serve`. Any member or third party can."""

from __future__ import annotations

import base64
import binascii
import secrets
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

from cli.errors import AskedWrongly
from cli.listening import check_free
from cli.membership import check_vkey, write_secret
from cli.witness_app import build_application
from ledger.errors import InvalidInput
from ledger.log.note import parse_vkey
from ledger.log.witness import witness_from_seed
from ledger.witnessing import create_witness, index_logs, open_witness

if TYPE_CHECKING:
    from cli.witness_app import Application
    from ledger.log.note import NoteSigner, NoteVerifier

_KEY, _STATE, _LOGS = "key", "cosigned.sqlite", "logs"
_SEED_BYTES = 32
_PORT = 8090
_THREADS = 32  # which wait for bodies; what is cosigned is one transaction after the other
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group()
def witness() -> None:
    """Cosign checkpoints of logs, so that none can show two histories."""


def _check_vkeys(
    context: click.Context, option: click.Parameter, vkeys: tuple[str, ...]
) -> tuple[str, ...]:
    return tuple(str(check_vkey(context, option, one)) for one in vkeys)


@witness.command("new")
@click.argument("home", metavar="DIR", type=_FOLDER)
@click.option("--name", required=True, help="Under which it cosigns: a URL without scheme.")
@click.option(
    "--log", "logs", multiple=True, metavar="V", callback=_check_vkeys, help="A log's verifier key."
)
def new(home: Path, name: str, logs: tuple[str, ...]) -> None:
    """Make a witness in a new folder DIR and print its verifier key.

    DIR holds the key, what was cosigned, and `logs` with one verifier key a line. A witness that
    lost what it cosigned must never serve again: make another, under another name.
    """
    index_logs(parse_vkey(one) for one in logs)
    seed = secrets.token_bytes(_SEED_BYTES)
    vkey = witness_from_seed(name, seed).vkey
    try:
        home.mkdir(mode=0o700, parents=True)
    except FileExistsError as error:
        raise AskedWrongly(f"{home} exists already; a witness is never overwritten.") from error
    (home / _LOGS).write_text("".join(f"{one}\n" for one in logs), "utf-8")
    create_witness(str(home / _STATE))
    write_secret(home / _KEY, f"{name} {base64.b64encode(seed).decode()}")
    click.echo(vkey)


@witness.command("serve")
@click.argument("home", metavar="DIR", type=_FOLDER)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=_PORT, show_default=True, type=click.IntRange(1, 65_535))
def serve(home: Path, host: str, port: int) -> None:
    """Serve the witness in DIR over HTTP/1.1 (C2SP tlog-witness), behind a proxy that ends TLS."""
    signer, logs = _read_key(home), _read_logs(home)
    if not (home / _STATE).is_file():
        raise AskedWrongly(f"{home / _STATE} is missing: without it a witness never serves.")
    check_free(host, port)
    click.echo(f"witness {signer.vkey}", err=True)
    click.echo(f"cosigns {', '.join(one.name for one in logs)} at http://{host}:{port}", err=True)
    server = Granian(
        "cli.witness",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=_THREADS,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.warning,
    )
    server.serve(target_loader=partial(_load, home), wrap_loader=False)


def _load(home: Path) -> Application:
    """Open the witness in the process that answers."""
    return build_application(open_witness(str(home / _STATE), _read_key(home), _read_logs(home)))


def _read_key(home: Path) -> NoteSigner:
    """Read the witness's name and seed. *Raises*: InvalidInput, InvalidNote."""
    name, _, seed_b64 = (home / _KEY).read_text("utf-8").strip().partition(" ")
    try:
        seed = base64.b64decode(seed_b64, validate=True)
    except (ValueError, binascii.Error) as error:
        raise InvalidInput("The witness's key file doesn't hold a name and a seed.") from error
    if len(seed) != _SEED_BYTES:
        raise InvalidInput("The witness's key file doesn't hold a name and a seed.")
    return witness_from_seed(name, seed)


def _read_logs(home: Path) -> list[NoteVerifier]:
    """Read the keys of the logs. *Raises*: AskedWrongly, InvalidInput, InvalidNote."""
    lines = (home / _LOGS).read_text("utf-8").split("\n")
    logs = [parse_vkey(line.strip()) for line in lines if line.strip() and line[0] != "#"]
    if not logs:
        raise AskedWrongly(f"{home / _LOGS} names no log: put its verifier key there.")
    index_logs(logs)
    return logs
