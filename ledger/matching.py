"""Whether files were seen as forged before, by their hashes alone, and what is recalled of answers.

What is true when: files are looked for in a snapshot, which keeps nobody waiting. Of an answer
that tells of a match it is then written down on which records it rests, to whom and when, in one
transaction that holds them. A withdrawal that comes later recalls the answer; one that came
earlier leaves nothing to tell. The hashes that were asked about are never written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.errors import UnknownRecall
from ledger.identity.platform import require_scope
from ledger.ledger import mint_id
from ledger.recognising import hold, recognise, render_seen
from ledger.store import entries, evidence
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ledger.identity.platform import Caller
    from ledger.incident.evidence import Sought
    from ledger.ledger import Ledger
    from ledger.store.evidence import Recall

RECALL_SCOPES = ("risk:read", "evidence:read")  # answers of both kinds are recalled


@dataclass(frozen=True, slots=True)
class Matched:
    """An answer: what was seen before of each file, in the order of the files.

    *Shape*: of the first `log_size` entries all was looked at.
    """

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
    with begin_read(ledger.database, snapshot=True) as connection:
        size = entries.read_state(connection).size
        found = recognise(connection, sought, platform.group)
    if any(found):
        with begin_write(ledger.database) as connection:
            found = hold(connection, found, sought, platform.group)
            evidence.record_matches(connection, answer, platform.id, found, at)
    return Matched(answer, tuple(render_seen(one) for one in found), size)


def list_recalls(
    ledger: Ledger, caller: Caller, after: str, limit: int
) -> tuple[list[Recall], bool]:
    """List the caller's recalls behind an id, and tell whether there are more."""
    require_scope(caller, *RECALL_SCOPES)
    with begin_read(ledger.database) as connection:
        found = evidence.select_recalls(connection, caller.platform.id, after, limit + 1)
    return found[:limit], len(found) > limit


def acknowledge(ledger: Ledger, caller: Caller, recall_id: str, at: datetime) -> Recall:
    """Write down that the caller knows of a recall; a second time changes nothing.

    *Raises*: UnknownRecall.
    """
    require_scope(caller, *RECALL_SCOPES)
    with begin_write(ledger.database) as connection:
        found = evidence.acknowledge_recall(connection, caller.platform.id, recall_id, at)
    if found is None:
        raise UnknownRecall("No recall of yours has this id.")
    return found
