"""The clock's work on held incidents: what its notice window has passed for begins to count.

What is true when: before the commit the incidents are held; after it they are active and the
ledger's own signed statements say so. If we die right before it, the next run does the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.deriving import read_report
from ledger.errors import LedgerCorrupt
from ledger.log.leaf import Op
from ledger.rights.notice import activates_at
from ledger.sequencing import draft_own_statement, publish_checkpoint, sequence_pending
from ledger.store import entries, incidents, platforms
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.ledger import Ledger

_BATCH_MAX = 200


def activate_due(ledger: Ledger, now: datetime) -> int:
    """Let held incidents count whose notice window has passed; give how many there were.

    At most 200 a call, oldest first.
    """
    with begin_read(ledger.database) as connection:
        if not incidents.select_due(connection, now, 1):
            return 0
    with begin_write(ledger.database) as connection:
        # The log's lock makes this worker the only one that decides what is due.
        entries.read_state(connection, lock=True)
        due = incidents.select_due(connection, now, _BATCH_MAX)
        names = platforms.select_names(connection)
        activated = 0
        for incident_id in due:
            history = entries.select_incident_events(connection, incident_id)
            if not history:
                raise LedgerCorrupt("A held incident has no report.")
            if any(event.entry_index is None for event in history):
                continue  # something about it is pending and is judged first
            report = history[0]
            window = activates_at(
                read_report(ledger, report), ledger.jurisdiction, received_at=report.received_at
            )
            if window is not None and window > now:
                continue  # whatever stands beside the report
            draft = draft_own_statement(
                ledger,
                "incident-activated",
                {"incident_iss": names[report.platform], "incident_jti": report.jti},
                op=Op.ACTIVATED,
                incident=incident_id,
                at=now,
            )
            entries.insert_event(connection, draft)
            activated += 1
        sequence_pending(ledger, connection)
    publish_checkpoint(ledger, now)
    return activated
