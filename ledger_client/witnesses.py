"""How witnesses are reached: one request each over HTTP, all at once, and never for long.

It knows the statuses of C2SP tlog-witness and what known witnesses do instead; it judges no
signature and no size. A witness that hangs or drips costs its own thread, nobody's time, and isn't
asked again while that thread lives.
"""

from __future__ import annotations

import queue
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import httpx

from ledger.errors import (
    AccessDenied,
    InvalidInput,
    InvalidProof,
    LedgerError,
    LedgerUnavailable,
    NotFound,
    SizeConflict,
)
from ledger.log.checkpoint import parse_size
from ledger.log.witness import render_request
from ledger_client import clock

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ledger.log.witness import AddCheckpoint, Witness

T = TypeVar("T")
GRACE_SECONDS = 0.25
_ANSWER_BYTES_MAX = 65_536
_GOOD, _CONFLICT = 200, 409
_CONNECTED = {"connection.connect_tcp.complete", "connection.start_tls.complete"}
_REFUSALS: Mapping[int, tuple[type[LedgerError], str]] = {
    400: (InvalidInput, "it found the request malformed."),
    403: (AccessDenied, "it doesn't take the log's signature."),
    404: (NotFound, "it doesn't know the log."),
    422: (InvalidProof, "it found the proof wrong."),
}


class _Line:
    """The line to one witness: one request at a time, cut off when its time is up.

    The timeouts of an HTTP client are for each read, so that a witness which sends a header now and
    then would never be late.
    """

    def __init__(self, timeout_seconds: float, tls: ssl.SSLContext) -> None:
        """Connect to nobody yet."""
        self._timeout_seconds = timeout_seconds
        self._http = httpx.Client(timeout=timeout_seconds, follow_redirects=False, verify=tls)
        self._turn = threading.Lock()
        self._is_cut = threading.Event()
        self._socket: socket.socket | None = None

    def close(self) -> None:
        """Cut off what still runs, and close the connection."""
        self._cut()
        self._http.close()

    def post(self, url: str, content: bytes) -> tuple[int, str]:
        """Send once and read a short answer.

        *Raises*: LedgerUnavailable while another request runs, httpx.HTTPError, UnicodeError.
        """
        if not self._turn.acquire(blocking=False):
            raise LedgerUnavailable("it still holds the last request.")
        self._is_cut.clear()
        alarm = threading.Timer(self._timeout_seconds, self._cut)
        alarm.daemon = True
        alarm.start()
        try:
            return self._exchange(url, content)
        finally:
            alarm.cancel()
            self._turn.release()

    def _exchange(self, url: str, content: bytes) -> tuple[int, str]:
        body = b""
        watch = {"trace": self._watch}
        with self._http.stream("POST", url, content=content, extensions=watch) as answer:
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > _ANSWER_BYTES_MAX:
                    raise httpx.ReadTimeout("The answer is too long.")
        if self._is_cut.is_set():  # an answer without a length ends wherever it is cut
            raise httpx.ReadTimeout("The answer is too long in coming.")
        return answer.status_code, body.decode()

    def _watch(self, event: str, told: Mapping[str, Any]) -> None:
        """Keep the socket of each new connection, plain and then under TLS."""
        if event in _CONNECTED:
            self._socket = told["return_value"].get_extra_info("socket")
            if self._is_cut.is_set():
                self._cut()

    def _cut(self) -> None:
        """End what is sent and read, from another thread; that of the request closes the socket.

        Closing it here could let that thread read what has got the same descriptor since.
        """
        self._is_cut.set()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


class WitnessConnection:
    """Connections to witnesses, kept open between checkpoints. Close it after use."""

    def __init__(self, timeout_seconds: float) -> None:
        """Connect to nobody yet."""
        self._timeout_seconds = timeout_seconds
        self._tls = httpx.create_ssl_context()
        self._lines: dict[str, _Line] = {}
        self._opening = threading.Lock()

    def close(self) -> None:
        """Close the connections, whatever still runs over them."""
        with self._opening:
            for line in self._lines.values():
                line.close()

    def ask(self, witness: Witness, request: AddCheckpoint) -> str:
        """Ask one witness to cosign, and give the signature lines that it answered.

        A conflict is read whatever its media type is, and any other answer is a refusal:
        some witnesses answer 500 where the specification says 403. *Raises*: SizeConflict,
        AccessDenied, NotFound, InvalidProof, InvalidInput, LedgerUnavailable.
        """
        try:
            line = self._reach(witness)
            status, body = line.post(f"{witness.url}/add-checkpoint", render_request(request))
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise LedgerUnavailable("it gave no answer.") from error
        if status == _GOOD:
            return body
        size = parse_size(body.removesuffix("\n")) if status == _CONFLICT else None
        if size is not None:
            raise SizeConflict("it holds another root for this size.", size=size)
        refusal, detail = _REFUSALS.get(status, (LedgerUnavailable, f"it answered {status}."))
        raise refusal(detail)

    def _reach(self, witness: Witness) -> _Line:
        """Give the line to a witness, the same each time."""
        with self._opening:
            if witness.name not in self._lines:
                self._lines[witness.name] = _Line(self._timeout_seconds, self._tls)
            return self._lines[witness.name]

    def hear(
        self, tasks: Sequence[Callable[[], T]], is_enough: Callable[[Sequence[T]], bool]
    ) -> list[T]:
        """Run tasks at once and give what they gave until time is up.

        Once `is_enough` of it came, those who are nearly as fast are waited for a little.
        """
        came: queue.SimpleQueue[T | Exception] = queue.SimpleQueue()
        for task in tasks:
            threading.Thread(target=_put, args=(task, came), daemon=True).start()
        heard: list[T] = []
        until = clock.monotonic() + self._timeout_seconds
        while len(heard) < len(tasks):
            try:
                one = came.get(timeout=max(0.0, until - clock.monotonic()))
            except queue.Empty:
                break
            if isinstance(one, Exception):
                raise one
            heard.append(one)
            if is_enough(heard):
                until = min(until, clock.monotonic() + GRACE_SECONDS)
        return heard


def _put(task: Callable[[], T], came: queue.SimpleQueue[T | Exception]) -> None:
    try:
        came.put(task())
    except Exception as fault:  # noqa: BLE001 - the thread that waits raises it
        came.put(fault)
