"""What surrounds a reporter's own incident, for its analyst."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.graph.ego import EgoNetwork, build_ego
from ledger.identity.platform import require_scope
from ledger.judging import own_report
from ledger.ledger import learn_policies
from ledger.store import entries, incidents, surroundings
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from ledger.identity.platform import Caller
    from ledger.ledger import Ledger


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
        rows, counts = surroundings.select_ego(connection, known.account)
        version = entries.read_state(connection).policy_version
        rules = learn_policies(ledger, connection, version).kinds
    asker = known.platform, caller.platform.group
    return build_ego(rows, counts, known.account, asker, rules)
