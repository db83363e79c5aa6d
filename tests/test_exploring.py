"""The network around a reporter's own incident: bounded, cut at hubs, and silent about whose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import pytest
from exact import POLICY, settle
from overriding import ask
from reports import claim
from simulator import phone_and_device

from ledger.errors import UnknownIncident
from ledger.exploring import explore_incident
from ledger.graph.ego import NODES_MAX, EgoCount, EgoRow, build_ego
from ledger.graph.posting import Multiplicity
from ledger.identity.identifier import Bucket, Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Simulator

    from ledger.ledger import Ledger

BUYER = phone_and_device("buyer")


def test_network_is_what_the_statements_say_one_step_around(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    a, b = simulator("shop-a"), simulator("shop-b")
    email = claim(Kind.EMAIL, "theirs")
    sent = a.report("one", BUYER, now)
    a.report("one", BUYER, now)
    b.report("two", (BUYER[0], email), now)
    b.report("three", (email,), now)  # two steps away
    settle(ledger, now)
    found = explore_incident(ledger, a.caller(now), sent.incident_id)
    graph = nx.Graph(found.links)
    names = {one.name for one in found.accounts} | {one.name for one in found.identifiers}
    assert set(graph) == names
    assert [(one.own, one.incidents) for one in found.accounts] == [(True, 2), (False, 1)]
    assert sorted((one.kind.value, one.accounts) for one in found.identifiers) == [
        ("device", 1),
        ("phone", 1),  # at each of two groups
    ]
    assert not found.truncated
    with pytest.raises(UnknownIncident):
        explore_incident(ledger, b.caller(now), sent.incident_id)
    a.retract(sent, now)
    settle(ledger, now)
    assert explore_incident(ledger, a.caller(now), sent.incident_id).accounts == ()


def rows(kind: Kind, identifier: int, accounts: range) -> list[EgoRow]:
    return [EgoRow(identifier, kind.code, account, 1, 1, 20_000, 20_000) for account in accounts]


def count(kind: Kind, identifier: int, *groups: int) -> list[EgoCount]:
    """Give the accounts of so many groups, each of one platform, on an identifier."""
    return [
        EgoCount(identifier, Multiplicity(b"", kind.code, seen, platform, f"{platform}", 0, 1))
        for platform, seen in enumerate(groups, 1)
    ]


ASKER = 1, "1"


def test_hub_is_named_and_leads_nowhere() -> None:
    phones = count(Kind.PHONE, 9, 11)
    many = [one._replace(counted=one.counted._replace(bucket=Bucket.CROWD.code)) for one in phones]
    found = build_ego(rows(Kind.PHONE, 9, range(1, 12)), many, 1, ASKER, POLICY.kinds)
    assert [(one.kind, one.hub) for one in found.identifiers] == [(Kind.PHONE, True)]
    assert len(found.accounts) == 1
    below = rows(Kind.PHONE, 9, range(1, 11))
    found = build_ego(below, count(Kind.PHONE, 9, 10), 1, ASKER, POLICY.kinds)
    assert (len(found.accounts), found.identifiers[0].hub) == (10, False)
    crowd = build_ego([], count(Kind.PHONE, 9, 500), 1, ASKER, POLICY.kinds)  # not even read
    assert [(one.accounts, one.hub) for one in crowd.identifiers] == [(500, True)]


def test_accounts_are_counted_by_group_as_the_score_does() -> None:
    shared = rows(Kind.PHONE, 9, range(1, 14))
    found = build_ego(shared, count(Kind.PHONE, 9, 1, 4, 4, 4), 1, ASKER, POLICY.kinds)
    assert [(one.accounts, one.hub) for one in found.identifiers] == [(4, False)]
    assert len(found.accounts) == 13


def test_hub_of_the_network_is_the_hub_of_the_score(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    shops = [simulator(f"shop-{name}") for name in "abcd"]
    phone = claim(Kind.PHONE, "everybody's")
    email = claim(Kind.EMAIL, "many's", here=Bucket.SEVERAL)
    for shop in shops[1:]:
        for number in range(4):
            shop.report(f"{number}", (phone,), now)
    for number in range(6):
        shops[0].report(f"more {number}", (email,), now)
    sent = shops[0].report("one", (phone, email), now)
    settle(ledger, now)
    score = ask(ledger, shops[0], now, phone, email, buyer="one")
    found = explore_incident(ledger, shops[0].caller(now), sent.incident_id)
    hubs = {one.kind for one in found.identifiers if one.hub}
    assert hubs == {one.kind for one in score.ignored}
    assert len(found.accounts) - 1 == len(score.links)
    counted = {one.kind: one.accounts for one in found.identifiers}
    assert counted == {Kind.PHONE: 4, Kind.EMAIL: 7}


def test_separated_accounts_arent_in_each_others_network(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    a, b = simulator("shop-a"), simulator("shop-b")
    ours, theirs = a.report("one", BUYER, now), b.report("two", BUYER, now)
    settle(ledger, now)
    for shop, sent in ((a, ours), (b, theirs)):
        assert len(explore_incident(ledger, shop.caller(now), sent.incident_id).accounts) == 2
    b.send(b.unlinking("two", a.account("one"), now), now)
    settle(ledger, now)
    for shop, sent in ((a, ours), (b, theirs)):
        found = explore_incident(ledger, shop.caller(now), sent.incident_id)
        assert [one.middle for one in found.accounts] == [True]
        assert len(found.links) == 2


def test_network_is_bounded() -> None:
    crowd = [
        row
        for place in range(8)
        for row in rows(Kind.ADDR, 1000 + place, range(1 + 49 * place, 50 + 49 * place))
    ]
    crowd += [EgoRow(1000 + place, Kind.ADDR.code, 1, 1, 1, 0, 0) for place in range(1, 8)]
    counts = [one for place in range(8) for one in count(Kind.ADDR, 1000 + place, 49)]
    found = build_ego(crowd, counts, 1, (2, "1"), POLICY.kinds)
    assert found.truncated
    assert len(found.accounts) + len(found.identifiers) <= NODES_MAX
    assert not any(one.own for one in found.accounts)


def test_account_alone_on_an_identifier_is_counted_as_its_latest_report_declared(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    shop, other = simulator("shop-a"), simulator("shop-b")
    declared = (Bucket.CROWD, Bucket.MANY, Bucket.FEW, Bucket.SEVERAL)
    sent = [
        shop.report("alone", (claim(Kind.ADDR, "home", here=bucket), *BUYER), now)
        for bucket in declared
    ]
    settle(ledger, now)

    def home(incident: str) -> int:
        told = explore_incident(ledger, shop.caller(now), incident).identifiers
        assert len(told) == 3
        return next(one.accounts for one in told if one.kind is Kind.ADDR)

    assert home(sent[0].incident_id) == 5
    beside = other.report("beside", (claim(Kind.ADDR, "home"),), now)
    settle(ledger, now)
    assert home(sent[0].incident_id) == 5
    other.retract(beside, now)
    shop.retract(sent.pop(), now)
    settle(ledger, now)
    assert home(sent[0].incident_id) == 2
