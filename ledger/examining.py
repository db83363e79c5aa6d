"""Examine what is stored on its own: entries, and each statement against its row.

What an audit finds has an index and a code. Nothing is derived here and nothing is written.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ledger.deriving import open_event
from ledger.errors import LedgerCorrupt, LedgerError
from ledger.identity.token import EVENT_AGE_MAX, check_age, payload_of, verify_event_token
from ledger.incident.decision import fold_name
from ledger.incident.incident import IncidentReport
from ledger.incident.lifecycle import BEGINNING, DESTROYING, FOLLOWING, LASTING
from ledger.incident.statement import (
    Following,
    LedgerStatement,
    Statement,
    parse_event,
    parse_ledger_statement,
)
from ledger.judging import name_reported, op_of
from ledger.ledger import check_minted
from ledger.log.leaf import NO_REF, EntryReason, Op, parse_leaf
from ledger.log.merkle import extend_frontier, frontier_root, leaf_hash
from ledger.rights.notice import activates_at
from ledger.rights.retention import retention_day
from ledger.store import entries, ledgers, platforms, witnesses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ledger.identity.key import PlatformKey
    from ledger.identity.platform import Platform
    from ledger.ledger import Ledger
    from ledger.log.leaf import Leaf
    from ledger.store.engine import Connection
    from ledger.store.entries import LogState, StoredEvent
    from ledger.store.witnesses import SignedCheckpoint


@dataclass(frozen=True, slots=True)
class Gone:
    """The entry of a statement whose content another entry, `by` index, says was destroyed."""

    leaf: Leaf
    by: int


Audited: TypeAlias = Statement | LedgerStatement | Gone
_IDLE = (EntryReason.NO_EFFECT, EntryReason.FIRST_OF_TWO)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that isn't as the statements say. `index` is the entry that it concerns."""

    index: int | None
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is stored, read in one transaction. `events` are in log order, pending ones last.

    *Shape*: `begun` has the statement that each record begins with, by its index.
    """

    state: LogState
    rows: dict[int, tuple[bytes, bytes]]
    events: list[StoredEvent]
    reports: dict[tuple[object, object], StoredEvent]
    checkpoints: list[SignedCheckpoint]
    newest_signed: list[int]
    witness_sizes: dict[str, int]
    keys: dict[str, PlatformKey]
    platforms: dict[int, Platform]
    policies: dict[int, str]
    gone: dict[int, Gone]
    begun: dict[int | None, StoredEvent]


def read_snapshot(connection: Connection) -> Snapshot:
    """Read what is stored. *Raises*: LedgerCorrupt where a row can't be read."""
    pending = entries.count_pending(connection)
    events = [*entries.select_sequenced(connection), *entries.select_pending(connection, pending)]
    members = platforms.select_platforms(connection)
    begun = [one for one in events if one.op in BEGINNING]
    rows = {index: (entry, hashed) for index, entry, hashed in entries.stream_entries(connection)}
    return Snapshot(
        state=entries.read_state(connection),
        rows=rows,
        events=events,
        reports={(one.platform, one.jti): one for one in begun},
        checkpoints=list(witnesses.stream_signed(connection)),
        newest_signed=witnesses.select_newest_signed(connection),
        witness_sizes=witnesses.select_sizes(connection),
        keys={k.kid: k for one in members for k in platforms.select_keys(connection, one.id)},
        platforms={one.id: one for one in members},
        policies=ledgers.select_policies(connection),
        gone=find_gone({index: entry for index, (entry, _) in rows.items()}),
        begun={one.entry_index: one for one in begun},
    )


def find_gone(rows: Mapping[int, bytes]) -> dict[int, Gone]:
    """Find the entries whose content was destroyed, by the entries alone.

    *Shape*: entries by index; those that can't be parsed say nothing.
    """
    leaves: dict[int, Leaf] = {}
    for index, entry in rows.items():
        with suppress(LedgerError):
            leaves[index] = parse_leaf(entry)
    by: dict[int, int] = {}
    for index, leaf in leaves.items():
        if leaf.op in DESTROYING and leaf.reason not in _IDLE and leaf.ref != NO_REF:
            by.setdefault(leaf.ref, index)
    about = {
        index: index if leaf.op in BEGINNING else leaf.ref
        for index, leaf in leaves.items()
        if leaf.op not in LASTING
    }
    return {
        index: Gone(leaves[index], by[report]) for index, report in about.items() if report in by
    }


def examine_rows(snapshot: Snapshot) -> list[Finding]:
    """Check that entries are dense, parse, hash as stored and lead to the stored root."""
    findings = []
    size = snapshot.state.size
    indexes = [event.entry_index for event in snapshot.events if event.entry_index is not None]
    present = set(indexes)
    commitments: set[bytes] = set()
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
            commitment = parse_leaf(entry).commitment
        except LedgerError:
            findings.append(Finding(index, "entry-malformed", "The entry can't be parsed."))
        else:  # each has a salt of its own: nobody's commitment and tag serve for another entry
            if commitment in commitments:
                findings.append(Finding(index, "entry-differs", "It commits as an earlier one."))
            commitments.add(commitment)
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
    if derived != (state.size, state.root, state.frontier) or len(snapshot.newest_signed) != 1:
        findings.append(Finding(None, "log-state", "The log's state isn't that of its entries."))
    return findings


