"""The clock's work on what is old: what may be kept no longer is destroyed.

How long that is the jurisdiction's profile says, from the day that `ledger/rights/retention.py`
names; a held incident expires too. Statements about no incident come after all incidents that are
due, since they decide how those are read: then none is left that would come back into a score. A
separation stays as long as an incident of either account counts, or may. The days beside the
statements find what is due; what is sealed decides. What is true when: before
the commit all stands as it stood; after it the content is gone and the ledger's own signed
statements say why. If we die right before it, the next run does the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.deriving import find_keys, read_report
from ledger.errors import LedgerCorrupt
from ledger.judging import check_time_is_over
from ledger.log.leaf import Op
from ledger.rights.retention import last_expired_day
from ledger.sequencing import draft_own_statement, publish_checkpoint, sequence_pending
from ledger.store import entries, erasures, incidents, overrides, platforms
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ledger.ledger import Ledger
    from ledger.store.engine import Connection

_BATCH_MAX = 200
# Markers that are due go all at once: of two, the one that lies within the other left no row.
_LIMITS = {Op.EVIDENCE_SEEN: _BATCH_MAX, Op.LINK_STATED: _BATCH_MAX, Op.MARKED: None}


def expire_due(ledger: Ledger, now: datetime) -> int:
    """Destroy the incidents and other statements whose retention ended; give how many.

    At most 200 of a kind a call, oldest first, and all markers that are due.
    """
    last_day = last_expired_day(now, ledger.jurisdiction)
    with begin_read(ledger.database) as connection:
        is_due = erasures.select_expired(connection, last_day, 1)
        if not is_due and not any(_find_ended(ledger, connection, op, now, 1) for op in _LIMITS):
            return 0
    with begin_write(ledger.database) as connection:
        # The log's lock makes this worker the only one that decides what is due.
        entries.read_state(connection, lock=True)
        names = platforms.select_names(connection)
        expired = _expire_incidents(ledger, connection, names, last_day, now)
        while sequence_pending(ledger, connection):
            pass
        if not erasures.select_expired(connection, last_day, 1):
            expired += _expire_statements(ledger, connection, names, now)
    publish_checkpoint(ledger, now)
    return expired


def _expire_incidents(
    ledger: Ledger, connection: Connection, names: Mapping[int, str], last_day: int, now: datetime
) -> int:
    expired = 0
    for incident_id in erasures.select_expired(connection, last_day, _BATCH_MAX):
        history = entries.select_incident_events(connection, incident_id)
        if not history:
            raise LedgerCorrupt("An incident has no report.")
        if any(event.entry_index is None for event in history):
            continue  # something about it is pending and is judged first
        check_time_is_over(ledger, history, last_day)
        members = {"incident_iss": names[history[0].platform], "incident_jti": history[0].jti}
        draft = draft_own_statement(
            ledger, "incident-expired", members, op=Op.EXPIRED, incident=incident_id, at=now
        )
        entries.insert_event(connection, draft)
        expired += 1
    return expired


def _expire_statements(
    ledger: Ledger, connection: Connection, names: Mapping[int, str], now: datetime
) -> int:
    expired = 0
    for op, limit in _LIMITS.items():
        for record, member, jti in _find_ended(ledger, connection, op, now, limit):
            history = entries.select_incident_events(connection, record)
            check_time_is_over(ledger, history, last_expired_day(now, ledger.jurisdiction, op))
            members = {"statement_iss": names[member], "statement_jti": jti}
            draft = draft_own_statement(
                ledger, "statement-expired", members, op=Op.EXPIRED, incident=record, at=now
            )
            entries.insert_event(connection, draft)
            expired += 1
    while sequence_pending(ledger, connection):
        pass
    return expired


def _find_ended(
    ledger: Ledger, connection: Connection, op: Op, now: datetime, limit: int | None
) -> list[tuple[str, int, str]]:
    """Find what ends of a kind: record, who stated it, jti.

    Only where links are due are reports opened that don't count yet, to see whose they are.
    """
    last_day = last_expired_day(now, ledger.jurisdiction, op)
    found = erasures.select_ended(connection, op, last_day, limit)
    if not found or op is not Op.LINK_STATED:
        return found
    waiting = [
        entries.find_entry_event(connection, index)
        for index in incidents.select_waiting(connection)
    ]
    accounts = {find_keys(ledger, read_report(ledger, one))[0] for one in waiting}
    kept = overrides.find_separations(connection, accounts)
    return erasures.select_ended(connection, op, last_day, limit, kept) if kept else found
