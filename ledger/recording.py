"""How answers are recorded and found again: under an Idempotency-Key, for an order that is bound.

It writes and reads records of answers, and knows nothing of what they say.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from ledger.errors import IdempotencyKeyReused, OrderConflict
from ledger.ledger import mint_id
from ledger.reproducing import check_inputs, check_matches
from ledger.risk.order import check_order
from ledger.store import assessments
from ledger.store.assessments import GivenAnswer, StoredAssessment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ledger.ledger import Ledger
    from ledger.store.engine import Connection

VALID_FOR = timedelta(minutes=10)
BATCH = "batch"  # a purpose that is about no single buyer
_JSON = TypeAdapter(object)


def compact(value: object) -> str:
    """Render a JSON text without a space."""
    return _JSON.dump_json(value).decode()


@dataclass(frozen=True, slots=True)
class Asking:
    """How a body of many questions came: its Idempotency-Key, and the SHA-256 of its raw bytes."""

    idempotency_key: str | None = None
    digest: bytes = b""


NO_KEY = Asking()


def record_bound(connection: Connection, new: StoredAssessment) -> None:
    """Record an answer whose order may be bound already. *Raises*: OrderConflict."""
    commitment = new.order_commitment
    bound = assessments.lock_orders(connection, new.platform, [new])[commitment]
    check_order(bound, new.account, new.identifiers)
    assessments.widen_order(connection, new.platform, commitment, new.identifiers)
    assessments.insert_assessment(connection, new)


def draft_batch(
    first: StoredAssessment, told: Sequence[GivenAnswer | OrderConflict], asking: Asking
) -> StoredAssessment:
    """Give the record of a batch: the id of each answer, or why there is none."""
    places = [
        {"id": one.id} if isinstance(one, GivenAnswer) else {"refused": one.detail} for one in told
    ]
    return first._replace(
        id=mint_id("ra_", first.assessed_at),
        purpose=BATCH,
        order_commitment="",
        account=b"",
        identifiers=b"",
        score=0,
        answer=compact(places),
        idempotency_key=asking.idempotency_key,
        request_hash=asking.digest,
        amount_minor=None,
        amount_currency=None,
        shadow=None,
    )


def find_batch(
    ledger: Ledger, connection: Connection, platform: int, asking: Asking, at: datetime
) -> list[GivenAnswer | OrderConflict] | None:
    """Find the answers that a batch got under its Idempotency-Key, exactly.

    *Raises*: as `find_repeated`.
    """
    known = find_repeated(ledger, connection, platform, asking, at)
    if known is None:
        return None
    places = json.loads(known.answer)
    ids = [one["id"] for one in places if "id" in one]
    answers = assessments.select_answers(connection, platform, ids)
    return [
        GivenAnswer(one["id"], answers[one["id"]]) if "id" in one else OrderConflict(one["refused"])
        for one in places
    ]


def find_repeated(
    ledger: Ledger, connection: Connection, platform: int, asking: Asking, at: datetime
) -> StoredAssessment | None:
    """Find the record of the same body under the same key.

    *Raises*: IdempotencyKeyReused; InputsErased once the answer isn't valid any more and what it
    was derived from was erased, or a match that it told of was taken back.
    """
    if asking.idempotency_key is None:
        return None
    known = assessments.find_repeated_assessment(connection, platform, asking.idempotency_key)
    if known is not None and not hmac.compare_digest(known.request_hash, asking.digest):
        raise IdempotencyKeyReused("The Idempotency-Key was used for another request.")
    if known is not None and at >= known.assessed_at + VALID_FOR:
        check_inputs(ledger, connection, known)
        check_matches(connection, known)
    return known
