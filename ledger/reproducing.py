"""The inputs of an earlier answer, derived once more from the prefix of the log that it names.

The statements that bear on a question are sequenced by the very function that sequences, in an
empty database in memory, and read by the very statement that answers take. What has been erased
since can't be derived; whoever compares must say so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ledger.errors import InputsErased
from ledger.graph.link import split_claims
from ledger.graph.neighbourhood import build_neighbourhood
from ledger.log.merkle import EMPTY_ROOT
from ledger.sequencing import sequence_pending
from ledger.store import assessments, entries, overrides, scratch
from ledger.store.engine import begin_write
from ledger.store.entries import LogState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ledger.graph.neighbourhood import Neighbourhood
    from ledger.identity.platform import Platform
    from ledger.ledger import Ledger
    from ledger.risk.policy import RiskPolicy
    from ledger.store.assessments import StoredAssessment
    from ledger.store.engine import Connection


def reproduce_neighbourhood(
    ledger: Ledger,
    connection: Connection,
    platform: Platform,
    stored: StoredAssessment,
    policies: Mapping[int, RiskPolicy],
) -> Neighbourhood:
    """Build the neighbourhood of an earlier question as its log prefix makes it.

    *Shape*: `policies` by version: those that were in force, or another in their place.
    *Raises*: InputsErased where a statement's content is gone.
    """
    presented = split_claims(stored.identifiers)
    keys = (stored.account, *[one.key for one in presented])
    history = entries.select_bearing(connection, keys, stored.log_size)
    if any(event.sealed is None for event in history):
        raise InputsErased("What this answer was derived from has been erased.")
    decided = overrides.count_decided_before(connection, stored.log_size)
    with scratch.open_scratch() as empty, begin_write(empty) as derived:
        scratch.copy_platforms(connection, derived)
        entries.insert_state(derived, LogState(0, EMPTY_ROOT, b""))
        for event in history:
            entries.insert_event(derived, event)
        again = replace(ledger, database=empty, policies=dict(policies))
        sequence_pending(again, derived, len(history))
        overrides.replace_decided(derived, decided)
        evidence = assessments.read_evidence(derived, keys)
    rules = policies[stored.policy_version].kinds
    return build_neighbourhood(stored.account, platform.group, presented, evidence, rules)
