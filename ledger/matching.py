"""Whether files were seen as forged before, by their hashes alone, and what is recalled of answers.

What is true when: of an answer that told of a match it is written down of which records, to whom
and when, in the transaction that found them. A withdrawal that comes later recalls the answer;
one that came earlier leaves nothing to match. The hashes that were asked about are never written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.errors import UnknownRecall
from ledger.identity.platform import require_scope
from ledger.ledger import mint_id
from ledger.recognising import render_seen
from ledger.store import entries, evidence
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ledger.identity.platform import Caller
    from ledger.incident.evidence import Sought
    from ledger.ledger import Ledger
    from ledger.store.evidence import Recall


@dataclass(frozen=True, slots=True)
class Matched:
    """An answer: what was seen before of each file, in the order of the files."""

    id: str
    seen: tuple[dict[str, object] | None, ...]
    log_size: int


def match_evidence(
    ledger: Ledger, caller: Caller, sought: Sequence[Sought], at: datetime
) -> Matched:
    """Tell of each file whether another group reported it as forged."""
    require_scope(caller, "evidence:read")
    answer = mint_id("em_", at)
    platform = caller.platform
    with begin_write(ledger.database) as connection:
        size = entries.read_state(connection).size
        found = evidence.find_matches(connection, sought, platform.group)
        evidence.record_matches(connection, answer, platform.id, found, at)
    return Matched(answer, tuple(render_seen(one) for one in found), size)


def list_recalls(
    ledger: Ledger, caller: Caller, after: str, limit: int
) -> tuple[list[Recall], bool]:
    """List the caller's recalls behind an id, and tell whether there are more."""
    require_scope(caller, "risk:read")
    with begin_read(ledger.database) as connection:
        found = evidence.select_recalls(connection, caller.platform.id, after, limit + 1)
    return found[:limit], len(found) > limit


def acknowledge(ledger: Ledger, caller: Caller, recall_id: str, at: datetime) -> Recall:
    """Write down that the caller knows of a recall; a second time changes nothing.

    *Raises*: UnknownRecall.
    """
    require_scope(caller, "risk:read")
    with begin_write(ledger.database) as connection:
        found = evidence.acknowledge_recall(connection, caller.platform.id, recall_id, at)
    if found is None:
        raise UnknownRecall("No recall of yours has this id.")
    return found
