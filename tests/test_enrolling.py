"""Members come, change keys and are suspended; every step is an entry that its statement opens.

Mostly on one kind of database: only what the two keep differently is tested on both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from exact import settle
from kept import audit, nothing_kept, read_log
from simulator import Simulator, phone_and_device

from ledger.deriving import open_event
from ledger.enrolling import (
    enrol_platform,
    list_platforms,
    revoke_key,
    rotate_key,
    suspend_platform,
)
from ledger.errors import (
    InvalidInput,
    InvalidKey,
    LedgerError,
    PlatformEnrolled,
    PlatformSuspended,
    UnknownPlatform,
)
from ledger.identity.key import Algorithm, KeyState, generate_signing_jwk
from ledger.identity.platform import PlatformState
from ledger.identity.token import payload_of, verify_event_token
from ledger.incident.statement import parse_ledger_statement
from ledger.log.leaf import NO_REF, EntryReason, Op, commit, tag_issuer
from ledger.store import entries, platforms
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ledger.ledger import Ledger
    from ledger.log.leaf import Leaf

SQLITE = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
BUYER = phone_and_device("buyer")


def read_changes(ledger: Ledger) -> list[dict[str, Any]]:
    """Read what the ledger's own statements about members say, each verified and at its entry."""
    told = []
    log = read_log(ledger)
    with begin_read(ledger.database) as connection:
        (own,) = platforms.select_keys(connection, platforms.LEDGER_PLATFORM)
        events = entries.select_sequenced(connection)
    for event, leaf in zip(events, log, strict=True):
        if Op(event.op) is not Op.PLATFORM_CHANGED:
            continue
        token = open_event(ledger, event)
        verify_event_token(
            token, own, issuer=ledger.issuer, audience=ledger.issuer, received_at=event.received_at
        )
        assert event.salt is not None
        commitment = commit(event.salt, token)
        tag = tag_issuer(ledger.keys.tag_key, commitment)
        assert (leaf.op, leaf.reason, leaf.ref) == (event.op, EntryReason.NONE, NO_REF)
        assert (leaf.commitment, leaf.issuer_tag) == (commitment, tag)
        statement = parse_ledger_statement(payload_of(token))
        assert (statement.name, statement.subject) == ("platform-changed", "")
        told.append(dict(statement.members))
    return told


def find_standing(ledger: Ledger, uri: str) -> tuple[PlatformState, dict[str, KeyState]]:
    for platform, keys in list_platforms(ledger):
        if platform.uri == uri:
            return platform.state, {key.kid: key.state for key in keys}
    raise AssertionError(uri)


def enrol(ledger: Ledger, shop: Simulator, at: datetime, **changes: Any) -> bytes:
    traits: dict[str, Any] = {
        "uri": shop.uri,
        "name": " Shop A ",
        "group": " Group ",
        "jurisdictions": ["SANDBOX", "CN", "SANDBOX"],
        "scopes": ["risk:read", "risk:read"],
        "keys": [shop.key],
    }
    return enrol_platform(ledger, **(traits | changes), at=at).tag_key


@pytest.fixture
def newcomer(ledger: Ledger) -> Simulator:
    """Give a platform that isn't enrolled yet."""
    return Simulator(ledger, "shop-n")


def test_enrolment_is_kept_and_stated(ledger: Ledger, newcomer: Simulator, now: datetime) -> None:
    second = Simulator(ledger, "second", algorithm=Algorithm.ES256)
    enrol(ledger, newcomer, now, keys=[newcomer.key, second.key])
    settle(ledger, now)
    ((platform, keys),) = list_platforms(ledger)
    assert (platform.uri, platform.name, platform.group) == (newcomer.uri, "Shop A", "Group")
    assert (platform.jurisdictions, platform.scopes) == (("SANDBOX", "CN"), ("risk:read",))
    assert {key.kid for key in keys} == {newcomer.kid, second.kid}
    assert {(key.state, key.not_before, key.not_after) for key in keys} == {
        (KeyState.ACTIVE, now, None)
    }
    assert read_changes(ledger) == [
        {
            "change": "enrolled",
            "platform": newcomer.uri,
            "group": "Group",
            "jurisdictions": ["SANDBOX", "CN"],
            "scopes": ["risk:read"],
            "kids": [newcomer.kid, second.kid],
        }
    ]
    assert audit(ledger) == ()


