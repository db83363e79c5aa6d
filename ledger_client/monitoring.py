"""Following a log from outside: whether it is one history, fresh, and ours where it has our tag.

It stands on what anybody may fetch (C2SP tlog-tiles) and keeps a frontier, so that every entry is
read once and the new root is computed from the old one: a log that forked, shrank or changed can't
give that root. It needs no database and no membership but the tag key; it knows nothing of
entries that bear another's tag.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from binascii import a2b_base64
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ledger.errors import InvalidEntry, InvalidInput, InvalidNote, InvalidProof
from ledger.incident.lifecycle import FOLLOWING
from ledger.log.checkpoint import open_checkpoint
from ledger.log.leaf import parse_leaf, tag_issuer
from ledger.log.merkle import HASH_BYTES, extend_frontier, frontier_root, leaf_hash
from ledger.log.note import parse_vkey
from ledger.log.tile import WIDTH, render_path
from ledger.log.witness import open_witnessed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime, timedelta

    from ledger.log.checkpoint import Checkpoint
    from ledger.log.witness import WitnessPolicy
    from ledger_client.journal import Statements

CHECKPOINT_PATH = "/log/checkpoint"
_ENTRIES = "/log/tile/entries/"
_LENGTH_BYTES = 2
_SKEW_SECONDS = 300
_SIGNED_MAX = 32
# What JSON of another shape, with numbers beyond any or nested beyond reading, comes to.
_UNREADABLE = (ValueError, KeyError, TypeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that an honest ledger doesn't do. `notes` are the signed notes that show it."""

    code: str
    detail: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far entries were read, and whose were told.

    *Shape*: `note` is the checkpoint up to which they are read; `own` has the commitments of the
    entries that bear our tag, by index, and nothing for one that speaks for us about one of them
    without our tag; `tag_key_hash` names the key that told them, if any did.
    """

    size: int = 0
    frontier: bytes = b""
    note: str = ""
    own: Mapping[int, bytes] = field(default_factory=dict)
    tag_key_hash: bytes = b""


@dataclass(frozen=True, slots=True)
class MonitorState:
    """How far a log was followed: to a size whose root its checkpoint signed.

    *Shape*: as in `Progress`; `signed` are checkpoints that were shown since and not reached;
    `reading` has what was read towards the newest, or again for another tag key, unproved yet.
    """

    origin: str
    size: int = 0
    frontier: bytes = b""
    note: str = ""
    own: Mapping[int, bytes] = field(default_factory=dict)
    tag_key_hash: bytes = b""
    signed: tuple[str, ...] = ()
    reading: Progress | None = None


@dataclass(frozen=True, slots=True)
class Membership:
    """What a member can recognise its entries by, and what it knows to have sent."""

    tag_key: bytes = field(repr=False)
    statements: Statements


@dataclass(frozen=True, slots=True)
class Watch:
    """What a monitor was told to look at: the log's key, and how old a quorum may be."""

    vkey: str
    age_max: timedelta
    witnesses: WitnessPolicy | None = None
    member: Membership | None = None


def render_state(state: MonitorState) -> str:
    """Render a state as JSON."""
    told: dict[str, object] = {"origin": state.origin, **_render(state), "signed": state.signed}
    if state.reading is not None:
        told["reading"] = _render(state.reading)
    return json.dumps(told, indent=1) + "\n"


def _render(told: MonitorState | Progress) -> dict[str, object]:
    # An entry of a tile that was interrupted is read again with the rest of it.
    own = {index: one for index, one in sorted(told.own.items()) if index < told.size}
    return {
        "size": told.size,
        "frontier": b64encode(told.frontier).decode(),
        "note": told.note,
        "own": {str(index): b64encode(one).decode() for index, one in own.items()},
        "tag_key_hash": told.tag_key_hash.hex(),
    }


def parse_state(text: str, vkey: str) -> MonitorState:
    """Parse a state. *Raises*: InvalidInput where it isn't one of this log."""
    try:
        told = json.loads(text)
        proved = _parse(told)
        reading = _parse(told["reading"]) if "reading" in told else None
        # A state of an earlier release knows the newest alone.
        signed = told.get("signed", [reading.note] if reading else [])
        state = MonitorState(
            told["origin"],
            proved.size,
            proved.frontier,
            proved.note,
            proved.own,
            proved.tag_key_hash,
            tuple(signed),
            reading,
        )
        _list_seen(state, vkey)
    except (*_UNREADABLE, AttributeError, InvalidNote) as error:
        raise InvalidInput("The state isn't one of a monitor's.") from error
    if state.origin != parse_vkey(vkey).name:
        raise InvalidInput("The state is of another log.")
    return state


