"""A ledger whose processes die: its server, its commands, and members that don't let it rest.

It starts and kills processes and keeps what members were told: which statements were acknowledged,
which were sent without an answer, what was answered and which checkpoints were shown. It judges
nothing; the tests compare all that with what is stored.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import secrets
import signal
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from multiprocessing import forkserver
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from conftest import ROOT
from crash_launcher import Plan, run_child, run_command, run_server, set_plan
from simulator import RemoteSimulator, Simulator, phone_and_device, render_question

from ledger.identity.key import encode_base64url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.context import ForkServerContext
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from ledger.ledger import Ledger, LedgerKeys

_WITHIN_SECONDS = 20.0
_PEOPLE = 5
# Nothing here speaks TLS, and reading the system's certificates costs more than a start.
_NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def tell_time() -> datetime:
    """Tell the time that the processes go by."""
    return datetime.now(UTC)


def render_environment(url: str, keys: LedgerKeys) -> dict[str, str]:
    """Render the settings of a ledger's processes."""
    return {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "BCL_DATABASE_URL": url,
        "BCL_LOG_KEY": encode_base64url(keys.log_key),
        "BCL_EVENT_KEY": json.dumps(keys.event_key),
        "BCL_ACCESS_KEY": json.dumps(keys.access_key),
        "BCL_WRAP_KEY": encode_base64url(keys.wrap_key),
        "BCL_INDEX_KEY": encode_base64url(keys.index_key),
        "BCL_TAG_KEY": encode_base64url(keys.tag_key),
        "BCL_SEQUENCE_INTERVAL_SECONDS": "0.02",
    }


