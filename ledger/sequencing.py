"""The only writer of the log and of everything derived from it.

One function gives accepted statements their places, in accept order, and applies what follows
from each in the same transaction. On SQLite it runs inside the accepting transaction, on
PostgreSQL in the worker. An audit runs the very same function on an empty database.

What is true when: after the commit of a sequencing transaction the entries have their indexes
for ever. If we die right before it, the statements are still accepted and pending. After the
commit of a publishing transaction the checkpoint may be shown. If we die right before it, the
next publication signs the same root again: Ed25519 is deterministic and the size is the key.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ledger.errors import LedgerCorrupt
from ledger.graph.posting import forward_mass
from ledger.identity.identifier import account_key, lookup_key
from ledger.identity.token import EVENT_TYPE, payload_of, sign_token
from ledger.incident.incident import EVENT_PREFIX, IncidentReport, parse_event
from ledger.incident.lifecycle import State, next_state
from ledger.incident.taxonomy import ProofLevel
from ledger.ledger import Ledger, mint_id
from ledger.log.checkpoint import Checkpoint, sign_checkpoint
from ledger.log.leaf import NO_REF, EntryReason, Leaf, Op, commit, encode_leaf, tag_issuer
from ledger.log.merkle import extend_frontier, frontier_root, leaf_hash
from ledger.privacy.sealing import SealedToken, seal, unseal
from ledger.store import entries, incidents, platforms, postings
from ledger.store.engine import begin_read, begin_write
from ledger.store.entries import LogState, StoredEvent
from ledger.store.incidents import StoredIncident
from ledger.store.postings import TokenClaim

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

    from ledger.store.engine import Connection

BATCH_MAX = 500
_ACCOUNT_CODE = 0
_UNIX_ORDINAL = 719_163  # date(1970, 1, 1).toordinal()
_WITHOUT_INCIDENT = frozenset({Op.PLATFORM_CHANGED, Op.POLICY_PUBLISHED})


@dataclass(frozen=True, slots=True)
class Effect:
    """What follows from one entry. `subject` is the report whose weight starts or stops."""

    ref: int
    reason: EntryReason
    after: StoredIncident | None = None
    account: bytes | None = None
    claims: tuple[TokenClaim, ...] = ()
    starts: bool = False
    stops: bool = False


def day_number(day: date) -> int:
    """Give a date as days since 1970-01-01."""
    return day.toordinal() - _UNIX_ORDINAL


def event_context(platform: int, jti: str) -> bytes:
    """Give the context that a sealed event is bound to, so that no two can change places."""
    return b"bcl/event\x00%d\x00%s" % (platform, jti.encode())


def tag_key_context(uri: str) -> bytes:
    """Give the context that a platform's sealed tag key is bound to."""
    return b"bcl/tag-key\x00" + uri.encode()


def seal_secret(ledger: Ledger, plaintext: bytes, context: bytes) -> SealedToken:
    """Seal bytes under a fresh key, itself wrapped by the ledger's wrapping key."""
    return seal(
        ledger.keys.wrap_key,
        plaintext,
        entry_key=secrets.token_bytes(32),
        nonce=secrets.token_bytes(12),
        context=context,
    )


def open_event(ledger: Ledger, stored: StoredEvent) -> bytes:
    """Give the token of a stored event as it was received.

    *Raises*: LedgerCorrupt where it is missing or was changed.
    """
    if stored.sealed is None:
        raise LedgerCorrupt("An event's content is missing.")
    return unseal(
        ledger.keys.wrap_key, stored.sealed, context=event_context(stored.platform, stored.jti)
    )


def draft_own_statement(
    ledger: Ledger,
    name: str,
    members: Mapping[str, object],
    *,
    op: Op,
    incident: str,
    at: datetime,
) -> StoredEvent:
    """Sign a statement of the ledger's own, sealed and ready to be inserted."""
    jti = mint_id("evt_", at)
    claims = {
        "iss": ledger.issuer,
        "aud": ledger.issuer,
        "iat": int(at.timestamp()),
        "jti": jti,
        "sub_id": {"format": "opaque", "id": incident},
        "events": {f"{EVENT_PREFIX}{name}:1": dict(members)},
    }
    token = sign_token(claims, ledger.keys.event_key, typ=EVENT_TYPE).encode()
    return draft_event(
        ledger,
        StoredEvent(
            id=0,
            platform=platforms.LEDGER_PLATFORM,
            jti=jti,
            txn=None,
            incident=incident,
            op=int(op),
            kid=ledger.public_jwks["keys"][1]["kid"],
            received_at=at,
            response_until=None,
            active_from=None,
            entry_index=None,
            sealed=None,
            salt=None,
        ),
        token,
    )


