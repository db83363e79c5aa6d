"""The inputs of an earlier answer, derived once more from the prefix of the log that it names.

The statements that bear on a question are sequenced by the very function that sequences, in an
empty database in memory, and read by the very statement that answers take. What has been erased
since can't be derived, and nothing is left that tells which answers rested on it: those that come
out otherwise now did.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ledger.errors import InputsErased, UnreadableRecord
from ledger.graph.link import split_claims
from ledger.graph.neighbourhood import build_neighbourhood
from ledger.graph.posting import day_number
from ledger.ledger import learn_policies
from ledger.log.merkle import EMPTY_ROOT
from ledger.risk.advice import Purpose
from ledger.risk.answer import answer_question, render_second
from ledger.risk.working import work_out
from ledger.sequencing import sequence_pending
from ledger.store import assessments, entries, erasures, ledgers, overrides, platforms, scratch
from ledger.store import evidence as exchanged
from ledger.store.engine import begin_write
from ledger.store.entries import LogState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from ledger.graph.neighbourhood import Neighbourhood
    from ledger.identity.platform import Platform
    from ledger.ledger import Ledger
    from ledger.risk.policy import RiskPolicy
    from ledger.risk.score import RiskScore
    from ledger.risk.working import Working
    from ledger.store.assessments import StoredAssessment
    from ledger.store.engine import Connection
    from ledger.store.entries import StoredEvent


_NAMED_MAX = 10


@dataclass(frozen=True, slots=True)
class Replayed:
    """An answer computed again: what the recorded one says, and where the two differ.

    *Shape*: `differing` are the members of the answer that aren't as recorded; `score` is exact
    and `working` says how it adds up, for an auditor's eyes alone.
    """

    assessment_id: str
    assessed_at: datetime
    log_size: int
    policy_version: int
    answer: dict[str, Any]
    score: RiskScore
    working: Working
    differing: tuple[str, ...]


def recompute_answer(
    ledger: Ledger,
    connection: Connection,
    stored: StoredAssessment,
    traced: Inputs | None = None,
) -> Replayed:
    """Compute a recorded answer again.

    *Shape*: without traced inputs the index is asked, which knows what is linked now. *Raises*:
    InputsErased where it differs, and anything was erased since, or without a trace changed: then
    the difference says nothing. It names what was erased since; UnreadableRecord.
    """
    for published in ledgers.select_policies(connection):
        learn_policies(ledger, connection, published)
    version, purpose, recorded = _read_record(ledger, stored)
    inputs = traced or read_inputs(connection, stored)
    neighbourhood = derive_neighbourhood(ledger, connection, stored, inputs, ledger.policies)
    day = day_number(stored.assessed_at.date())
    years = ledger.jurisdiction.retention_years
    score, shown = answer_question(neighbourhood, ledger.policies[version], purpose, day, years)
    again = json.loads(json.dumps(shown))
    # What was seen depends on hashes that nobody keeps, and adds to no score.
    again["evidence"]["seen_before"] = recorded["evidence"].get("seen_before")
    differing = [name for name, value in again.items() if recorded.get(name) != value]
    differing += [name for name, value in _name(ledger, stored) if recorded.get(name) != value]
    if score.score != stored.score:
        differing.append("exact_score")
    if differing:
        gone = erasures.select_gone(connection, stored.log_size)
        is_unsure = not traced and entries.count_overriding_since(connection, stored.log_size)
        if gone or is_unsure:
            raise InputsErased(_name_erased(gone))
    working = work_out(neighbourhood, ledger.policies[version], day)
    at = (stored.id, stored.assessed_at, stored.log_size, version)
    return Replayed(*at, recorded, score, working, tuple(differing))


def _read_record(ledger: Ledger, stored: StoredAssessment) -> tuple[int, Purpose, dict[str, Any]]:
    """Read by which policy and for what an answer was recorded, and the answer itself."""
    try:
        purpose, recorded = Purpose(stored.purpose), json.loads(stored.answer)
    except (ValueError, TypeError) as error:
        raise UnreadableRecord("A recorded answer can't be read.") from error
    is_whole = isinstance(recorded, dict) and isinstance(recorded.get("evidence"), dict)
    if stored.policy_version not in ledger.policies or not is_whole:
        raise UnreadableRecord("A recorded answer can't be read.")
    return stored.policy_version, purpose, recorded


def _name(ledger: Ledger, stored: StoredAssessment) -> list[tuple[str, object]]:
    """Give what an answer says of itself, as it stands beside it."""
    at, log = render_second(stored.assessed_at), {"size": stored.log_size, "origin": ledger.origin}
    return [("id", stored.id), ("assessed_at", at), ("log", log)]


def check_inputs(ledger: Ledger, connection: Connection, stored: StoredAssessment) -> None:
    """Check that nothing that a recorded answer was derived from was erased since.

    A batch and a portfolio, which are about many, are taken to rest on all that there was.
    *Raises*: InputsErased.
    """
    gone = erasures.select_gone(connection, stored.log_size)
    if gone and not stored.account:
        raise InputsErased(_name_erased(gone))
    if gone:
        recompute_answer(ledger, connection, stored)


def check_matches(connection: Connection, stored: StoredAssessment) -> None:
    """Check that no match that a recorded answer told of was taken back. *Raises*: InputsErased."""
    if exchanged.is_recalled(connection, stored.id):
        raise InputsErased("A match that this answer told of was taken back since.")


def _name_erased(indexes: list[int]) -> str:
    if not indexes:
        return "Some of what this answer may rest on was changed since."
    if len(indexes) == 1:
        named, what = f"The statement in log entry {indexes[0]} was", "it"
    else:
        shown = [str(index) for index in indexes[:_NAMED_MAX]]
        last = f"{len(indexes) - _NAMED_MAX} more" if len(indexes) > _NAMED_MAX else shown.pop()
        named = f"The statements in log entries {', '.join(shown)} and {last} were"
        what = "them"
    return f"{named} erased since, and this answer may rest on {what}."


def asked_keys(stored: StoredAssessment) -> tuple[bytes, ...]:
    """Give the lookup keys of a recorded question, its account's own first.

    *Raises*: UnreadableRecord.
    """
    try:
        return (stored.account, *[one.key for one in split_claims(stored.identifiers)])
    except (TypeError, IndexError) as error:
        raise UnreadableRecord("A recorded question can't be read.") from error


class Inputs(NamedTuple):
    """What an earlier question's neighbourhood follows from, whichever policies are applied.

    *Shape*: the asker, the statements that bear on it in log order, and each member's upheld and
    overturned reports at the time.
    """

    platform: Platform
    history: Sequence[StoredEvent]
    decided: Mapping[int, tuple[int, int]]


def read_inputs(
    connection: Connection, stored: StoredAssessment, records: Collection[str] | None = None
) -> Inputs:
    """Read what an earlier question's neighbourhood follows from, below the size that it names.

    *Shape*: `records` are those that could ever bear on it, which a trace gives; without them the
    index is asked. *Raises*: InputsErased where a statement's content is gone; UnreadableRecord.
    """
    if records is None:
        history = entries.select_bearing(connection, asked_keys(stored), stored.log_size)
    else:
        history = entries.select_about(connection, records, stored.log_size)
    if any(event.sealed is None for event in history):
        raise InputsErased("What this answer was derived from has been erased.")
    platform = platforms.read_member(connection, stored.platform)
    return Inputs(platform, history, overrides.count_decided_before(connection, stored.log_size))


def derive_neighbourhood(
    ledger: Ledger,
    connection: Connection,
    stored: StoredAssessment,
    inputs: Inputs,
    policies: Mapping[int, RiskPolicy],
) -> Neighbourhood:
    """Build the neighbourhood of an earlier question as its log prefix makes it.

    *Shape*: `policies` by version: those that were in force, or another in their place. *Raises*:
    UnreadableRecord.
    """
    platform, history, decided = inputs
    keys, presented = asked_keys(stored), split_claims(stored.identifiers)
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
