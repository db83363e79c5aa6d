"""Which records ever named which lookup keys, by all that the log's statements say.

The index forgets what a correction, a marker or a recycling took out of it, so that no victim
leaves a trace there. Whoever asks what was linked at an earlier size of the log opens the
statements instead: all of them once, which is linear, for as many questions as there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledger.deriving import derive_override, find_keys, read_statement
from ledger.incident.incident import IncidentReport
from ledger.incident.statement import Correction, Marking, Recycling, Unlinking
from ledger.log.leaf import Op
from ledger.store import entries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ledger.incident.statement import Statement
    from ledger.ledger import Ledger
    from ledger.store.engine import Connection

_NAMING = (Op.INCIDENT_CONFIRMED, Op.CORRECTED, Op.LINK_STATED, Op.MARKED)


@dataclass(frozen=True, slots=True)
class Trace:
    """Records by the lookup keys that their statements named, and the accounts in those wanted.

    *Shape*: a record that said something twice stands twice.
    """

    records: dict[bytes, list[str]] = field(default_factory=dict)
    accounts: dict[str, set[bytes]] = field(default_factory=dict)

    def find_bearing(self, keys: Collection[bytes]) -> set[str]:
        """Give the records that could ever bear on a question by these keys, and more.

        *Shape*: what named one of them, and all about the accounts that were ever linked by one.
        """
        named = self._name(keys)
        linked = {one for record in named for one in self.accounts.get(record, ())}
        return named | self._name(linked)

    def _name(self, keys: Collection[bytes]) -> set[str]:
        return set().union(*[self.records.get(key, ()) for key in keys])


def _tell_nobody(index: int) -> None:
    """Take a step that nobody waits for."""
    del index


def trace_keys(
    ledger: Ledger,
    connection: Connection,
    wanted: Collection[bytes],
    size: int,
    on_progress: Callable[[int], None] = _tell_nobody,
) -> Trace:
    """Open every statement below a size of the log that names keys, and keep who named which.

    *Shape*: of identifiers the wanted ones alone, of accounts all. What was erased is passed over.
    `on_progress` is told below which index all were opened. *Raises*: LedgerCorrupt.
    """
    trace = Trace()
    for stored in entries.stream_statements(connection, _NAMING, size):
        index = stored.entry_index or 0
        on_progress(index)
        if stored.sealed is None:
            continue
        accounts, others = _find_named(ledger, read_statement(ledger, stored), index)
        asked = [key for key in others if key in wanted]
        for key in (*accounts, *asked):
            trace.records.setdefault(key, []).append(stored.incident)
        if asked:
            trace.accounts.setdefault(stored.incident, set()).update(accounts)
    return trace


def _find_named(
    ledger: Ledger, statement: Statement, index: int
) -> tuple[list[bytes], list[bytes]]:
    """Give the lookup keys of the accounts in a statement, and of the identifiers."""
    said = statement.report if isinstance(statement, Correction) else statement
    if isinstance(said, IncidentReport):
        account, claims = find_keys(ledger, said)
        return [account], [one.key for one in claims]
    if not isinstance(said, Unlinking | Recycling | Marking):
        return [], []
    kinds = derive_override(ledger, said, 0, index).keys
    return [key for key in kinds if not kinds[key]], [key for key in kinds if kinds[key]]