def draft_event(ledger: Ledger, event: StoredEvent, token: bytes) -> StoredEvent:
    """Seal an event's token beside a fresh salt, ready to be inserted."""
    sealed = seal_secret(ledger, token, event_context(event.platform, event.jti))
    return replace(event, sealed=sealed, salt=secrets.token_bytes(32))


def sequence_pending(ledger: Ledger, connection: Connection, limit: int = BATCH_MAX) -> int:
    """Give pending statements their indexes and apply them; give how many there were.

    Must run inside a writing transaction. *Raises*: LedgerUnavailable where another sequencer
    was faster, LedgerCorrupt where what is stored can't be what was accepted.
    """
    state = entries.read_state(connection, lock=True)
    tag_keys: dict[int, bytes] = {}
    written = []
    for index, stored in enumerate(entries.select_pending(connection, limit), state.size):
        entries.assign_index(connection, stored.id, index)
        if stored.platform not in tag_keys:
            uri, sealed = platforms.select_tag_key(connection, stored.platform)
            tag_keys[stored.platform] = unseal(
                ledger.keys.wrap_key, sealed, context=tag_key_context(uri)
            )
        known = incidents.find_incident(connection, stored.incident)
        report = entries.find_entry_event(connection, known.reported_index) if known else None
        effect = derive_effect(ledger, stored, known, report, index)
        if effect.after is None:
            pass
        elif known is None:
            incidents.insert_incident(connection, effect.after)
        elif effect.starts and effect.account is not None:
            kinds = {effect.account: _ACCOUNT_CODE} | {c.key: c.kind for c in effect.claims}
            present = postings.find_identifiers(connection, kinds)
            absent = {key: kind for key, kind in kinds.items() if key not in present}
            postings.insert_identifiers(connection, absent)
            ids = postings.find_identifiers(connection, kinds)
            counting = replace(effect.after, account=ids[effect.account])
            incidents.replace_incident(connection, counting)
            bound = {ids[claim.key]: claim for claim in effect.claims}
            postings.add_incident(connection, counting, bound)
        elif effect.stops and known.account is not None:
            incidents.replace_incident(connection, effect.after)
            ids = postings.find_identifiers(connection, [c.key for c in effect.claims])
            others = incidents.select_account_incidents(connection, known.account)
            tokens = ids.values()
            left = postings.remove_incident(connection, known, tokens, others)
            postings.recount_tokens(connection, known.platform, tokens, left)
            postings.forget_identifiers(connection, [known.account, *tokens])
        else:
            incidents.replace_incident(connection, effect.after)
        entry = build_entry(ledger, stored, effect, tag_keys[stored.platform])
        written.append((index, entry, leaf_hash(entry)))
    if written:
        entries.insert_entries(connection, written)
        entries.advance_state(connection, state, extend_state(state, [h for _, _, h in written]))
    return len(written)


def extend_state(state: LogState, leaf_hashes: list[bytes]) -> LogState:
    """Give the log's state after some more leaves."""
    frontier = extend_frontier(state.size, state.frontier, leaf_hashes)
    size = state.size + len(leaf_hashes)
    return LogState(size, frontier_root(size, frontier), frontier)


def build_entry(ledger: Ledger, stored: StoredEvent, effect: Effect, tag_key: bytes) -> bytes:
    """Build the exact bytes of an entry (docs/format.md, leaf v1)."""
    if stored.salt is None:
        raise LedgerCorrupt("An event's salt is missing.")
    commitment = commit(stored.salt, open_event(ledger, stored))
    leaf = Leaf(
        op=Op(stored.op),
        reason=effect.reason,
        policy_version=ledger.policy.version,
        ref=effect.ref,
        issuer_tag=tag_issuer(tag_key, commitment),
        commitment=commitment,
    )
    return encode_leaf(leaf)


