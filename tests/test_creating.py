"""The birth of a ledger, what stands in its way, and what happens under keys that aren't its own.

The handle opens under any keys, so that an audit can run; readiness is what refuses them.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ORIGIN
from kept import BUYER, audit, nothing_kept, read_log
from simulator import Simulator, create_keys
from sqlalchemy import inspect

from ledger.checking import check_ready
from ledger.creating import create_ledger
from ledger.deriving import open_event
from ledger.errors import Conflict, InvalidInput, LedgerCorrupt, LedgerError, LedgerUnavailable
from ledger.identity.token import payload_of
from ledger.incident.statement import parse_ledger_statement
from ledger.ledger import assemble_ledger, open_ledger
from ledger.log.checkpoint import open_checkpoint
from ledger.log.leaf import Op
from ledger.proving import latest_checkpoint
from ledger.sequencing import sequence
from ledger.store import entries, ledgers
from ledger.store.engine import begin_read, begin_write, open_database
from ledger.store.tables import log_checkpoint, log_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from ledger.ledger import Ledger, LedgerKeys
    from ledger.rights.jurisdiction import JurisdictionProfile

SQLITE = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@pytest.fixture
def create(
    keys: LedgerKeys,
    profiles: Mapping[str, JurisdictionProfile],
    policy_text: str,
    now: datetime,
) -> Callable[..., None]:
    """Give a function that creates a sandbox ledger, or another one by its traits."""

    def created(url: str, **traits: Any) -> None:
        usual = {"origin": ORIGIN, "jurisdiction": "SANDBOX", "policy_text": policy_text}
        create_ledger(url, keys, profiles, **(usual | traits), at=now)

    return created


@pytest.fixture
def open_again(
    database_url: str, keys: LedgerKeys, profiles: Mapping[str, JurisdictionProfile]
) -> Iterator[Callable[..., Ledger]]:
    """Give a function that opens the test's ledger once more, under other keys where told."""
    opened: list[Ledger] = []

    def again(**changes: Any) -> Ledger:
        opened.append(open_ledger(database_url, replace(keys, **changes), profiles))
        return opened[-1]

    yield again
    for ledger in opened:
        ledger.database.engine.dispose()


def test_new_ledger_has_one_entry_its_policy_under_a_published_checkpoint(
    ledger: Ledger, policy_text: str, now: datetime
) -> None:
    (leaf,) = read_log(ledger)
    assert (leaf.op, leaf.policy_version) == (Op.POLICY_PUBLISHED, ledger.policies[1].version)
    with begin_read(ledger.database) as connection:
        event = entries.find_entry_event(connection, 0)
        stored = ledgers.find_ledger(connection)
    assert event is not None
    statement = parse_ledger_statement(payload_of(open_event(ledger, event)))
    assert statement.members == {"version": ledger.policies[1].version, "policy": policy_text}
    assert stored == ledgers.StoredLedger(ORIGIN, "SANDBOX", sandbox=True, created_at=now)
    checkpoint = open_checkpoint(latest_checkpoint(ledger), (ledger.verifier,))
    assert (checkpoint.origin, checkpoint.size) == (ORIGIN, 1)
    check_ready(ledger)
    assert audit(ledger) == ()
    assert ledger.issuer == f"https://{ORIGIN}"


def test_second_ledger_in_a_database_is_refused_and_changes_nothing(
    ledger: Ledger, database_url: str, create: Callable[..., None]
) -> None:
    for traits in ({}, {"jurisdiction": "CN"}, {"origin": "other.example/log"}):
        with nothing_kept(ledger), pytest.raises(Conflict):
            create(database_url, **traits)
    check_ready(ledger)


def test_database_without_schema_holds_no_ledger(
    empty_database_url: str,
    create: Callable[..., None],
    keys: LedgerKeys,
    profiles: Mapping[str, JurisdictionProfile],
) -> None:
    with pytest.raises(LedgerUnavailable):
        create(empty_database_url)
    with pytest.raises(LedgerUnavailable):
        open_ledger(empty_database_url, keys, profiles)
    database = open_database(empty_database_url)
    with begin_read(database) as connection:
        assert inspect(connection).get_table_names() == []
    database.engine.dispose()


