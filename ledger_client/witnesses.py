"""How witnesses are reached: one request each over HTTP, all at once, and never for long.

It knows the statuses of C2SP tlog-witness and what known witnesses do instead; it judges no
signature and no size. A witness that hangs costs its own thread, nobody's time.
"""

from __future__ import annotations

import queue
import threading
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
    from collections.abc import Callable, Mapping, Sequence

    from ledger.log.witness import AddCheckpoint, Witness

T = TypeVar("T")
GRACE_SECONDS = 0.25
_ANSWER_BYTES_MAX = 65_536
_GOOD, _CONFLICT = 200, 409
_REFUSALS: Mapping[int, tuple[type[LedgerError], str]] = {
    400: (InvalidInput, "it found the request malformed."),
    403: (AccessDenied, "it doesn't take the log's signature."),
    404: (NotFound, "it doesn't know the log."),
    422: (InvalidProof, "it found the proof wrong."),
}


class WitnessConnection:
    """Connections to witnesses, kept open between checkpoints. Close it after use."""

    def __init__(self, timeout_seconds: float) -> None:
        """Connect to nobody yet."""
        self._timeout_seconds = timeout_seconds
        self._http = httpx.Client(timeout=timeout_seconds, follow_redirects=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, witness: Witness, request: AddCheckpoint) -> str:
        """Ask one witness to cosign, and give the signature lines that it answered.

        A conflict is read whatever its media type is, and any other answer is a refusal:
        some witnesses answer 500 where the specification says 403. *Raises*: SizeConflict,
        AccessDenied, NotFound, InvalidProof, InvalidInput, LedgerUnavailable.
        """
        try:
            status, body = self._post(f"{witness.url}/add-checkpoint", render_request(request))
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise LedgerUnavailable("it gave no answer.") from error
        if status == _GOOD:
            return body
        size = parse_size(body.removesuffix("\n")) if status == _CONFLICT else None
        if size is not None:
            raise SizeConflict("it holds another root for this size.", size=size)
        refusal, detail = _REFUSALS.get(status, (LedgerUnavailable, f"it answered {status}."))
        raise refusal(detail)

    def _post(self, url: str, content: bytes) -> tuple[int, str]:
        """Send once and read a short answer. *Raises*: httpx.HTTPError, UnicodeError."""
        body = b""
        started = clock.monotonic()
        with self._http.stream("POST", url, content=content) as answer:
            for piece in answer.iter_bytes():
                body += piece
                is_late = clock.monotonic() - started > self._timeout_seconds
                if is_late or len(body) > _ANSWER_BYTES_MAX:
                    raise httpx.ReadTimeout("The answer is too long, or too long in coming.")
        return answer.status_code, body.decode()

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
