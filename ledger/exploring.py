"""What surrounds a reporter's own incident, for its analyst."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.deriving import find_keys, read_report
from ledger.graph.ego import EgoNetwork, build_ego
from ledger.identity.platform import require_scope
from ledger.judging import own_report
from ledger.ledger import learn_policies
from ledger.store import entries, incidents, surroundings
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from ledger.identity.platform import Caller
    from ledger.ledger import Ledger
    from ledger.store.engine import Connection


def explore_incident(ledger: Ledger, caller: Caller, incident_id: str) -> EgoNetwork:
    """Give the network around the account of one of the caller's own incidents.

    *Shape*: empty where the incident doesn't count. *Raises*: UnknownIncident.
    """
    require_scope(caller, "incidents:read")
    with begin_read(ledger.database, snapshot=True) as connection:
        history = entries.select_incident_events(connection, incident_id)
        own_report(caller, history)
        known = incidents.find_incident(connection, incident_id)
        if known is None or known.account is None:
            return EgoNetwork((), (), (), truncated=False)
        keys = _name_keys(ledger, connection, known.account)
        rows, counts = surroundings.select_ego(connection, known.account, keys)
        version = entries.read_state(connection).policy_version
        rules = learn_policies(ledger, connection, version).kinds
    asker = known.platform, caller.platform.group
    return build_ego(rows, counts, known.account, asker, rules)


def _name_keys(ledger: Ledger, connection: Connection, account: int) -> set[bytes]:
    """Give the lookup keys that the incidents of an account name."""
    keys: set[bytes] = set()
    for one in incidents.select_account_incidents(connection, account):
        content = entries.find_entry_event(connection, one.content_index)
        _, claims = find_keys(ledger, read_report(ledger, content))
        keys |= {claim.key for claim in claims}
    return keys
