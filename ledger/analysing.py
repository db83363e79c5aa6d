"""Rings among the confirmed accounts of the whole ledger, for the operator's analyst.

It needs the extra `analysis`. Nothing of what it finds is kept, and nothing feeds a score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.graph.posting import day_number, decayed_mass
from ledger.graph.ring import Membership, find_rings
from ledger.ledger import learn_policies
from ledger.store import entries, overrides, postings
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.graph.ring import Ring
    from ledger.ledger import Ledger


def find_ledger_rings(ledger: Ledger, at: datetime, *, persons_min: int) -> tuple[Ring, ...]:
    """Find the rings as of an instant, the heaviest first."""
    day = day_number(at.date())
    with begin_read(ledger.database, snapshot=True) as connection:
        version = entries.read_state(connection).policy_version
        policy = learn_policies(ledger, connection, version)
        rows = [
            Membership(
                row.account,
                row.platform,
                row.group_name,
                row.identifier,
                row.kind,
                row.binding,
                decayed_mass(row.mass, day, policy.half_lives[row.half_life], policy.epoch_day),
                row.first_day,
                row.last_day,
            )
            for row in postings.stream_memberships(connection)
        ]
        separated = overrides.select_separated(connection)
    return find_rings(
        rows,
        policy.kinds,
        policy.multiplicity_k,
        separated=separated,
        persons_min=persons_min,
    )
