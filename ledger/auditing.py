"""Derive everything again from the signed statements, and compare it with what is stored.

Each statement is unsealed, its signature checked with the archived key, and held against the row
that it is filed as; what an entry destroyed must be gone, and nothing else may be. Members and
policies must be as their statements say. Once all that is sound, the very function that sequences
builds entries, incidents and the index anew in an empty database in memory. Whatever differs is
named by the index of its entry. An audit writes nothing. It can't see what no statement says
(names of members, who asked), nor that the whole log was set back.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ledger.attesting import examine_checkpoints
from ledger.errors import LedgerCorrupt, LedgerError
from ledger.examining import (
    Audited,
    Finding,
    Snapshot,
    examine_filing,
    examine_rows,
    open_statement,
    read_snapshot,
)
from ledger.identity.key import KeyState
from ledger.identity.platform import PlatformState
from ledger.identity.standing import Standing, apply_change, describe_standing
from ledger.incident.decision import reason_name
from ledger.incident.statement import (
    LedgerStatement,
)
from ledger.log.leaf import parse_leaf
from ledger.log.merkle import EMPTY_ROOT
from ledger.retiling import examine_tiles
from ledger.sequencing import sequence_pending
from ledger.store import entries, evidence, incidents, overrides, postings, scratch
from ledger.store.engine import begin_read, begin_write
from ledger.store.entries import LogState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from ledger.ledger import Ledger
    from ledger.store.engine import Connection
    from ledger.store.entries import StoredEvent

_BATCH = 500
# Nothing can be derived from statements that aren't sound, or have no place in the log.
_UNDERIVABLE = frozenset(
    {
        "content-kept",
        "content-unreadable",
        "entry-malformed",
        "entry-missing",
        "key-missing",
        "statement-invalid",
        "statement-misfiled",
        "statement-missing",
    }
)


@dataclass(frozen=True, slots=True)
class AuditReport:
    """How many entries were audited, and everything that was found wrong.

    *Shape*: `erased` counts the erased incidents by class and reason, as the entries tell.
    """

    entries: int
    findings: tuple[Finding, ...]
    erased: Mapping[tuple[str, str], int] = field(default_factory=dict)


def audit_ledger(ledger: Ledger, on_progress: Callable[[int, int], None]) -> AuditReport:
    """Audit the whole ledger.

    *Shape*: `on_progress` is told how many of how many statements were examined.
    """
    with begin_read(ledger.database, snapshot=True) as connection:
        try:
            snapshot = read_snapshot(connection)
        except LedgerCorrupt as alarm:
            return AuditReport(0, (Finding(None, "row-unreadable", str(alarm)),))
        findings = examine_rows(snapshot) + examine_checkpoints(ledger, snapshot)
        findings += examine_tiles(connection, snapshot.state.size, snapshot.rows)
        statements: list[tuple[StoredEvent, Audited]] = []
        for done, event in enumerate(snapshot.events, 1):
            opened = open_statement(ledger, event, snapshot)
            if isinstance(opened, Finding):
                findings.append(opened)
            else:
                findings += examine_filing(ledger, event, opened, snapshot)
                statements.append((event, opened))
            on_progress(done, len(snapshot.events))
        findings += _compare_members(ledger, statements, snapshot)
        findings += _compare_policies(statements, snapshot)
        if not _UNDERIVABLE & {one.code for one in findings}:
            findings += _compare_derived(ledger, connection, snapshot)
    return AuditReport(snapshot.state.size, tuple(dict.fromkeys(findings)), _count_erased(snapshot))


def _count_erased(snapshot: Snapshot) -> Mapping[tuple[str, str], int]:
    """Count the entries that destroyed an incident's content, by class and reason."""
    closing = {one.by for one in snapshot.gone.values()}
    leaves = [parse_leaf(snapshot.rows[index][0]) for index in sorted(closing)]
    return Counter((leaf.op.name.lower(), reason_name(leaf.reason)) for leaf in leaves)


def _compare_members(
    ledger: Ledger, statements: list[tuple[StoredEvent, Audited]], snapshot: Snapshot
) -> list[Finding]:
    """Compare members and their keys with what the statements about them say."""
    said: dict[str, Standing] = {}
    changed: dict[str, int | None] = {}
    for event, statement in statements:
        if not isinstance(statement, LedgerStatement):
            continue
        if not said:  # the first statement of all is made when the ledger is created
            said[ledger.issuer] = _describe_itself(ledger, event.received_at)
        if statement.name == "platform-changed":
            uri = str(statement.members.get("platform"))
            changed[uri] = event.entry_index
            try:
                said[uri] = apply_change(said.get(uri), statement.members, event.received_at)
            except LedgerCorrupt:
                continue  # and so the member differs
    stored = {
        one.uri: describe_standing(one, [k for k in snapshot.keys.values() if k.platform == one.id])
        for one in snapshot.platforms.values()
    }
    return [
        Finding(changed.get(uri), "member-differs", "A member isn't as its statements make it.")
        for uri in sorted(said.keys() | stored.keys())
        if said.get(uri) != stored.get(uri)
    ]


