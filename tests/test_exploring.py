"""The network around a reporter's own incident: bounded, cut at hubs, and silent about whose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import pytest
from exact import POLICY, settle
from hypothesis import given, settings
from hypothesis import strategies as st
from overriding import ask
from reports import claim
from simulator import phone_and_device

from ledger.errors import UnknownIncident
from ledger.exploring import explore_incident
from ledger.graph.ego import (
    NODES_MAX,
    EgoCount,
    EgoNetwork,
    EgoRow,
    build_ego,
    choose_readable,
    rank_identifiers,
)
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


def rows(identifier: int, accounts: range) -> list[EgoRow]:
    return [EgoRow(identifier, account, 1, 1, 20_000, 20_000) for account in accounts]


def count(kind: Kind, identifier: int, *groups: int) -> list[EgoCount]:
    """Give the accounts of so many groups, each of one platform, on an identifier."""
    return [
        EgoCount(identifier, Multiplicity(b"", kind.code, seen, platform, f"{platform}", 0, 1))
        for platform, seen in enumerate(groups, 1)
    ]


MIDDLE = 1
OWN_ROW = EgoRow(MIDDLE, MIDDLE, 1, 3, 20_000, 20_000)


def build(
    borne: list[EgoRow], counts: list[EgoCount], platform: int = 1, *, cut: bool = False
) -> EgoNetwork:
    """Build the network around account 1 of group 1."""
    links = rank_identifiers(counts, "1", POLICY.kinds, POLICY.multiplicity_k)
    return build_ego(links, [OWN_ROW, *borne], MIDDLE, platform, cut=cut)


def test_hub_is_named_and_leads_nowhere() -> None:
    phones = count(Kind.PHONE, 9, 11)
    many = [one._replace(counted=one.counted._replace(bucket=Bucket.CROWD.code)) for one in phones]
    found = build(rows(9, range(1, 12)), many)
    assert [(one.kind, one.hub) for one in found.identifiers] == [(Kind.PHONE, True)]
    assert len(found.accounts) == 1
    assert not found.truncated
    found = build(rows(9, range(1, 11)), count(Kind.PHONE, 9, 10))
    assert (len(found.accounts), found.identifiers[0].hub) == (10, False)
    crowd = build([], count(Kind.PHONE, 9, 500))  # not even read
    assert [(one.accounts, one.hub) for one in crowd.identifiers] == [(500, True)]
    assert [(one.middle, one.incidents) for one in crowd.accounts] == [(True, 3)]


def test_accounts_are_counted_by_group_as_the_score_does() -> None:
    found = build(rows(9, range(1, 14)), count(Kind.PHONE, 9, 1, 4, 4, 4))
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
    places = range(8)
    crowd = [
        row
        for place in places
        for row in rows(1000 + place, range(1 + 49 * place, 50 + 49 * place))
    ]
    crowd += [EgoRow(1000 + place, MIDDLE, 1, 1, 0, 0) for place in places[1:]]
    counts = [one for place in places for one in count(Kind.ADDR, 1000 + place, 49)]
    found = build(crowd, counts, platform=2)
    assert found.truncated
    assert len(found.accounts) + len(found.identifiers) == NODES_MAX
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


@st.composite
def surroundings(draw: st.DrawFn) -> tuple[list[EgoRow], list[EgoCount]]:
    """Draw identifiers of account 1, some alone, and runs of accounts behind the others."""
    kinds = st.sampled_from([Kind.PHONE, Kind.DEVICE, Kind.ADDR, Kind.NID])
    some = st.lists(st.tuples(kinds, st.integers(2, 400), st.integers(0, 60)), max_size=12)
    borne, counts = [], []
    alone = draw(st.integers(0, 250))
    for number in range(alone):
        counts += count(Kind.EMAIL, 20_000 + number, 1)
    for number, (kind, first, behind) in enumerate(draw(some), 10_000):
        borne += rows(number, range(MIDDLE, MIDDLE + 1)) + rows(
            number, range(first, first + behind)
        )
        counts += count(kind, number, 1 + behind)
    random = draw(st.randoms(use_true_random=False))
    random.shuffle(borne)
    random.shuffle(counts)
    return borne, counts


@settings(max_examples=100)
@given(surroundings())
def test_what_stays_is_bounded_whole_and_linked_most_strongly(
    drawn: tuple[list[EgoRow], list[EgoCount]],
) -> None:
    borne, counts = drawn
    found = build(borne, counts)
    links = rank_identifiers(counts, "1", POLICY.kinds, POLICY.multiplicity_k)
    weights = {one.identifier: one.weight for one in links if one.leads}
    strongest: dict[int, int] = {}
    for row in borne:
        if row.account != MIDDLE and row.identifier in weights:
            most = strongest.get(row.account, 0)
            strongest[row.account] = max(most, weights[row.identifier])
    nodes = len(found.accounts) + len(found.identifiers)
    assert nodes <= NODES_MAX
    assert found.truncated == (1 + len(strongest) + len(links) > NODES_MAX)
    assert nodes == NODES_MAX or not found.truncated
    assert [one.middle for one in found.accounts] == [True] + [False] * (len(found.accounts) - 1)
    names = {one.name for one in found.accounts} | {one.name for one in found.identifiers}
    assert set(nx.Graph(found.links)) | {"account-1"} == names
    # Each by the strongest of its links: the strongest identifiers and accounts there are.
    named = {one.name: link for one, link in zip(found.identifiers, links, strict=False)}
    assert [(one.kind.code, one.accounts) for one in found.identifiers] == [
        (one.kind, one.n) for one in named.values()
    ]
    best = [
        max(named[name].weight for source, name in found.links if source == one.name)
        for one in found.accounts[1:]
    ]
    assert best == sorted(strongest.values(), reverse=True)[: len(best)]
    assert found == build(sorted(borne), sorted(counts))


def test_identifiers_that_lead_somewhere_are_read_until_rows_are_too_many() -> None:
    counts = count(Kind.PHONE, 11, 6) + count(Kind.PHONE, 12, 1) + count(Kind.PHONE, 13, 4)
    counts += count(Kind.PHONE, 14, 500) + count(Kind.PHONE, 15, 5)
    links = rank_identifiers(counts, "1", POLICY.kinds, POLICY.multiplicity_k)
    assert [one.identifier for one in links] == [13, 15, 11, 14, 12]
    for rows_max, chosen in ((1, [13]), (9, [13, 15]), (14, [13, 15]), (15, [13, 15, 11])):
        assert choose_readable(links, rows_max) == (chosen, len(chosen) < 3)
    assert choose_readable([], 1) == ([], False)
    many = [one for number in range(NODES_MAX) for one in count(Kind.PHONE, 100 + number, 2)]
    links = rank_identifiers(many, "1", POLICY.kinds, POLICY.multiplicity_k)
    assert choose_readable(links, 10_000) == (list(range(100, 99 + NODES_MAX)), True)
    assert build([], count(Kind.PHONE, 11, 2), cut=True).truncated


def test_reports_of_ever_new_identifiers_fill_no_more_than_the_bound(
    ledger: Ledger, simulator: Callable[..., Simulator], now: datetime
) -> None:
    shop, other = simulator("shop-a"), simulator("shop-b")
    for number in range(20):
        many = tuple(claim(Kind.EMAIL, f"{number} {place}") for place in range(15))
        sent = shop.report("one", many, now)
    other.report("two", (many[7],), now)
    settle(ledger, now)
    found = explore_incident(ledger, shop.caller(now), sent.incident_id)
    assert found.truncated
    assert len(found.accounts) + len(found.identifiers) == NODES_MAX
    assert [(one.own, one.incidents) for one in found.accounts] == [(True, 20), (False, 1)]
    assert ("account-2", "identifier-1") in found.links


def test_rows_that_are_left_out_are_told_of(
    ledger: Ledger,
    simulator: Callable[..., Simulator],
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, other = simulator("shop-a"), simulator("shop-b")
    person = (claim(Kind.NID, "person"),)
    for number in range(4):
        other.report(f"{number}", person, now)
    sent = shop.report("one", person, now)  # the last row by number
    settle(ledger, now)
    for rows_max, seen in ((5, 5), (4, 4), (1, 1)):
        monkeypatch.setattr("ledger.exploring.ROWS_MAX", rows_max)
        found = explore_incident(ledger, shop.caller(now), sent.incident_id)
        assert (len(found.accounts), found.truncated) == (seen, rows_max < 5)
        assert [one.middle for one in found.accounts].index(True) == 0


def test_identifiers_that_are_not_read_any_more_are_told_of(
    ledger: Ledger,
    simulator: Callable[..., Simulator],
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop, other = simulator("shop-a"), simulator("shop-b")
    phone, device = BUYER
    other.report("near", (device,), now)
    other.report("far", (phone,), now)
    sent = shop.report("one", BUYER, now)
    settle(ledger, now)
    for rows_max, seen in ((4, 3), (3, 2)):
        monkeypatch.setattr("ledger.exploring.ROWS_MAX", rows_max)
        found = explore_incident(ledger, shop.caller(now), sent.incident_id)
        assert [one.kind for one in found.identifiers] == [Kind.DEVICE, Kind.PHONE]
        assert (len(found.accounts), found.truncated) == (seen, rows_max < 4)
