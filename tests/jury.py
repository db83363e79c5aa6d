"""Witnesses for tests: real ones over HTTP on threads, which can also hang, lie and answer oddly.

An honest one is the shipped application on a file of its own. Others answer whatever they are told
to, as known or dishonest witnesses do, so that nothing of ours is patched.
"""

from __future__ import annotations

import io
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from cli.witness_app import build_application
from ledger.log.note import parse_vkey
from ledger.log.witness import parse_witness_policy, witness_from_seed
from ledger.witnessing import create_witness, open_witness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ledger.log.note import NoteSigner
    from ledger.log.witness import WitnessPolicy
    from ledger.witnessing import OwnWitness

# What a witness answers: status, media type, text; None for no answer at all.
Answer = tuple[int, str | None, str] | None
QUORUM, GROUPS = 3, 5


@dataclass
class Juror:
    """One witness. `behave` answers instead of it where it is set; `asked` counts requests."""

    witness: OwnWitness
    signer: NoteSigner
    group: str
    url: str = ""
    behave: Callable[[Juror, bytes], Answer] | None = None
    asked: list[bytes] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str, raw: bytes) -> Answer:
        """Answer a request as told, or honestly."""
        self.asked.append(raw)
        if self.behave is not None:
            return self.behave(self, raw)
        return self.answer_honestly(path, raw)

    def answer_honestly(self, path: str, raw: bytes) -> Answer:
        """Let the shipped application answer."""
        heads: list[Any] = []
        environ = {"PATH_INFO": path, "REQUEST_METHOD": "POST", "wsgi.input": io.BytesIO(raw)}
        parts = build_application(self.witness)(environ, lambda *head: heads.append(head))
        status, headers = heads[0]
        return int(status[:3]), dict(headers)["Content-Type"], b"".join(parts).decode()


class _Post(BaseHTTPRequestHandler):
    juror: Juror

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.juror.answer(self.path, raw)
        if answer is None:
            self.close_connection = True
            return
        status, media_type, text = answer
        self.send_response(status)
        if media_type is not None:
            self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def sitting(folder: Path, vkey: str, *, groups: int = GROUPS) -> Iterator[list[Juror]]:
    """Run witnesses of a log, each of a group of its own, until the block ends."""
    jurors, servers = [], []
    for number in range(groups):
        signer = witness_from_seed(f"w{number}.example/witness", bytes([number]) * 32)
        path = str(folder / f"witness-{number}.sqlite")
        create_witness(path)
        juror = Juror(open_witness(path, signer, [parse_vkey(vkey)]), signer, f"group-{number}")
        door = type("Post", (_Post,), {"juror": juror})
        server = ThreadingHTTPServer(("127.0.0.1", 0), door)
        server.daemon_threads = True
        juror.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        jurors.append(juror)
        servers.append(server)
    try:
        yield jurors
    finally:
        for juror, server in zip(jurors, servers, strict=True):
            juror.stopping.set()
            server.shutdown()
            server.server_close()
            juror.witness.database.engine.dispose()


def render_policy(jurors: list[Juror], *, quorum: int = QUORUM) -> str:
    """Render the policy that names some witnesses."""
    rows = [
        f'[[witness]]\nvkey = "{one.signer.vkey}"\nurl = "{one.url}"\ngroup = "{one.group}"\n'
        for one in jurors
    ]
    return f"quorum = {quorum}\n" + "".join(rows)


def policy_of(jurors: list[Juror], *, quorum: int = QUORUM) -> WitnessPolicy:
    """Give the policy that names some witnesses."""
    return parse_witness_policy(render_policy(jurors, quorum=quorum))
