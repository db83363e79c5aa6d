"""Statements about what came of answers: outcomes that platforms told, and answers in the past."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from ledger.errors import LedgerUnavailable
from ledger.incident.incident import Money
from ledger.risk.advice import GRANTED
from ledger.store.assessments import read_row
from ledger.store.tables import assessment, assessment_outcome

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.engine import Connection

    from ledger.store.assessments import StoredAssessment


@dataclass(frozen=True, slots=True)
class StoredOutcome:
    """What the platform did after an answer."""

    id: str
    assessment: str
    platform: int
    recorded_at: datetime
    action: str
    decided_by: str
    merchant_heard: bool
    listing_compared: bool
    reversed_on_appeal: bool
    loss_minor: int | None
    loss_currency: str | None
    idempotency_key: str | None
    request_hash: bytes


@dataclass(frozen=True, slots=True)
class PastAssessment:
    """A past answer with what platforms told of it.

    *Shape*: `granted_losses` are what grants cost, in the order of telling.
    """

    stored: StoredAssessment
    reversed_on_appeal: bool
    granted_losses: tuple[Money, ...]


def find_repeated_outcome(
    connection: Connection, platform: int, idempotency_key: str
) -> StoredOutcome | None:
    """Find the outcome that was recorded under an Idempotency-Key."""
    row = connection.execute(
        select(assessment_outcome).where(
            assessment_outcome.c.platform == platform,
            assessment_outcome.c.idempotency_key == idempotency_key,
        )
    ).one_or_none()
    return None if row is None else StoredOutcome(**row._mapping)  # noqa: SLF001


def insert_outcome(connection: Connection, new: StoredOutcome) -> None:
    """Record what a platform did after an answer.

    *Raises*: LedgerUnavailable where the same Idempotency-Key arrives twice at once.
    """
    values = {name: getattr(new, name) for name in StoredOutcome.__slots__}
    try:
        connection.execute(insert(assessment_outcome).values(values))
    except IntegrityError as error:
        raise LedgerUnavailable("The same request is being recorded right now.") from error


def select_since(connection: Connection, since: datetime) -> list[PastAssessment]:
    """Give the answers about single buyers since an instant, with their outcomes."""
    outcome = assessment_outcome.c
    told: dict[str, list[Any]] = {}
    columns = (outcome.assessment, outcome.action, outcome.reversed_on_appeal)
    outcomes = select(*columns, outcome.loss_minor, outcome.loss_currency)
    for row in connection.execute(outcomes.order_by(outcome.recorded_at, outcome.id)):
        told.setdefault(row.assessment, []).append(row)
    statement = select(assessment).where(
        assessment.c.assessed_at >= since, assessment.c.order_commitment != ""
    )
    past = []
    for row in connection.execute(statement.order_by(assessment.c.id)):
        rows = told.get(row.id, [])
        granted = [one for one in rows if one.action in GRANTED and one.loss_minor]
        past.append(
            PastAssessment(
                read_row(row),
                any(one.reversed_on_appeal for one in rows),
                tuple(Money(one.loss_minor, one.loss_currency) for one in granted),
            )
        )
    return past


def select_shadowed(connection: Connection) -> list[tuple[str, str]]:
    """Give the answers that a tried policy was scored beside, and what it would have said."""
    statement = select(assessment.c.answer, assessment.c.shadow)
    rows = connection.execute(statement.where(assessment.c.shadow.is_not(None)))
    return [(row.answer, row.shadow) for row in rows]
