"""What a member remembers of the statements that it sent, so that it can tell its own entries.

One JSON object a line, appended and flushed before anything is sent. It holds names and positions,
no token and no identifier: erasing a statement needs no change here, and nothing here proves it.
"""

from __future__ import annotations

import fcntl
import json
import os
from base64 import b64encode
from binascii import a2b_base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledger.errors import InvalidInput
from ledger.identity.token import payload_of

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.log.receipt import VerifiedReceipt

_OPEN = os.O_RDWR | os.O_APPEND | os.O_CREAT


@dataclass(slots=True)
class Statements:
    """What a journal says.

    *Shape*: `sent` has when each statement was signed that wasn't refused, in Unix seconds by jti;
    `accepted` those of them that the ledger acknowledged; `proved` the index and the commitment of
    those whose receipt was verified; `torn` the numbers of lines that a crash cut off.
    """

    sent: dict[str, int] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    proved: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    torn: list[int] = field(default_factory=list)


class Journal:
    """A member's journal in a file of its own."""

    def __init__(self, path: Path) -> None:
        """Write nothing yet."""
        self._path = path

    def note_sent(self, token: str) -> None:
        """Note that a statement is about to be sent."""
        claims = json.loads(payload_of(token))
        self._append({"sent": claims["jti"], "iat": claims["iat"]})

    def note_accepted(self, token: str) -> None:
        """Note that the ledger acknowledged a statement."""
        self._append({"accepted": json.loads(payload_of(token))["jti"]})

    def note_refused(self, token: str) -> None:
        """Note that the ledger refused a statement, so that no entry of it is to be expected."""
        self._append({"refused": json.loads(payload_of(token))["jti"]})

    def note_receipt(self, token: str, verified: VerifiedReceipt) -> None:
        """Note where a statement stands, as its verified receipt says."""
        jti = json.loads(payload_of(token))["jti"]
        commitment = b64encode(verified.leaf.commitment).decode()
        self._append({"proved": jti, "index": verified.index, "commitment": commitment})

    def _append(self, line: dict[str, object]) -> None:
        descriptor = os.open(self._path, _OPEN, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # closing gives it back
            raw = json.dumps(line).encode() + b"\n"
            end = os.fstat(descriptor).st_size
            if end and os.pread(descriptor, 1, end - 1) != b"\n":  # a crash cut the last line off
                raw = b"\n" + raw
            while raw:
                raw = raw[os.write(descriptor, raw) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_journal(text: str) -> Statements:
    """Read a journal; a line that was cut off by a crash is passed over and named in `torn`.

    *Raises*: InvalidInput where another line isn't one of a journal's.
    """
    found = Statements()
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), 1):
        try:
            _read_line(json.loads(line), found)
        except json.JSONDecodeError as error:
            if not line.startswith("{"):
                raise InvalidInput(f"Line {number} of the journal isn't one.") from error
            found.torn.append(number)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InvalidInput(f"Line {number} of the journal isn't one.") from error
    return found


def _read_line(line: dict[str, object], found: Statements) -> None:
    if "sent" in line:
        found.sent.setdefault(str(line["sent"]), int(str(line["iat"])))
    elif "accepted" in line:
        found.accepted.add(str(line["accepted"]))
    elif "refused" in line:
        jti = str(line["refused"])
        if jti not in found.accepted:  # a repetition with other bytes takes nothing back
            found.sent.pop(jti, None)
    else:
        commitment = a2b_base64(str(line["commitment"]), strict_mode=True)
        found.proved[str(line["proved"])] = (int(str(line["index"])), commitment)
