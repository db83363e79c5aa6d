"""The only writer of the log and of everything derived from it.

One function gives accepted statements their places, in accept order, and applies what follows
from each in the same transaction. On SQLite it runs inside the accepting transaction, on
PostgreSQL in the worker. An audit runs the very same function on an empty database.

What is true when: after the commit of a sequencing transaction the entries have their indexes
for ever, and the content that they destroy is gone. If we die right before it, the statements are
still accepted and pending. After the commit of a publishing transaction the checkpoint may be
shown. If we die right before it, the next publication signs the same root again: Ed25519 is
deterministic and the size is the key.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from ledger.deriving import (
    Effect,
    derive_effect,
    event_context,
    find_keys,
    open_event,
    read_report,
    waive,
)
from ledger.errors import LedgerCorrupt
from ledger.identity.token import EVENT_TYPE, sign_token
from ledger.incident.lifecycle import CLOSED
from ledger.incident.statement import EVENT_PREFIX
from ledger.ledger import Ledger, learn_policies, mint_id
from ledger.log.checkpoint import Checkpoint, sign_checkpoint
from ledger.log.leaf import Leaf, Op, commit, encode_leaf, tag_issuer
from ledger.log.merkle import frontier_root, grow, leaf_hash
from ledger.privacy.sealing import SealedToken, seal, unseal
from ledger.rights.retention import last_expired_day
from ledger.store import (
    entries,
    erasures,
    evidence,
    incidents,
    overrides,
    platforms,
    postings,
    witnesses,
)
from ledger.store.engine import begin_read, begin_write
from ledger.store.entries import LogState, StoredEvent
from ledger.store.waiting import announce_publication
from ledger.tiling import read_edge, write_full_tiles

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ledger.store.engine import Connection
    from ledger.store.incidents import StoredIncident
    from ledger.store.witnesses import SignedCheckpoint

BATCH_MAX = 500
_NOTHING_ERASED: Mapping[int, Leaf] = MappingProxyType({})


def open_tag_key(ledger: Ledger, uri: str, sealed: SealedToken) -> bytes:
    """Unseal the key of a platform's tags. *Raises*: LedgerCorrupt."""
    return unseal(ledger.keys.wrap_key, sealed, context=tag_key_context(uri))


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


def sequence_pending(  # noqa: C901, PLR0912, PLR0915 - flat: no frame stands between the one writer and its statements
    ledger: Ledger,
    connection: Connection,
    limit: int = BATCH_MAX,
    erased: Mapping[int, Leaf] = _NOTHING_ERASED,
) -> int:
    """Give pending statements their indexes and apply them; give how many there were.

    *Shape*: `erased` has by index what was erased. *Raises*: LedgerUnavailable, LedgerCorrupt.
    """
    state = entries.read_state(connection, lock=True)
    version = state.policy_version
    tag_keys: dict[int, bytes] = {}
    written = []
    pending = entries.assign_indexes(connection, state.size, limit)
    for index, assigned in enumerate(pending, state.size):
        stored = replace(assigned, gone=erased.get(index)) if erased else assigned
        if stored.platform not in tag_keys:
            found = platforms.select_tag_key(connection, stored.platform)
            tag_keys[stored.platform] = open_tag_key(ledger, *found)
        # The first entry publishes the first policy; none is in force before it.
        policy = learn_policies(ledger, connection, version or min(ledger.policies))
        known = incidents.find_incident(connection, stored.incident)
        said = entries.select_said(connection, stored, known.content_index if known else None)
        effect = derive_effect(ledger, policy, stored, known, _recall(said, erased), index)
        marked = incidents.select_reported(connection, stored.platform, effect.waives)
        for one in (effect, *(waive(ledger, policy, waived, index) for waived in marked)):
            ids = postings.ensure_identifiers(connection, one.kinds)
            if one.ends:
                overrides.delete_override(connection, one.ref)
            keys, before, after = list(one.named), one.before, one.after
            if before is not None and before.account is not None:
                keys += _keys_in(ledger, entries.find_entry_event(connection, before.content_index))
                incidents.replace_incident(connection, replace(before, account=None))
                others = incidents.select_account_incidents(connection, before.account)
                lost = postings.remove_incident(connection, before, others)
                postings.recount_tokens(connection, lost)
            if after is not None and one.account is not None:
                after = replace(after, account=ids[one.account])
                bound = {ids[claim.key]: claim for claim in one.claims}
                for token in overrides.select_cut_tokens(connection, list(bound), after):
                    del bound[token]
                postings.add_incident(connection, after, bound)
            if after is not None and known is None and one is effect:
                incidents.insert_incident(connection, after)
            elif after is not None:
                incidents.replace_incident(connection, after)
            if after is not None and any(one.decided):
                overrides.count_decided(connection, after.platform, one.decided)
            if one.override is not None:
                overrides.insert_override(connection, one.override, ids)
                for cut in overrides.select_cut_edges(connection, one.override, ids):
                    postings.recount_tokens(connection, postings.cut_edge(connection, *cut))
            postings.forget_identifiers(connection, keys)
        if effect.suspends is not None:
            _suspend(connection, effect.suspends, stored.received_at)
        if effect.pieces is not None:
            if evidence.delete_pieces(connection, stored.incident, unless=effect.pieces):
                at, was_true = stored.received_at, _is_old(ledger, connection, stored)
                evidence.end_matches(connection, [stored.incident], at, was_true=was_true)
            evidence.insert_pieces(connection, stored, index, effect.day, effect.pieces)
        erasures.destroy_content(connection, _name_ended(stored, effect, effect.after or known))
        version = effect.policy_version or version
        entry = build_entry(ledger, stored, effect, tag_keys[stored.platform], version)
        written.append((index, entry, leaf_hash(entry)))
    if written:
        entries.insert_entries(connection, written)
        advanced = extend_log(connection, state, [hashed for _, _, hashed in written], version)
        entries.advance_state(connection, state, advanced)
    return len(written)


