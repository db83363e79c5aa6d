"""What an audit says of erased statements: gone where an entry says so, and nowhere else.

One ledger in which incidents ended in every way is damaged in every way, and made whole again.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from conftest import BACKENDS, clone_database, founded
from damage import History, allow_everything, at, change, content_of, find, named
from erasing import end_incidents
from exact import settle
from kept import audit
from reports import NOW
from simulator import Simulator, phone_and_device
from sqlalchemy import delete, insert, select, update

from ledger.auditing import audit_ledger
from ledger.deriving import open_event
from ledger.erasing import destroy_again
from ledger.log.leaf import EntryReason, Leaf, Op, encode_leaf, parse_leaf, tag_issuer
from ledger.log.merkle import extend_frontier, frontier_root, leaf_hash
from ledger.sequencing import draft_own_statement, sequence_pending
from ledger.store import entries, tables
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Delete

    from ledger.ledger import LedgerKeys
    from ledger.rights.jurisdiction import JurisdictionProfile
    from ledger.store.engine import Connection


@pytest.fixture(scope="module", params=BACKENDS)
def history(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    keys: LedgerKeys,
    profiles: Mapping[str, JurisdictionProfile],
    policy_text: str,
) -> Iterator[History]:
    """Give a ledger with incidents that are retracted, erased, expunged, expired, and one kept."""
    with (
        clone_database(request.param, request, tmp_path_factory.mktemp("audited")) as url,
        founded(url, keys, profiles, policy_text, NOW) as ledger,
    ):
        shop = Simulator(ledger, "shop-a")
        shop.enrol(NOW)
        end_incidents(shop, NOW)
        sent = shop.report("gone", phone_and_device("gone"), NOW)
        settle(ledger, NOW)
        shop.send(shop.correction(sent.report, NOW), NOW)
        shop.send(shop.restitution(sent.report, NOW), NOW)
        shop.retract(sent, NOW)
        shop.report("kept", phone_and_device("kept"), NOW)
        settle(ledger, NOW)
        with begin_write(ledger.database) as connection:
            allow_everything(connection)
        yield History(ledger, (shop, shop, shop), NOW)


def indexes_of(history: History, *ops: Op) -> list[int]:
    """Give the indexes of the entries of some ops."""
    with begin_read(history.ledger.database) as connection:
        rows = list(entries.stream_entries(connection))
    return [index for index, entry, _ in rows if parse_leaf(entry).op in ops]


def sealed_at(history: History, index: int) -> dict[str, Any]:
    """Give the content of a statement that has one."""
    with begin_read(history.ledger.database) as connection:
        row = connection.execute(select(tables.event_content).where(content_of(index))).one()
    return dict(row._mapping)


def test_incidents_that_ended_in_every_way_are_clean_and_counted(history: History) -> None:
    assert audit(history.ledger) == ()
    report = audit_ledger(history.ledger, lambda *_: None)
    assert dict(report.erased) == {
        ("erased", "buyer-requested"): 1,
        ("expunged", "unfounded"): 1,
        ("expired", "retention-ended"): 1,
        ("retracted", "none"): 1,
    }


def test_content_that_is_there_in_spite_of_its_entry_is_named_and_destroyed_again(
    history: History,
) -> None:
    kept = sealed_at(history, indexes_of(history, Op.INCIDENT_CONFIRMED)[-1])
    gone = [
        *indexes_of(history, Op.INCIDENT_CONFIRMED)[:-1],
        *indexes_of(history, Op.CORRECTED, Op.RESTITUTED, Op.RETRACTED),
    ]
    assert len(gone) == 7
    with begin_read(history.ledger.database) as connection:
        rows = connection.execute(select(tables.event.c.entry_index, tables.event.c.id))
        ids = {row.entry_index: row.id for row in rows}

    def bring_back(connection: Connection) -> None:
        for index in gone:
            connection.execute(insert(tables.event_content).values(kept | {"event": ids[index]}))

    assert named(find(history, bring_back)) == {("content-kept", index) for index in gone}
    with begin_write(history.ledger.database) as connection:
        bring_back(connection)
    assert destroy_again(history.ledger, history.now) == len(gone)
    assert audit(history.ledger) == ()
    assert destroy_again(history.ledger, history.now) == 0


def _run(statement: Delete, connection: Connection) -> None:
    connection.execute(statement)


def test_content_that_is_gone_without_an_entry_is_named(history: History) -> None:
    lasting = [
        indexes_of(history, Op.INCIDENT_CONFIRMED)[-1],
        *indexes_of(history, Op.ACTIVATED, Op.ERASED, Op.EXPUNGED, Op.EXPIRED),
    ]
    for index in lasting:
        drop = delete(tables.event_content).where(content_of(index))
        harm = find(history, partial(_run, drop))
        assert named(harm) == {("content-unreadable", index)}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (tables.event.c.incident, None),
        (tables.event.c.op, int(Op.CORRECTED)),
        (tables.event.c.response_until, NOW),
        (tables.event.c.active_from, NOW),
        (tables.event.c.retention_day, 20_000),
    ],
    ids=str,
)
def test_changed_row_of_an_erased_statement_is_named(
    history: History, column: Any, value: object
) -> None:
    index = indexes_of(history, Op.INCIDENT_CONFIRMED)[0]
    findings = find(history, change(column, at(index), value))
    # By its activation, where it is filed as another incident's.
    assert {index, index + 1} & {one.index for one in findings}


@pytest.mark.parametrize("reason", [EntryReason.NO_EFFECT, EntryReason.FIRST_OF_TWO])
def test_entry_that_destroys_nothing_excuses_nothing(history: History, reason: EntryReason) -> None:
    (closing,) = indexes_of(history, Op.EXPIRED)

    def weaken(connection: Connection) -> None:
        where = tables.log_entry.c.index == closing
        raw = bytes(connection.execute(select(tables.log_entry.c.entry).where(where)).scalar_one())
        entry = raw[:5] + bytes([reason]) + raw[6:]
        assert encode_leaf(parse_leaf(entry)) == entry
        changed = {"entry": entry, "leaf_hash": leaf_hash(entry)}
        connection.execute(update(tables.log_entry).where(where).values(changed))

    report = parse_ref(history, closing)
    assert ("content-unreadable", report) in named(find(history, weaken))


def parse_ref(history: History, index: int) -> int:
    """Give the index that an entry refers to."""
    with begin_read(history.ledger.database) as connection:
        entry = entries.find_entry(connection, index)
    assert entry is not None
    return parse_leaf(entry).ref


def change_entry(connection: Connection, index: int, entry: bytes) -> None:
    """Put another entry into the log, which then leads to another root."""
    changed = {"entry": entry, "leaf_hash": leaf_hash(entry)}
    where = tables.log_entry.c.index == index
    connection.execute(update(tables.log_entry).where(where).values(changed))
    hashes = [hashed for _, _, hashed in entries.stream_entries(connection)]
    frontier = extend_frontier(0, b"", hashes)
    state = {"frontier": frontier, "root": frontier_root(len(hashes), frontier)}
    connection.execute(update(tables.log_state).values(state))


def forge_retraction(
    history: History, tag: bytes, commitment: bytes, kid: str
) -> tuple[Callable[[Connection], None], int]:
    """Take a member's report back in its name, as who holds the database and no key of a member's.

    Nothing need be signed: what a retraction said is gone with it. The very sequencer applies it.
    """
    ledger = history.ledger
    report = indexes_of(history, Op.INCIDENT_CONFIRMED)[-1]
    index = 1 + max(indexes_of(history, *Op))

    def forge(connection: Connection) -> None:
        stored = entries.find_entry_event(connection, report)
        assert stored is not None
        (platform,) = connection.execute(
            select(tables.platform_key.c.platform).where(tables.platform_key.c.kid == kid)
        ).scalars()
        leaf = Leaf(Op.RETRACTED, EntryReason.NONE, 1, report, tag, commitment)
        forged = replace(
            stored,
            id=0,
            platform=platform,
            kid=kid,
            jti="forged",
            txn=None,
            op=int(Op.RETRACTED),
            response_until=None,
            active_from=None,
            retention_day=None,
            entry_index=None,
            sealed=None,
            salt=None,
            gone=leaf,
        )
        entries.insert_event(connection, forged)
        assert sequence_pending(ledger, connection, erased={index: leaf}) == 1
        change_entry(connection, index, encode_leaf(leaf))

    return forge, index


def test_retraction_that_nobody_sent_is_named_whatever_tag_it_bears(history: History) -> None:
    shop = history.shops[0]
    rival = Simulator(history.ledger, "shop-b")
    rival.enrol(NOW)
    settle(history.ledger, NOW)
    with begin_read(history.ledger.database) as connection:
        rows = {index: parse_leaf(entry) for index, entry, _ in entries.stream_entries(connection)}
    reported = rows[indexes_of(history, Op.INCIDENT_CONFIRMED)[-1]]
    fresh = b"c" * 32
    forged = [
        (b"t" * 32, fresh, shop.kid),  # no tag of anybody's
        (reported.issuer_tag, reported.commitment, shop.kid),  # the report's own once more
        (tag_issuer(rival.tag_key, fresh), fresh, rival.kid),  # another member's
    ]
    for tag, commitment, kid in forged:
        forge, index = forge_retraction(history, tag, commitment, kid)
        assert index in {one.index for one in find(history, forge)}


@pytest.mark.parametrize("state", ["active", "retracted", "held"])
def test_erased_incident_that_stands_otherwise_is_named(history: History, state: str) -> None:
    index = indexes_of(history, Op.INCIDENT_CONFIRMED)[0]
    where = tables.incident.c.reported_index == index
    harm = change(tables.incident.c.state, where, state)
    assert ("incident-differs", index) in named(find(history, harm))


@pytest.mark.parametrize("person", ["Kim", " kIM", "\uff2bim"])
def test_person_who_confirms_their_own_decision_is_named(history: History, person: str) -> None:
    ledger = history.ledger
    later = NOW + timedelta(hours=2)
    sent = history.shops[0].report(f"z-{person}", phone_and_device("z1"), later)
    settle(ledger, NOW)
    members = {
        "incident_iss": sent.report.issuer,
        "incident_jti": sent.report.jti,
        "reason": "ordered",
        "person": "Kim",
    }

    def forge(connection: Connection) -> None:
        said = dict(members)
        for _ in range(2):
            drafted = draft_own_statement(
                ledger, "incident-erased", said, op=Op.ERASED, incident=sent.incident_id, at=NOW
            )
            entries.insert_event(connection, drafted)
            first = hashlib.sha256(open_event(ledger, drafted)).hexdigest()
            said |= {"person": person, "confirms": first}
        sequence_pending(ledger, connection)

    index = 1 + max(indexes_of(history, *Op))
    found = named(find(history, forge))
    assert ("statement-misfiled", index + 1) in found
    assert ("statement-misfiled", index) not in found


def test_second_person_who_confirms_nothing_is_named(history: History) -> None:
    ledger = history.ledger
    sent = history.shops[0].report("z2", phone_and_device("z2"), NOW + timedelta(hours=1))
    settle(ledger, NOW)
    members = {
        "incident_iss": sent.report.issuer,
        "incident_jti": sent.report.jti,
        "reason": "ordered",
        "person": "Kim",
        "confirms": "00" * 32,
    }
    with begin_write(ledger.database) as connection:
        forged = draft_own_statement(
            ledger, "incident-erased", members, op=Op.ERASED, incident=sent.incident_id, at=NOW
        )
        entries.insert_event(connection, forged)
    settle(ledger, NOW)
    index = indexes_of(history, Op.ERASED)[-1]
    assert named(audit(ledger)) == {("statement-misfiled", index)}
