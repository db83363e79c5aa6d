"""Whether this ledger can serve: its database answers, its checkpoint and its keys fit its log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.deriving import read_report
from ledger.errors import LedgerCorrupt, LedgerError
from ledger.identity.identifier import account_key
from ledger.log.checkpoint import open_checkpoint
from ledger.sequencing import open_tag_key
from ledger.store import entries, incidents, platforms, postings, witnesses
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from ledger.ledger import Ledger
    from ledger.store.engine import Connection


def check_ready(ledger: Ledger, *, hears_next: bool = False) -> None:
    """Check that the ledger can serve.

    *Shape*: with `hears_next` it doesn't matter what witnesses said before, since they are asked
    anew at once.
    *Raises*: LedgerUnavailable where the database can't be reached, LedgerCorrupt where the
    newest checkpoint doesn't open or contradicts the log, a witness knows what is lost, or a key
    isn't this ledger's.
    """
    with begin_read(ledger.database, snapshot=True) as connection:
        state = entries.read_state(connection)
        found = entries.find_checkpoint(connection)
        lost = witnesses.select_unsigned(connection)
        _check_keys(ledger, connection)
    known = ledger.witnesses.witnesses if ledger.witnesses and not hears_next else ()
    if any(one.name in lost for one in known):
        raise LedgerCorrupt("A witness cosigned a size of the log that is lost.")
    if found is None:
        return
    try:
        checkpoint = open_checkpoint(found[1], (ledger.verifier,))
    except LedgerError as error:
        raise LedgerCorrupt("The newest checkpoint doesn't open.") from error
    if checkpoint.size > state.size or (
        checkpoint.size == state.size and checkpoint.root_hash != state.root
    ):
        raise LedgerCorrupt("The newest checkpoint contradicts the log.")


def _check_keys(ledger: Ledger, connection: Connection) -> None:
    """Check every key that something stored depends on, as far as anything is stored yet.

    Under another index key nobody would have a record, and nothing else would show it.
    """
    own = {key.kid for key in platforms.select_keys(connection, platforms.LEDGER_PLATFORM)}
    if ledger.public_jwks["keys"][1]["kid"] not in own:
        raise LedgerCorrupt("The event key isn't this ledger's.")
    uri, sealed = platforms.select_tag_key(connection, platforms.LEDGER_PLATFORM)
    try:
        tag_key = open_tag_key(ledger, uri, sealed)
    except LedgerCorrupt as error:
        raise LedgerCorrupt("The wrapping key isn't this ledger's.") from error
    if tag_key != ledger.keys.tag_key:
        raise LedgerCorrupt("The tag key isn't this ledger's.")
    counting = incidents.find_counting(connection)
    if counting is None:
        return
    index, account = counting
    event = entries.find_entry_event(connection, index)
    if event is None:
        raise LedgerCorrupt("An incident has no report.")
    report = read_report(ledger, event)
    if report.jurisdiction != ledger.jurisdiction.code:  # whose windows and years count
        raise LedgerCorrupt("The jurisdiction isn't this ledger's.")
    key = account_key(ledger.keys.index_key, report.account)
    if postings.find_identifiers(connection, [key]).get(key) != account:
        raise LedgerCorrupt("The index key isn't this ledger's.")