def _parse(told: Mapping[str, Any]) -> Progress:
    size, frontier = int(told["size"]), a2b_base64(told["frontier"], strict_mode=True)
    if size < 0 or len(frontier) != HASH_BYTES * size.bit_count():
        raise ValueError(size)
    own = {int(index): a2b_base64(one, strict_mode=True) for index, one in told["own"].items()}
    # A state of an earlier release names no key: its entries are told again.
    key_hash = bytes.fromhex(told.get("tag_key_hash", ""))
    return Progress(size, frontier, str(told["note"]), own, key_hash)


def follow_log(
    fetch: Callable[[str], bytes | None],
    watch: Watch,
    state: MonitorState,
    *,
    now: datetime,
    keep: Callable[[MonitorState], None] = lambda _: None,
) -> tuple[MonitorState, list[Alarm]]:
    """Follow a log from a state to its newest checkpoint; give the new state, and all alarms.

    *Shape*: `fetch` gives what stands at a path, or None; what it raises is passed on. `keep` is
    given each state on the way from which another run can go on. Where the log itself gives alarm
    the state stays, so that the alarm is given again.
    """
    raw = fetch(CHECKPOINT_PATH)
    if raw is None:
        return state, [Alarm("checkpoint-missing", "The log shows no checkpoint.")]
    note = raw.decode(errors="replace")
    try:
        checkpoint, quorum_at = _open(note, watch)
    except InvalidNote as error:
        return state, [Alarm("checkpoint-invalid", error.detail, (note,))]
    alarms = _judge_age(quorum_at, now, watch.age_max, note)
    seen = _list_seen(state, watch.vkey)
    highest = max(seen, key=lambda one: one.size)
    if checkpoint.size < highest.size:
        detail = f"It shows {checkpoint.size} entries after {highest.size}."
        return state, [*alarms, Alarm("log-shrank", detail, (highest.note, note))]
    reading = replace(_begin(state, watch.member), note=note)
    signed = state.signed if note in state.signed else (*state.signed[: _SIGNED_MAX - 1], note)
    keep(replace(state, signed=signed, reading=reading))
    for one in sorted([*seen, _Seen(checkpoint.size, checkpoint.root_hash, note)], key=_size_of):
        try:
            for read in _extend(fetch, reading, one.size, checkpoint.size, watch.member):
                reading = read
                keep(replace(state, signed=signed, reading=read))
        except (InvalidEntry, InvalidProof) as error:
            return state, [*alarms, Alarm("entries-invalid", error.detail, (note,))]
        if one.size == reading.size and (
            frontier_root(reading.size, reading.frontier) != one.root_hash
        ):
            earlier = one if one in seen else highest
            detail = f"Its {checkpoint.size} entries don't continue the {earlier.size} seen before."
            alarms.append(Alarm("log-forked", detail, (earlier.note, note)))
            return replace(state, reading=None), alarms
    reached = MonitorState(
        state.origin, reading.size, reading.frontier, note, reading.own, reading.tag_key_hash
    )
    if watch.member is not None:
        alarms += _judge_own(reached, watch.member.statements, now, watch.age_max)
    return reached, alarms


def judge_withheld(state: MonitorState, vkey: str, after: timedelta) -> Alarm:
    """Tell that a log wasn't followed to its checkpoint in the time that a run has."""
    said = f"It wasn't read within {int(after.total_seconds())} seconds"
    if state.reading is None:
        return Alarm("log-withheld", f"{said}.")
    size = max(one.size for one in _list_seen(state, vkey))
    detail = f"{said}: {state.reading.size} of {size} entries; another run goes on from there."
    return Alarm("log-withheld", detail, (state.reading.note,))


@dataclass(frozen=True, slots=True)
class _Seen:
    """A root that was signed for a size, and the note that shows it."""

    size: int
    root_hash: bytes
    note: str


def _size_of(seen: _Seen) -> int:
    return seen.size


def _list_seen(state: MonitorState, vkey: str) -> list[_Seen]:
    """List what was signed before: where the log was followed to, and what wasn't reached."""
    seen = [_Seen(state.size, frontier_root(state.size, state.frontier), state.note)]
    for note in state.signed:
        noted = open_checkpoint(note, (parse_vkey(vkey),))
        seen.append(_Seen(noted.size, noted.root_hash, note))
    return seen


def _hash_tag_key(member: Membership | None) -> bytes:
    """Name a tag key in a state, which thereby can't tell anybody's entries."""
    if member is None:
        return b""
    return hashlib.sha256(b"bcl/monitor/tag-key/v1\x00" + member.tag_key).digest()


