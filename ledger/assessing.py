"""A buyer's risk at claim or checkout time: one read, a pure score, a record, an answer.

What is true when: the score is of the log's size that the one read found. After the commit it is
recorded who asked, for which order and purpose, when and what was answered; only then is it
answered. If we die right before the commit, nobody has learned anything.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from ledger.errors import (
    IdempotencyKeyReused,
    InvalidIssuer,
    NotOffered,
    OrderConflict,
    UnknownAssessment,
)
from ledger.graph.link import Presented
from ledger.graph.neighbourhood import build_neighbourhood
from ledger.identity.identifier import account_key, check_epoch, lookup_key
from ledger.identity.platform import require_scope
from ledger.ledger import learn_policy, mint_id
from ledger.risk.advice import advise
from ledger.risk.answer import render_answer
from ledger.risk.outlook import foresee
from ledger.risk.score import day_number, score_neighbourhood
from ledger.store import assessments, ledgers
from ledger.store.assessments import StoredAssessment, StoredOutcome
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.identity.identifier import AccountRef, IdentifierClaim
    from ledger.identity.platform import Caller
    from ledger.incident.incident import Money
    from ledger.ledger import Ledger
    from ledger.risk.advice import Purpose

VALID_FOR = timedelta(minutes=10)
_CLAIM_BYTES = 35
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class AssessmentRequest:
    """A query as the asker put it. `digest` is the SHA-256 of the raw body."""

    account: AccountRef
    identifiers: tuple[IdentifierClaim, ...]
    purpose: Purpose
    order_commitment: str
    claim_code: str | None
    amount: Money | None
    client_reference: str | None
    idempotency_key: str | None
    digest: bytes


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """An answer as it is recorded and given: its id and its JSON text, byte for byte."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the platform did after an answer: feedback, never evidence."""

    action: str
    decided_by: str
    merchant_heard: bool
    listing_compared: bool
    reversed_on_appeal: bool
    loss: Money | None
    idempotency_key: str | None
    digest: bytes


def assess_risk(
    ledger: Ledger, caller: Caller, request: AssessmentRequest, assessed_at: datetime
) -> GivenAnswer:
    """Assess a buyer account of the caller's and record the answer before giving it.

    *Raises*: NotOffered where the jurisdiction lets the ledger answer no score, InvalidIssuer
    for another platform's account, OrderConflict where the order commitment is bound to another
    account or identifier set, IdempotencyKeyReused, InvalidIdentifier.
    """
    require_scope(caller, "risk:read")
    if ledger.jurisdiction.answer != "score":
        raise NotOffered("This ledger's jurisdiction profile doesn't offer scores.")
    platform = caller.platform
    if request.account.iss != platform.uri:
        raise InvalidIssuer("The account isn't one of the caller's own.")
    for claim in request.identifiers:
        check_epoch(claim.identifier, sandbox=ledger.sandbox)
    account = account_key(ledger.keys.index_key, request.account)
    presented = _present(ledger, request)
    identifiers = b"".join(sorted(map(_bind_claim, presented)))
    with begin_write(ledger.database, autocommit=True) as connection:
        if request.idempotency_key is not None:
            repeated = assessments.find_repeated_assessment(
                connection, platform.id, request.idempotency_key
            )
            if repeated is not None:
                return _repeat(repeated, request)
        evidence = assessments.read_evidence(connection, (account, *[p.key for p in presented]))
        version = evidence.policy_version
        if version not in ledger.policies:
            learn_policy(ledger, version, ledgers.find_policy(connection, version))
        policy = ledger.policies[version]
        neighbourhood = build_neighbourhood(
            account, platform.group, presented, evidence, policy.kinds
        )
        score = score_neighbourhood(neighbourhood, policy, assessed_at.date())
        day = day_number(assessed_at.date())
        outlook = foresee(neighbourhood, score, policy, day, ledger.jurisdiction.retention_years)
        answer = {
            **_head(assessed_at),
            **render_answer(score, advise(score, request.purpose, policy), outlook, policy),
            "log": {"size": evidence.log_size, "origin": ledger.origin},
            "client_reference": request.client_reference,
        }
        new = StoredAssessment(
            id=str(answer["id"]),
            platform=platform.id,
            assessed_at=assessed_at,
            purpose=request.purpose.value,
            order_commitment=request.order_commitment,
            account=account,
            identifiers=identifiers,
            log_size=evidence.log_size,
            policy_version=policy.version,
            score=score.score,
            answer=_COMPACT(answer),
            idempotency_key=request.idempotency_key,
            request_hash=request.digest,
        )
        is_recorded = assessments.record_first(connection, new)
    if not is_recorded:
        with begin_write(ledger.database) as connection:
            bound = assessments.lock_order(connection, platform.id, new.order_commitment)
            check_order(bound, account, identifiers)
            assessments.widen_order(connection, platform.id, new.order_commitment, identifiers)
            assessments.insert_assessment(connection, new)
    return GivenAnswer(new.id, new.answer)