@cache
def open_nursery() -> ForkServerContext:
    """Start the process that children are forked from: it imports all and opens nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["crash_launcher"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()
    return context


@dataclass
class Told:
    """What members know of a ledger: each number is what they can hold it to."""

    acknowledged: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    unanswered: dict[str, bytes] = field(default_factory=dict)
    answered: list[dict[str, Any]] = field(default_factory=list)
    unheard: list[tuple[dict[str, object], str]] = field(default_factory=list)
    checkpoints: set[str] = field(default_factory=set)


class Stage:
    """The processes of one ledger."""

    def __init__(self, environment: dict[str, str], folder: Path, *, embedded: bool) -> None:
        """Start nothing yet."""
        self._environment = environment
        self._plan = folder / "plan"
        self._log = folder / "log"
        self._threads = 1 if embedded else 4
        self._running: list[BaseProcess] = []
        self.server: BaseProcess | None = None
        self.url = ""
        self._http = httpx.Client(verify=_NO_CERTIFICATES)

    def set(self, **settings: str) -> None:
        """Change settings of the processes that are started from now on."""
        self._environment.update(settings)

    def start_server(self) -> None:
        """Start the server on a free port and wait until it is ready."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.server = self._launch(run_server, self._plan, port, self._threads)
        deadline = time.monotonic() + _WITHIN_SECONDS
        while time.monotonic() < deadline and self.server.is_alive():
            with suppress(httpx.TransportError):
                if self._http.get(f"{self.url}/readyz").status_code == 200:
                    return
            time.sleep(0.01)
        raise AssertionError(self.read_log())

    def start(self, *arguments: str) -> BaseProcess:
        """Start a command of `bcl`."""
        return self._launch(run_command, self._plan, *arguments)

    def run(self, *arguments: str) -> int:
        """Run a command of `bcl` and give its exit status; -9 where it was killed."""
        return self.wait(self.start(*arguments))

    def plan(self, plan: Plan) -> None:
        """Say when the running server, or the next command, dies."""
        set_plan(self._plan, plan)

    def cancel(self) -> bool:
        """Forget the plan and tell whether it was still to come."""
        was_to_come = self._plan.exists()
        self._plan.unlink(missing_ok=True)
        return was_to_come

    def kill(self, process: BaseProcess) -> None:
        """Kill a process and its children as a power cut would."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        self.wait(process)

    def wait(self, process: BaseProcess) -> int:
        """Wait for a process's end and give its exit status."""
        process.join(_WITHIN_SECONDS)
        if process.exitcode is None:
            raise AssertionError(self.read_log())
        self._running.remove(process)
        status = process.exitcode
        process.close()
        return status

    def clear(self) -> None:
        """Kill everything that still runs."""
        self._http.close()
        for process in list(self._running):
            self.kill(process)

    def read_log(self) -> str:
        """Give all that the processes printed so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _launch(self, run: Any, *arguments: Any) -> BaseProcess:
        parts = (run, self._environment, self._log, *arguments)
        process = open_nursery().Process(target=run_child, args=parts)
        process.start()
        self._running.append(process)
        return process


class Member:
    """A platform that reports and asks over HTTP and keeps what it was told."""

    def __init__(
        self, ledger: Ledger, name: str, stage: Stage, told: Told, enrolled_at: datetime
    ) -> None:
        """Enrol the platform."""
        self.platform = Simulator(ledger, name)
        self.platform.enrol(enrolled_at)
        self._stage = stage
        self._told = told
        self._access: dict[str, str] = {}
        self._http = httpx.Client(timeout=10, verify=_NO_CERTIFICATES)
        self._sent = 0

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def connect(self) -> RemoteSimulator:
        """Speak to the server where it runs now."""
        self._http.base_url = httpx.URL(self._stage.url)
        return RemoteSimulator(self.platform, self._http)

    def report(self) -> httpx.Response:
        """Report an incident of some buyer, or take every fifth back again."""
        now = tell_time()
        person = f"{self.platform.name}-{self._sent % _PEOPLE}"
        self._sent += 1
        stated = self.platform.incident(person, phone_and_device(person), now)
        answer = self.send(stated.jti, self.platform.sign(stated))
        if self._sent % _PEOPLE == 0:
            taken_back = self.platform.retraction(stated, now)
            answer = self.send(taken_back.jti, self.platform.sign(taken_back))
        return answer

    def send(self, jti: str, token: bytes) -> httpx.Response:
        """Send a statement and keep whether it was acknowledged. *Raises*: TransportError."""
        self._told.unanswered[jti] = token
        answer = self.connect().send(token)
        if answer.status_code == 202:
            del self._told.unanswered[jti]
            self._told.acknowledged[jti] = (token, answer.headers["Location"])
        return answer

    def ask(self) -> httpx.Response:
        """Ask about a buyer of some member and keep the answer. *Raises*: TransportError."""
        self._sent += 1
        person = f"shop-{self._sent % 2}-{self._sent % _PEOPLE}"
        asked = self.platform.request(person, phone_and_device(person))
        return self.ask_again(render_question(asked), secrets.token_urlsafe())

    def ask_again(self, question: dict[str, object], key: str) -> httpx.Response:
        """Ask under an Idempotency-Key. *Raises*: TransportError."""
        remote = self.connect()
        self._access = self._access or remote.get_access(tell_time())
        self._told.unheard.append((question, key))
        headers = {**self._access, "Idempotency-Key": key}
        answer = self._http.post("/v1/risk-assessments", json=question, headers=headers)
        if answer.status_code == 200:
            self._told.unheard.remove((question, key))
            self._told.answered.append(answer.json())
        return answer

    def look(self) -> None:
        """Look at the newest checkpoint. *Raises*: TransportError."""
        self.connect()
        answer = self._http.get("/log/checkpoint")
        if answer.status_code == 200:
            self._told.checkpoints.add(answer.text)

    def fetch(self, path: str) -> httpx.Response:
        """Fetch something of its own."""
        remote = self.connect()
        self._access = self._access or remote.get_access(tell_time())
        return remote.get(path, self._access)


class Crowd:
    """Members on threads of their own that report, ask and look until there is no answer."""

    def __init__(self, reporters: list[Member], asker: Member) -> None:
        """Start nothing yet."""
        self._jobs = [(member, Member.report) for member in reporters]
        self._asker = asker
        self._stopping = threading.Event()
        self._faults: list[BaseException] = []

    def run(self, seconds: float) -> None:
        """Let all of them work until the server is gone, for so many seconds at most."""
        self._stopping.clear()
        threads = [threading.Thread(target=self._repeat, args=job) for job in self._each()]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
        self._stopping.set()
        for thread in threads:
            thread.join()
        if self._faults:
            raise self._faults[0]

    def _each(self) -> Iterator[tuple[Member, Any]]:
        yield from self._jobs
        yield self._asker, _ask_and_look

    def _repeat(self, member: Member, act: Any) -> None:
        try:
            while not self._stopping.is_set():
                act(member)
        except httpx.TransportError:
            return  # the server is gone
        except BaseException as fault:  # noqa: BLE001 - the test's own thread raises it
            self._faults.append(fault)


def _ask_and_look(member: Member) -> None:
    member.ask()
    member.look()
