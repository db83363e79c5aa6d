"""What only a real server can show: bytes on a socket that are too many, too few, late or no HTTP.

A granian process serves a sandbox through wsgi.py, configured by its environment as in
production. Bytes are sent by hand, so that every way of being wrong can be tried.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from conftest import ORIGIN, ROOT
from simulator import Simulator, create_keys, phone_and_device

from ledger.creating import create_ledger
from ledger.ledger import open_ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from ledger.ledger import LedgerKeys
    from ledger.rights.jurisdiction import JurisdictionProfile

MARK = b"Zq7markerQz7"
LIMIT = 20_000
START_SECONDS = 15
PUSH = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/secevent+jwt\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
CLOSE = b"Connection: close\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Reply:
    """One answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    def check_silent(self) -> None:
        """Check that nothing of what was sent comes back."""
        whole = repr(self.headers).encode() + self.body
        assert MARK.lower() not in whole.lower()


def parse_replies(raw: bytes) -> list[Reply]:
    """Read the answers of one connection."""
    replies = []
    while raw:
        head, _, rest = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
        length = int(headers.get("content-length", "0"))
        replies.append(Reply(int(first.split(" ")[1]), headers, rest[:length]))
        raw = rest[length:]
    return replies


class Server:
    """A running server, spoken to in bytes."""

    def __init__(self, port: int, member: Simulator) -> None:
        """Know where it listens, and a member of its ledger."""
        self.port, self.member = port, member

    def connect(self) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def speak(self, *parts: bytes, half_close: bool = False) -> list[Reply]:
        """Send bytes, part by part, and read until the server closes."""
        received = b""
        with self.connect() as connection:
            try:
                for part in parts:
                    connection.sendall(part)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the server may close while we still talk, and has answered then
            try:
                while part := connection.recv(65_536):
                    received += part
            except ConnectionResetError:
                pass
        return parse_replies(received)

    def check_alive(self) -> None:
        """Check that the next caller is served at once."""
        started = time.monotonic()
        (reply,) = self.speak(GET + CLOSE + b"\r\n")
        assert (reply.status, reply.body) == (200, b'{"status":"ok"}')
        assert time.monotonic() - started < 5

    def token(self) -> bytes:
        """Sign a report that will be accepted."""
        now = datetime.now(UTC)
        return self.member.sign(self.member.incident("liu", phone_and_device("liu"), now))


def render_secrets(keys: LedgerKeys) -> dict[str, str]:
    """Give a ledger's secrets as settings."""
    settings = {}
    for name in ("log_key", "wrap_key", "index_key", "tag_key"):
        secret = base64.urlsafe_b64encode(getattr(keys, name)).decode().rstrip("=")
        settings[f"BCL_{name.upper()}"] = secret
    for name in ("event_key", "access_key"):
        settings[f"BCL_{name.upper()}"] = json.dumps(dict(getattr(keys, name)))
    return settings


@contextmanager
def serve(settings: Mapping[str, str]) -> Iterator[int]:
    """Run granian on a free port until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--http", "1", "--no-ws", "--blocking-threads", "1"]
    command += ["--log-level", "error", "wsgi:application"]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("BCL_")}
    process = subprocess.Popen(command, cwd=ROOT, env={**ours, **settings})
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server didn't start"
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def server(
    sqlite_migrated: Path,
    tmp_path_factory: pytest.TempPathFactory,
    profiles: Mapping[str, JurisdictionProfile],
    policy_text: str,
) -> Iterator[Server]:
    """Give a server of a sandbox ledger with one member."""
    path = tmp_path_factory.mktemp("served") / "ledger.sqlite"
    shutil.copyfile(sqlite_migrated, path)
    url, keys, now = f"sqlite:///{path}", create_keys(), datetime.now(UTC)
    create_ledger(
        url,
        keys,
        profiles,
        origin=ORIGIN,
        jurisdiction="SANDBOX",
        policy_text=policy_text,
        at=now,
    )
    ledger = open_ledger(url, keys, profiles)
    member = Simulator(ledger, "shop-a")
    member.enrol(now)
    settings = {"BCL_DATABASE_URL": url, "BCL_BODY_MAX_BYTES": str(LIMIT), **render_secrets(keys)}
    with serve(settings) as port:
        yield Server(port, member)
    ledger.database.engine.dispose()


def chunk(parts: Iterable[bytes]) -> bytes:
    """Frame parts as chunks (RFC 9112 §7.1)."""
    return b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in parts) + b"0\r\n\r\n"


def check_set_error(reply: Reply) -> str:
    """Check the shape of RFC 8935 §2.3 and give the description."""
    reply.check_silent()
    assert reply.status == 400
    assert reply.headers["content-type"] == "application/json"
    told = json.loads(reply.body)
    assert told["err"] == "invalid_request"
    assert set(told) == {"err", "description"}
    return str(told["description"])


def check_problem(reply: Reply, status: int) -> None:
    """Check the shape of RFC 9457 for a refusal of HTTP's own."""
    reply.check_silent()
    assert reply.status == status
    assert reply.headers["content-type"] == "application/problem+json"
    told = json.loads(reply.body)
    assert (told["type"], told["status"]) == ("about:blank", status)
    assert set(told) <= {"type", "title", "status", "detail", "instance"}