def _head(at: datetime) -> dict[str, object]:
    """Name an answer and say how long it holds."""
    return {
        "id": mint_id("ra_", at),
        "assessed_at": _text(at),
        "valid_until": _text(at + VALID_FOR),
    }


def _present(ledger: Ledger, request: AssessmentRequest) -> tuple[Presented, ...]:
    return tuple(
        Presented(
            key=lookup_key(ledger.keys.index_key, claim.identifier),
            kind=claim.identifier.kind.code,
            binding=claim.binding.code,
            bucket=claim.accounts_here.code,
        )
        for claim in request.identifiers
    )


def check_order(bound: tuple[bytes, bytes], account: bytes, identifiers: bytes) -> None:
    """Check that an order is asked about with its own account and no fewer identifiers.

    The identifiers come with their bindings and buckets. Otherwise they could be probed one by
    one. *Raises*: OrderConflict.
    """
    if bound[0] != account:
        raise OrderConflict("The order commitment is bound to another account.")
    if not _split(bound[1]) <= _split(identifiers):
        raise OrderConflict("The order commitment is bound to another identifier set.")


def _bind_claim(one: Presented) -> bytes:
    """Give what an order is bound to: an identifier, its kind, its binding, on how many accounts.

    If these could change from question to question, each identifier's own points would show.
    """
    return one.key + bytes([one.kind, one.binding, one.bucket])


def _split(identifiers: bytes) -> set[bytes]:
    starts = range(0, len(identifiers), _CLAIM_BYTES)
    return {identifiers[start : start + _CLAIM_BYTES] for start in starts}


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="seconds").replace("+00:00", "Z")


def _repeat(earlier: StoredAssessment, request: AssessmentRequest) -> GivenAnswer:
    if not hmac.compare_digest(earlier.request_hash, request.digest):
        raise IdempotencyKeyReused("The Idempotency-Key was used for another request.")
    return GivenAnswer(earlier.id, earlier.answer)


def find_assessment(ledger: Ledger, caller: Caller, assessment_id: str) -> GivenAnswer:
    """Give one of the caller's own answers again, exactly. *Raises*: UnknownAssessment."""
    require_scope(caller, "risk:read")
    with begin_read(ledger.database) as connection:
        found = assessments.find_assessment(connection, caller.platform.id, assessment_id)
    if found is None:
        raise UnknownAssessment("No assessment of yours has this id.")
    return GivenAnswer(found.id, found.answer)


def record_outcome(
    ledger: Ledger, caller: Caller, assessment_id: str, outcome: Outcome, at: datetime
) -> str:
    """Record what the caller did after an answer and give the record's id.

    *Raises*: UnknownAssessment, IdempotencyKeyReused.
    """
    require_scope(caller, "risk:read")
    new = StoredOutcome(
        id=mint_id("out_", at),
        assessment=assessment_id,
        platform=caller.platform.id,
        recorded_at=at,
        action=outcome.action,
        decided_by=outcome.decided_by,
        merchant_heard=outcome.merchant_heard,
        listing_compared=outcome.listing_compared,
        reversed_on_appeal=outcome.reversed_on_appeal,
        loss_minor=outcome.loss.minor if outcome.loss else None,
        loss_currency=outcome.loss.currency if outcome.loss else None,
        idempotency_key=outcome.idempotency_key,
        request_hash=outcome.digest,
    )
    with begin_write(ledger.database) as connection:
        if assessments.find_assessment(connection, new.platform, assessment_id) is None:
            raise UnknownAssessment("No assessment of yours has this id.")
        if outcome.idempotency_key is not None:
            earlier = assessments.find_repeated_outcome(
                connection, new.platform, outcome.idempotency_key
            )
            if earlier is not None:
                if (earlier.assessment, earlier.request_hash) != (assessment_id, outcome.digest):
                    raise IdempotencyKeyReused("The Idempotency-Key was used before.")
                return earlier.id
        assessments.insert_outcome(connection, new)
    return new.id
