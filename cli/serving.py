"""Running a ledger: `serve`, `worker`, `db upgrade`, `db scrub`."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from cli import clock
from cli.checkout import ROOT
from cli.hearing import hearing
from cli.listening import check_free
from cli.membership import VKEY_FILE, read_vkey
from cli.opening import (
    SANDBOX_ORIGIN,
    found_ledger,
    list_jurisdictions,
    migrate,
    open_own_ledger,
    open_with,
    prepare_sandbox,
    read_keys,
    read_settings,
)
from config.settings import read_environment
from ledger.activating import activate_due
from ledger.checking import check_ready
from ledger.erasing import destroy_again
from ledger.errors import InvalidInput, LedgerUnavailable
from ledger.expiring import expire_due
from ledger.governing import list_policies
from ledger.sequencing import BATCH_MAX, sequence
from ledger.store.scrubbing import scrub_database

if TYPE_CHECKING:
    from config.settings import Settings

_THREADS_EMBEDDED, _THREADS = 1, 4
_EXPIRY_INTERVAL = timedelta(minutes=1)  # what is due changes at midnight
_SHOP = "https://shop.example"
# The smallest question: an account without identifiers, and an order's commitment made up.
_QUESTION = {
    "subject": {
        "format": "aliases",
        "identifiers": [{"format": "iss_sub", "iss": _SHOP, "sub": "buyer-1"}],
    },
    "context": {
        "purpose": "refund_only_claim",
        "order_commitment": f"hmac-sha-256:{'A' * 43}",
        "bindings": {},
    },
}


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1, or $BCL_HOST]")
@click.option("--port", type=click.IntRange(1, 65_535), help="Port.  [default: 8080, or $BCL_PORT]")
@click.pass_obj
def serve(folder: Path, host: str | None, port: int | None) -> None:
    """Serve a ledger over HTTP; without any secret set, create and serve a sandbox.

    Ends like the server does. On SQLite one thread answers, in the order of arrival.
    """
    settings = read_settings(folder)
    in_sandbox = not settings.log_key or settings.development_keys
    if in_sandbox and settings.env == "production":
        read_keys(settings)
    if in_sandbox:
        prepare_sandbox(folder)
        settings = read_settings(folder)
    embedded = settings.database_url.startswith("sqlite")
    with open_own_ledger(folder, to_write=True, to_hear=embedded) as ledger:
        if embedded:  # where statements get their places in the server's own transactions
            with hearing(ledger, settings.witness_timeout_seconds):
                pass
    host, port = host or settings.host, port or settings.port
    check_free(host, port)
    url = settings.public_url or (f"http://{host}:{port}" if in_sandbox else "")
    changes = {"BCL_PUBLIC_URL": url} if url else {}
    environment = {**read_environment(folder), **changes}
    places = (str(ROOT), environment.get("PYTHONPATH", ""))
    environment["PYTHONPATH"] = os.pathsep.join(place for place in places if place)
    if in_sandbox:
        _hold(folder)
        _introduce(folder, url)
    arguments = {
        "--interface": "wsgi",
        "--host": host,
        "--port": str(port),
        "--workers": str(settings.workers),
        "--blocking-threads": str(_THREADS_EMBEDDED if embedded else _THREADS),
        "--log-level": "warning",
        "--http": "1",
    }
    command = [
        sys.executable,
        "-m",
        "granian",
        *(part for pair in arguments.items() for part in pair),
    ]
    os.execve(sys.executable, [*command, "--no-ws", "wsgi:application"], environment)  # noqa: S606 - becomes the server


def _hold(folder: Path) -> None:
    """Hold a sandbox as long as this process lives, whatever program it becomes."""
    held = os.open(folder / VKEY_FILE, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_SH)
    os.set_inheritable(held, True)  # noqa: FBT003 - its own signature


def _introduce(folder: Path, url: str) -> None:
    """Tell where a sandbox is and what to try."""
    talk = Console(stderr=True, highlight=False)
    bcl = "./bcl" if Path.cwd() == ROOT else shlex.quote(str(ROOT / "bcl"))
    bcl += "" if folder == Path("var") else f" --folder {shlex.quote(str(folder))}"
    lines = (
        Text.assemble(
            ("Sandbox ledger", "bold"),
            f" {SANDBOX_ORIGIN} in {folder}/ ",
            ("(no real people)", "dim"),
        ),
        Text(f"  server     {url}   description {url}/docs"),
        Text(f"  log key    {read_vkey(folder)}"),
        Text.assemble(("To try", "bold"), ", in another terminal:"),
        *(Text(f"  {line}") for line in _list_trials(bcl, folder, url)),
        Text.assemble(
            f"  {bcl} worker   ",
            ("# runs on: lets held reports count once their window has passed", "dim"),
        ),
    )
    for line in lines:  # none of which may be broken: they are copied into a shell
        talk.print(line, soft_wrap=True)


def _list_trials(bcl: str, folder: Path, url: str) -> list[str]:
    """List the lines of shell that become a member and ask one question, in order."""
    private, public = (shlex.quote(str(folder / name)) for name in ("shop.jwk", "shop.jwks"))
    body = shlex.quote(json.dumps(_QUESTION, separators=(",", ":")))
    return [
        f"curl -s {url}/log/checkpoint",
        f"{bcl} key new {private} > {public}",
        (
            f"{bcl} platform enrol --id {_SHOP} --name Shop --group shop --jurisdiction SANDBOX "
            f"--jwks {public} --scope risk:read --scope incidents:read"
        ),
        f"TOKEN=$({bcl} token issue --id {_SHOP} --key {private} --url {url})",
        (
            f"curl -s {url}/v1/risk-assessments -H 'Content-Type: application/json' "
            f'-H "Authorization: Bearer $TOKEN" -d {body}'
        ),
    ]


@click.command()
@click.option("--once", is_flag=True, help="Do what is due and end.")
@click.option(
    "--disregard", multiple=True, metavar="NAME", help="A witness that isn't asked: it is wrong."
)
@click.pass_obj
def worker(folder: Path, once: bool, disregard: tuple[str, ...]) -> None:
    """Sequence what was accepted, publish and do the clock's work, until told to stop.

    On SQLite statements are sequenced as they are accepted. Where the settings name witnesses
    they are asked first how far they are: where one is ahead of the log the worker ends, and
    nothing is signed before enough of them answered.
    """
    settings = read_settings(folder)
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: stopping.append(received))
    with (
        open_own_ledger(folder, to_write=True, to_hear=True) as ledger,
        hearing(ledger, settings.witness_timeout_seconds, disregard) as publisher,
    ):
        if not once:
            publisher.start()
        expires_at = clock.now()
        while not stopping:
            began = clock.monotonic()
            try:
                now = clock.now()
                sequenced, done = sequence(ledger, now), 0
                if once or now >= expires_at:
                    done = expire_due(ledger, now)
                    expires_at = now if done else now + _EXPIRY_INTERVAL
                done += activate_due(ledger, now)
            except LedgerUnavailable as error:
                if once:
                    raise
                click.echo(f"bcl worker: {error}", err=True)
                sequenced = done = 0
            if once and not sequenced + done:
                publisher.publish()
                return
            publisher.check()
            if not done and sequenced < BATCH_MAX:  # few go together, and are signed together
                spent = clock.monotonic() - began
                clock.wait(max(0.0, settings.sequence_interval_seconds - spent))


@click.group()
def db() -> None:
    """Migrate, create and scrub the database of a ledger."""


@db.command("scrub")
@click.pass_obj
def scrub(folder: Path) -> None:
    """Rewrite what erased rows were stored in, and drop the write-ahead log that wrote them.

    On PostgreSQL nobody reaches the tables meanwhile. Prints what was done, and what keeps
    erased bytes all the same; exit 1 where a step wasn't allowed.
    """
    with open_own_ledger(folder, to_write=True) as ledger:
        again = destroy_again(ledger, clock.now())
        scrubbed = scrub_database(ledger.database)
    if again:
        click.echo(f"Destroyed again: the content of {again} erased statements, which was there.")
    for sentence in scrubbed.done:
        click.echo(sentence)
    for sentence in scrubbed.left:
        click.echo(f"Beyond reach: {sentence}", err=True)
    sys.exit(0 if scrubbed.complete else 1)


@db.command("upgrade")
@click.option(
    "--origin", metavar="NAME", help="Create the ledger of this name: a URL without scheme."
)
@click.option("--jurisdiction", metavar="CODE", help="The profile of a ledger to be created.")
@click.pass_obj
def upgrade(folder: Path, origin: str | None, jurisdiction: str | None) -> None:
    """Bring the schema to the newest revision and, with --origin, create the ledger.

    Prints what the ledger is. Repeating it changes nothing.
    """
    settings = read_settings(folder)
    read_keys(settings)
    if (origin is None) != (jurisdiction is None):
        raise InvalidInput("A ledger is created from an --origin and a --jurisdiction.")
    if jurisdiction is not None and jurisdiction not in list_jurisdictions():
        raise InvalidInput("There is no profile of this jurisdiction.")
    if settings.env == "production" and jurisdiction == "SANDBOX":
        raise InvalidInput("A sandbox is no ledger for production.")
    _make_home(settings)
    migrate(settings.database_url)
    try:
        ledger = open_with(settings)
    except LedgerUnavailable:
        if origin is None or jurisdiction is None:
            raise
        found_ledger(settings, origin=origin, jurisdiction=jurisdiction)
        ledger = open_with(settings)
    try:
        described = {
            "origin": ledger.origin,
            "jurisdiction": ledger.jurisdiction.code,
            "policy_version": next(one.version for one in list_policies(ledger) if one.in_force),
            "vkey": ledger.vkey,
        }
        if origin is not None and (origin, jurisdiction) != (
            ledger.origin,
            ledger.jurisdiction.code,
        ):
            raise InvalidInput("The database holds another ledger.")
        check_ready(ledger)  # which fails under keys that aren't this ledger's
    finally:
        ledger.database.engine.dispose()
    click.echo(json.dumps(described, indent=2))


def _make_home(settings: Settings) -> None:
    """Make the folder of an SQLite file."""
    if settings.database_url.startswith("sqlite:///"):
        Path(settings.database_url.removeprefix("sqlite:///")).parent.mkdir(
            parents=True, exist_ok=True
        )