def derive_effect(
    ledger: Ledger,
    stored: StoredEvent,
    known: StoredIncident | None,
    report: StoredEvent | None,
    index: int,
) -> Effect:
    """Derive what a statement does to an incident as it stands; pure but for decryption.

    A statement that lost a race still becomes an entry, with the reason "no effect".
    """
    op = Op(stored.op)
    if op in _WITHOUT_INCIDENT:
        return Effect(NO_REF, EntryReason.NONE)
    before = known.state if known else None
    after = next_state(before, op)
    ref = known.reported_index if known else NO_REF
    if after is None:
        return Effect(ref, EntryReason.NO_EFFECT)
    if known is None:
        held = StoredIncident(stored.incident, stored.platform, after, index, index)
        return Effect(ref, EntryReason.NONE, held)
    reason = EntryReason.WINDOW_PASSED if op is Op.ACTIVATED else EntryReason.NONE
    changed = replace(known, state=after, changed_index=index)
    starts = after is State.ACTIVE and before is not State.ACTIVE
    stops = before is State.ACTIVE and after is not State.ACTIVE
    if not (starts or stops):
        return Effect(ref, reason, changed)
    if report is None:
        raise LedgerCorrupt("An incident has no report.")
    reported = parse_event(payload_of(open_event(ledger, report)))
    if not isinstance(reported, IncidentReport):
        raise LedgerCorrupt("An incident's first entry isn't a report.")
    account, claims = _find_keys(ledger, reported)
    if stops:
        return Effect(ref, reason, _weightless(changed), account, claims, stops=True)
    weighed = _weigh(ledger, changed, reported)
    if weighed.mass == 0:  # victims and coerced actors leave no trace in the index
        return Effect(ref, reason, changed)
    return Effect(ref, reason, weighed, account, claims, starts=True)


def _weightless(incident: StoredIncident) -> StoredIncident:
    return StoredIncident(
        incident.id,
        incident.platform,
        incident.state,
        incident.reported_index,
        incident.changed_index,
    )


def weigh_report(ledger: Ledger, report: IncidentReport) -> tuple[int, int]:
    """Weigh a report under the live policy: the code of its half-life, and its mass.

    *Units*: forward-decayed micro-units. *Raises*: EvidenceTooHeavy beyond 64 bits.
    """
    policy = ledger.policy
    claims = report.series.claims if report.series else 1
    weight = policy.weigh(report.conduct, report.actor, report.proof.level, report.amount, claims)
    mass = forward_mass(
        weight.micro,
        day_number(report.conduct_ended_at.date()),
        policy.half_life_days(weight.half_life),
        policy.epoch_day,
    )
    return int(weight.half_life), mass


def _weigh(ledger: Ledger, incident: StoredIncident, report: IncidentReport) -> StoredIncident:
    half_life, mass = weigh_report(ledger, report)
    last_day = day_number(report.conduct_ended_at.date())
    first_day = day_number(report.series.first_at.date()) if report.series else last_day
    return replace(
        incident,
        half_life=half_life,
        mass=mass,
        count=1,
        level_a=int(report.proof.level is ProofLevel.A),
        first_day=first_day,
        last_day=last_day,
    )


def _find_keys(ledger: Ledger, report: IncidentReport) -> tuple[bytes, tuple[TokenClaim, ...]]:
    claims = tuple(
        TokenClaim(
            key=lookup_key(ledger.keys.index_key, claim.identifier),
            kind=claim.identifier.kind.code,
            binding=claim.binding.code,
            bucket=claim.accounts_here.code,
        )
        for claim in report.identifiers
    )
    return account_key(ledger.keys.index_key, report.account), claims


def publish_checkpoint(ledger: Ledger, at: datetime) -> int:
    """Sign and publish the log's present size unless it is published; give that size.

    *Raises*: LedgerCorrupt where the stored root isn't the frontier's.
    """
    with begin_write(ledger.database) as connection:
        state = entries.read_state(connection, lock=True)
        if entries.find_checkpoint(connection, at_least=state.size) is not None:
            return state.size
        if frontier_root(state.size, state.frontier) != state.root:
            raise LedgerCorrupt("The stored root isn't the root of the frontier.")
        checkpoint = Checkpoint(ledger.origin, state.size, state.root)
        note = sign_checkpoint(checkpoint, ledger.signer)
        entries.insert_checkpoint(connection, state.size, note, at)
        return state.size


def sequence(ledger: Ledger, at: datetime) -> int:
    """Sequence what is pending in a transaction of its own, then publish; give how many."""
    with begin_read(ledger.database) as connection:
        waiting = entries.count_pending(connection) > 0
        state = entries.read_state(connection)
        published = entries.find_checkpoint(connection, at_least=state.size) is not None
    count = 0
    if waiting:
        with begin_write(ledger.database) as connection:
            count = sequence_pending(ledger, connection)
    if waiting or not published:
        publish_checkpoint(ledger, at)
    return count