# --- Lengths --------------------------------------------------------------------------------


def test_event_is_taken_whether_its_length_is_announced_or_not(server: Server) -> None:
    announced, chunked = server.token(), server.token()
    (first,) = server.speak(
        PUSH + CLOSE + b"Content-Length: %d\r\n\r\n" % len(announced), announced
    )
    (second,) = server.speak(
        PUSH + CLOSE + CHUNKED, chunk([chunked[:1], chunked[1:500], chunked[500:]])
    )
    for reply in (first, second):
        assert (reply.status, reply.body) == (202, b"")
        assert re.fullmatch(r"/v1/incidents/inc_[0-9a-f]{32}", reply.headers["location"])


def test_announced_body_over_the_limit_is_refused_before_it_is_sent(server: Server) -> None:
    for length in (LIMIT + 1, 10**12):
        (reply,) = server.speak(PUSH + CLOSE + b"Content-Length: %d\r\n\r\n" % length + MARK)
        check_problem(reply, 413)
    (asked,) = server.speak(
        PUSH + CLOSE + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (LIMIT + 1)
    )
    check_problem(asked, 413)
    server.check_alive()


@pytest.mark.parametrize("size", [LIMIT + 1, 4 * LIMIT])
def test_chunked_body_over_the_limit_is_refused(server: Server, size: int) -> None:
    """Cut at the limit it would be another body: it must never be judged as one."""
    (reply,) = server.speak(PUSH + CLOSE + CHUNKED, chunk([b"a" * (size - 1_000), b"a" * 1_000]))
    check_problem(reply, 413)
    server.check_alive()


def test_chunked_body_of_exactly_the_limit_is_judged(server: Server) -> None:
    (reply,) = server.speak(PUSH + CLOSE + CHUNKED, chunk([b"a" * (LIMIT - 1_000), b"a" * 1_000]))
    assert check_set_error(reply) == "The token isn't a compact JWS."


def test_endless_chunked_body_is_cut_off(server: Server) -> None:
    block = b"1000\r\n" + b"a" * 0x1000 + b"\r\n"
    replies = server.speak(PUSH + CLOSE + CHUNKED, *(block for _ in range(2_000)))
    assert [one.status for one in replies] in ([413], [])  # or reset before it could be read
    server.check_alive()


def test_post_without_any_length_has_an_empty_body(server: Server) -> None:
    (reply,) = server.speak(PUSH + CLOSE + b"\r\n" + MARK)
    assert check_set_error(reply) == "The token isn't a compact JWS."


# --- Bodies cut short, slow and closed connections ----------------------------------------------


def test_body_shorter_than_announced_is_refused_though_it_would_be_whole(server: Server) -> None:
    token = server.token()
    (reply,) = server.speak(
        PUSH + CLOSE + b"Content-Length: %d\r\n\r\n" % (len(token) + 1), token, half_close=True
    )
    assert check_set_error(reply) == "The body ends before its announced length."
    (after,) = server.speak(PUSH + CLOSE + b"Content-Length: %d\r\n\r\n" % len(token), token)
    assert after.status == 202


def test_chunked_body_cut_in_a_token_is_refused(server: Server) -> None:
    token = server.token()
    cut = b"%x\r\n%s" % (len(token), token[:-1])
    (reply,) = server.speak(PUSH + CLOSE + CHUNKED, cut, half_close=True)
    check_set_error(reply)


def test_connection_closed_in_a_body_leaves_the_server_alive(server: Server) -> None:
    for started in (
        b"Content-Length: 500\r\n\r\n" + MARK,
        CHUNKED + b"5\r\nab",
        b"Content-Le",
        b"",
    ):
        for _ in range(5):
            with server.connect() as connection:
                connection.sendall(PUSH + started)
    server.check_alive()


