"""The server of a witness, as real processes: what it answers, and that no death makes it forget.

Logs here are trees of a few leaves with keys of their own; a forked log is one with another leaf.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
from crash_launcher import Moment, Plan
from crash_stage import Stage
from sandbox import run

from ledger.log.checkpoint import Checkpoint, sign_checkpoint
from ledger.log.merkle import consistency_proof, leaf_hash, root_hash
from ledger.log.note import signer_from_seed
from ledger.log.witness import (
    AddCheckpoint,
    Witness,
    parse_witness_key,
    read_cosignature,
    render_request,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from ledger.log.note import NoteSigner

LOG = signer_from_seed("ledger.example/one", bytes(range(32)))
OTHER_LOG = signer_from_seed("ledger.example/two", bytes(range(32)))
NAME = "w.example/witness"
LEAVES = [leaf_hash(bytes([n])) for n in range(40)]
FORK = [*LEAVES[:5], leaf_hash(b"other"), *LEAVES[6:]]
SAVED = "INSERT INTO cosigned"
WITHIN_SECONDS = 15


def note_of(size: int, leaves: list[bytes] | None = None, signer: NoteSigner = LOG) -> str:
    root = root_hash((leaves or LEAVES)[:size])
    return sign_checkpoint(Checkpoint(signer.name, size, root), signer)


def request(old: int, size: int, leaves: list[bytes] | None = None) -> bytes:
    known = leaves or LEAVES
    proof = consistency_proof(known[:size], old) if 0 < old < size else ()
    return render_request(AddCheckpoint(old, proof, note_of(size, known)))


@dataclass
class Running:
    """A witness that runs, or was killed."""

    stage: Stage
    home: Path
    vkey: str
    url: str = ""
    process: BaseProcess | None = None

    def start(self) -> None:
        """Serve on a free port and wait until it answers."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.process = self.stage.start("witness", "serve", str(self.home), "--port", str(port))
        deadline = time.monotonic() + WITHIN_SECONDS
        while time.monotonic() < deadline and self.process.is_alive():
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/").status_code == 404:
                    return
            time.sleep(0.02)
        raise AssertionError(self.stage.read_log())

    def send(self, raw: bytes) -> httpx.Response:
        """Send a request."""
        return httpx.post(f"{self.url}/add-checkpoint", content=raw, timeout=WITHIN_SECONDS)

    def check(self, answer: httpx.Response, size: int) -> None:
        """Check that an answer cosigns our log at a size."""
        assert answer.status_code == 200, answer.text
        witness = Witness(parse_witness_key(self.vkey), self.url, "")
        body = note_of(size).partition("\n\n")[0] + "\n"
        read_cosignature(answer.text, body, witness)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """Give a witness of one log, which serves already."""
    home = tmp_path / "witness"
    made = run(tmp_path, "witness", "new", str(home), "--name", NAME, "--log", LOG.vkey)
    assert made.exit_code == 0, made.stderr
    stage = Stage({}, tmp_path, embedded=True)
    running = Running(stage, home, made.stdout.strip())
    try:
        running.start()
        yield running
    finally:
        stage.clear()


def test_witness_answers_every_request_as_the_specification_says(running: Running) -> None:
    send = running.send
    running.check(send(request(0, 7)), 7)
    running.check(send(request(7, 7)), 7)
    running.check(send(request(7, 20)), 20)
    conflict = send(request(7, 21))
    assert (conflict.status_code, conflict.text) == (409, "20\n")
    assert conflict.headers["Content-Type"] == "text/x.tlog.size"
    assert send(request(0, 21)).text == "20\n"
    assert send(request(20, 20, FORK)).status_code == 409, "another root of this size"
    assert send(request(20, 30, FORK)).status_code == 422, "the proof is of another history"
    bad = AddCheckpoint(20, (bytes(32),), note_of(30))
    assert send(render_request(bad)).status_code == 422
    assert send(render_request(AddCheckpoint(20, (bytes(32),), note_of(20)))).status_code == 422
    assert send(render_request(AddCheckpoint(31, (), note_of(30)))).status_code == 400
    assert send(b"old 20\n\nwhat").status_code == 400
    beyond = sign_checkpoint(Checkpoint(LOG.name, 2**63, bytes(32)), LOG)
    assert send(render_request(AddCheckpoint(0, (), beyond))).status_code == 400
    assert send(bytes(70_000)).status_code == 400
    stranger = note_of(30, signer=OTHER_LOG)
    assert send(render_request(AddCheckpoint(0, (), stranger))).status_code == 404
    impostor = signer_from_seed(LOG.name, bytes(32))
    forged = note_of(30, signer=impostor)
    assert send(render_request(AddCheckpoint(20, (), forged))).status_code == 403
    assert httpx.get(f"{running.url}/add-checkpoint").status_code == 405
    assert httpx.post(f"{running.url}/add-checkpoints").status_code == 404
    running.check(send(request(20, 21)), 21)


