"""Statements about forged evidence: what is known and like it, and who was told of it.

Likeness is found by bands and then verified: every piece within the distance is found, and none
beyond it. Distances are counted here because SQLite counts no bits. What one member can add to a
question is bounded: of its pieces in one place of the index the first are looked at, and the others
lie aside until one of those goes. So the rows are what they were if a piece that went never was.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, delete, func, insert, literal, select, update

from ledger.identity.platform import PlatformState
from ledger.incident.evidence import (
    ASIDE,
    DISTANCE_MAX,
    PROBES,
    Piece,
    Sought,
    list_slots,
    probe_slots,
)
from ledger.store.columns import to_microseconds
from ledger.store.tables import evidence, evidence_band, evidence_match, platform, recall

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Select
    from sqlalchemy.engine import Connection

    from ledger.store.entries import StoredEvent

PIECES_BITS = 10  # 32 items of 16 frames and a picture each fit below an index
CROWD_MAX = 128  # pieces of one member in one place of the index that a question looks at
_CHUNK = 250  # ids bound at once
_ASKING = 0x6263_6C65  # on PostgreSQL: held by who writes down matches, and alone by who withdraws
EVIDENCE = "evidence"  # the kind of a recall: of what an answer said of its evidence


class Match(NamedTuple):
    """A known piece that is like one that was asked about. No distance is the very file.

    *Shape*: `record` is what was reported, `group` the corporate group of who reported it.
    """

    piece: int
    record: str
    group: str
    distance: int | None
    seen_day: int
    is_original: bool


@dataclass(frozen=True, slots=True)
class Recall:
    """An answer that rests on what was taken back since."""

    id: str
    answer: str
    kind: str
    recalled_at: datetime
    acknowledged_at: datetime | None


_PIECES = select(
    *(evidence.c.id, evidence.c.digest, evidence.c.pdq, evidence.c.original, evidence.c.platform)
).where(evidence.c.record == bindparam("about"))
_CROWDED = (
    select(evidence_band.c.slot)
    .where(evidence_band.c.slot.in_(bindparam("slots", expanding=True)))
    .group_by(evidence_band.c.slot)
    .having(func.count() >= CROWD_MAX)
)
# Places in which a question looks at no more pieces of a member. It is asked of crowded ones alone,
# which mostly there are none of: in one statement a planner without statistics would read it all.
_FULL = _CROWDED.join(evidence, evidence.c.id == evidence_band.c.evidence).where(
    evidence.c.platform == bindparam("member")
)
_aside = evidence_band.alias("aside")
_NEXT = (
    select(_aside.c.evidence)
    .where(_aside.c.slot == bindparam("aside"))
    .order_by(_aside.c.evidence)
    .limit(bindparam("went"))
)
_BRING_IN = (
    update(evidence_band)
    .where(evidence_band.c.slot == bindparam("aside"))
    .where(evidence_band.c.evidence.in_(_NEXT))
    .values(slot=bindparam("place"))
)


# --- What is known: written by the sequencer alone --------------------------------------------


def delete_pieces(connection: Connection, record: str, *, unless: Sequence[Piece] = ()) -> bool:
    """Forget the pieces of a record but those by which it still is known; tell if any went.

    Where its member had filled a place, the next pieces come in for those that go.
    """
    rows, kept = connection.execute(_PIECES, {"about": record}).all(), set(unless)
    gone = {number: one for number, one in _read_pieces(rows).items() if one not in kept}
    if not gone:
        return False
    band, aside = evidence_band.c, ASIDE * rows[0].platform
    slots = {number: list_slots(one.pdq) if one.pdq else [] for number, one in gone.items()}
    every = {"slots": sorted({slot for own in slots.values() for slot in own})}
    crowded = connection.execute(_CROWDED, every).scalars().all()
    member = {"slots": crowded, "member": rows[0].platform}
    for place in connection.execute(_FULL, member).scalars().all() if crowded else ():
        going = delete(evidence_band).where(band.evidence.in_(gone))
        connection.execute(going.where(band.slot == place + aside))
        went = connection.execute(going.where(band.slot == place)).rowcount
        connection.execute(_BRING_IN, {"place": place, "aside": place + aside, "went": went})
    for number, own in slots.items():
        places = (*own, *(slot + aside for slot in own))
        mine = (band.slot.in_(places), band.evidence == number)
        connection.execute(delete(evidence_band).where(*mine))
        connection.execute(delete(evidence).where(evidence.c.id == number))
    return True


def insert_pieces(
    connection: Connection, stored: StoredEvent, index: int, day: int, pieces: Sequence[Piece]
) -> None:
    """Write down by what a statement's record is recognised; what is known stays as it stood.

    A piece lies aside in those places that its member has filled; a suspended member's is none.

    *Units*: `day` of the statement since 1970-01-01.
    """
    standing = select(platform.c.state).where(platform.c.id == stored.platform)
    if not pieces or connection.execute(standing).scalar_one() == PlatformState.SUSPENDED.value:
        return
    known = set(_read_pieces(connection.execute(_PIECES, {"about": stored.incident})).values())
    fresh = [piece for piece in pieces if piece not in known]
    full: set[int] = set()  # nothing goes meanwhile: what was full stays so
    for place, piece in enumerate(fresh):
        row = {
            "id": index << PIECES_BITS | place,
            "record": stored.incident,
            "platform": stored.platform,
            "digest": piece.digest,
            "pdq": piece.pdq,
            "original": int(piece.is_original),
            "seen_day": day,
        }
        connection.execute(insert(evidence), row)
        if piece.pdq is None:
            continue
        slots = list_slots(piece.pdq)
        room = [slot for slot in slots if slot not in full]
        crowded = connection.execute(_CROWDED, {"slots": room}).scalars().all() if room else ()
        if crowded:
            member = {"slots": crowded, "member": stored.platform}
            full.update(connection.execute(_FULL, member).scalars())
        places = [slot + ASIDE * stored.platform * (slot in full) for slot in slots]
        bands = [{"slot": slot, "evidence": row["id"], "pdq": piece.pdq} for slot in places]
        connection.execute(insert(evidence_band), bands)


def _read_pieces(rows: Iterable[Any]) -> dict[int, Piece]:
    return {
        row.id: Piece(bytes(row.digest), row.pdq and bytes(row.pdq), bool(row.original))
        for row in rows
    }


def withdraw_member(connection: Connection, member: int, at: datetime) -> None:
    """Forget by what a member's records are recognised, and recall every answer that told of any.

    All bands are read once, however many of them go.
    """
    mine, records = (
        select(evidence.c[name]).where(evidence.c.platform == member) for name in ("id", "record")
    )
    if connection.execute(mine.limit(1)).one_or_none() is None:
        return
    end_matches(connection, records, at)
    connection.execute(delete(evidence_band).where(evidence_band.c.evidence.in_(mine)))
    connection.execute(delete(evidence).where(evidence.c.platform == member))


def withdraw_again(connection: Connection, ended: Select[Any], at: datetime) -> None:
    """Forget and recall what came back, as from a restored table, though it was withdrawn.

    *Shape*: `ended` are the records that ended; suspended members' are withdrawn too.
    """
    for table in (evidence, evidence_match):
        back = select(table.c.record).where(table.c.record.in_(ended)).distinct()
        for record in connection.execute(back).scalars().all():
            delete_pieces(connection, record)
            end_matches(connection, [record], at)
    suspended = select(platform.c.id).where(platform.c.state == PlatformState.SUSPENDED.value)
    held = select(evidence.c.platform).where(evidence.c.platform.in_(suspended)).distinct()
    for member in connection.execute(held).scalars().all():
        withdraw_member(connection, member, at)


def _await_askers(connection: Connection) -> None:
    """Wait for each question that may have found what goes; who asks later waits for the commit.

    One lock for all can't be taken in two orders, and whoever comes after a withdrawal stands
    behind it: rows that questions share would be shared on and on, and the log would stand still.
    On SQLite writers take turns.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ASKING})")


