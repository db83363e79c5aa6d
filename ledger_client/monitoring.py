"""Following a log from outside: whether it is one history, fresh, and ours where it has our tag.

It stands on what anybody may fetch (C2SP tlog-tiles) and keeps a frontier, so that every entry is
read once and the new root is computed from the old one: a log that forked, shrank or changed can't
give that root. It needs no database and no membership but the tag key; it knows nothing of
entries that bear another's tag.
"""

from __future__ import annotations

import hmac
import json
from base64 import b64encode
from binascii import a2b_base64
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ledger.errors import InvalidEntry, InvalidInput, InvalidNote, InvalidProof
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


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that an honest ledger doesn't do. `notes` are the signed notes that show it."""

    code: str
    detail: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MonitorState:
    """How far a log was followed.

    *Shape*: `note` is the checkpoint of this size; `own` has the commitments of the entries that
    bear our tag, by index.
    """

    origin: str
    size: int = 0
    frontier: bytes = b""
    note: str = ""
    own: Mapping[int, bytes] = field(default_factory=dict)


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
    own = {str(index): b64encode(one).decode() for index, one in sorted(state.own.items())}
    frontier = b64encode(state.frontier).decode()
    told = {"origin": state.origin, "size": state.size, "frontier": frontier}
    return json.dumps({**told, "note": state.note, "own": own}, indent=1) + "\n"


def parse_state(text: str, vkey: str) -> MonitorState:
    """Parse a state. *Raises*: InvalidInput where it isn't one of this log."""
    try:
        told = json.loads(text)
        own = {int(index): a2b_base64(one, strict_mode=True) for index, one in told["own"].items()}
        frontier = a2b_base64(told["frontier"], strict_mode=True)
        state = MonitorState(told["origin"], int(told["size"]), frontier, str(told["note"]), own)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput("The state isn't one of a monitor's.") from error
    if len(state.frontier) != HASH_BYTES * state.size.bit_count():
        raise InvalidInput("The state isn't one of a monitor's.")
    if state.origin != parse_vkey(vkey).name:
        raise InvalidInput("The state is of another log.")
    return state


def follow_log(
    fetch: Callable[[str], bytes | None], watch: Watch, state: MonitorState, *, now: datetime
) -> tuple[MonitorState, list[Alarm]]:
    """Follow a log from a state to its newest checkpoint; give the new state, and all alarms.

    *Shape*: `fetch` gives what stands at a path, or None. Where the log itself gives alarm the
    state stays, so that the alarm is given again.
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
    if checkpoint.size < state.size:
        detail = f"It shows {checkpoint.size} entries after {state.size}."
        return state, [*alarms, Alarm("log-shrank", detail, (state.note, note))]
    try:
        reached = _extend(fetch, state, checkpoint.size, watch.member)
    except (InvalidEntry, InvalidProof) as error:
        return state, [*alarms, Alarm("entries-invalid", error.detail, (note,))]
    if frontier_root(reached.size, reached.frontier) != checkpoint.root_hash:
        detail = f"Its {checkpoint.size} entries don't continue the {state.size} seen before."
        return state, [*alarms, Alarm("log-forked", detail, (state.note, note))]
    reached = replace(reached, note=note)
    if watch.member is not None:
        alarms += _judge_own(reached, watch.member.statements, now, watch.age_max)
    return reached, alarms


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
    state: MonitorState,
    size: int,
    member: Membership | None,
) -> MonitorState:
    """Read the entries from a state to a size. *Raises*: InvalidEntry, InvalidProof."""
    own = dict(state.own)
    frontier, reached = state.frontier, state.size
    while reached < size:
        entries = list(_read_tile(fetch, reached // WIDTH, size))[reached % WIDTH :]
        frontier = extend_frontier(reached, frontier, [leaf_hash(one) for one in entries])
        for index, entry in enumerate(entries, reached):
            leaf = parse_leaf(entry)
            if member is not None and hmac.compare_digest(
                tag_issuer(member.tag_key, leaf.commitment), leaf.issuer_tag
            ):
                own[index] = leaf.commitment
        reached += len(entries)
    return replace(state, size=reached, frontier=frontier, own=own)


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
    unknown = [index for index in state.own if index not in proved]
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
