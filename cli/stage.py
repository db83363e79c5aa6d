"""What the demonstration stands on: two shops with real keys, a buyer, a server, an intruder.

Everything is the real thing: keys are generated, the server is a process of its own, commands
run as processes, and the intruder changes a bit of the database file itself.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import click
import httpx
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cli import clock
from cli.checkout import ROOT
from cli.membership import write_secret
from cli.opening import open_own_ledger
from config.settings import environment_with
from ledger.enrolling import enrol_platform
from ledger.identity.identifier import (
    AccountRef,
    Binding,
    Bucket,
    IdentifierClaim,
    Kind,
    demo_token,
)
from ledger.identity.key import Algorithm, generate_signing_jwk, parse_jwk, public_jwk
from ledger.identity.platform import SCOPES
from ledger.incident.incident import (
    PROOF_STANDARD,
    EvidenceItem,
    IncidentReport,
    LegalBasis,
    Money,
    Notice,
    Proof,
)
from ledger.incident.taxonomy import (
    Actor,
    Conduct,
    Consequence,
    EvidenceKind,
    EvidenceSource,
    LegalBasisKind,
    NoticeChannel,
    ProofLevel,
)
from ledger.risk.advice import Purpose
from ledger_client.client import Client
from ledger_client.question import Question, commit_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

_UP_WITHIN_SECONDS = 30.0
_OK = 200


@dataclass(frozen=True, slots=True)
class Shop:
    """A member of the demonstration."""

    uri: str
    key: dict[str, str]
    order_salt: bytes

    def connect(self, url: str, vkey: str) -> Client:
        """Connect to the ledger as this shop."""
        return Client(url, vkey=vkey, platform=self.uri, key=self.key)

    def question(self, account: str, claims: Sequence[IdentifierClaim], order: str) -> Question:
        """Put a question about a refund-only claim of an own account."""
        today = clock.now().date()
        return Question(
            account=AccountRef(self.uri, account),
            identifiers=tuple(claims),
            purpose=Purpose.REFUND_ONLY_CLAIM,
            order_commitment=commit_order(self.order_salt, order=order, account=account, day=today),
            claim_code="not_as_described",
            amount=Money(12990, "CNY"),
            client_reference=f"claim on {order}",
        )

    def report(
        self, account: str, claims: Sequence[IdentifierClaim], number: int, conduct: Conduct
    ) -> IncidentReport:
        """State a forged claim that a person decided after the buyer was heard."""
        now = clock.now().replace(microsecond=0)
        ended = now - timedelta(hours=20)
        return IncidentReport(
            issuer=self.uri,
            jti=f"claim-{number}-report",
            txn=f"claim-{number}",
            issued_at=now,
            event_at=now,
            account=AccountRef(self.uri, account),
            identifiers=tuple(claims),
            conduct=conduct,
            actor=Actor.FIRST_PARTY,
            conduct_ended_at=ended,
            confirmed_at=now - timedelta(hours=2),
            amount=Money(12990, "CNY"),
            jurisdiction="SANDBOX",
            legal_basis=LegalBasis(LegalBasisKind.CONSENT, f"consent-{number}"),
            proof=Proof(
                standard=PROOF_STANDARD,
                level=ProofLevel.D,
                evidence=(
                    _evidence(EvidenceKind.CLAIM_PHOTO, EvidenceSource.BUYER, number),
                    _evidence(EvidenceKind.PACKING_VIDEO, EvidenceSource.MERCHANT, number),
                ),
                human_decision=True,
                buyer_heard=True,
                merchant_heard=True,
                consequence=Consequence.REFUND_REFUSED,
                appeal_window_ended_at=now - timedelta(hours=3),
            ),
            notice=Notice(
                sent_at=ended + timedelta(hours=2),
                channel=NoticeChannel.APP,
                proof_digest=_digest("notice", number),
                response_until=now - timedelta(hours=4),
                dispute_code_digest=_digest("dispute code", number),
            ),
            claim_code="not_as_described",
            series=None,
        )


def _digest(what: str, number: int) -> bytes:
    return hashlib.sha256(f"{what} {number}".encode()).digest()


def _evidence(kind: EvidenceKind, source: EvidenceSource, number: int) -> EvidenceItem:
    return EvidenceItem(kind, source, _digest(kind.value, number), None)


def claim(kind: Kind, value: str, binding: Binding, here: Bucket = Bucket.ONE) -> IdentifierClaim:
    """Blind a made-up value with the demonstration's public key and say how it is bound."""
    return IdentifierClaim(demo_token(kind, value), binding, None, here)


def enrol_shop(folder: Path, name: str) -> Shop:
    """Enrol a shop with a fresh key, which is kept in the folder too."""
    key = generate_signing_jwk(Algorithm.ES256)
    write_secret(folder / f"{name}.jwk", json.dumps(key))
    uri = f"https://{name}.example"
    with open_own_ledger(folder, to_write=True) as ledger:
        enrol_platform(
            ledger,
            uri=uri,
            name=name,
            group=name,
            jurisdictions=("SANDBOX",),
            scopes=sorted(SCOPES),
            keys=(parse_jwk(public_jwk(key)),),
            at=clock.now(),
        )
    return Shop(uri, key, secrets.token_bytes(32))


def run_bcl(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `bcl` as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "cli", "--folder", str(folder), *arguments],
        env=environment_with({"PYTHONPATH": str(ROOT), "NO_COLOR": "1"}),
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def run_server(folder: Path, console: Console) -> Iterator[str]:
    """Run the real server on a free loopback port until the block ends; give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "cli", "--folder", str(folder), "serve", "--port", str(port)]
    with (folder / "server.log").open("wb") as output:
        server = subprocess.Popen(
            command,
            env=environment_with({"PYTHONPATH": str(ROOT)}),
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
    try:
        _wait_until_up(server, url, console)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until_up(server: subprocess.Popen[bytes], url: str, console: Console) -> None:
    """Wait behind a progress bar until the server says that it is ready."""
    columns = (TextColumn("   starting the server"), BarColumn(), TimeElapsedColumn())
    started = clock.monotonic()
    unseen = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=unseen) as progress:
        bar = progress.add_task("starting", total=_UP_WITHIN_SECONDS)
        while (waited := clock.monotonic() - started) < _UP_WITHIN_SECONDS:
            progress.update(bar, completed=waited)
            try:
                if httpx.get(f"{url}/readyz").status_code == _OK:
                    return
            except httpx.TransportError:
                pass
            if server.poll() is not None:
                break
            clock.wait(0.05)
    raise click.ClickException("The server didn't start: see server.log in the demo's folder.")


def flip_bit(database: Path, index: int) -> None:
    """Flip one bit of an entry's commitment in the database file, past every trigger."""
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    row = connection.execute('SELECT entry FROM log_entry WHERE "index" = ?', (index,)).fetchone()
    connection.close()
    content = database.read_bytes()
    if row is None or content.count(row[0]) != 1:
        raise click.ClickException("The entry isn't where it was expected in the database file.")
    place = content.index(row[0]) + len(row[0]) - 1
    with database.open("r+b") as file:
        file.seek(place)
        file.write(bytes([content[place] ^ 1]))
