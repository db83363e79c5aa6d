"""How a witness is reached: one that sends a little now and then holds nobody for long.

These witnesses are bare sockets, for no server sends half an answer so patiently.
"""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

from ledger.errors import LedgerError, LedgerUnavailable
from ledger.log.checkpoint import Checkpoint, sign_checkpoint
from ledger.log.merkle import EMPTY_ROOT
from ledger.log.note import signer_from_seed
from ledger.log.witness import AddCheckpoint, Witness, parse_witness_key, witness_from_seed
from ledger_client.witnesses import WitnessConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = signer_from_seed("ledger.example/one", bytes(range(32)))
OFFER = AddCheckpoint(0, (), sign_checkpoint(Checkpoint(LOG.name, 0, EMPTY_ROOT), LOG))
TIMEOUT_SECONDS = 0.3
WITHIN_SECONDS = 10
FIRST = "HTTP/1.1 200 OK\r\n"
HINT = "HTTP/1.1 103 Early Hints\r\n\r\n"


class Dripper:
    """A witness that begins to answer and never ends. `held` counts the connections to it."""

    def __init__(self, first: str, drop: str) -> None:
        """Listen on a free port."""
        self.first, self.drop = first.encode(), drop.encode()
        self.held = 0
        self.called: SimpleQueue[None] = SimpleQueue()
        self.stopping = threading.Event()
        self.door = socket.create_server(("127.0.0.1", 0))
        self.door.settimeout(0.05)
        port = self.door.getsockname()[1]
        key = witness_from_seed(f"w.example/{port}", bytes(32)).vkey
        self.witness = Witness(parse_witness_key(key), f"http://127.0.0.1:{port}", "group")

    def serve(self) -> None:
        """Take every connection and drip into it."""
        while not self.stopping.is_set():
            with suppress(TimeoutError):
                line, _ = self.door.accept()
                threading.Thread(target=self._drip, args=(line,), daemon=True).start()

    def _drip(self, line: socket.socket) -> None:
        self.held += 1
        self.called.put(None)
        with line, suppress(OSError):
            line.sendall(self.first)
            while not self.stopping.wait(0.05):
                line.sendall(self.drop)


@contextmanager
def dripping(first: str, drop: str) -> Iterator[Dripper]:
    dripper = Dripper(first, drop)
    thread = threading.Thread(target=dripper.serve)
    thread.start()
    try:
        yield dripper
    finally:
        dripper.stopping.set()
        thread.join()
        dripper.door.close()


@pytest.fixture
def connection() -> Iterator[WitnessConnection]:
    """Give connections that don't wait for long."""
    connection = WitnessConnection(TIMEOUT_SECONDS)
    yield connection
    connection.close()


def start(connection: WitnessConnection, witness: Witness) -> SimpleQueue[LedgerError]:
    """Ask on a thread of its own, and give where its refusal will be put."""
    told: SimpleQueue[LedgerError] = SimpleQueue()

    def ask() -> None:
        try:
            connection.ask(witness, OFFER)
        except LedgerError as refusal:
            told.put(refusal)

    threading.Thread(target=ask, daemon=True).start()
    return told


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        pytest.param("", HINT, id="hints"),
        pytest.param(FIRST, "x: y\r\n", id="headers"),
        pytest.param(FIRST + "Content-Length: 60000\r\n\r\n", "a", id="body"),
        pytest.param(FIRST + "\r\n", "a", id="body-without-end"),
    ],
)
def test_witness_that_drips_is_cut_off_when_its_time_is_up_and_asked_again(
    connection: WitnessConnection, first: str, drop: str
) -> None:
    with dripping(first, drop) as dripper:
        for times in (1, 2):
            refusal = start(connection, dripper.witness).get(timeout=WITHIN_SECONDS)
            assert (type(refusal), refusal.detail) == (LedgerUnavailable, "it gave no answer.")
            assert dripper.held == times


def test_witness_is_asked_one_thing_at_a_time_and_closing_ends_it() -> None:
    connection = WitnessConnection(60)
    with dripping("", HINT) as dripper:
        first = start(connection, dripper.witness)
        dripper.called.get(timeout=WITHIN_SECONDS)
        second = start(connection, dripper.witness).get(timeout=WITHIN_SECONDS)
        assert (type(second), dripper.held) == (LedgerUnavailable, 1)
        with dripping("", "") as other:
            start(connection, other.witness)
            other.called.get(timeout=WITHIN_SECONDS)
        connection.close()
        assert isinstance(first.get(timeout=WITHIN_SECONDS), LedgerUnavailable)