@pytest.mark.parametrize("taken", ["uri", "key", "both keys the same"])
def test_name_or_key_that_is_taken_is_refused_and_nothing_kept(
    simulator: Callable[[str], Simulator], newcomer: Simulator, now: datetime, taken: str
) -> None:
    shop = simulator("shop-a")
    clash: dict[str, dict[str, Any]] = {
        "uri": {"uri": shop.uri},
        "key": {"keys": [newcomer.key, shop.key]},
        "both keys the same": {"keys": [newcomer.key, newcomer.key]},
    }
    with nothing_kept(shop.ledger), pytest.raises(PlatformEnrolled):
        enrol(shop.ledger, newcomer, now, **clash[taken])
    enrol(shop.ledger, newcomer, now)


@SQLITE
def test_ledger_s_own_name_and_key_are_taken(
    ledger: Ledger, newcomer: Simulator, now: datetime
) -> None:
    with begin_read(ledger.database) as connection:
        (own,) = platforms.select_keys(connection, platforms.LEDGER_PLATFORM)
    key = (own.kid, own.algorithm, own.jwk)
    for clash in ({"uri": ledger.issuer}, {"keys": [key]}):
        with nothing_kept(ledger), pytest.raises(PlatformEnrolled):
            enrol(ledger, newcomer, now, **clash)
    with nothing_kept(ledger):
        with pytest.raises(UnknownPlatform):
            suspend_platform(ledger, ledger.issuer, now)
        with pytest.raises(UnknownPlatform):
            rotate_key(ledger, ledger.issuer, newcomer.key, now)
        with pytest.raises(UnknownPlatform):
            revoke_key(ledger, ledger.issuer, own.kid, now)


@SQLITE
@pytest.mark.parametrize(
    "changes",
    [
        {"uri": "http://shop.example"},
        {"uri": "https://shop.example/"},
        {"uri": "https://shop.example?x"},
        {"uri": "https://user@shop.example"},
        {"uri": "https://SHOP.example"},
        {"uri": ""},
        {"name": "  "},
        {"name": "x" * 201},
        {"name": "two\nlines"},
        {"group": ""},
        {"group": "\x00"},
        {"jurisdictions": []},
        {"jurisdictions": ["CN US"]},
        {"jurisdictions": [""]},
        {"scopes": ["risk:write"]},
        {"scopes": ["risk:read incidents:read"]},
        {"keys": []},
    ],
    ids=str,
)
def test_member_that_is_not_as_published_is_refused_and_nothing_kept(
    ledger: Ledger, newcomer: Simulator, now: datetime, changes: dict[str, Any]
) -> None:
    with nothing_kept(ledger), pytest.raises(InvalidInput):
        enrol(ledger, newcomer, now, **changes)


@SQLITE
def test_scopes_of_the_enrolment_bound_what_a_token_opens(
    ledger: Ledger, newcomer: Simulator, now: datetime
) -> None:
    enrol(ledger, newcomer, now)
    assert newcomer.caller(now).scopes == {"risk:read"}


def test_rotated_key_works_beside_the_old_one(
    simulator: Callable[[str], Simulator], now: datetime
) -> None:
    shop = simulator("shop-a")
    old_kid, old_key = shop.kid, shop.private_jwk
    shop.private_jwk = generate_signing_jwk(Algorithm.ES256)
    with nothing_kept(shop.ledger), pytest.raises(InvalidKey):
        shop.report("early", BUYER, now)
    rotate_key(shop.ledger, shop.uri, shop.key, now)
    shop.report("new", BUYER, now)
    shop.private_jwk, new_kid = old_key, shop.kid
    shop.report("old", BUYER, now)
    settle(shop.ledger, now)
    assert find_standing(shop.ledger, shop.uri)[1] == {
        old_kid: KeyState.ACTIVE,
        new_kid: KeyState.ACTIVE,
    }
    assert read_changes(shop.ledger)[1:] == [
        {"change": "key-added", "platform": shop.uri, "kids": [new_kid]}
    ]
    assert audit(shop.ledger) == ()


@SQLITE
def test_key_of_another_member_is_never_added(
    simulator: Callable[[str], Simulator], now: datetime
) -> None:
    shop, other = simulator("shop-a"), simulator("shop-b")
    for key in (shop.key, other.key):
        with nothing_kept(shop.ledger), pytest.raises(PlatformEnrolled):
            rotate_key(shop.ledger, shop.uri, key, now)


