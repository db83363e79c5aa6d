"""The clock's work on old incidents: what may be kept no longer is destroyed.

How long that is the jurisdiction's profile says, from the local day on which the conduct ended; a
held incident expires too. What is true when: before the commit the incidents stand as they stood;
after it their content is gone and the ledger's own signed statements say why. If we die right
before it, the next run does the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.errors import LedgerCorrupt
from ledger.log.leaf import Op
from ledger.rights.notice import last_expired_day
from ledger.sequencing import draft_own_statement, publish_checkpoint, sequence_pending
from ledger.store import entries, erasures, platforms
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.ledger import Ledger

_BATCH_MAX = 200


def expire_due(ledger: Ledger, now: datetime) -> int:
    """Destroy the incidents whose retention ended; give how many there were.

    At most 200 a call, oldest first.
    """
    last_day = last_expired_day(now, ledger.jurisdiction)
    with begin_read(ledger.database) as connection:
        if not erasures.select_expired(connection, last_day, 1):
            return 0
    with begin_write(ledger.database) as connection:
        # The log's lock makes this worker the only one that decides what is due.
        entries.read_state(connection, lock=True)
        names = {one.id: one.uri for one in platforms.select_platforms(connection)}
        expired = 0
        for incident_id in erasures.select_expired(connection, last_day, _BATCH_MAX):
            history = entries.select_incident_events(connection, incident_id)
            if not history:
                raise LedgerCorrupt("An incident has no report.")
            if any(event.entry_index is None for event in history):
                continue  # something about it is pending and is judged first
            members = {"incident_iss": names[history[0].platform], "incident_jti": history[0].jti}
            draft = draft_own_statement(
                ledger, "incident-expired", members, op=Op.EXPIRED, incident=incident_id, at=now
            )
            entries.insert_event(connection, draft)
            expired += 1
        sequence_pending(ledger, connection)
    publish_checkpoint(ledger, now)
    return expired
