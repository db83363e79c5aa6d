"""What the tests of erasure share: an operator who decides, and what a statement is stored as."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from exact import settle
from simulator import phone_and_device

from ledger.deriving import open_event
from ledger.erasing import Decided, Decision, decide_erasure
from ledger.expiring import expire_due
from ledger.identity.token import payload_of
from ledger.log.leaf import Op
from ledger.sequencing import draft_own_statement
from ledger.store import entries
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from datetime import datetime

    from simulator import Sent, Simulator

    from ledger.ledger import Ledger
    from ledger.store.entries import StoredEvent

WHY = {Op.ERASED: "buyer-requested", Op.EXPUNGED: "unfounded"}


def decide(
    ledger: Ledger,
    incident_id: str,
    at: datetime,
    op: Op = Op.ERASED,
    *,
    person: str = "Kim",
    confirms: str | None = None,
) -> Decided:
    """Decide as an operator, for the usual reason."""
    return decide_erasure(ledger, Decision(incident_id, op, WHY[op], person, confirms), at)


def dispute(ledger: Ledger, incident_id: str, at: datetime) -> None:
    """Enter that the buyer objects, by a statement of the ledger's own."""
    with begin_write(ledger.database) as connection:
        draft = draft_own_statement(
            ledger, "incident-disputed", {}, op=Op.DISPUTED, incident=incident_id, at=at
        )
        entries.insert_event(connection, draft)
    settle(ledger, at)


def stored_of(ledger: Ledger, sent: Sent) -> StoredEvent:
    """Give a statement as it is stored."""
    with begin_read(ledger.database) as connection:
        history = entries.select_incident_events(connection, sent.incident_id)
    return next(one for one in history if one.jti == sent.statement.jti)


def traces_of(stored: StoredEvent) -> dict[str, bytes]:
    """Give what a database holds of a statement's content, by name, as bytes to search for."""
    assert stored.sealed is not None
    assert stored.salt is not None
    sealed = stored.sealed.ciphertext
    middle = len(sealed) // 2
    return {
        "sealed token, beginning": sealed[:40],
        "sealed token, middle": sealed[middle : middle + 40],
        "sealed token, end": sealed[-40:],
        "entry key": stored.sealed.wrapped_key,
        "salt": stored.salt,
    }


def hashes_of(ledger: Ledger, stored: StoredEvent) -> dict[str, bytes]:
    """Give hashes by which somebody who has the token could recognise it, and the token itself."""
    token = open_event(ledger, stored)
    _, payload, signature = token.split(b".")
    digest = hashlib.sha256(token).digest()
    return {
        "token": token,
        "payload": payload,
        "signature": signature,
        "SHA-256 of the token": digest,
        "the same in hex": digest.hex().encode(),
        "SHA-256 of the payload": hashlib.sha256(payload).digest(),
    }


def open_all(ledger: Ledger) -> list[tuple[StoredEvent, dict[str, Any]]]:
    """Open every statement in log order; what was erased has no claims."""
    with begin_read(ledger.database) as connection:
        stored = entries.select_sequenced(connection)
    return [
        (one, json.loads(payload_of(open_event(ledger, one))) if one.sealed else {})
        for one in stored
    ]


def end_incidents(shop: Simulator, at: datetime) -> None:
    """End three incidents: on the buyer's request, by an objection that held, and by time.

    All else whose time is over by then goes too.
    """
    ledger = shop.ledger
    sent = [shop.report(name, phone_and_device(name), at) for name in ("x", "y", "z")]
    settle(ledger, at)
    decide(ledger, sent[0].incident_id, at)
    dispute(ledger, sent[1].incident_id, at)
    decide(ledger, sent[1].incident_id, at, Op.EXPUNGED)
    assert expire_due(ledger, at + timedelta(days=6 * 365)) >= 1