def _describe_itself(ledger: Ledger, born_at: datetime) -> Standing:
    """Describe the ledger as the member that it is of itself."""
    kid = ledger.public_jwks["keys"][1]["kid"]
    keys = {kid: (KeyState.ACTIVE, born_at, None)}
    jurisdictions = (ledger.jurisdiction.code,)
    return Standing("the ledger", jurisdictions, (), PlatformState.ACTIVE, keys)


def _compare_policies(
    statements: list[tuple[StoredEvent, Audited]], snapshot: Snapshot
) -> list[Finding]:
    """Compare the policies with those that were published."""
    said: dict[object, tuple[int | None, object]] = dict.fromkeys(snapshot.policies, (None, None))
    for event, statement in statements:
        if isinstance(statement, LedgerStatement) and statement.name == "policy-published":
            version, text = statement.members.get("version"), statement.members.get("policy")
            said[version] = (event.entry_index, text)
    stored: Mapping[object, str] = dict(snapshot.policies.items())
    return [
        Finding(index, "policy-differs", "A policy isn't the one that was published.")
        for version, (index, published) in said.items()
        if stored.get(version) != published
    ]


def _compare_derived(ledger: Ledger, connection: Connection, snapshot: Snapshot) -> list[Finding]:
    """Sequence every statement again in an empty database and compare all that follows."""
    with scratch.open_scratch() as empty, begin_write(empty) as derived:
        findings = []
        scratch.copy_platforms(connection, derived)
        entries.insert_state(derived, LogState(0, EMPTY_ROOT, b""))
        deriving = replace(ledger, database=empty)
        try:
            gone = {index: one.leaf for index, one in snapshot.gone.items()}
            for event in snapshot.events[: snapshot.state.size]:  # without those that are pending
                leaf = None if event.entry_index is None else gone.get(event.entry_index)
                entries.insert_event(derived, replace(event, gone=leaf))
            while sequence_pending(deriving, derived, _BATCH, gone):
                pass
        except (LedgerError, LedgerCorrupt):
            return [Finding(None, "underivable", "The statements can't be applied again.")]
        if entries.read_state(derived).policy_version != snapshot.state.policy_version:
            findings.append(Finding(None, "log-state", "Another policy is in force."))
        findings += [
            Finding(index, "entry-differs", "The entry isn't what its statement makes it.")
            for index, entry, _ in entries.stream_entries(derived)
            if snapshot.rows[index][0] != entry
        ]
        findings += _compare_incidents(connection, derived)
        findings += _compare_index(connection, derived)
        findings += _compare_evidence(connection, derived)
    return findings


def _compare_incidents(stored: Connection, derived: Connection) -> list[Finding]:
    kept = set(incidents.stream_incidents(stored))
    again = set(incidents.stream_incidents(derived))
    named = {incident_id: index for incident_id, index, _ in (*kept, *again)}  # derived wins
    detail = "The incident's state isn't what its entries make it."
    return [
        Finding(named[incident_id], "incident-differs", detail)
        for incident_id in sorted({one[0] for one in kept ^ again})
    ]


def _compare_evidence(stored: Connection, derived: Connection) -> list[Finding]:
    kept, again = set(evidence.stream_evidence(stored)), set(evidence.stream_evidence(derived))
    detail = "By what evidence is recognised isn't what the entries make it."
    indexes = sorted({index for index, _ in kept ^ again})
    return [Finding(index, "evidence-differs", detail) for index in indexes]


def _compare_index(stored: Connection, derived: Connection) -> list[Finding]:
    differing = set(postings.stream_index(stored)) ^ set(postings.stream_index(derived))
    overriding = set(overrides.stream_overrides(stored)) ^ set(overrides.stream_overrides(derived))
    detail = "How often a reporter was right isn't as the entries make it."
    findings = [
        Finding(None, "reliability-differs", detail)
        if index is None
        else Finding(index, "override-differs", "What overrides links isn't as entries make it.")
        for index in dict.fromkeys(row[0] for row in overriding)
    ]
    for key in sorted({row[1] if isinstance(row[1], bytes) else b"" for row in differing}):
        named: Iterable[int | None] = (
            postings.find_token_incidents(derived, key)
            or postings.find_token_incidents(stored, key)
            or [None]
        )
        findings += [
            Finding(index, "index-differs", "Postings aren't what the entries make them.")
            for index in named
        ]
    return findings
