"""Where a server is about to listen: nobody else may listen there."""

from __future__ import annotations

import socket

import click


def check_free(host: str, port: int) -> None:
    """Check that nobody listens there: the server itself would share the port with another.

    *Raises*: ClickException.
    """
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        told = f"{host}:{port} can't be listened on ({error.strerror})"
        message = f"{told}: choose another --port or --host."
        raise click.ClickException(message) from error