def _begin(state: MonitorState, member: Membership | None) -> Progress:
    """Give where to read on: from the first entry where this tag key didn't see all until there."""
    key_hash = _hash_tag_key(member)
    if state.reading is not None and state.reading.tag_key_hash == key_hash:
        return state.reading
    if state.tag_key_hash == key_hash:
        return Progress(state.size, state.frontier, state.note, state.own, key_hash)
    if member is None:
        return Progress(state.size, state.frontier, state.note)
    return Progress(tag_key_hash=key_hash)


def _open(note: str, watch: Watch) -> tuple[Checkpoint, int | None]:
    """Open a checkpoint: what it says, and since when a quorum stands under it."""
    verifiers = (parse_vkey(watch.vkey),)
    if watch.witnesses is None:
        return open_checkpoint(note, verifiers), None
    witnessed = open_witnessed(note, verifiers, watch.witnesses)
    return witnessed.checkpoint, witnessed.quorum_at


def _judge_age(quorum_at: int | None, now: datetime, age_max: timedelta, note: str) -> list[Alarm]:
    """Judge by the cosignatures how old a checkpoint is; nothing else in it tells the time."""
    if quorum_at is None:
        return []
    age_seconds = now.timestamp() - quorum_at
    if age_seconds < -_SKEW_SECONDS:
        return [Alarm("checkpoint-invalid", "Its cosignatures are dated in the future.", (note,))]
    if age_seconds > age_max.total_seconds():
        detail = f"Its quorum is {int(age_seconds)} seconds old."
        return [Alarm("checkpoint-stale", detail, (note,))]
    return []


def _extend(
    fetch: Callable[[str], bytes | None],
    reading: Progress,
    until: int,
    size: int,
    member: Membership | None,
) -> Iterator[Progress]:
    """Read the entries until there, by the tiles of a size. *Raises*: InvalidEntry, InvalidProof.

    *Shape*: a progress for each tile; they share one `own`.
    """
    own = dict(reading.own)
    frontier, reached = reading.frontier, reading.size
    while reached < until:
        first = reached // WIDTH * WIDTH
        entries = list(_read_tile(fetch, reached // WIDTH, size))[reached - first : until - first]
        frontier = extend_frontier(reached, frontier, [leaf_hash(one) for one in entries])
        for index, entry in enumerate(entries, reached):
            leaf = parse_leaf(entry)
            if member is None:
                continue
            if hmac.compare_digest(tag_issuer(member.tag_key, leaf.commitment), leaf.issuer_tag):
                own[index] = leaf.commitment
            elif leaf.op in FOLLOWING and leaf.ref in own:
                own[index] = b""
        reached += len(entries)
        yield replace(reading, size=reached, frontier=frontier, own=own)


def _read_tile(fetch: Callable[[str], bytes | None], number: int, size: int) -> Iterator[bytes]:
    """Read the entries of a tile as far as a size goes. *Raises*: InvalidEntry."""
    width = min(WIDTH, size - number * WIDTH)
    raw = fetch(f"{_ENTRIES}{render_path(number, width)}")
    if raw is None and width < WIDTH:
        raw = fetch(
            f"{_ENTRIES}{render_path(number)}"
        )  # partial tiles may go once the full one is there
    if raw is None:
        raise InvalidEntry("A tile of entries is missing.")
    at = 0
    for _ in range(width):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(raw[at:start])
        if start > len(raw) or at > len(raw):
            raise InvalidEntry("A tile of entries is cut off.")
        yield raw[start:at]


def _judge_own(
    state: MonitorState, statements: Statements, now: datetime, age_max: timedelta
) -> list[Alarm]:
    """Hold the entries that bear our tag against what we sent.

    A statement with a receipt is known by its commitment. Those without are counted: there may be
    no more entries of ours than statements, and no fewer once they had their time.
    """
    proved = dict(statements.proved.values())
    alarms = [
        Alarm("entry-changed", f"Entry {index} isn't the one of its receipt.")
        for index, commitment in proved.items()
        if index < state.size and state.own.get(index) != commitment
    ]
    alarms += [
        Alarm("entry-unsent", f"Entry {index} speaks for us about ours, without our tag.")
        for index, commitment in state.own.items()
        if not commitment
    ]
    unknown = [index for index, one in state.own.items() if one and index not in proved]
    unproved = [jti for jti in statements.sent if jti not in statements.proved]
    if len(unknown) > len(unproved):
        named = ", ".join(str(index) for index in unknown)
        detail = f"{len(unknown)} entries bear our tag ({named}), {len(unproved)} were sent."
        alarms.append(Alarm("entry-unsent", detail))
    due = now.timestamp() - age_max.total_seconds()
    late = [jti for jti in unproved if jti in statements.accepted and statements.sent[jti] < due]
    if len(late) > len(unknown):
        detail = f"{len(late)} statements were accepted long ago, {len(unknown)} are in the log."
        alarms.append(Alarm("statement-missing", detail))
    return alarms
