"""How commands reach a ledger: the operator's own database, or another's server as a member.

It knows where a sandbox keeps its things: `keys/` with one file for each secret, `ledger.sqlite`
and `vkey`, all in one folder.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING

import click
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from cli import clock
from config.settings import KEYS_FOLDER, load_environment, read_config
from ledger.checking import check_ready
from ledger.creating import create_ledger
from ledger.errors import InvalidInput, InvalidJwk, InvalidNote, LedgerUnavailable
from ledger.identity.key import Algorithm, encode_base64url, generate_signing_jwk, public_jwk
from ledger.ledger import LedgerKeys, open_ledger, parse_keys
from ledger.log.note import parse_vkey
from ledger.rights.jurisdiction import parse_profiles
from ledger.store.engine import check_reachable, open_database
from ledger.strict_json import parse_json
from ledger_client.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from config.settings import Settings
    from ledger.ledger import Ledger

ROOT = Path(__file__).resolve().parent.parent
VKEY_FILE = "vkey"
SANDBOX_ORIGIN = "localhost/sandbox"
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_PROFILES = "jurisdictions.toml"
_URL = "http://127.0.0.1:8080"
_SECRET_BYTES = 32


@contextmanager
def open_own_ledger(folder: Path, *, to_write: bool) -> Iterator[Ledger]:
    """Open the ledger that the settings or the folder's sandbox name.

    *Shape*: `to_write` asks first whether the ledger is ready, so that nothing is written, let
    alone signed, under keys that aren't its own. *Raises*: SettingsError, LedgerUnavailable,
    LedgerCorrupt where it isn't ready.
    """
    settings = load_environment(folder)
    ledger = open_with(settings)
    try:
        if to_write:
            check_ready(ledger)
        yield ledger
    finally:
        ledger.database.engine.dispose()


def open_with(settings: Settings) -> Ledger:
    """Open the ledger that settings name. *Raises*: SettingsError, LedgerUnavailable."""
    keys = parse_keys(**settings.require_keys())
    return open_ledger(settings.database_url, keys, parse_profiles(read_config(_PROFILES)))


def list_jurisdictions() -> frozenset[str]:
    """List the jurisdictions that a ledger may be created in."""
    return frozenset(parse_profiles(read_config(_PROFILES)))


def migrate(database_url: str) -> None:
    """Bring a database's schema to the newest revision. *Raises*: LedgerUnavailable."""
    database = open_database(database_url)
    try:
        check_reachable(database)
    finally:
        database.engine.dispose()
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.set_main_option("sqlalchemy.url", database_url.replace("%", "%%"))
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise LedgerUnavailable("The database's schema is of another release.") from error


def found_ledger(settings: Settings, *, origin: str, jurisdiction: str) -> None:
    """Create a ledger in a migrated database. *Raises*: SettingsError, InvalidInput, Conflict."""
    create_ledger(
        settings.database_url,
        parse_keys(**settings.require_keys()),
        parse_profiles(read_config(_PROFILES)),
        origin=origin,
        jurisdiction=jurisdiction,
        policy_text=read_config("policy.toml"),
        at=clock.now(),
    )


def prepare_sandbox(folder: Path) -> bool:
    """Create what a sandbox in this folder still lacks; tell whether there was none before.

    Dying between two steps leaves a sandbox that the next call completes.
    """
    if not (folder / KEYS_FOLDER).is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        half = folder / f"{KEYS_FOLDER}.{secrets.token_hex(4)}"
        write_ledger_keys(half)
        half.rename(folder / KEYS_FOLDER)
    settings = load_environment(folder)
    migrate(settings.database_url)
    is_new = False
    try:
        ledger = open_with(settings)
    except LedgerUnavailable:
        found_ledger(settings, origin=SANDBOX_ORIGIN, jurisdiction="SANDBOX")
        ledger = open_with(settings)
        is_new = True
    (folder / VKEY_FILE).write_text(f"{ledger.vkey}\n", "utf-8")
    ledger.database.engine.dispose()
    return is_new


def write_ledger_keys(folder: Path) -> None:
    """Generate the six secrets of a ledger into a new folder, one file each."""
    folder.mkdir(mode=0o700)
    for one in fields(LedgerKeys):
        if one.name in {"event_key", "access_key"}:
            text = json.dumps(generate_signing_jwk(Algorithm.ED25519))
        else:
            text = encode_base64url(secrets.token_bytes(_SECRET_BYTES))
        write_secret(folder / one.name, text)


def write_secret(path: Path, text: str) -> None:
    """Write a new file that its owner alone may read. *Raises*: UsageError where it exists."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise click.UsageError(f"{path} can't be created: {error.strerror}.") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")


def read_private_jwk(path: Path) -> dict[str, str]:
    """Read a platform's private JWK. *Raises*: InvalidJwk, MalformedJson."""
    value = parse_json(path.read_bytes())
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise InvalidJwk("The key file doesn't hold one private JWK.")
    private = {str(name): str(one) for name, one in value.items()}
    public_jwk(private)
    return private


@dataclass(frozen=True, slots=True)
class Membership:
    """As whom a command speaks to which ledger."""

    url: str
    member: str
    key: Mapping[str, str] = field(repr=False)
    vkey: str

    def connect(self) -> Client:
        """Connect to the ledger."""
        return Client(self.url, vkey=self.vkey, platform=self.member, key=self.key)


def check_vkey(context: click.Context, option: click.Parameter, vkey: str | None) -> str | None:
    """Check an option that is a verifier key. *Raises*: BadParameter."""
    try:
        if vkey is not None:
            parse_vkey(vkey)
    except InvalidNote as error:
        raise click.BadParameter(error.detail, context, option) from error
    return vkey


def as_member(run: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a membership to a command and give it one as its first argument."""

    def run_as(
        folder: Path, /, url: str, member: str, key: Path, vkey: str | None, **rest: object
    ) -> None:
        run(Membership(url, member, read_private_jwk(key), vkey or read_vkey(folder)), **rest)

    update_wrapper(run_as, run)  # which carries the command's own options along
    command: Callable[..., None] = click.pass_obj(run_as)
    for option in (
        click.option(
            "--vkey",
            metavar="V",
            callback=check_vkey,
            help="The log's verifier key.  [default: the sandbox folder's]",
        ),
        click.option("--key", required=True, type=FILE, help="The file of the private JWK."),
        click.option("--id", "member", required=True, metavar="URL", help="The platform's name."),
        click.option("--url", default=_URL, show_default=True, help="Where the ledger is reached."),
    ):
        command = option(command)
    return command


def read_vkey(folder: Path) -> str:
    """Read the verifier key of a folder's sandbox. *Raises*: InvalidInput."""
    try:
        return (folder / VKEY_FILE).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"There is no sandbox in {folder}: name the log's --vkey.") from error
