"""Derive everything again from the signed statements, and compare it with what is stored.

Each statement is unsealed, its signature checked with the archived key, and the very function
that sequences builds entries, incidents and the index anew in an empty database in memory.
Whatever differs is named by the index of its entry. An audit writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from ledger.errors import LedgerCorrupt, LedgerError
from ledger.identity.token import verify_event_token
from ledger.incident.incident import IncidentReport, parse_event, parse_ledger_statement
from ledger.log.checkpoint import open_checkpoint
from ledger.log.leaf import Op, parse_leaf
from ledger.log.merkle import EMPTY_ROOT, extend_frontier, frontier_root, leaf_hash
from ledger.sequencing import open_event, sequence_pending
from ledger.store import entries, incidents, platforms, postings, scratch
from ledger.store.engine import begin_read, begin_write
from ledger.store.entries import LogState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy.engine import Connection

    from ledger.identity.key import PlatformKey
    from ledger.identity.platform import Platform
    from ledger.ledger import Ledger
    from ledger.store.entries import StoredEvent

_BATCH = 500


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
    """What is stored, read in one transaction."""

    state: LogState
    rows: dict[int, tuple[bytes, bytes]]
    events: list[StoredEvent]
    checkpoints: list[tuple[int, str]]
    keys: dict[str, PlatformKey]
    platforms: dict[int, Platform]


def audit_ledger(ledger: Ledger, on_progress: Callable[[int, int], None]) -> AuditReport:
    """Audit the whole ledger.

    *Shape*: `on_progress` is told how many of how many entries were examined.
    """
    with begin_read(ledger.database) as connection:
        snapshot = _read_snapshot(connection)
        findings = _examine_rows(snapshot)
        findings += _examine_checkpoints(ledger, snapshot)
        sound = []
        for done, event in enumerate(snapshot.events, 1):
            faults = _examine_event(ledger, event, snapshot)
            findings += faults
            if not faults:
                sound.append(event)
            on_progress(done, len(snapshot.events))
        if len(sound) == len(snapshot.events) == len(snapshot.rows):
            findings += _compare_derived(ledger, connection, snapshot)
    return AuditReport(snapshot.state.size, tuple(dict.fromkeys(findings)))


def _read_snapshot(connection: Connection) -> _Snapshot:
    state = entries.read_state(connection)
    rows = {index: (entry, hashed) for index, entry, hashed in entries.stream_entries(connection)}
    members = platforms.select_platforms(connection)
    keys = {
        key.kid: key for member in members for key in platforms.select_keys(connection, member.id)
    }
    return _Snapshot(
        state=state,
        rows=rows,
        events=entries.select_sequenced(connection),
        checkpoints=list(entries.stream_checkpoints(connection)),
        keys=keys,
        platforms={member.id: member for member in members},
    )


def _examine_rows(snapshot: _Snapshot) -> list[Finding]:
    """Check that entries are dense, parse, hash as stored and lead to the stored root."""
    findings = []
    size = snapshot.state.size
    present = {event.entry_index for event in snapshot.events}
    for index in range(max([size, *(i + 1 for i in snapshot.rows)])):
        if index not in snapshot.rows:
            findings.append(Finding(index, "entry-missing", "The entry is missing."))
            continue
        if index >= size:
            findings.append(Finding(index, "entry-unknown", "The entry is beyond the log's size."))
        if index not in present:
            findings.append(Finding(index, "statement-missing", "No statement stands behind it."))
        entry, hashed = snapshot.rows[index]
        try:
            parse_leaf(entry)
        except LedgerError:
            findings.append(Finding(index, "entry-malformed", "The entry can't be parsed."))
        if leaf_hash(entry) != hashed:
            findings.append(Finding(index, "leaf-hash", "The leaf hash isn't the entry's."))
    hashes = [leaf_hash(entry) for _, (entry, _) in sorted(snapshot.rows.items())]
    frontier = extend_frontier(0, b"", hashes)
    derived = LogState(len(hashes), frontier_root(len(hashes), frontier), frontier)
    if derived != snapshot.state:
        findings.append(Finding(None, "log-state", "The log's state isn't that of its entries."))
    return findings


def _examine_checkpoints(ledger: Ledger, snapshot: _Snapshot) -> list[Finding]:
    """Check that every published checkpoint opens and names the root of its size."""
    findings = []
    frontier = b""
    size = 0
    hashes = [leaf_hash(entry) for _, (entry, _) in sorted(snapshot.rows.items())]
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


def _examine_event(ledger: Ledger, event: StoredEvent, snapshot: _Snapshot) -> list[Finding]:
    """Check one statement: unsealed, signed by its platform, and filed as what it says."""
    index = event.entry_index
    key = snapshot.keys.get(event.kid)
    member = snapshot.platforms.get(event.platform)
    if key is None or member is None or key.platform != event.platform:
        return [Finding(index, "key-missing", "The key of its statement isn't archived.")]
    try:
        token = open_event(ledger, event)
    except LedgerCorrupt:
        return [Finding(index, "content-unreadable", "Its statement is missing or was changed.")]
    try:
        verified = verify_event_token(
            token,
            key,
            issuer=member.uri,
            audience=ledger.issuer,
            received_at=event.received_at,
            archived=True,
        )
        filed = _describe(event.platform, verified.payload)
    except LedgerError:
        return [Finding(index, "statement-invalid", "Its statement doesn't verify.")]
    if filed != (event.op, event.jti, event.txn):
        return [Finding(index, "statement-misfiled", "Its statement is filed as another one.")]
    return []


_OWN_OPS = {
    "incident-activated": Op.ACTIVATED,
    "policy-published": Op.POLICY_PUBLISHED,
    "platform-changed": Op.PLATFORM_CHANGED,
}


def _describe(platform: int, payload: bytes) -> tuple[int, str, str | None]:
    """Give op, jti and case of a statement from its own bytes."""
    if platform == platforms.LEDGER_PLATFORM:
        own = parse_ledger_statement(payload)
        return int(_OWN_OPS[own.name]), own.jti, None
    statement = parse_event(payload)
    if isinstance(statement, IncidentReport):
        return int(Op.INCIDENT_CONFIRMED), statement.jti, statement.txn
    return int(Op.RETRACTED), statement.jti, None


def _compare_derived(ledger: Ledger, connection: Connection, snapshot: _Snapshot) -> list[Finding]:
    """Sequence every statement again in an empty database and compare all that follows."""
    with scratch.open_scratch() as empty, begin_write(empty) as derived:
        scratch.copy_platforms(connection, derived)
        entries.insert_state(derived, LogState(0, EMPTY_ROOT, b""))
        versions = {i: parse_leaf(entry).policy_version for i, (entry, _) in snapshot.rows.items()}
        for version, run in groupby(snapshot.events, lambda event: versions[_index(event)]):
            if version not in ledger.policies:
                return [Finding(None, "policy-missing", "A policy version isn't stored.")]
            deriving = replace(ledger, database=empty, policy=ledger.policies[version])
            for event in run:
                entries.insert_event(derived, event)
            try:
                while sequence_pending(deriving, derived, _BATCH):
                    pass
            except LedgerError:
                return [Finding(None, "underivable", "The statements can't be applied again.")]
        findings = [
            Finding(index, "entry-differs", "The entry isn't what its statement makes it.")
            for index, entry, _ in entries.stream_entries(derived)
            if snapshot.rows[index][0] != entry
        ]
        findings += _compare_incidents(connection, derived)
        findings += _compare_index(connection, derived)
    return findings


def _index(event: StoredEvent) -> int:
    if event.entry_index is None:
        raise LedgerCorrupt("A sequenced event has no index.")
    return event.entry_index


def _compare_incidents(stored: Connection, derived: Connection) -> list[Finding]:
    kept = {one.id: one for one in incidents.select_incidents(stored)}
    again = {one.id: one for one in incidents.select_incidents(derived)}
    return [
        Finding(
            (again.get(name) or kept[name]).reported_index,
            "incident-differs",
            "The incident's state isn't what its entries make it.",
        )
        for name in sorted(kept.keys() | again.keys())
        if _without_account(kept.get(name)) != _without_account(again.get(name))
    ]


def _without_account(one: incidents.StoredIncident | None) -> incidents.StoredIncident | None:
    """Row ids differ between two databases; that an account is set at all doesn't."""
    return one and replace(one, account=None if one.account is None else 0)


def _compare_index(stored: Connection, derived: Connection) -> list[Finding]:
    kept = set(postings.stream_index(stored))
    again = set(postings.stream_index(derived))
    differing = kept ^ again
    findings = []
    for key in sorted({row[1] for row in differing if isinstance(row[1], bytes)}):
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