def end_matches(
    connection: Connection,
    records: Sequence[str] | Select[Any],
    at: datetime,
    *,
    was_true: bool = False,
) -> None:
    """Recall every answer that told of some records, and forget that it told of them.

    What `was_true` is forgotten without a recall. An id begins with a time that is later than all
    before it, whatever the clock says, since only who holds the log's lock writes one: a list that
    goes on behind an id misses nothing that is written after it was read.
    """
    _await_askers(connection)
    about = evidence_match.c.record.in_(records)
    matched = select(evidence_match.c.answer, evidence_match.c.platform).where(about)
    told = [] if was_true else connection.execute(matched.distinct()).all()
    if told:
        last = connection.execute(select(func.max(recall.c.id))).scalar_one()
        time = max(to_microseconds(at) // 1000, int(last[4:16], 16) + 1 if last else 0)
        rows = [
            {
                "id": f"rcl_{time:012x}{hashlib.sha256(answer.encode()).hexdigest()[:20]}",
                "platform": member,
                "answer": answer,
                "kind": EVIDENCE,
                "recalled_at": at,
            }
            for answer, member in told
        ]
        connection.execute(insert(recall), rows)
    connection.execute(delete(evidence_match).where(about))


def stream_evidence(connection: Connection) -> Iterator[tuple[int, tuple[object, ...]]]:
    """Stream every piece and every band, for comparison: the index of its entry, then the row."""
    band = evidence_band.c
    for statement in (select(evidence), select(band.evidence, band.slot, band.pdq)):
        for row in connection.execute(statement).yield_per(1000):
            values = tuple(bytes(v) if isinstance(v, memoryview) else v for v in row)
            yield int(row[0]) >> PIECES_BITS, values


# --- What is like it ----------------------------------------------------------------------------


def find_like(connection: Connection, forms: Iterable[bytes]) -> dict[int, int]:
    """Find every piece within the distance of any of some hashes: ids with their least distance."""
    embedded = connection.dialect.name == "sqlite"
    cursor: Any = connection.connection.cursor()
    nearest: dict[int, int] = {}
    for form in dict.fromkeys(forms):
        slots, sought = probe_slots(form), int.from_bytes(form)
        if embedded:
            cursor.execute(_LIKE, slots)
            rows: Iterable[tuple[int, bytes]] = cursor.fetchall()
        else:
            cursor.execute(_LIKE_AT_ONCE, (slots,), binary=True)
            rows = struct.iter_unpack("!q32s", cursor.fetchone()[0] or b"")
        for number, known in rows:
            distance = (sought ^ int.from_bytes(known)).bit_count()
            if distance <= DISTANCE_MAX:
                nearest[number] = min(distance, nearest.get(number, distance))
    cursor.close()
    return nearest


_LIKE = f"SELECT evidence, pdq FROM evidence_band WHERE slot IN ({', '.join('?' * PROBES)})"  # noqa: S608 - marks alone
# Thousands of rows cost the client more than they cost the server: they come as one value.
_LIKE_AT_ONCE = """
    SELECT string_agg(int8send(evidence) || pdq, '') FROM evidence_band WHERE slot = ANY(%s::int8[])
"""


def find_matches(connection: Connection, sought: Sought, group: str) -> list[Match]:
    """Give what other groups reported of one file: by its digest, or as found to be like it.

    *Shape*: of a member's reports of the very file the first, and of those that are like it as many
    as are looked at.
    """
    nearest = find_like(connection, sought.forms)
    ids = [*nearest, *_find_same(connection, sought.digest, group) - nearest.keys()]
    parts = [ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK)]
    return [
        Match(
            number,
            record,
            member_group,
            None if sought.digest == digest else nearest[number],
            seen_day,
            bool(original),
        )
        for part in parts
        for number, record, digest, seen_day, original, member_group in connection.execute(
            _KNOWN, {"ids": part, "group": group}
        )
    ]


