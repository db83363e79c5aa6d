"""What surrounds a reporter's own incident, for its analyst."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.deriving import find_keys, read_report
from ledger.graph.ego import EgoNetwork, build_ego, choose_readable, rank_identifiers
from ledger.identity.platform import require_scope
from ledger.judging import own_report
from ledger.ledger import learn_policies
from ledger.store import entries, incidents, surroundings
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from ledger.identity.platform import Caller
    from ledger.ledger import Ledger
    from ledger.store.engine import Connection

ROWS_MAX = 10_000  # read of accounts behind the identifiers


def explore_incident(ledger: Ledger, caller: Caller, incident_id: str) -> EgoNetwork:
    """Give the network around the account of one of the caller's own incidents.

    *Shape*: NODES_MAX nodes at most, none where the incident doesn't count. *Raises*:
    UnknownIncident.
    """
    require_scope(caller, "incidents:read")
    with begin_read(ledger.database, snapshot=True) as connection:
        history = entries.select_incident_events(connection, incident_id)
        own_report(caller, history)
        known = incidents.find_incident(connection, incident_id)
        if known is None or known.account is None:
            return EgoNetwork((), (), (), truncated=False)
        keys = _name_keys(ledger, connection, known.account)
        version = entries.read_state(connection).policy_version
        policy = learn_policies(ledger, connection, version)
        counts = surroundings.select_ego_counts(connection, known.account, keys)
        group = caller.platform.group
        links = rank_identifiers(counts, group, policy.kinds, policy.multiplicity_k)
        read, is_more = choose_readable(links, ROWS_MAX)
        rows = surroundings.select_ego_rows(connection, known.account, read, ROWS_MAX + 1)
    cut = is_more or len(rows) > ROWS_MAX
    return build_ego(links, rows[:ROWS_MAX], known.account, known.platform, cut=cut)


def _name_keys(ledger: Ledger, connection: Connection, account: int) -> set[bytes]:
    """Give the lookup keys that the incidents of an account name."""
    keys: set[bytes] = set()
    for one in incidents.select_account_incidents(connection, account):
        content = entries.find_entry_event(connection, one.content_index)
        _, claims = find_keys(ledger, read_report(ledger, content))
        keys |= {claim.key for claim in claims}
    return keys
