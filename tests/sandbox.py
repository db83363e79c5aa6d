"""Commands and sandboxes for tests: how they are run, what they tell, what their log signs with."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
from click.testing import CliRunner
from conftest import ROOT

from cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

SECRETS = ("LOG_KEY", "EVENT_KEY", "ACCESS_KEY", "WRAP_KEY", "INDEX_KEY", "TAG_KEY")
PRIVATE = "13800000001"  # what no refusal may repeat


def run(folder: Path | str, *arguments: str, given: bytes = b"") -> Result:
    """Run a command in this process. Whatever happens, it ends without a traceback."""
    result = CliRunner().invoke(main, ["--folder", str(folder), *arguments], input=given)
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


def told(result: Result) -> Any:
    """Read the JSON that a command ended well with; nothing else may stand beside it."""
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def enrol(folder: Path, uri: str, jwks: Path, *options: str) -> Result:
    """Enrol a platform with every usual option."""
    who = ("--id", uri, "--name", "Shop", "--group", uri, "--jurisdiction", "SANDBOX")
    scopes = ("--scope", "risk:read", "--scope", "incidents:read")
    return run(folder, "platform", "enrol", *who, "--jwks", str(jwks), *scopes, *options)


def environment() -> dict[str, str]:
    """Give this process's environment without any setting of a ledger."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("BCL_")}
    return {**kept, "PYTHONPATH": str(ROOT)}


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Run `bcl serve` in an empty working folder until the block ends; give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "cli", "--folder", str(folder), "serve", "--port", str(port)]
    log = folder.parent / f"{port}.err"
    with log.open("wb") as talk, (folder.parent / f"{port}.out").open("wb") as output:
        server = subprocess.Popen(
            command, cwd=folder.parent, env=environment(), stdout=output, stderr=talk
        )
    try:
        for _ in range(400):
            time.sleep(0.05)
            assert server.poll() is None, log.read_text()
            try:
                if httpx.get(f"{url}/readyz").is_success:
                    break
            except httpx.TransportError:
                continue
        yield url
    finally:
        server.terminate()
        server.wait(10)


def log_jwk(vkey: str, seed: bytes) -> dict[str, str]:
    """Give a log's private key as a JWK, with which its ledger signs statuses."""
    x = base64.b64decode(vkey.split("+", 2)[2])[1:]
    public, private = (base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in (x, seed))
    return {"kty": "OKP", "crv": "Ed25519", "x": public, "d": private}
