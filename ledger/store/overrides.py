"""Statements about what overrides links: separated accounts, recycled identifiers, markers.

All of it is derived in log order. An override keeps the identifiers that it names alive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, insert, select, text

from ledger.log.leaf import EntryReason, Op
from ledger.store.postings import NAMED
from ledger.store.tables import (
    edge,
    event,
    identifier,
    incident,
    log_entry,
    marker,
    platform,
    posting,
    recycling,
    separation,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from sqlalchemy.engine import Connection

    from ledger.store.incidents import StoredIncident

MARKERS_MAX = 4


@dataclass(frozen=True, slots=True)
class Separated:
    """Two accounts that aren't one person's, by their lookup keys."""

    index: int
    platform: int
    account: bytes
    other: bytes

    @property
    def keys(self) -> Mapping[bytes, int]:
        """The lookup keys that it names, with the codes of their kinds; 0 is an account."""
        return dict.fromkeys((self.account, self.other), 0)


@dataclass(frozen=True, slots=True)
class Recycled:
    """An identifier that belongs to somebody else from a day on, by a platform's word."""

    index: int
    platform: int
    key: bytes
    kind: int
    day: int

    @property
    def keys(self) -> Mapping[bytes, int]:
        """The lookup key that it names, with the code of its kind."""
        return {self.key: self.kind}


@dataclass(frozen=True, slots=True)
class Mark:
    """A marker on an account and identifiers, by lookup key with kind, from day to day."""

    index: int
    platform: int
    keys: Mapping[bytes, int]
    kind: int
    first_day: int
    last_day: int
    incident_jtis: tuple[str, ...]


# The sixth byte of an entry that changed nothing.
_IDLE = [bytes([EntryReason.NO_EFFECT]), bytes([EntryReason.FIRST_OF_TWO])]
_SEPARATE = insert(separation)
_RECYCLE = insert(recycling)
_MARKS_OF = select(marker).where(
    marker.c.identifier.in_(bindparam("identifiers", expanding=True)),
    marker.c.platform == bindparam("member"),
    marker.c.kind == bindparam("reason"),
)
_UNMARK = text("""
    DELETE FROM marker WHERE identifier = :identifier AND platform = :platform
                         AND kind = :kind AND first_day = :first_day
""")
_MARK = insert(marker)
_RECYCLINGS = (
    select(recycling.c.identifier, platform.c.group_name, recycling.c.recycled_day)
    .join(platform, platform.c.id == recycling.c.platform)
    .where(recycling.c.identifier.in_(bindparam("tokens", expanding=True)))
)
_GROUP_OF = select(platform.c.group_name).where(platform.c.id == bindparam("member"))
_BEARERS = select(posting.c.account).where(posting.c.identifier == bindparam("token"))
_EDGES_OF = (
    select(edge.c.identifier, incident.c.platform, edge.c.event_index, incident.c.account)
    .add_columns(platform.c.group_name, incident.c.last_day)
    .join(incident, incident.c.reported_index == edge.c.event_index)
    .join(platform, platform.c.id == incident.c.platform)
    .where(incident.c.account.in_(_BEARERS), edge.c.identifier == bindparam("token"))
    .order_by(edge.c.event_index)
)


def insert_override(
    connection: Connection, said: Separated | Recycled | Mark, ids: Mapping[bytes, int]
) -> None:
    """Write down what overrides links.

    *Shape*: `ids` are the row ids of the lookup keys in it. Accounts are separated in both
    directions. What is said again is written again, so that each goes when its own time is over.
    """
    at = {"platform": said.platform, "event_index": said.index}
    if isinstance(said, Separated):
        pair = ids[said.account], ids[said.other]
        rows = [{"account": one, "other": other} | at for one, other in (pair, pair[::-1])]
        connection.execute(_SEPARATE, rows)
    elif isinstance(said, Recycled):
        told = {"identifier": ids[said.key], "recycled_day": said.day}
        connection.execute(_RECYCLE, told | at)
    else:
        _insert_mark(connection, said, [ids[key] for key in said.keys])


def delete_override(connection: Connection, index: int) -> None:
    """Forget what the statement at an index says of links.

    Nothing else comes back by it: a statement goes after all that it took out of the index.
    """
    for table in (separation, recycling, marker):
        connection.execute(delete(table).where(table.c.event_index == index))


def _insert_mark(connection: Connection, said: Mark, marked: list[int]) -> None:
    """Write down a marker's time beside those that its platform stated before.

    Times are never joined: a replay derives each from its own statement. One that lies within
    another adds nothing and isn't kept; of more than MARKERS_MAX those that end last are.
    """
    of_kind = {"identifiers": marked, "member": said.platform, "reason": said.kind}
    known: dict[int, list[dict[str, int]]] = {one: [] for one in marked}
    for row in connection.execute(_MARKS_OF, of_kind):
        known[row.identifier].append(dict(row._mapping))  # noqa: SLF001 - its public name
    gone, new = [], []
    for one, before in known.items():
        told = {
            "identifier": one,
            "platform": said.platform,
            "kind": said.kind,
            "event_index": said.index,
            "first_day": said.first_day,
            "last_day": said.last_day,
        }
        if any(_lies_within(told, other) for other in before):
            continue
        apart = [other for other in before if not _lies_within(other, told)]
        kept = sorted([*apart, told], key=lambda other: other["last_day"])[-MARKERS_MAX:]
        gone += [other for other in before if other not in kept]
        new += [told] if told in kept else []
    if gone:
        connection.execute(_UNMARK, gone)
    if new:
        connection.execute(_MARK, new)


