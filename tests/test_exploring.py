"""The network around a reporter's own incident: bounded, cut at hubs, and silent about whose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import pytest
from exact import POLICY, settle
from reports import claim
from simulator import phone_and_device

from ledger.errors import UnknownIncident
from ledger.exploring import explore_incident
from ledger.graph.ego import NODES_MAX, EgoRow, build_ego
from ledger.identity.identifier import Kind

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
        ("phone", 2),
    ]
    assert not found.truncated
    with pytest.raises(UnknownIncident):
        explore_incident(ledger, b.caller(now), sent.incident_id)
    a.retract(sent, now)
    settle(ledger, now)
    assert explore_incident(ledger, a.caller(now), sent.incident_id).accounts == ()


def rows(kind: Kind, identifier: int, accounts: range) -> list[EgoRow]:
    return [EgoRow(identifier, kind.code, account, 1, 1, 20_000, 20_000) for account in accounts]


def test_hub_is_named_and_leads_nowhere() -> None:
    found = build_ego(rows(Kind.PHONE, 9, range(1, 12)), 1, 1, POLICY.kinds)
    assert [(one.kind, one.hub) for one in found.identifiers] == [(Kind.PHONE, True)]
    assert len(found.accounts) == 1
    below = build_ego(rows(Kind.PHONE, 9, range(1, 11)), 1, 1, POLICY.kinds)
    assert (len(below.accounts), below.identifiers[0].hub) == (10, False)


def test_network_is_bounded() -> None:
    crowd = [
        row
        for place in range(8)
        for row in rows(Kind.ADDR, 1000 + place, range(1 + 49 * place, 50 + 49 * place))
    ]
    crowd += [EgoRow(1000 + place, Kind.ADDR.code, 1, 1, 1, 0, 0) for place in range(1, 8)]
    found = build_ego(crowd, 1, 2, POLICY.kinds)
    assert found.truncated
    assert len(found.accounts) + len(found.identifiers) <= NODES_MAX
    assert not any(one.own for one in found.accounts)
