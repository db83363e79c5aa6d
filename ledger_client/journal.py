"""What a member remembers of the statements that it sent, so that it can tell its own entries.

One JSON object a line, appended and flushed before anything is sent. It holds names and positions,
no token and no identifier: erasing a statement needs no change here, and nothing here proves it.
"""

from __future__ import annotations

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

_OPEN = os.O_WRONLY | os.O_APPEND | os.O_CREAT


@dataclass(slots=True)
class Statements:
    """What a journal says.

    *Shape*: `sent` has when each statement was signed that wasn't refused, in Unix seconds by jti;
    `accepted` those of them that the ledger acknowledged; `proved` the index and the commitment of
    those whose receipt was verified.
    """

    sent: dict[str, int] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    proved: dict[str, tuple[int, bytes]] = field(default_factory=dict)


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
            os.write(descriptor, json.dumps(line).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_journal(text: str) -> Statements:
    """Read a journal; a last line that was cut off by a crash is passed over.

    *Raises*: InvalidInput where another line isn't one of a journal's.
    """
    found = Statements()
    lines = text.split("\n")
    for line in lines[:-1]:
        try:
            _read_line(json.loads(line), found)
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInput("A line of the journal isn't one.") from error
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
