"""Derive everything again from the signed statements, and compare it with what is stored.

Each statement is unsealed, its signature checked with the archived key, and held against the row
that it is filed as. Members and policies must be as their statements say. Once all that is sound,
the very function that sequences builds entries, incidents and the index anew in an empty database
in memory. Whatever differs is named by the index of its entry. An audit writes nothing. It can't
see what no statement says (names of members, who asked), nor that the whole log was set back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from ledger.deriving import open_event
from ledger.errors import LedgerCorrupt, LedgerError
from ledger.identity.key import KeyState
from ledger.identity.platform import PlatformState
from ledger.identity.standing import Standing, apply_change, describe_standing
from ledger.identity.token import EVENT_AGE_MAX, check_age, verify_event_token
from ledger.incident.incident import IncidentReport
from ledger.incident.statement import (
    Change,
    LedgerStatement,
    Statement,
    parse_event,
    parse_ledger_statement,
)
from ledger.judging import op_of
from ledger.ledger import check_minted
from ledger.log.checkpoint import open_checkpoint
from ledger.log.leaf import Op, parse_leaf
from ledger.log.merkle import EMPTY_ROOT, extend_frontier, frontier_root, leaf_hash
from ledger.rights.notice import activates_at
from ledger.sequencing import sequence_pending
from ledger.store import entries, incidents, ledgers, overrides, platforms, postings, scratch
from ledger.store.engine import begin_read, begin_write
from ledger.store.entries import LogState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from ledger.identity.key import PlatformKey
    from ledger.identity.platform import Platform
    from ledger.ledger import Ledger
    from ledger.store.engine import Connection
    from ledger.store.entries import StoredEvent

_BATCH = 500
# Nothing can be derived from statements that aren't sound, or have no place in the log.
_UNDERIVABLE = frozenset(
    {
        "content-unreadable",
        "entry-malformed",
        "entry-missing",
        "key-missing",
        "statement-invalid",
        "statement-misfiled",
        "statement-missing",
    }
)
Audited: TypeAlias = Statement | LedgerStatement


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that isn't as the statements say. `index` is the entry that it concerns."""

    index: int | None
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """How many entries were audited, and everything that was found wrong."""

    entries: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What is stored, read in one transaction. `events` are in log order, pending ones last."""

    state: LogState
    rows: dict[int, tuple[bytes, bytes]]
    events: list[StoredEvent]
    reports: dict[tuple[object, object], StoredEvent]
    checkpoints: list[tuple[int, str]]
    keys: dict[str, PlatformKey]
    platforms: dict[int, Platform]
    policies: dict[int, str]


def audit_ledger(ledger: Ledger, on_progress: Callable[[int, int], None]) -> AuditReport:
    """Audit the whole ledger.

    *Shape*: `on_progress` is told how many of how many statements were examined.
    """
    with begin_read(ledger.database, snapshot=True) as connection:
        try:
            snapshot = _read_snapshot(connection)
        except LedgerCorrupt as alarm:
            return AuditReport(0, (Finding(None, "row-unreadable", str(alarm)),))
        findings = _examine_rows(snapshot) + _examine_checkpoints(ledger, snapshot)
        statements: list[tuple[StoredEvent, Audited]] = []
        for done, event in enumerate(snapshot.events, 1):
            opened = _open_statement(ledger, event, snapshot)
            if isinstance(opened, Finding):
                findings.append(opened)
            else:
                findings += _examine_filing(ledger, event, opened, snapshot)
                statements.append((event, opened))
            on_progress(done, len(snapshot.events))
        findings += _compare_members(ledger, statements, snapshot)
        findings += _compare_policies(statements, snapshot)
        if not _UNDERIVABLE & {one.code for one in findings}:
            findings += _compare_derived(ledger, connection, snapshot)
    return AuditReport(snapshot.state.size, tuple(dict.fromkeys(findings)))


def _read_snapshot(connection: Connection) -> _Snapshot:
    pending = entries.count_pending(connection)
    events = [*entries.select_sequenced(connection), *entries.select_pending(connection, pending)]
    members = platforms.select_platforms(connection)
    return _Snapshot(
        state=entries.read_state(connection),
        rows={
            index: (entry, hashed) for index, entry, hashed in entries.stream_entries(connection)
        },
        events=events,
        reports={(one.platform, one.jti): one for one in events if one.op == Op.INCIDENT_CONFIRMED},
        checkpoints=list(entries.stream_checkpoints(connection)),
        keys={k.kid: k for one in members for k in platforms.select_keys(connection, one.id)},
        platforms={one.id: one for one in members},
        policies=ledgers.select_policies(connection),
    )


def _examine_rows(snapshot: _Snapshot) -> list[Finding]:
    """Check that entries are dense, parse, hash as stored and lead to the stored root."""
    findings = []
    size = snapshot.state.size
    indexes = [event.entry_index for event in snapshot.events if event.entry_index is not None]
    present = set(indexes)
    expected = 0
    for index, (entry, hashed) in snapshot.rows.items():
        if index != expected:
            findings.append(Finding(expected, "entry-missing", "The entry is missing."))
        expected = index + 1
        if index >= size:
            findings.append(Finding(index, "entry-unknown", "The entry is beyond the log's size."))
        if index not in present:
            findings.append(Finding(index, "statement-missing", "No statement stands behind it."))
        try:
            parse_leaf(entry)
        except LedgerError:
            findings.append(Finding(index, "entry-malformed", "The entry can't be parsed."))
        if leaf_hash(entry) != hashed:
            findings.append(Finding(index, "leaf-hash", "The leaf hash isn't the entry's."))
    if expected < size:
        findings.append(Finding(expected, "entry-missing", "The entry is missing."))
    findings += [
        Finding(index, "entry-missing", "The entry of a statement is missing.")
        for index in indexes
        if index not in snapshot.rows and index != expected
    ]
    hashes = [leaf_hash(entry) for entry, _ in snapshot.rows.values()]
    frontier = extend_frontier(0, b"", hashes)
    derived = (len(hashes), frontier_root(len(hashes), frontier), frontier)
    state = snapshot.state
    if derived != (state.size, state.root, state.frontier):
        findings.append(Finding(None, "log-state", "The log's state isn't that of its entries."))
    return findings


def _examine_checkpoints(ledger: Ledger, snapshot: _Snapshot) -> list[Finding]:
    """Check that every published checkpoint opens and names the root of its size."""
    findings = []
    frontier = b""
    size = 0
    hashes = [leaf_hash(entry) for entry, _ in snapshot.rows.values()]
    for published, note in snapshot.checkpoints:
        try:
            checkpoint = open_checkpoint(note, (ledger.verifier,))
        except LedgerError:
            findings.append(
                Finding(published - 1, "checkpoint-forged", "A checkpoint doesn't open.")
            )
            continue
        frontier = extend_frontier(size, frontier, hashes[size:published])
        size = max(size, min(published, len(hashes)))
        root = frontier_root(size, frontier) if size else EMPTY_ROOT
        if (checkpoint.size, checkpoint.root_hash) != (published, root) or size != published:
            findings.append(
                Finding(published - 1, "checkpoint-root", "A checkpoint isn't of these entries.")
            )
    return findings


def _open_statement(ledger: Ledger, event: StoredEvent, snapshot: _Snapshot) -> Audited | Finding:
    """Unseal one statement, verify that its platform signed it, and parse it."""
    index = event.entry_index
    key = snapshot.keys.get(event.kid)
    member = snapshot.platforms.get(event.platform)
    if key is None or member is None or key.platform != event.platform:
        return Finding(index, "key-missing", "The key of its statement isn't archived.")
    try:
        token = open_event(ledger, event)
    except LedgerCorrupt:
        return Finding(index, "content-unreadable", "Its statement is missing or was changed.")
    try:
        verified = verify_event_token(
            token,
            key,
            issuer=member.uri,
            audience=ledger.issuer,
            received_at=event.received_at,
            archived=True,
        )
        if event.platform == platforms.LEDGER_PLATFORM:
            return parse_ledger_statement(verified.payload)
        check_age(verified.claims, received_at=event.received_at, age_max=EVENT_AGE_MAX)
        return parse_event(verified.payload)
    except LedgerError:
        return Finding(index, "statement-invalid", "Its statement doesn't verify.")


_OWN_OPS = {
    "incident-activated": Op.ACTIVATED,
    "policy-published": Op.POLICY_PUBLISHED,
    "platform-changed": Op.PLATFORM_CHANGED,
}


def _examine_filing(
    ledger: Ledger, event: StoredEvent, statement: Audited, snapshot: _Snapshot
) -> list[Finding]:
    """Check that the row of a statement says what the statement says."""
    row = (event.op, event.jti, event.txn, event.incident, event.response_until, event.active_from)
    try:
        sound = row == _file_anew(ledger, event, statement, snapshot)
    except LedgerCorrupt:
        sound = False
    wrong = Finding(event.entry_index, "statement-misfiled", "It is filed as another statement.")
    return [] if sound else [wrong]


def _file_anew(
    ledger: Ledger, event: StoredEvent, statement: Audited, snapshot: _Snapshot
) -> tuple[object, ...]:
    """Give the row of a statement as the statement makes it. *Raises*: LedgerCorrupt."""
    at = event.received_at
    if isinstance(statement, IncidentReport):
        check_minted(event.incident, at)
        if statement.jurisdiction != ledger.jurisdiction.code:
            raise LedgerCorrupt("The report is of another jurisdiction.")
        until = statement.notice.response_until if statement.notice else None
        active_from = activates_at(statement, ledger.jurisdiction, received_at=at) or at
        op = Op.INCIDENT_CONFIRMED
        return op, statement.jti, statement.txn, event.incident, until, active_from
    if not isinstance(statement, LedgerStatement):
        incident = ""
        if isinstance(statement, Change):
            incident = _find_incident(snapshot, event, event.platform, statement.incident_jti)
        return op_of(statement), statement.jti, None, incident, None, None
    check_minted(statement.jti, at)
    incident = statement.subject
    if statement.name == "incident-activated":
        issuer, jti = (statement.members.get(f"incident_{name}") for name in ("iss", "jti"))
        member = next((one.id for one in snapshot.platforms.values() if one.uri == issuer), None)
        if _find_incident(snapshot, event, member, jti) != incident:
            raise LedgerCorrupt("The statement names another report than its incident's.")
    return _OWN_OPS.get(statement.name), statement.jti, None, incident, None, None


def _find_incident(
    snapshot: _Snapshot, event: StoredEvent, platform: int | None, jti: object
) -> str:
    """Give the incident of the report that a later statement names. *Raises*: LedgerCorrupt."""
    report = snapshot.reports.get((platform, jti))
    if report is None or report.id > event.id:
        raise LedgerCorrupt("The statement names no earlier report.")
    return report.incident


def _compare_members(
    ledger: Ledger, statements: list[tuple[StoredEvent, Audited]], snapshot: _Snapshot
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
    statements: list[tuple[StoredEvent, Audited]], snapshot: _Snapshot
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


def _compare_derived(ledger: Ledger, connection: Connection, snapshot: _Snapshot) -> list[Finding]:
    """Sequence every statement again in an empty database and compare all that follows."""
    with scratch.open_scratch() as empty, begin_write(empty) as derived:
        findings = []
        scratch.copy_platforms(connection, derived)
        entries.insert_state(derived, LogState(0, EMPTY_ROOT, b""))
        deriving = replace(ledger, database=empty)
        try:
            for event in snapshot.events[: snapshot.state.size]:  # without those that are pending
                entries.insert_event(derived, event)
            while sequence_pending(deriving, derived, _BATCH):
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
