"""How the operator's commands reach their own ledger: by the settings, in its database.

It knows where a sandbox keeps its things: `keys/` with one file for each secret, `ledger.sqlite`
and `vkey`, all in one folder.
"""

from __future__ import annotations

import json
import secrets
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from cli import clock
from cli.checkout import ROOT
from cli.errors import AskedWrongly
from cli.membership import VKEY_FILE, write_secret
from config.settings import KEYS_FOLDER, SettingsError, load_environment, read_config
from ledger.checking import check_ready
from ledger.creating import create_ledger
from ledger.errors import LedgerUnavailable
from ledger.identity.key import Algorithm, encode_base64url, generate_signing_jwk
from ledger.ledger import LedgerKeys, open_ledger, parse_keys
from ledger.log.witness import parse_witness_policy
from ledger.rights.jurisdiction import parse_profiles
from ledger.store.engine import check_reachable, open_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from config.settings import Settings
    from ledger.ledger import Ledger
    from ledger.log.witness import WitnessPolicy

SANDBOX_ORIGIN = "localhost/sandbox"
_PROFILES = "jurisdictions.toml"
_SECRET_BYTES = 32


@contextmanager
def open_own_ledger(folder: Path, *, to_write: bool, to_hear: bool = False) -> Iterator[Ledger]:
    """Open the ledger that the settings or the folder's sandbox name.

    *Shape*: `to_write` asks first whether the ledger is ready, so that nothing is written, let
    alone signed, under keys that aren't its own; `to_hear` says that the witnesses are asked next,
    whatever they said before. *Raises*: AskedWrongly, LedgerUnavailable,
    LedgerCorrupt where it isn't ready.
    """
    settings = read_settings(folder)
    if settings.env != "production" and _names_none(settings, folder):
        raise AskedWrongly(
            f"There is no sandbox in {folder.absolute()}, and the settings name no ledger. "
            "`bcl --folder DIR` names another folder, and `bcl serve` makes a sandbox."
        )
    ledger = open_with(settings)
    try:
        if to_write:
            check_ready(ledger, hears_next=to_hear)
        yield ledger
    finally:
        ledger.database.engine.dispose()


def _names_none(settings: Settings, folder: Path) -> bool:
    """Tell whether there is neither a sandbox in the folder nor any secret."""
    is_given = any(getattr(settings, one.name) for one in fields(LedgerKeys))
    return not is_given and not (folder / KEYS_FOLDER).is_dir()


def read_settings(folder: Path) -> Settings:
    """Read the settings of this process, or of the folder's sandbox. *Raises*: AskedWrongly."""
    try:
        return load_environment(folder)
    except SettingsError as error:
        raise AskedWrongly(str(error)) from error


def read_keys(settings: Settings) -> LedgerKeys:
    """Read the six secrets. *Raises*: AskedWrongly naming all that are missing, InvalidInput."""
    try:
        return parse_keys(**settings.require_keys())
    except SettingsError as error:
        raise AskedWrongly(str(error)) from error


def open_with(settings: Settings) -> Ledger:
    """Open the ledger that settings name. *Raises*: AskedWrongly, LedgerUnavailable."""
    keys = read_keys(settings)
    profiles = parse_profiles(read_config(_PROFILES))
    return open_ledger(settings.database_url, keys, profiles, read_witnesses(settings))


def read_witnesses(settings: Settings) -> WitnessPolicy | None:
    """Read the policy of witnesses that settings name. *Raises*: AskedWrongly, InvalidInput."""
    try:
        text = settings.read_witness_policy()
    except SettingsError as error:
        raise AskedWrongly(str(error)) from error
    return None if text is None else parse_witness_policy(text)


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
    """Create a ledger in a migrated database. *Raises*: AskedWrongly, InvalidInput, Conflict."""
    create_ledger(
        settings.database_url,
        read_keys(settings),
        parse_profiles(read_config(_PROFILES)),
        origin=origin,
        jurisdiction=jurisdiction,
        policy_text=read_config("policy.toml"),
        at=clock.now(),
        witnesses=read_witnesses(settings),
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
    settings = read_settings(folder)
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
