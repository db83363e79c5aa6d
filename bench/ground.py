"""What a benchmark stands on: a migrated ledger with reports in it, a real server, its CPU time.

CPU time is that of whole processes (server, and PostgreSQL where it is used), read from /proc, so
that what the client spends isn't counted and a busy machine matters little.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from conftest import ROOT, migrate
from postgres import run_postgres
from reports import claim
from simulator import RemoteSimulator, Simulator, create_keys, phone_and_device, render_question
from sqlalchemy import create_engine, text

from config.settings import environment_with
from ledger.creating import create_ledger
from ledger.identity.identifier import Kind
from ledger.identity.key import encode_base64url
from ledger.ledger import open_ledger
from ledger.reporting import accept_event
from ledger.rights.jurisdiction import parse_profiles
from ledger.sequencing import sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ledger.identity.identifier import IdentifierClaim
    from ledger.ledger import Ledger, LedgerKeys

_UP_WITHIN_SECONDS = 30
_BATCH = 200


@contextmanager
def open_database(backend: str) -> Iterator[str]:
    """Give the address of a migrated database on a real disk file, or on a real PostgreSQL."""
    if backend == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/ledger.sqlite"
            migrate(url)
            yield url
        return
    with run_postgres(durable=True) as address:
        engine = create_engine(address.format("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("CREATE DATABASE bench"))
        engine.dispose()
        url = address.format("bench")
        migrate(url)
        yield url


@contextmanager
def found_ledger(url: str, keys: LedgerKeys) -> Iterator[Ledger]:
    """Create and open a sandbox ledger."""
    profiles = parse_profiles((ROOT / "config" / "jurisdictions.toml").read_text("utf-8"))
    create_ledger(
        url,
        keys,
        profiles,
        origin="ledger.example/bench",
        jurisdiction="SANDBOX",
        policy_text=(ROOT / "config" / "policy.toml").read_text("utf-8"),
        at=datetime.now(UTC),
    )
    ledger = open_ledger(url, keys, profiles)
    try:
        yield ledger
    finally:
        ledger.database.engine.dispose()


def identifiers_of(person: int) -> tuple[IdentifierClaim, ...]:
    """Claim a verified phone, a device and an address that three people share."""
    return (*phone_and_device(str(person)), claim(Kind.ADDR, f"home {person // 3}"))


def fill(platform: Simulator, accounts: int) -> None:
    """Report one confirmed incident for each of some accounts."""
    now = datetime.now(UTC)
    for person in range(accounts):
        token = platform.sign(platform.incident(str(person), identifiers_of(person), now))
        accept_event(platform.ledger, token, now)
        if person % _BATCH == 0 and not platform.ledger.database.embedded:
            sequence(platform.ledger, now)
    while sequence(platform.ledger, now):
        pass
    if not platform.ledger.database.embedded:  # what autovacuum does where a server lives longer
        with platform.ledger.database.engine.connect() as connection:
            connection.execute(text("ANALYZE"))
            connection.commit()


def create_secrets() -> LedgerKeys:
    """Create the secrets of a ledger."""
    return create_keys()


def render_environment(url: str, keys: LedgerKeys) -> dict[str, str]:
    """Render the settings of a server process."""
    changes = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(ROOT / "bench")]),
        "BCL_DATABASE_URL": url,
        "BCL_LOG_KEY": encode_base64url(keys.log_key),
        "BCL_WRAP_KEY": encode_base64url(keys.wrap_key),
        "BCL_INDEX_KEY": encode_base64url(keys.index_key),
        "BCL_TAG_KEY": encode_base64url(keys.tag_key),
        "BCL_EVENT_KEY": json.dumps(dict(keys.event_key)),
        "BCL_ACCESS_KEY": json.dumps(dict(keys.access_key)),
    }
    return environment_with(changes)


@contextmanager
def run_server(target: str, environment: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Run granian with one worker and one thread; give its address and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws", "--http", "1"]
    command += ["--workers", "1", "--blocking-threads", "1", "--log-level", "warning"]
    server = subprocess.Popen([*command, "--port", str(port), target], env=environment, cwd=ROOT)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + _UP_WITHIN_SECONDS
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{url}/healthz").raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url, server.pid
    finally:
        server.terminate()
        server.wait()


def cpu_seconds(roots: list[int]) -> float:
    """Give the CPU time of processes and all their descendants alive, of every thread."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    total, pending = 0, list(roots)
    while pending:
        process = pending.pop()
        pending += children.get(process, [])
        for thread in Path(f"/proc/{process}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def find_postgres() -> list[int]:
    """Find the PostgreSQL servers that this process started."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            name = (entry / "comm").read_text().strip()
        except (OSError, IndexError):
            continue
        if name == "postgres" and int(fields[1]) == os.getpid():
            found.append(int(entry.name))
    return found


def new_order() -> str:
    """Name an order that was never asked about."""
    return secrets.token_hex(8)


def describe_machine() -> str:
    """Say in one line what is measured on."""
    cores = len(os.sched_getaffinity(0))
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, {cores} cores, Python {sys.version.split()[0]}"


@contextmanager
def serve_filled(
    backend: str, accounts: int, fill: Callable[[Simulator, int], None] = fill
) -> Iterator[tuple[Simulator, httpx.Client, dict[str, str], int]]:
    """Serve a ledger in which some accounts bear an incident each.

    *Shape*: a member that asks, a client, its access header, and the server's process. The server
    has the no-op route too.
    """
    keys = create_secrets()
    with open_database(backend) as url, found_ledger(url, keys) as ledger:
        reporter, asker = Simulator(ledger, "shop-a"), Simulator(ledger, "shop-b")
        for platform in (reporter, asker):
            platform.enrol(datetime.now(UTC))
        fill(reporter, accounts)
        with (
            run_server("noop:application", render_environment(url, keys)) as (address, server),
            httpx.Client(base_url=address, timeout=60) as http,
        ):
            yield asker, http, RemoteSimulator(asker, http).get_access(datetime.now(UTC)), server


def draw_questions(
    asker: Simulator, accounts: int, first: int, number: int, *, one_in: int = 2
) -> list[Any]:
    """Draw questions of orders never asked about, one in so many about a buyer with a record."""
    people = [
        accounts + place if place % one_in else place // one_in * 7919 % accounts
        for place in range(first, first + number)
    ]
    return [
        render_question(asker.request(str(one), identifiers_of(one), order=new_order()))
        for one in people
    ]