@pytest.mark.parametrize(
    ("traits", "refusal"),
    [
        ({"jurisdiction": "XX"}, LedgerUnavailable),
        ({"jurisdiction": ""}, LedgerUnavailable),
        ({"policy_text": "version = 1"}, InvalidInput),
        ({"policy_text": "="}, InvalidInput),
        ({"origin": "https://ledger.example"}, InvalidInput),
        ({"origin": "ledger.example/"}, InvalidInput),
        ({"origin": ""}, InvalidInput),
    ],
    ids=str,
)
@SQLITE
def test_ledger_that_cannot_be_is_refused_before_anything_is_written(
    database_url: str,
    create: Callable[..., None],
    open_again: Callable[..., Ledger],
    traits: dict[str, Any],
    refusal: type[LedgerError],
) -> None:
    with pytest.raises(refusal):
        create(database_url, **traits)
    with pytest.raises(LedgerUnavailable):
        open_again()
    create(database_url)
    check_ready(open_again())


@SQLITE
def test_ledger_whose_profile_is_gone_is_not_opened(
    ledger: Ledger,
    database_url: str,
    keys: LedgerKeys,
    profiles: Mapping[str, JurisdictionProfile],
) -> None:
    with pytest.raises(LedgerUnavailable):
        open_ledger(database_url, keys, {"CN": profiles["CN"]})
    check_ready(ledger)


# --- Keys that aren't this ledger's ------------------------------------------------------------

OTHER = create_keys()
SAID = {
    "log_key": "checkpoint",
    "event_key": "event key",
    "wrap_key": "wrapping key",
    "index_key": "index key",
    "tag_key": "tag key",
}


@SQLITE
@pytest.mark.parametrize("name", SAID)
def test_ledger_under_another_key_is_not_ready_and_its_audit_says_so_where_content_depends_on_it(
    simulator: Callable[[str], Simulator],
    open_again: Callable[..., Ledger],
    now: datetime,
    name: str,
) -> None:
    shop = simulator("shop-a")
    shop.report("buyer", BUYER, now)
    sequence(shop.ledger, now)
    other = open_again(**{name: getattr(OTHER, name)})
    with pytest.raises(LedgerCorrupt, match=SAID[name]):
        check_ready(other)
    assert {one.code for one in audit(other)} == {
        "log_key": {"checkpoint-forged"},
        "event_key": {"member-differs"},
        "wrap_key": {"content-unreadable", "member-differs", "policy-differs"},
        "index_key": {"index-differs", "incident-differs"},
        "tag_key": set(),
    }[name]
    check_ready(open_again())
    assert audit(open_again()) == ()


@SQLITE
def test_ledger_under_another_wrapping_key_accepts_nothing(
    simulator: Callable[[str], Simulator], open_again: Callable[..., Ledger], now: datetime
) -> None:
    shop = simulator("shop-a")
    shop.ledger = open_again(wrap_key=secrets.token_bytes(32))
    with nothing_kept(shop.ledger), pytest.raises(LedgerCorrupt):
        shop.report("buyer", BUYER, now)


@SQLITE
def test_another_access_key_ends_the_tokens_under_the_old_one_and_nothing_else(
    simulator: Callable[[str], Simulator], open_again: Callable[..., Ledger], now: datetime
) -> None:
    shop = simulator("shop-a")
    shop.ledger = open_again(access_key=OTHER.access_key)
    check_ready(shop.ledger)
    assert shop.report("buyer", BUYER, now).incident_id
    assert shop.ask("buyer", BUYER, now)["score"] > 0


# --- Readiness ---------------------------------------------------------------------------------


def test_ledger_is_ready_while_a_checkpoint_is_still_to_come(
    simulator: Callable[[str], Simulator], now: datetime
) -> None:
    shop = simulator("shop-a")
    shop.report("buyer", BUYER, now)
    check_ready(shop.ledger)
    with begin_write(shop.ledger.database) as connection:
        connection.execute(log_checkpoint.delete())
    check_ready(shop.ledger)
    sequence(shop.ledger, now)
    check_ready(shop.ledger)


@SQLITE
@pytest.mark.parametrize("change", [{"size": 0}, {"root": bytes(32)}], ids=str)
def test_log_that_its_checkpoint_contradicts_is_not_ready(
    ledger: Ledger, change: dict[str, Any]
) -> None:
    with begin_write(ledger.database) as connection:
        connection.execute(log_state.update().values(**change))
    with pytest.raises(LedgerCorrupt):
        check_ready(ledger)


def test_ledger_whose_database_is_out_of_reach_is_not_ready(
    keys: LedgerKeys, profiles: Mapping[str, JurisdictionProfile], policy_text: str
) -> None:
    gone = open_database("postgresql+psycopg://postgres@/nowhere?host=/nonexistent")
    ledger = assemble_ledger(
        gone, keys, profiles["SANDBOX"], origin=ORIGIN, policies={1: policy_text}
    )
    with pytest.raises(LedgerUnavailable):
        check_ready(ledger)
