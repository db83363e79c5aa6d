"""A buyer's risk at claim or checkout time: one read, a pure score, a record, an answer.

What is true when: the score is of the log's size that the one read found. After the commit it is
recorded who asked, for which order and purpose, when and what was answered; only then is it
answered. If we die right before the commit, nobody has learned anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ledger.errors import (
    InvalidIssuer,
    NotOffered,
    OrderConflict,
)
from ledger.graph.link import Presented, bind_claims
from ledger.graph.neighbourhood import build_neighbourhood
from ledger.graph.posting import day_number
from ledger.identity.identifier import account_key, check_epoch, lookup_key
from ledger.identity.platform import require_scope
from ledger.ledger import learn_policies, mint_id
from ledger.recognising import hold, recognise, render_seen
from ledger.recording import (
    NO_KEY,
    VALID_FOR,
    Asking,
    compact,
    draft_batch,
    find_batch,
    find_repeated,
    record_bound,
)
from ledger.risk.advice import advise
from ledger.risk.answer import answer_question, render_second
from ledger.risk.order import check_order
from ledger.risk.portfolio import COUNT_STEP, blur_counts, check_portfolio
from ledger.risk.score import score_on_day
from ledger.store import assessments
from ledger.store import evidence as exchanged
from ledger.store.assessments import GivenAnswer, StoredAssessment
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ledger.graph.neighbourhood import Evidence, Neighbourhood
    from ledger.identity.identifier import AccountRef, IdentifierClaim
    from ledger.identity.platform import Caller, Platform
    from ledger.incident.evidence import Sought
    from ledger.incident.incident import Money
    from ledger.ledger import Ledger
    from ledger.risk.advice import Purpose
    from ledger.store.evidence import Match

PORTFOLIO_STATISTICS = "portfolio_statistics"  # a purpose that is about no single buyer


class AssessmentRequest(NamedTuple):
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
    evidence: tuple[Sought, ...] = ()


class Subject(NamedTuple):
    """An account and its identifiers, about which nothing by itself is asked."""

    account: AccountRef
    identifiers: tuple[IdentifierClaim, ...]


def assess_risk(
    ledger: Ledger, caller: Caller, request: AssessmentRequest, assessed_at: datetime
) -> GivenAnswer:
    """Assess a buyer account of the caller's and record the answer before giving it.

    *Raises*: NotOffered where the jurisdiction lets the ledger answer no score, InvalidIssuer
    for another platform's account, OrderConflict where the order commitment is bound to another
    account or identifier set, IdempotencyKeyReused, InvalidIdentifier; for a repeat InputsErased,
    where what it rested on was erased and the answer isn't valid any more.
    """
    _check_asker(ledger, caller, (request,))
    platform, sought = caller.platform, request.evidence
    asked = _bind(ledger, request)
    found: list[list[Match]] = []
    if sought:
        with begin_read(ledger.database, snapshot=True) as connection:
            found = recognise(connection, sought, platform.group)
    is_seen = any(found)
    with begin_write(ledger.database, autocommit=not is_seen) as connection:
        if request.idempotency_key is not None:
            asking = Asking(request.idempotency_key, request.digest)
            repeated = find_repeated(ledger, connection, platform.id, asking, assessed_at)
            if repeated is not None:
                return GivenAnswer(repeated.id, repeated.answer)
        evidence = assessments.read_evidence(connection, asked.keys)
        learn_policies(ledger, connection, evidence.policy_version, evidence.shadow_version)
        matches = hold(connection, found, sought, platform.group) if is_seen else []
        seen = render_seen([one for of_file in matches for one in of_file])
        new = _answer(ledger, platform, request, asked, evidence, assessed_at, seen)
        if is_seen:  # one transaction: nobody withdraws in between what was held
            record_bound(connection, new)
            exchanged.record_matches(connection, new.id, platform.id, matches, assessed_at)
            return GivenAnswer(new.id, new.answer)
        is_recorded = assessments.record_first(connection, new)
    if not is_recorded:  # the order was asked about before
        with begin_write(ledger.database) as connection:
            record_bound(connection, new)
    return GivenAnswer(new.id, new.answer)


def assess_batch(
    ledger: Ledger,
    caller: Caller,
    requests: Sequence[AssessmentRequest],
    assessed_at: datetime,
    asking: Asking = NO_KEY,
) -> list[GivenAnswer | OrderConflict]:
    """Assess many buyer accounts by one read, record all answers in one transaction, give them.

    *Shape*: in the order of the questions; a conflict of its order stands in the place of an
    answer, and that one isn't recorded. Under an Idempotency-Key it is recorded beside them which
    answers the batch got, so that a repeat gets the same ones. *Raises*: as `assess_risk`, before
    anything is recorded.
    """
    _check_asker(ledger, caller, requests)
    platform = caller.platform
    questions = [_bind(ledger, request) for request in requests]
    with begin_read(ledger.database, snapshot=True) as connection:
        repeated = find_batch(ledger, connection, platform.id, asking, assessed_at)
        if repeated is not None:
            return repeated
        shelf = assessments.read_shelf(connection, [one.keys for one in questions])
        learn_policies(ledger, connection, shelf.policy_version, shelf.shadow_version)
    new = [
        _answer(ledger, platform, request, one, shelf.select(one.keys), assessed_at)
        for request, one in zip(requests, questions, strict=True)
    ]
    with begin_write(ledger.database) as connection:
        bound = assessments.lock_orders(connection, platform.id, new)
        repeated = find_batch(ledger, connection, platform.id, asking, assessed_at)  # meanwhile
        if repeated is not None:
            return repeated
        told: list[GivenAnswer | OrderConflict] = []
        kept, wider = [], {}
        for one in new:
            order = bound[one.order_commitment]
            try:
                check_order(order, one.account, one.identifiers)
            except OrderConflict as conflict:
                told.append(conflict)
                continue
            if order[1] != one.identifiers:
                wider[one.order_commitment] = one.identifiers
                bound[one.order_commitment] = (one.account, one.identifiers)
            kept.append(one)
            told.append(GivenAnswer(one.id, one.answer))
        for commitment, identifiers in wider.items():
            assessments.widen_order(connection, platform.id, commitment, identifiers)
        assessments.insert_assessments(connection, kept)
        if asking.idempotency_key is not None:
            record = draft_batch(new[0], told, asking)
            assessments.insert_assessment(connection, record)
    return told


def count_portfolio(
    ledger: Ledger,
    caller: Caller,
    subjects: Sequence[Subject],
    assessed_at: datetime,
    asking: Asking = NO_KEY,
) -> GivenAnswer:
    """Count how many of many accounts are at which level, about, and record who asked.

    Nothing is said of any one of them: each count is off by up to ten, always the same for the
    same accounts, and floored to tens, so that one more account can't be told by difference.
    *Raises*: as `assess_risk`.
    """
    _check_asker(ledger, caller, subjects)
    questions = [_bind(ledger, one) for one in subjects]
    keys = [one.keys for one in questions]
    check_portfolio(keys)
    levels = dict.fromkeys(("LOW", "MEDIUM", "HIGH"), 0)
    asker, group = caller.platform.id, caller.platform.group
    with begin_read(ledger.database, snapshot=True) as connection:
        repeated = find_repeated(ledger, connection, asker, asking, assessed_at)
        if repeated is not None:
            return GivenAnswer(repeated.id, repeated.answer)
        shelf = assessments.read_shelf(connection, keys)
        version = shelf.policy_version
        policy = learn_policies(ledger, connection, version)
    day = day_number(assessed_at.date())
    for one in questions:
        found = shelf.select(one.keys)
        surroundings = build_neighbourhood(one.account, group, one.presented, found, policy.kinds)
        levels[score_on_day(surroundings, policy, day).level] += 1
    with begin_write(ledger.database) as connection:
        repeated = find_repeated(ledger, connection, asker, asking, assessed_at)  # meanwhile
        if repeated is not None:
            return GivenAnswer(repeated.id, repeated.answer)
        counted = {
            "id": mint_id("ra_", assessed_at),
            "assessed_at": render_second(assessed_at),
            "subjects": len(keys) // COUNT_STEP * COUNT_STEP,
            "levels": blur_counts(levels, ledger.keys.index_key, caller.platform.id, keys),
            "policy_version": version,
            "log": {"size": shelf.log_size, "origin": ledger.origin},
        }
        recorded = StoredAssessment(
            id=str(counted["id"]),
            platform=caller.platform.id,
            assessed_at=assessed_at,
            purpose=PORTFOLIO_STATISTICS,
            order_commitment="",
            account=b"",
            identifiers=b"",
            log_size=shelf.log_size,
            policy_version=version,
            score=0,
            answer=compact(counted),
            idempotency_key=asking.idempotency_key,
            request_hash=asking.digest,
        )
        assessments.insert_assessment(connection, recorded)
    return GivenAnswer(recorded.id, recorded.answer)


def _check_asker(
    ledger: Ledger, caller: Caller, requests: Sequence[AssessmentRequest | Subject]
) -> None:
    require_scope(caller, "risk:read")
    if ledger.jurisdiction.answer != "score":
        raise NotOffered("This ledger's jurisdiction profile doesn't offer scores.")
    for request in requests:
        if request.account.iss != caller.platform.uri:
            raise InvalidIssuer("The account isn't one of the caller's own.")
        for claim in request.identifiers:
            check_epoch(claim.identifier, sandbox=ledger.sandbox)


class _Question(NamedTuple):
    """The lookup keys of a question: the account's own first, then the identifiers'."""

    account: bytes
    presented: tuple[Presented, ...]
    keys: tuple[bytes, ...]


def _bind(ledger: Ledger, request: AssessmentRequest | Subject) -> _Question:
    key = ledger.keys.index_key
    account = account_key(key, request.account)
    presented = tuple(
        [
            Presented(
                lookup_key(key, claim.identifier),
                claim.identifier.kind.code,
                claim.binding.code,
                claim.accounts_here.code,
            )
            for claim in request.identifiers
        ]
    )
    return _Question(account, presented, (account, *[one.key for one in presented]))


def _answer(  # noqa: PLR0913, PLR0917 - all that an answer says, and to whom
    ledger: Ledger,
    platform: Platform,
    request: AssessmentRequest,
    asked: _Question,
    evidence: Evidence,
    at: datetime,
    seen_before: dict[str, object] | None = None,
) -> StoredAssessment:
    """Score a question and render its answer, ready to be recorded.

    Whether its evidence was seen before stands beside the score, which doesn't know of it.
    """
    policy, day = ledger.policies[evidence.policy_version], day_number(at.date())
    surroundings = build_neighbourhood(
        asked.account, platform.group, asked.presented, evidence, policy.kinds
    )
    years = ledger.jurisdiction.retention_years
    score, shown = answer_question(surroundings, policy, request.purpose, day, years)
    answer_id = mint_id("ra_", at)
    answer = {
        "id": answer_id,
        "assessed_at": render_second(at),
        "valid_until": render_second(at + VALID_FOR),
        **shown,
        "log": {"size": evidence.log_size, "origin": ledger.origin},
        "client_reference": request.client_reference,
    }
    if seen_before is not None:
        answer["evidence"] = {**shown["evidence"], "seen_before": seen_before}
    return StoredAssessment(
        id=answer_id,
        platform=platform.id,
        assessed_at=at,
        purpose=request.purpose.value,
        order_commitment=request.order_commitment,
        account=asked.account,
        identifiers=bind_claims(asked.presented),
        log_size=evidence.log_size,
        policy_version=policy.version,
        score=score.score,
        answer=compact(answer),
        idempotency_key=request.idempotency_key,
        request_hash=request.digest,
        amount_minor=request.amount.minor if request.amount else None,
        amount_currency=request.amount.currency if request.amount else None,
        shadow=_score_shadow(ledger, surroundings, evidence.shadow_version, request.purpose, day),
    )


def _score_shadow(
    ledger: Ledger, neighbourhood: Neighbourhood, version: int, purpose: Purpose, day: int
) -> str | None:
    """Score under the policy that is tried, for the record alone: no asker ever sees it.

    A trial that fails is recorded as failed, and never fails the answer.
    """
    if not version:
        return None
    told: dict[str, object]
    try:
        policy = ledger.shadows[version]
        score = score_on_day(neighbourhood, policy, day)
        advice = advise(score, purpose, policy)
        action = advice.action if advice else None
        told = {"version": version, "score": score.score, "level": score.level, "action": action}
    except Exception:  # noqa: BLE001 - whatever is wrong with a trial, who asks is answered
        told = {"version": version, "score": None, "level": "failed", "action": None}
    return compact(told)
