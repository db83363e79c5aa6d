"""A log that is withheld silences no monitor: every run ends, tells it, and keeps what it read.

The logs here answer over real sockets: a byte at a time, or tiles without end.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import signal
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from logs import ORIGIN, SIGNER, PublicLog, make_entry, serving_log
from sandbox import run

from ledger.log.checkpoint import Checkpoint, sign_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n"


@contextmanager
def trickling(beginning: bytes) -> Iterator[str]:
    """Serve a beginning and then a byte at a time, for as long as anybody reads."""
    over = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            try:
                connection.sendall(beginning)
                while not over.wait(0.05):
                    connection.sendall(b"a")
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        thread.join()


def monitor(folder: Path, url: str, *more: str) -> Result:
    state = ("--vkey", SIGNER.vkey, "--state", str(folder / "state"))
    return run(folder, "log", "monitor", url, *state, *more)


@pytest.mark.parametrize("beginning", [HEADERS, b"HTTP/1.1 200 OK\r\nX-Slow: ", b""])
def test_log_that_gives_a_byte_at_a_time_gives_alarm_when_the_run_s_time_is_over(
    tmp_path: Path, beginning: bytes
) -> None:
    before = signal.getsignal(signal.SIGALRM)
    with trickling(beginning) as url:
        ended = monitor(tmp_path, url, "--seconds", "1")
    assert (ended.exit_code, "log-withheld" in ended.stdout) == (1, True), ended.stderr
    assert (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0]) == (
        before,
        0.0,
    )


class Endless(PublicLog):
    """A log that signed far more entries than anybody can read, and shows them all."""

    def fetch(self, path: str) -> bytes | None:
        """Give the same tile for each."""
        if path == "/log/checkpoint":
            return sign_checkpoint(Checkpoint(ORIGIN, 2**62, bytes(32)), SIGNER).encode()
        return self.paths["/log/tile/entries/000"]


def test_size_that_has_no_end_gives_alarm_each_time_and_what_was_read_is_kept(
    tmp_path: Path,
) -> None:
    log, read = Endless([make_entry()] * 256), [0]
    log.publish()
    with serving_log(log) as url:
        for _ in range(2):
            ended = monitor(tmp_path, url, "--seconds", "1", "--json")
            told = json.loads(ended.stdout)
            assert (ended.exit_code, told["size"]) == (1, 0)
            assert [one["code"] for one in told["alarms"]] == ["log-withheld"]
            assert str(2**62) in told["alarms"][0]["notes"][0]
            kept = json.loads((tmp_path / "state").read_text("utf-8"))
            read.append(kept["reading"]["size"])
    assert 0 < read[1] < read[2]


def test_progress_is_kept_while_it_is_made_and_when_the_log_falls_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, seen = PublicLog([make_entry() for _ in range(1000)]), []
    log.publish()
    del log.paths["/log/tile/entries/003.p/232"]
    state, fetch = tmp_path / "state", log.fetch

    def look(path: str) -> bytes | None:
        seen.append(
            json.loads(state.read_text("utf-8"))["reading"]["size"] if state.exists() else 0
        )
        return fetch(path)

    monkeypatch.setattr(log, "fetch", look)
    ticks = itertools.count(0, 7)
    monkeypatch.setattr("cli.clock.monotonic", lambda: float(next(ticks)))
    with serving_log(log) as url:
        assert "entries-invalid" in monitor(tmp_path, url).stdout
    assert max(seen) >= 256, "before the end, so that a killed run can be continued"
    state.unlink(missing_ok=True)
    monkeypatch.undo()
    monkeypatch.setattr(log, "fetch", lambda path: fetch(path) if "/003" not in path else 1 / 0)
    monkeypatch.setattr("socketserver.BaseServer.handle_error", lambda *_: None)
    with serving_log(log) as url:
        ended = monitor(tmp_path, url)
    assert (ended.exit_code, "no answer" in ended.stderr) == (1, True)
    assert json.loads(state.read_text("utf-8"))["reading"]["size"] == 768


def test_second_run_at_once_is_refused_and_leaves_the_state_alone(tmp_path: Path) -> None:
    log = PublicLog([make_entry()])
    log.publish()
    with serving_log(log) as url:
        assert monitor(tmp_path, url).exit_code == 0
        held = os.open(tmp_path / "state.lock", os.O_RDWR)
        fcntl.flock(held, fcntl.LOCK_EX)
        before = len(log.fetched)
        refused = monitor(tmp_path, url)
        assert (refused.exit_code, "another run" in refused.stderr) == (2, True)
        assert len(log.fetched) == before
        os.close(held)
        assert monitor(tmp_path, url).exit_code == 0
