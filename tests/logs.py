"""A public log for tests, made of pure functions: entries, tiles, checkpoints as anybody sees them.

It can show an old checkpoint, another history, or tiles that are cut off. What it serves follows
C2SP tlog-tiles; a test fetches from it directly or over HTTP.
"""

from __future__ import annotations

import secrets
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from ledger.log.checkpoint import Checkpoint, render_checkpoint, sign_checkpoint
from ledger.log.leaf import NO_REF, EntryReason, Leaf, Op, commit, encode_leaf, tag_issuer
from ledger.log.merkle import leaf_hash, root_hash
from ledger.log.note import signer_from_seed
from ledger.log.witness import cosign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.log.note import NoteSigner

ORIGIN = "ledger.example/sandbox"
SIGNER = signer_from_seed(ORIGIN, bytes(range(32)))


def make_entry(
    tag_key: bytes | None = None, op: Op = Op.INCIDENT_CONFIRMED, ref: int = NO_REF
) -> bytes:
    """Make an entry of a member, or of somebody unknown."""
    commitment = commit(secrets.token_bytes(32), secrets.token_bytes(100))
    tag = tag_issuer(tag_key or secrets.token_bytes(32), commitment)
    return encode_leaf(Leaf(op, EntryReason.NONE, 1, ref, tag, commitment))


@dataclass
class PublicLog:
    """Entries, and the paths under which the log shows them."""

    entries: list[bytes] = field(default_factory=list)
    signer: NoteSigner = SIGNER
    paths: dict[str, bytes] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    def publish(
        self, size: int | None = None, *, cosigners: tuple[NoteSigner, ...] = (), at: int = 0
    ) -> str:
        """Sign a size of the log and show it with its tiles; give the note."""
        size = len(self.entries) if size is None else size
        root = root_hash([leaf_hash(one) for one in self.entries[:size]])
        checkpoint = Checkpoint(self.signer.name, size, root)
        note = sign_checkpoint(checkpoint, self.signer)
        note += "".join(cosign(render_checkpoint(checkpoint), one, at) for one in cosigners)
        self.paths["/log/checkpoint"] = note.encode()
        for start in range(0, size, 256):
            tile = self.entries[start : min(size, start + 256)]
            # Written out by hand: the paths of the specification's own example are tested apart.
            number = start // 256
            path = f"/log/tile/entries/{number:03d}" + (
                "" if len(tile) == 256 else f".p/{len(tile)}"
            )
            self.paths[path] = b"".join(len(one).to_bytes(2) + one for one in tile)
        return note

    def fetch(self, path: str) -> bytes | None:
        """Give what stands at a path."""
        self.fetched.append(path)
        return self.paths.get(path)


@contextmanager
def serving_log(log: PublicLog) -> Iterator[str]:
    """Serve a log over HTTP until the block ends; give its address."""

    class Get(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = log.fetch(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Get)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