def _keys_in(ledger: Ledger, content: StoredEvent | None) -> list[bytes]:
    """Give the lookup keys of the account and the tokens that a report names."""
    account, claims = find_keys(ledger, read_report(ledger, content))
    return [account, *(claim.key for claim in claims)]


def _suspend(connection: Connection, uri: str, at: datetime) -> None:
    """Suspend a member, whose evidence nobody vouches for any more."""
    evidence.withdraw_member(connection, platforms.suspend_member(connection, uri), at)


def _is_old(ledger: Ledger, connection: Connection, ending: StoredEvent) -> bool:
    """Tell whether a record merely grew old, and was true: its own time is over.

    *Shape*: as what began it said. An end that came sooner is a correction's.
    """
    if ending.op != Op.EXPIRED:
        return False
    first, *_ = entries.select_incident_events(connection, ending.incident)
    last_day = last_expired_day(ending.received_at, ledger.jurisdiction, Op(first.op))
    return first.retention_day is not None and first.retention_day <= last_day


def _recall(said: list[StoredEvent], erased: Mapping[int, Leaf]) -> list[StoredEvent]:
    """Give statements with the entries that they had, where they were erased since."""
    return [
        one if one.entry_index is None else replace(one, gone=erased.get(one.entry_index))
        for one in said
    ]


def _name_ended(stored: StoredEvent, effect: Effect, known: StoredIncident | None) -> str | None:
    is_closed = known is not None and known.state in CLOSED
    return stored.incident if effect.ends or is_closed else None


def extend_log(
    connection: Connection, state: LogState, leaf_hashes: list[bytes], policy_version: int
) -> LogState:
    """Write the tiles that some more leaves fill, and give the log's state after them."""
    frontier, rows = grow(state.size, state.frontier, leaf_hashes)
    write_full_tiles(connection, state.size, rows)
    size = state.size + len(leaf_hashes)
    return LogState(size, frontier_root(size, frontier), frontier, policy_version)


def build_entry(
    ledger: Ledger, stored: StoredEvent, effect: Effect, tag_key: bytes, policy_version: int
) -> bytes:
    """Build the exact bytes of an entry (docs/format.md, leaf v1)."""
    if stored.gone is not None:  # nothing opens its commitment, which its platform tagged
        commitment = stored.gone.commitment
    elif stored.salt is None:
        raise LedgerCorrupt("An event's salt is missing.")
    else:
        commitment = commit(stored.salt, open_event(ledger, stored))
    leaf = Leaf(
        op=Op(stored.op),
        reason=effect.reason,
        policy_version=policy_version,
        ref=effect.ref,
        issuer_tag=tag_issuer(tag_key, commitment),
        commitment=commitment,
    )
    return encode_leaf(leaf)


def check_root(connection: Connection, state: LogState) -> None:
    """Derive the root again, from the frontier and from tiles and leaf hashes, before it is signed.

    *Raises*: LedgerCorrupt where the three aren't one.
    """
    if frontier_root(state.size, state.frontier) != state.root:
        raise LedgerCorrupt("The stored root isn't the root of the frontier.")
    if b"".join(read_edge(connection, state.size).peaks) != state.frontier:
        raise LedgerCorrupt("The stored frontier isn't that of the tiles.")


def publish_checkpoint(ledger: Ledger, at: datetime) -> int:
    """Sign and publish the log's present size unless it is published; give that size.

    Where witnesses are to be heard first nothing happens here: `ledger/publishing.py` does both.
    *Raises*: LedgerCorrupt where the stored root isn't that of the frontier and of the tiles.
    """
    if ledger.witnesses is not None:
        return 0
    with begin_write(ledger.database) as connection:
        state = entries.read_state(connection, lock=True)
        if entries.find_checkpoint(connection, at_least=state.size) is not None:
            return state.size
        note = sign_state(ledger, connection, state)
        signed = witnesses.find_signed(connection, state.size)
        if signed is None:
            after = ledger.database.cache.signed_size
            witnesses.insert_signed(connection, state.size, note, at, after=after)
        else:  # it was signed for witnesses that aren't named any more
            check_signed(signed, note)
            witnesses.publish_signed(connection, state.size, signed.cosignatures, at)
        announce_publication(connection)
    ledger.database.cache.signed_size = state.size
    return state.size


def sign_state(ledger: Ledger, connection: Connection, state: LogState) -> str:
    """Sign the checkpoint of the log's state, its root derived again. *Raises*: LedgerCorrupt."""
    check_root(connection, state)
    return sign_checkpoint(Checkpoint(ledger.origin, state.size, state.root), ledger.signer)


def check_signed(signed: SignedCheckpoint, note: str) -> None:
    """Check that what was signed for a size is what is signed now. *Raises*: LedgerCorrupt."""
    if signed.note != note:
        raise LedgerCorrupt("Another root was signed for this size of the log.")


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