def test_slow_body_is_waited_for(server: Server) -> None:
    token = server.token()
    with server.connect() as connection:
        connection.sendall(PUSH + CLOSE + b"Content-Length: %d\r\n\r\n" % len(token))
        for start in range(0, len(token), 500):
            connection.sendall(token[start : start + 500])
            time.sleep(0.05)
        received = connection.recv(65_536)
    assert received.startswith(b"HTTP/1.1 202 ")


def test_slow_headers_keep_nobody_waiting(server: Server) -> None:
    with server.connect() as slow:
        slow.sendall(GET + b"X-Slow: ")
        server.check_alive()


# --- No HTTP, or too much of it -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (MARK + b" " + MARK + b"\r\n\r\n", 400),
        (b"GET /" + MARK + b"\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /" + MARK * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (GET + CLOSE + b"X: " + MARK + b"\x00\r\n\r\n", 400),
        (GET + CLOSE + b"X: " + MARK + b"\rSet-Cookie: " + MARK + b"\r\n\r\n", 400),
        (GET + CLOSE + MARK + b" : x\r\n\r\n", 400),
        (GET + CLOSE + b"X: 1\r\n " + MARK + b"\r\n\r\n", 400),
        (GET + CLOSE + b"".join(b"X%d: %s\r\n" % (n, MARK) for n in range(300)) + b"\r\n", 431),
        (PUSH + CLOSE + b"Content-Length: -5\r\n\r\n" + MARK, 400),
        (PUSH + CLOSE + b"Content-Length: +5\r\n\r\n" + MARK, 400),
        (PUSH + CLOSE + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n" + MARK, 400),
        (PUSH + CLOSE + b"Content-Length: " + MARK + b"\r\n\r\n", 400),
        (PUSH + CLOSE + b"Transfer-Encoding: " + MARK + b"\r\n\r\n", 400),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else str(value),
)
def test_what_isnt_http_is_refused_with_an_empty_body(
    server: Server, raw: bytes, status: int
) -> None:
    (reply,) = server.speak(raw, half_close=True)
    reply.check_silent()
    assert (reply.status, reply.body) == (status, b"")


def test_headers_can_not_be_injected_through_a_path_or_a_value(server: Server) -> None:
    evil = b"%0d%0aSet-Cookie:%20" + MARK
    hosts = (b"x", MARK, MARK + b"/@:99999x", b"")
    for host in hosts:
        (reply,) = server.speak(
            b"GET /" + MARK + evil + b"?" + evil + b" HTTP/1.1\r\nHost: " + host + b"\r\n"
            b"traceparent: "
            + MARK
            + evil
            + b"\r\nX-Forwarded-Host: "
            + MARK
            + b"\r\n"
            + CLOSE
            + b"\r\n"
        )
        check_problem(reply, 404)
        assert "set-cookie" not in reply.headers
        assert "location" not in reply.headers


def test_very_long_header_costs_nobody_anything(server: Server) -> None:
    for size in (100_000, 350_000, 2_000_000):
        replies = server.speak(GET + CLOSE + b"Authorization: Bearer " + b"a" * size + b"\r\n\r\n")
        assert all(reply.status in {200, 400, 431} for reply in replies)
    server.check_alive()


def test_forms_of_the_request_target_are_told_apart(server: Server) -> None:
    for target, status in (
        (b"GET http://" + MARK + b".example/healthz", 200),
        (b"GET http://" + MARK + b".example/" + MARK, 404),
        (b"OPTIONS *", 404),
        (b"CONNECT " + MARK + b":443", 404),
    ):
        (reply,) = server.speak(target + b" HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n")
        reply.check_silent()
        assert reply.status == status, target


def test_next_request_on_a_connection_is_not_read_out_of_a_refused_body(server: Server) -> None:
    smuggled = b"GET /log/checkpoint HTTP/1.1\r\nHost: x\r\n\r\n"
    body = smuggled + b"a" * LIMIT
    replies = server.speak(
        PUSH + b"Content-Length: %d\r\n\r\n" % len(body), body, GET + CLOSE + b"\r\n"
    )
    assert replies[0].status == 413
    assert [one.status for one in replies[1:]] in ([], [200])
    assert all(MARK not in one.body and ORIGIN.encode() not in one.body for one in replies)
    both = PUSH + b"Content-Length: 4\r\n" + CHUNKED + chunk([smuggled])
    first, *rest = server.speak(both, GET + CLOSE + b"\r\n")
    assert first.status == 400
    assert all(ORIGIN.encode() not in one.body for one in rest)