def _lies_within(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    return other["first_day"] <= one["first_day"] and one["last_day"] <= other["last_day"]


def _cut_day(recyclings: Iterable[tuple[str, int]], group: str) -> int:
    """Give the day before which a group's links by an identifier are cut, 0 where none are.

    A group cuts its own links; those of everybody are cut from the date that two groups confirm.
    """
    latest: dict[str, int] = {}
    for name, day in recyclings:
        latest[name] = max(day, latest.get(name, 0))
    confirmed = sorted(latest.values())[-2] if len(latest) > 1 else 0
    return max(latest.get(group, 0), confirmed)


def select_cut_tokens(
    connection: Connection, tokens: list[int], counting: StoredIncident
) -> list[int]:
    """Give those of some identifiers that belong to somebody else since an incident."""
    by_token: dict[int, list[tuple[str, int]]] = {}
    for token, name, day in connection.execute(_RECYCLINGS, {"tokens": tokens}):
        by_token.setdefault(token, []).append((name, day))
    if not by_token:
        return []
    group = connection.execute(_GROUP_OF, {"member": counting.platform}).scalar_one()
    return [one for one, said in by_token.items() if counting.last_day < _cut_day(said, group)]


def select_cut_edges(
    connection: Connection, said: Separated | Recycled | Mark, ids: Mapping[bytes, int]
) -> list[tuple[int, int, int, int]]:
    """Give the edges that a recycling cuts: identifier, platform, report's index, account."""
    if not isinstance(said, Recycled):
        return []
    token = ids[said.key]
    rows = connection.execute(_RECYCLINGS, {"tokens": [token]})
    recyclings = [(name, day) for _, name, day in rows]
    return [
        (row.identifier, row.platform, row.event_index, row.account)
        for row in connection.execute(_EDGES_OF, {"token": token}).all()
        if row.last_day < _cut_day(recyclings, row.group_name)
    ]


def find_separations(connection: Connection, accounts: Collection[bytes]) -> set[int]:
    """Give the indexes of the statements that separate any of some accounts, by lookup key."""
    if not accounts:
        return set()
    statement = select(separation.c.event_index).join(
        identifier, identifier.c.id == separation.c.account
    )
    return set(connection.execute(statement.where(identifier.c.token.in_(accounts))).scalars())


def select_separated(connection: Connection) -> list[tuple[int, int]]:
    """Give all pairs of accounts that aren't one person's, each once, by row id."""
    statement = select(separation.c.account, separation.c.other).distinct()
    rows = connection.execute(statement.where(separation.c.account < separation.c.other))
    return [(row.account, row.other) for row in rows]


def count_decided(connection: Connection, platform_id: int, decided: tuple[int, int]) -> None:
    """Add to the upheld and overturned reports of a platform's whole group."""
    of_group = select(platform.c.group_name).where(platform.c.id == platform_id).scalar_subquery()
    connection.execute(
        platform.update()
        .where(platform.c.group_name == of_group)
        .values(
            upheld=platform.c.upheld + decided[0], overturned=platform.c.overturned + decided[1]
        )
    )


def count_decided_before(connection: Connection, size: int) -> dict[int, tuple[int, int]]:
    """Count the upheld and overturned reports of each platform's group below a size of the log."""
    ops = (int(Op.DISPUTE_REJECTED), int(Op.EXPUNGED))
    statement = (
        select(platform.c.group_name, event.c.op, func.count())
        .select_from(event)
        .join(incident, incident.c.id == event.c.incident)
        .join(platform, platform.c.id == incident.c.platform)
        .join(log_entry, log_entry.c.index == event.c.entry_index)
        .where(event.c.entry_index < size, event.c.op.in_(ops))
        .where(func.substr(log_entry.c.entry, 6, 1).not_in(_IDLE))
        .group_by(platform.c.group_name, event.c.op)
    )
    counts = {(name, op): number for name, op, number in connection.execute(statement)}
    members = connection.execute(select(platform.c.id, platform.c.group_name))
    return {
        member: (counts.get((name, ops[0]), 0), counts.get((name, ops[1]), 0))
        for member, name in members
    }


def replace_decided(connection: Connection, counts: Mapping[int, tuple[int, int]]) -> None:
    """Write down how many reports of each platform's group were upheld and overturned."""
    for member, (upheld, overturned) in counts.items():
        changed = platform.update().where(platform.c.id == member)
        connection.execute(changed.values(upheld=upheld, overturned=overturned))


_SEPARATIONS = """
    SELECT s.event_index, 'separation', a.token, b.token, s.platform
    FROM separation s LEFT JOIN named a ON a.id = s.account
                      LEFT JOIN named b ON b.id = s.other
"""
_MARKERS = """
    SELECT m.event_index, 'marker', t.token, t.kind, m.platform, m.kind, m.first_day, m.last_day
    FROM marker m LEFT JOIN named t ON t.id = m.identifier
"""
_RECYCLED_ROWS = """
    SELECT r.event_index, 'recycling', t.token, t.kind, r.platform, r.recycled_day
    FROM recycling r LEFT JOIN named t ON t.id = r.identifier
"""
_DECIDED = """
    SELECT NULL, 'reporter', p.id, p.upheld, p.overturned FROM platform p
"""


def stream_overrides(connection: Connection) -> Iterator[tuple[int | None, tuple[object, ...]]]:
    """Stream every override and every reporter's record, for comparison.

    *Shape*: the index of the entry that said so, or None, then the row.
    """
    for statement in (_SEPARATIONS, _MARKERS, _RECYCLED_ROWS, _DECIDED):
        for row in connection.execute(text(f"{NAMED} {statement}")):
            yield row[0], tuple(bytes(v) if isinstance(v, memoryview) else v for v in row[1:])