def test_revoked_key_signs_nothing_new_and_what_it_signed_stands(
    simulator: Callable[[str], Simulator], now: datetime
) -> None:
    shop = simulator("shop-a")
    sent = shop.report("buyer", BUYER, now)
    caller = shop.caller(now)
    first = shop.kid, shop.private_jwk
    second = generate_signing_jwk(Algorithm.ED25519)
    shop.private_jwk = second
    rotate_key(shop.ledger, shop.uri, shop.key, now)
    revoke_key(shop.ledger, shop.uri, first[0], now)
    shop.private_jwk = first[1]
    with nothing_kept(shop.ledger):
        with pytest.raises(InvalidKey):
            shop.report("later", BUYER, now)
        with pytest.raises(InvalidKey):
            shop.send(sent.statement, now)
        with pytest.raises(LedgerError):
            shop.caller(now)
    shop.private_jwk = second
    settle(shop.ledger, now)
    assert caller.platform.uri == shop.uri
    assert shop.look_up(sent.incident_id, now).state == "active"
    assert shop.ask("buyer", BUYER, now)["score"] > 0
    assert find_standing(shop.ledger, shop.uri)[1] == {
        first[0]: KeyState.REVOKED,
        shop.kid: KeyState.ACTIVE,
    }
    assert read_changes(shop.ledger)[-1] == {
        "change": "key-revoked",
        "platform": shop.uri,
        "kids": [first[0]],
    }
    assert audit(shop.ledger) == ()


def test_suspended_member_neither_reports_nor_asks_and_what_it_said_stands(
    simulator: Callable[[str], Simulator], now: datetime
) -> None:
    shop, other = simulator("shop-a"), simulator("shop-b")
    sent = shop.report("buyer", BUYER, now)
    suspend_platform(shop.ledger, shop.uri, now)
    settle(shop.ledger, now)
    with nothing_kept(shop.ledger):
        for statement in (shop.incident("more", BUYER, now), sent.statement):
            with pytest.raises(PlatformSuspended):
                shop.send(statement, now)
        with pytest.raises(PlatformSuspended):
            shop.caller(now)
    assert other.ask("them", BUYER, now)["score"] > 0
    assert find_standing(shop.ledger, shop.uri)[0] is PlatformState.SUSPENDED
    assert read_changes(shop.ledger)[-1] == {"change": "suspended", "platform": shop.uri}
    assert audit(shop.ledger) == ()


@SQLITE
def test_change_of_what_is_not_there_is_refused_and_nothing_kept(
    simulator: Callable[[str], Simulator], newcomer: Simulator, now: datetime
) -> None:
    shop, other = simulator("shop-a"), simulator("shop-b")
    ledger = shop.ledger
    with nothing_kept(ledger):
        for kid in ("", "unknown", other.kid):
            with pytest.raises(InvalidKey):
                revoke_key(ledger, shop.uri, kid, now)
        with pytest.raises(UnknownPlatform):
            suspend_platform(ledger, newcomer.uri, now)
        with pytest.raises(UnknownPlatform):
            rotate_key(ledger, newcomer.uri, newcomer.key, now)
        with pytest.raises(UnknownPlatform):
            revoke_key(ledger, newcomer.uri, shop.kid, now)


@SQLITE
def test_tag_key_recognises_its_own_entries_and_nobody_else_s(
    simulator: Callable[[str], Simulator], now: datetime
) -> None:
    shops = [simulator("shop-a"), simulator("shop-b")]
    sent = [shop.report("buyer", BUYER, now) for shop in (*shops, shops[0])]
    shops[0].retract(sent[0], now)
    log = read_log(shops[0].ledger)
    own = {
        shop.name: [i for i, leaf in enumerate(log) if _is_of(shop.tag_key, leaf)] for shop in shops
    }
    # Each report is two entries, the second of which is the ledger's own.
    assert own == {"shop-a": [3, 7, 9], "shop-b": [5]}
    own_tag_key = shops[0].ledger.keys.tag_key
    assert [i for i, leaf in enumerate(log) if _is_of(own_tag_key, leaf)] == [0, 1, 2, 4, 6, 8]
    assert shops[0].tag_key != shops[1].tag_key
    assert repr(shops[0].tag_key)[2:] not in repr(list_platforms(shops[0].ledger))


def _is_of(tag_key: bytes, leaf: Leaf) -> bool:
    return tag_issuer(tag_key, leaf.commitment) == leaf.issuer_tag
