"""How a member's commands reach a ledger: another's server, the member's key, the log's key.

It knows nothing of settings or databases, so that an installed package can do all of it. Without
a --vkey it takes the one that a sandbox keeps in its folder.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ledger.errors import InvalidInput, InvalidJwk, InvalidNote, MalformedJson
from ledger.identity.key import load_private
from ledger.log.note import parse_vkey
from ledger.log.witness import parse_witness_policy
from ledger.strict_json import parse_json
from ledger_client.client import Client
from ledger_client.errors import Unreachable
from ledger_client.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ledger.log.witness import WitnessPolicy

VKEY_FILE = "vkey"
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_URL = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class Membership:
    """As whom a command speaks to which ledger."""

    url: str
    member: str
    key: Mapping[str, str] = field(repr=False)
    vkey: str

    @contextmanager
    def connect(self, journal: Path | None = None) -> Iterator[Client]:
        """Connect to the ledger. *Raises*: Unreachable, which names where it was tried."""
        with Client(
            self.url,
            vkey=self.vkey,
            platform=self.member,
            key=self.key,
            journal=Journal(journal) if journal else None,
        ) as client:
            try:
                yield client
            except Unreachable as error:
                raise Unreachable(f"{error} It was tried at {self.url}.") from error


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


def check_vkey(context: click.Context, option: click.Parameter, vkey: str | None) -> str | None:
    """Check an option that is a verifier key. *Raises*: BadParameter."""
    try:
        if vkey is not None:
            parse_vkey(vkey)
    except InvalidNote as error:
        told = error.detail
        with suppress(OSError, ValueError):  # what can't be a path at all is no file
            if Path(vkey or "").is_file():
                told = "It takes the key itself, not a file that holds it."
        raise click.BadParameter(told, context, option) from error
    return vkey


def read_vkey(folder: Path) -> str:
    """Read the verifier key of a folder's sandbox. *Raises*: InvalidInput."""
    try:
        return (folder / VKEY_FILE).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"There is no sandbox in {folder.absolute()}: name the log's --vkey, or the sandbox's "
            "folder by `bcl --folder DIR`."
        ) from error


def read_json(path: Path) -> object:
    """Read a file of JSON, or standard input for "-". *Raises*: MalformedJson, with its name."""
    raw = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    try:
        return parse_json(raw)
    except MalformedJson as error:
        raise MalformedJson(f"{path}: {error.detail}") from error


def read_witness_policy(path: Path | None) -> WitnessPolicy | None:
    """Read a file that names witnesses, where there is one. *Raises*: InvalidInput."""
    if path is None:
        return None
    try:
        return parse_witness_policy(path.read_text("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidInput("The policy of witnesses isn't text.") from error


def read_private_jwk(path: Path) -> dict[str, str]:
    """Read a platform's private JWK. *Raises*: InvalidJwk, MalformedJson."""
    value = read_json(path)
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise InvalidJwk("The key file doesn't hold one private JWK.")
    private = {str(name): str(one) for name, one in value.items()}
    load_private(private)
    return private


def write_secret(path: Path, text: str) -> None:
    """Write a new file that its owner alone may read. *Raises*: UsageError where it exists."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise click.UsageError(f"{path} can't be created: {error.strerror}.") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