_KNOWN = (
    select(
        *(evidence.c.id, evidence.c.record, evidence.c.digest, evidence.c.seen_day),
        *(evidence.c.original, platform.c.group_name),
    )
    .join(platform, platform.c.id == evidence.c.platform)
    .where(evidence.c.id.in_(bindparam("ids", expanding=True)))
    .where(platform.c.group_name != bindparam("group"))
)


def _find_same(connection: Connection, digest: bytes | None, group: str) -> set[int]:
    """Give the first report of the very file of each member of another group."""
    if digest is None:
        return set()
    first = (
        select(evidence.c.id)
        .where(evidence.c.digest == digest, evidence.c.platform == platform.c.id)
        .order_by(evidence.c.seen_day, evidence.c.id)
        .limit(1)
        .scalar_subquery()
    )
    found = connection.execute(select(first).where(platform.c.group_name != group)).scalars()
    return {number for number in found if number is not None}


def hold_pieces(connection: Connection, ids: Iterable[int]) -> set[int]:
    """Give which pieces are still there; until the transaction ends none goes unheard."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock_shared({_ASKING})")
    there = select(evidence.c.id).where(evidence.c.id.in_(list(ids)))
    return set(connection.execute(there).scalars())


# --- Who was told, and who is told again -------------------------------------------------------

_RECALLS = select(*(recall.c[one.name] for one in fields(Recall)))


def record_matches(
    connection: Connection, answer: str, member: int, found: Iterable[list[Match]], at: datetime
) -> None:
    """Record of which records an answer told, and nothing of what was asked."""
    rows: list[dict[str, Any]] = [
        {"answer": answer, "record": record, "platform": member, "matched_at": at}
        for record in sorted({one.record for matches in found for one in matches})
    ]
    if rows:
        connection.execute(insert(evidence_match), rows)


def select_told(connection: Connection, answer: str) -> list[str]:
    """Give the records of which an answer told and that nobody took back since."""
    told = select(evidence_match.c.record).where(evidence_match.c.answer == answer)
    return list(connection.execute(told.order_by(evidence_match.c.record)).scalars())


def is_recalled(connection: Connection, answer: str) -> bool:
    """Tell whether a match that an answer told of was taken back since."""
    about = (recall.c.answer == answer, recall.c.kind == EVIDENCE)
    return connection.execute(select(recall.c.id).where(*about).limit(1)).one_or_none() is not None


def select_recalls(connection: Connection, member: int, after: str, limit: int) -> list[Recall]:
    """Give a member's recalls behind an id, oldest first."""
    behind = (recall.c.platform == member, recall.c.id > after)
    rows = connection.execute(_RECALLS.where(*behind).order_by(recall.c.id).limit(limit))
    return [Recall(*row) for row in rows]


def acknowledge_recall(
    connection: Connection, member: int, recall_id: str, at: datetime
) -> Recall | None:
    """Write down when a member acknowledged a recall, the first time, and give it."""
    one = recall.c
    mine = (one.platform == member, one.id == recall_id)
    connection.execute(
        update(recall)
        .where(*mine, one.acknowledged_at.is_(None))
        .values(acknowledged_at=literal(at, one.acknowledged_at.type))
    )
    row = connection.execute(_RECALLS.where(*mine)).one_or_none()
    return None if row is None else Recall(*row)
