"""The standard of proof `bcl-proof-1`, checked by the machine before a report is kept.

- P1 reasonable grounds: a human decided, or a court, an admission or a restitution stands behind
  it.
- P2 at least two independent evidence items: different digest and different source. A detector's
  output is never one of them; labels of AI and matches with known evidence are one together.
- P3 a recognised conduct (the taxonomy).
- P4 a consequence was imposed, or the benefit was fully obtained.
- Level A needs a decision, level C an admission or a restitution; level D a human decision after
  the buyer was heard and the window for an appeal has passed. Level B is a reference only and
  isn't shared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.errors import Fault, StandardNotMet
from ledger.incident.taxonomy import (
    Actor,
    Conduct,
    EvidenceKind,
    EvidenceSource,
    ProofLevel,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from ledger.incident.incident import EvidenceItem, IncidentReport, Proof

INDEPENDENT_ITEMS_MIN = 2
_MARKS = "marks"  # in the place of a source: what labels and matches share
_OWNED_UP = {EvidenceKind.ADMISSION, EvidenceKind.RESTITUTION}  # what the buyer did about it


def judge_report(report: IncidentReport, *, received_at: datetime) -> None:
    """Refuse a report that doesn't meet the standard of proof.

    *Raises*: StandardNotMet with every pillar that is missing.
    """
    faults = (
        *_judge_proof(report.proof, min(report.issued_at, received_at)),
        *_judge_actor(report),
        *_judge_series(report),
    )
    if faults:
        raise StandardNotMet("The report doesn't meet the standard of proof.", faults=faults)


def judge_proof(proof: Proof, *, at: datetime) -> None:
    """Refuse a proof that doesn't meet the standard at an instant, whatever it is a proof of.

    *Raises*: StandardNotMet.
    """
    faults = tuple(_judge_proof(proof, at))
    if faults:
        raise StandardNotMet("The proof doesn't meet the standard.", faults=faults)


def count_independent(evidence: tuple[EvidenceItem, ...]) -> int:
    """Count evidence items that differ from each other in digest and in source.

    One source with many pictures is one item, and so is one picture from many sources. All labels
    and matches together are one at most, whoever names them.
    """
    sound = [
        item
        for item in evidence
        if EvidenceKind.DETECTOR is not item.kind and EvidenceSource.DETECTOR is not item.source
    ]
    by_source: dict[str, set[bytes]] = {}
    for item in sound:
        origin = _MARKS if item.kind.is_mark else item.source.value
        by_source.setdefault(origin, set()).add(item.digest)
    matched: dict[bytes, str] = {}
    return sum(_assign(source, by_source, matched, set()) for source in sorted(by_source))


def _assign(
    source: str,
    by_source: dict[str, set[bytes]],
    matched: dict[bytes, str],
    tried: set[bytes],
) -> bool:
    """Give a source a digest of its own, moving others where they have a choice."""
    for digest in sorted(by_source[source] - tried):
        tried.add(digest)
        if digest not in matched or _assign(matched[digest], by_source, matched, tried):
            matched[digest] = source
            return True
    return False


def _judge_proof(proof: Proof, at: datetime) -> Iterator[Fault]:
    if count_independent(proof.evidence) < INDEPENDENT_ITEMS_MIN:
        yield Fault("/proof/evidence", "P2", "Two independent evidence items are needed.")
    kinds = {item.kind for item in proof.evidence}
    if proof.level is ProofLevel.A and EvidenceKind.DECISION not in kinds:
        yield Fault("/proof/level", "P1", "Level A needs the decision among the evidence.")
    if proof.level is ProofLevel.B:
        yield Fault("/proof/level", "P1", "Findings of authorities are not shared.")
    if proof.level is ProofLevel.C and not kinds & _OWNED_UP:
        yield Fault(
            "/proof/level", "P1", "Level C needs an admission or a restitution among the evidence."
        )
    if proof.level is ProofLevel.D:
        if not proof.human_decision:
            yield Fault("/proof/human_decision", "P1", "A human decides at level D.")
        if not proof.buyer_heard:
            yield Fault("/proof/buyer_heard", "P1", "The buyer is heard at level D.")
        ended = proof.appeal_window_ended_at
        if ended is None or ended > at:
            yield Fault(
                "/proof/appeal_window_ended_at", "P1", "The window for an appeal must have passed."
            )


def _judge_actor(report: IncidentReport) -> Iterator[Fault]:
    takeover = report.conduct is Conduct.ACCOUNT_TAKEOVER_REFUND
    if takeover != (report.actor is Actor.VICTIM):
        yield Fault("/actor", "P3", "A takeover has a victim, and nothing else has one.")


def _judge_series(report: IncidentReport) -> Iterator[Fault]:
    series = report.series
    if series is None:
        return
    if not series.first_at <= series.last_at <= report.conduct_ended_at:
        yield Fault("/series", "order", "A series lies within the conduct.")
    if series.total != report.amount:
        yield Fault("/series/total", "total", "The amount is the total of the series.")