def test_of_two_histories_at_once_only_one_is_cosigned(running: Running) -> None:
    """A dozen requests that all believe the witness to know nothing; one of them is right."""
    answers: list[tuple[bool, int]] = []
    gate = threading.Barrier(12)

    def race(number: int) -> None:
        leaves = FORK if number % 2 else LEAVES
        gate.wait()
        answer = running.send(request(0, 10 + number // 6, leaves))
        answers.append((leaves is FORK, answer.status_code))

    threads = [threading.Thread(target=race, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 12
    assert [status for _, status in answers].count(200) == 1
    assert {status for _, status in answers} == {200, 409}


def test_bodies_that_never_come_stop_nobody_else(running: Running) -> None:
    """Several at once; what declares more than a request's length isn't waited for at all."""
    address = ("127.0.0.1", int(running.url.rpartition(":")[2]))
    head = "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: {}\r\n\r\n"
    with ExitStack() as held:
        for _ in range(5):
            held.enter_context(socket.create_connection(address)).sendall(head.format(99).encode())
        running.check(running.send(request(0, 7)), 7)
        endless = held.enter_context(socket.create_connection(address, timeout=WITHIN_SECONDS))
        endless.sendall(head.format(10**9).encode())
        assert endless.recv(1000).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("moment", "is_kept"),
    [
        pytest.param(Moment.STATEMENT, False, id="C29"),
        pytest.param(Moment.BEFORE_COMMIT, False, id="C29-commit"),
        pytest.param(Moment.AFTER_COMMIT, True, id="C30"),
    ],
)
def test_killed_witness_never_cosigns_another_history(
    running: Running, moment: Moment, is_kept: bool
) -> None:
    running.check(running.send(request(0, 7)), 7)
    running.stage.plan(Plan(moment, SAVED))
    with pytest.raises(httpx.TransportError):
        running.send(request(7, 12))
    assert running.process is not None
    assert running.stage.wait(running.process) == -9
    assert not running.stage.cancel(), "the moment came"
    running.start()
    last = 12 if is_kept else 7
    again = running.send(request(7, 12))
    if is_kept:
        assert (again.status_code, again.text) == (409, "12\n")
        running.check(running.send(request(12, 12)), 12)
    else:
        running.check(again, 12)
    assert running.send(request(last, 12, FORK)).status_code == 409
    assert running.send(request(12, 30, FORK)).status_code == 422
    running.check(running.send(request(12, 30)), 30)


def test_witness_without_its_file_or_logs_doesn_t_serve(tmp_path: Path) -> None:
    home = tmp_path / "witness"
    assert run(tmp_path, "witness", "new", str(home), "--name", NAME).exit_code == 0
    refused = run(tmp_path, "witness", "serve", str(home))
    assert (refused.exit_code, "names no log" in refused.stderr) == (2, True)
    (home / "logs").write_text(f"# ours\n{LOG.vkey}\n", "utf-8")
    (home / "cosigned.sqlite").unlink()
    refused = run(tmp_path, "witness", "serve", str(home))
    assert (refused.exit_code, "is missing" in refused.stderr) == (2, True)
    again = run(tmp_path, "witness", "new", str(home), "--name", NAME)
    assert (again.exit_code, "never overwritten" in again.stderr) == (2, True)
    assert (home / "key").stat().st_mode & 0o777 == 0o600


def test_two_keys_of_one_log_are_refused(tmp_path: Path) -> None:
    home = tmp_path / "witness"
    other = signer_from_seed(LOG.name, bytes(32)).vkey
    made = run(
        tmp_path, "witness", "new", str(home), "--name", NAME, "--log", LOG.vkey, "--log", other
    )
    assert (made.exit_code, home.exists()) == (2, False)