def open_statement(ledger: Ledger, event: StoredEvent, snapshot: Snapshot) -> Audited | Finding:
    """Unseal one statement, verify that its platform signed it, and parse it."""
    index = event.entry_index
    key = snapshot.keys.get(event.kid)
    member = snapshot.platforms.get(event.platform)
    if key is None or member is None or key.platform != event.platform:
        return Finding(index, "key-missing", "The key of its statement isn't archived.")
    gone = snapshot.gone.get(index) if index is not None else None
    if gone is not None and event.sealed is None:
        return gone
    if gone is not None:
        detail = f"The entry at {gone.by} says that its content was destroyed, and it is there."
        return Finding(index, "content-kept", detail)
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
    "evidence-expunged": Op.EXPUNGED,
    "incident-activated": Op.ACTIVATED,
    "incident-erased": Op.ERASED,
    "incident-expired": Op.EXPIRED,
    "incident-expunged": Op.EXPUNGED,
    "statement-expired": Op.EXPIRED,
    "policy-published": Op.POLICY_PUBLISHED,
    "platform-changed": Op.PLATFORM_CHANGED,
}


def examine_filing(
    ledger: Ledger, event: StoredEvent, statement: Audited, snapshot: Snapshot
) -> list[Finding]:
    """Check that the row of a statement says what the statement says."""
    names = (event.op, event.jti, event.txn, event.incident)
    row = (*names, event.response_until, event.active_from, event.retention_day)
    try:
        sound = row == _file_anew(ledger, event, statement, snapshot)
    except LedgerCorrupt:
        sound = False
    wrong = Finding(event.entry_index, "statement-misfiled", "It is filed as another statement.")
    return [] if sound else [wrong]


def _file_anew(
    ledger: Ledger, event: StoredEvent, statement: Audited, snapshot: Snapshot
) -> tuple[object, ...]:
    """Give the row of a statement as the statement makes it. *Raises*: LedgerCorrupt."""
    at = event.received_at
    if isinstance(statement, IncidentReport):
        check_minted(event.incident, at)
        if statement.jurisdiction != ledger.jurisdiction.code:
            raise LedgerCorrupt("The report is of another jurisdiction.")
        until = statement.notice.response_until if statement.notice else None
        active_from = activates_at(statement, ledger.jurisdiction, received_at=at) or at
        names = (Op.INCIDENT_CONFIRMED, statement.jti, statement.txn, event.incident)
        return *names, until, active_from, retention_day(statement, ledger.jurisdiction)
    if isinstance(statement, Gone):
        return _file_gone(event, statement, snapshot)
    if not isinstance(statement, LedgerStatement):
        record = event.incident
        if isinstance(statement, Following):
            named = name_reported(statement)
            record = _find_record(snapshot, event, event.platform, named)
        else:
            check_minted(record, at)
        day = retention_day(statement, ledger.jurisdiction)
        return op_of(statement), statement.jti, None, record, None, None, day
    check_minted(statement.jti, at)
    record = statement.subject
    kind = statement.name.partition("-")[0]
    if kind in {"evidence", "incident", "statement"}:
        issuer, jti = (statement.members.get(f"{kind}_{name}") for name in ("iss", "jti"))
        member = next((one.id for one in snapshot.platforms.values() if one.uri == issuer), None)
        if _find_record(snapshot, event, member, jti) != record:
            raise LedgerCorrupt("The statement names another than the one of its record.")
        begun = snapshot.reports[member, jti]
        if statement.name == "incident-activated" and at < (begun.active_from or at):
            raise LedgerCorrupt("The incident's window hadn't passed.")
    if "confirms" in statement.members:
        _check_confirmed(ledger, event, statement, snapshot)
    return _OWN_OPS.get(statement.name), statement.jti, None, record, None, None, None


def _file_gone(event: StoredEvent, gone: Gone, snapshot: Snapshot) -> tuple[object, ...]:
    """Give the row of a destroyed statement, as far as entries tell. *Raises*: LedgerCorrupt.

    The record is the one that begins with the entry that it refers to, by the same platform where
    it is a reporter's to say; the dates are gone too.
    """
    begins = gone.leaf.op in BEGINNING
    begun = snapshot.begun.get(event.entry_index if begins else gone.leaf.ref)
    if begun is None or (gone.leaf.op in FOLLOWING and begun.platform != event.platform):
        raise LedgerCorrupt("The entry is about no statement, or about another platform's.")
    record = begun.incident
    if begins:
        check_minted(event.incident, event.received_at)
    txn = event.txn if gone.leaf.op is Op.INCIDENT_CONFIRMED else None
    return gone.leaf.op, event.jti, txn, record, None, None, None


def _check_confirmed(
    ledger: Ledger, event: StoredEvent, second: LedgerStatement, snapshot: Snapshot
) -> None:
    """Check that a second person confirms the first's statement. *Raises*: LedgerCorrupt."""
    for one in snapshot.events:
        same = (one.platform, one.op, one.incident) == (event.platform, event.op, event.incident)
        if not same or one.id >= event.id:
            continue
        token = open_event(ledger, one)
        if hashlib.sha256(token).hexdigest() == second.members["confirms"]:
            said = parse_ledger_statement(payload_of(token)).members
            persons = {fold_name(one.get("person")) for one in (said, second.members)}
            if len(persons) > 1 and "confirms" not in said:
                return
    raise LedgerCorrupt("The statement confirms no earlier one of another person.")


def _find_record(snapshot: Snapshot, event: StoredEvent, platform: int | None, jti: object) -> str:
    """Give the record that begins with what a later statement names. *Raises*: LedgerCorrupt."""
    begun = snapshot.reports.get((platform, jti))
    if begun is None or begun.id > event.id:
        raise LedgerCorrupt("The statement names no earlier one.")
    return begun.incident
