"""`key new`: a platform's signing key, or the secrets of a ledger."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cli.checkout import load_operator
from cli.errors import AskedWrongly
from cli.membership import read_private_jwk, write_secret
from ledger.errors import InvalidInput
from ledger.identity.key import Algorithm, generate_signing_jwk, parse_jwk, public_jwk


@click.group()
def key() -> None:
    """Generate keys."""


@key.command("new")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--algorithm",
    type=click.Choice([one.value for one in Algorithm]),
    help=f"By which algorithm the key signs.  [default: {Algorithm.ED25519.value}]",
)
@click.option(
    "--ledger",
    is_flag=True,
    help="Make FILE a folder with the six secrets of a ledger. Needs a checkout.",
)
def new(file: Path, algorithm: str | None, ledger: bool) -> None:
    """Generate a platform's signing key: private to FILE, public to standard output.

    Where FILE holds a key already it stays as it is, and its public half is printed again.
    """
    if ledger:
        _make_ledger_keys(file)
        return
    is_there = file.is_file()
    if is_there:
        private = read_private_jwk(file)
    else:
        private = generate_signing_jwk(Algorithm(algorithm or Algorithm.ED25519))
        write_secret(file, json.dumps(private))
    kid, signs, public = parse_jwk(public_jwk(private))
    if algorithm not in {None, signs.value}:
        raise AskedWrongly(f"{file} holds a key for {signs.value}; keys are never overwritten.")
    if is_there:
        click.echo(f"bcl: the key in {file} exists; its public half follows.", err=True)
    described = {**public, "kid": kid, "alg": signs.value, "use": "sig"}
    click.echo(json.dumps({"keys": [described]}, indent=2))


def _make_ledger_keys(folder: Path) -> None:
    """Make the secrets of a ledger and print the settings that name them."""
    opening = load_operator("cli.opening", "bcl key new --ledger")
    if folder.exists():
        raise InvalidInput("The folder exists already; secrets are never overwritten.")
    opening.write_ledger_keys(folder)
    for path in sorted(folder.resolve().iterdir()):
        click.echo(f"BCL_{path.name.upper()}_FILE={path}")
