"""Who acts as one: rings planted among families, flatmates and dormitories; what breaks a ring.

Towns are built by hand or from a number; nothing here needs a database. What a ring says of
itself is counted again from the rows, and ties are compared with the oracle's own arithmetic.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from exact import POLICY
from oracle import KINDS, strength
from reports import USUAL_BINDINGS

from ledger.graph import ring
from ledger.graph.ring import Membership, Ring, RingReason, find_rings
from ledger.identity.identifier import Binding, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

U = 10**6
DAY = 20_000


class Town:
    """Confirmed accounts and the tokens that they share; a token is written `kind name`."""

    def __init__(self, number: int = 0) -> None:
        """Seed what is drawn: evidence, and whatever a test draws besides."""
        self.random = Random(number)
        self.draw = self.random.randrange
        self.rows: list[Membership] = []
        self.identifiers: dict[str, int] = {}
        self.accounts = 0

    def add(self, platform: int, tokens: str, *, verified: bool = True, last: int = 0) -> int:
        """Add an account at a platform, which is its own group; its incidents took a week."""
        self.accounts += 1
        evidence = self.draw(U // 4, 4 * U)
        for token in tokens.split(", "):
            kind = Kind(token.split()[0])
            binding = USUAL_BINDINGS[kind] if verified else Binding.NONE
            identifier = self.identifiers.setdefault(token, len(self.identifiers) + 1)
            at = (self.accounts, platform, f"group {platform}", identifier, kind.code)
            days = (last - 7, last) if last else (None, None)
            self.rows.append(Membership(*at, binding.code, evidence, *days))
        return self.accounts

    def add_each(self, platforms: Iterable[int], tokens: str, *, verified: bool = True) -> set[int]:
        """Add an account with the same tokens at each platform."""
        return {self.add(platform, tokens, verified=verified) for platform in platforms}

    def find(self, **options: Any) -> tuple[Ring, ...]:
        """Find the rings by the rules of the policy."""
        return find_rings(self.rows, POLICY.kinds, POLICY.multiplicity_k, **options)


def accounts_of(rings: Iterable[Ring]) -> set[frozenset[int]]:
    """Give the accounts of each ring."""
    return {frozenset(one.account for one in found.members) for found in rings}


def add_family(town: Town, name: str, people: int) -> None:
    """Add a home with a tablet for three and the parents' card; each has a phone and accounts."""
    for person in range(people):
        own = f"addr {name}, phone {name} {person}"
        tablet = f", device {name}" if person < 3 else f", device {name} {person}"
        card = f", pay {name}" if person >= people - 2 else ""
        town.add_each(town.random.sample(range(6), town.draw(1, 4)), own + tablet + card)


def build_town(number: int) -> tuple[Town, set[frozenset[int]]]:
    """Build a town of honest surroundings, confirmed all of them, with three kinds of rings."""
    town = Town(number)
    draw = town.draw
    for place in range(40):
        add_family(town, f"family {place}", draw(2, 6))
        for person in range(draw(2, 7)):
            town.add(draw(6), f"addr flat {place}, phone flat {place} {person}")
        town.add_each(range(draw(1, 6)), f"phone buyer {place}, device buyer {place}")
    for person in range(240):
        own = f"phone dormitory {person}, device kiosk, addr dormitory {person // 120}"
        town.add(draw(6), own)
    planted = []
    for place in range(5):
        gang = f"device gang {place}, pay gang {place}"
        planted.append({town.add(draw(6), gang) for _ in range(draw(4, 9))})
        farm = f"device farm {place}, phone farm {place}"
        planted.append({town.add(7, f"{farm} {one}") for one in range(5)})
        planted.append(town.add_each([1, 2, 3], f"device trio {place}, pay trio {place}"))
    return town, {frozenset(one) for one in planted}


def build_tangle(number: int) -> Town:
    """Build a town in which accounts share tokens at random, so that much must be divided."""
    town = Town(number)
    for account in range(400):
        kinds = town.random.choices(["pay", "device", "email", "phone", "addr"], k=4)
        names = {f"{kind} {account // 40 * 8 + town.draw(14)}" for kind in kinds}
        last = DAY + town.draw(12) if town.draw(9) else 0
        town.add(town.draw(4), ", ".join(sorted(names)), last=last)
    return town


# --- What is a ring and what isn't ----------------------------------------------------------


@pytest.mark.parametrize("number", range(5))
def test_planted_rings_alone_are_found_among_families_flats_and_dormitories(number: int) -> None:
    town, planted = build_town(number)
    assert accounts_of(town.find()) == planted


@pytest.mark.parametrize("number", range(40))
def test_family_with_accounts_at_several_platforms_is_no_ring(number: int) -> None:
    town = Town(number)
    add_family(town, "one", 2 + number % 5)
    assert town.find() == ()


@pytest.mark.parametrize(
    ("tokens", "accounts", "is_ring"),
    [
        ("addr it", 40, False),
        ("device it", 3, False),
        ("device it", 4, True),
        ("phone it", 3, False),
        ("phone it", 4, True),
        ("device it, addr it", 3, False),
        ("device it, addr it", 6, False),
        ("device it, addr it", 7, True),
        ("device it, pay it", 2, False),
        ("device it, pay it", 3, True),
        ("device it, pay it, addr it", 3, True),
        ("phone it, device it", 3, True),
    ],
)
def test_one_kind_needs_four_and_one_home_needs_seven_or_two_kinds_for_every_two(
    tokens: str, accounts: int, is_ring: bool
) -> None:
    town = Town()
    everybody = town.add_each([1] * accounts, tokens)
    rings = town.find()
    assert accounts_of(rings) == ({frozenset(everybody)} if is_ring else set())
    assert all((RingReason.ONE_ADDRESS in one.reasons) is ("addr" in tokens) for one in rings)
    assert town.find(persons_min=accounts + 1) == ()


@pytest.mark.parametrize("joined", ["nid it", "phone it", "email it"])
def test_one_buyer_with_accounts_at_many_platforms_is_no_ring(joined: str) -> None:
    for verified in (True, False):
        town = Town()
        town.add_each(range(8), f"{joined}, device it, pay it", verified=verified)
        assert bool(town.find()) is not verified


def test_accounts_that_phones_join_one_by_one_are_one_buyer_unless_a_group_sees_three() -> None:
    for platforms, persons in (([1, 2, 3, 4, 5, 6], []), ([1, 1, 2, 2, 3, 3], []), ([1] * 6, [6])):
        town = Town()
        for at, platform in enumerate(platforms):
            town.add(platform, f"phone {at}, device {at}, phone {at + 1}, device {at + 1}")
        assert [found.persons for found in town.find()] == persons


def test_one_buyer_counts_once_among_others() -> None:
    town = Town()
    town.add_each([1, 2, 3], "phone own, pay shared")
    town.add_each([1, 2], "pay shared")
    assert town.find() == ()
    town.add(3, "pay shared")
    (found,) = town.find()
    assert [one.person for one in found.members] == [1, 1, 1, 4, 5, 6]
    assert (found.persons, [one.accounts for one in found.shared]) == (4, [6])


def test_separated_accounts_are_neither_one_person_nor_tied() -> None:
    town = Town()
    town.add_each([1, 2, 3], "device it, pay it")
    assert town.find(separated=[(9, 1)]) == town.find()
    assert town.find(separated=[(2, 1), (1, 3)]) == ()
    town = Town()
    town.add_each([1, 2, 3, 4], "nid it, device it")
    (found,) = town.find(separated=[(2, 1)])
    assert (found.persons, found.density_per_mille) == (4, 833)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in {Kind.NID, Kind.ADDR}])
def test_hub_ties_nobody_and_a_token_at_its_cap_does(kind: Kind) -> None:
    cap = int(KINDS[kind][2])
    town = Town()
    town.add_each([1] * cap, f"{kind} it")
    assert [found.persons for found in town.find()] == [cap]
    town.add(1, f"{kind} it")
    assert town.find() == ()


@pytest.mark.parametrize("kind", ["device", "nid"])
def test_accounts_are_counted_within_a_group_up_to_a_crowd_in_all(kind: str) -> None:
    town = Town()
    town.add_each([*range(10)] * 20, f"{kind} it", verified=False)
    assert [found.persons for found in town.find()] == [ring.CROWD_MAX]
    town.add(99, f"{kind} it")
    assert town.find() == ()


# --- Communities ----------------------------------------------------------------------------


def test_two_rings_with_a_chance_link_are_told_apart_and_hangers_on_left_out() -> None:
    town = Town()
    first = town.add_each([1] * 4, "device one, pay one")
    first.add(town.add(1, "device one, pay one, email chance, email between"))
    second = town.add_each([2] * 4, "device two, pay two")
    tokens = "device two, pay two, email chance, pay between, email loose"
    second.add(town.add(2, tokens, verified=False))
    town.add(3, "email between, pay between", verified=False)
    town.add(4, "email loose")
    assert accounts_of(town.find()) == {frozenset(first), frozenset(second)}


def test_peeling_goes_on_until_nobody_is_tied_once() -> None:
    tail = np.array([[0, 0, 1, 2, 3, 4], [1, 2, 2, 3, 4, 5], [9] * 6, [2] * 6])
    assert ring._peel(tail, 6, 2).T.tolist() == tail[:, :3].T.tolist()


def test_many_small_rings_in_one_component_are_told_apart() -> None:
    town = Town()
    rings = set()
    for number in range(60):
        both = f"device {number}, pay {number}"
        members = town.add_each([1] * 3, both)
        members |= {town.add(1, f"{both}, email {number + more}") for more in range(2)}
        rings.add(frozenset(members))
    assert accounts_of(town.find()) == rings


def test_giant_component_is_cut_at_its_weakest_ties_and_keeps_what_is_planted() -> None:
    town = Town(3)
    for _ in range(12_000):
        town.add(0, f"device crowd {town.draw(800)}, phone crowd {town.draw(1500)}")
    planted = [
        {town.add(one % 5 + 1, f"{own}, device crowd {town.draw(800)}") for one in range(6)}
        for own in (f"pay {place}, email {place}" for place in range(20))
    ]
    found = accounts_of(town.find())
    assert max(map(len, found)) < 100
    assert sum(frozenset(one) in found for one in planted) >= 10
    assert all(any(one <= other for other in found) for one in planted)


def test_giant_of_equal_ties_dissolves_and_its_dense_part_stays() -> None:
    town = Town()
    for at in range(5_000):
        town.add(at % 9, f"pay {at}, pay {(at + 1) % 5_000}")
    assert town.find() == ()
    dense = {town.add(one, f"pay gang, pay {100 * one}") for one in range(6)}
    assert accounts_of(town.find()) == {frozenset(dense)}


@pytest.mark.parametrize("number", range(6))
def test_rings_depend_neither_on_the_order_of_rows_nor_on_ids(number: int) -> None:
    def rename(old: int) -> int:
        return old * (7919 + number) % 100_003  # a prime

    town = build_tangle(number)
    rings = town.find()
    assert len(rings) > 3
    Random(number).shuffle(town.rows)
    assert town.find() == rings
    town.rows = [
        Membership(rename(row.account), rename(at), f"at {rename(at)}", rename(token), *row[4:])
        for row, at, token in ((row, row.platform, row.identifier) for row in town.rows)
    ]
    for one, other in zip(rings, town.find(), strict=True):
        assert {x.account for x in other.members} == {rename(x.account) for x in one.members}
        assert set(other.core) == set(map(rename, one.core))
        assert [x.accounts for x in other.shared] == [x.accounts for x in one.shared]
        for name in ("persons", "groups", "evidence", "density_per_mille", "core_ties", "reasons"):
            assert getattr(other, name) == getattr(one, name), name


# --- What a ring says of itself -------------------------------------------------------------


def count_most(rows: Iterable[Membership]) -> Counter[int]:
    """Count the most accounts of one group on each identifier."""
    most = Counter[int]()
    for (identifier, _), number in Counter((row.identifier, row.group) for row in rows).items():
        most[identifier] = max(most[identifier], number)
    return most


def count_again(town: Town, found: Ring) -> dict[RingReason, bool]:
    """Tell from the rows alone which reasons hold of a ring, and check what it shares."""
    person = {one.account: one.person for one in found.members}
    rows = [row for row in town.rows if row.account in person]
    n = count_most(town.rows)
    holders: dict[tuple[Kind, int], set[int]] = {}
    for row in rows:
        kind = Kind.from_code(row.kind_code)
        if n[row.identifier] <= KINDS[kind][2]:
            holders.setdefault((kind, row.identifier), set()).add(row.account)
    by = {token: {person[account] for account in held} for token, held in holders.items()}
    shared = {
        pair: {kind for (kind, _), some in by.items() if some >= set(pair)} - {Kind.ADDR}
        for pair in combinations(sorted(set(person.values())), 2)
    }
    tied = sum(map(bool, shared.values()))
    assert found.density_per_mille == 1000 * tied // len(shared)
    assert {(x.kind, x.identifier): x.accounts for x in found.shared} == {
        token: len(holders[token]) for token, some in by.items() if len(some) > 1
    }
    days, everybody = [row.last_day for row in rows if row.last_day], set(person.values())
    return {
        RingReason.TWO_KINDS_EACH: all(
            len(set().union(*(kinds for pair, kinds in shared.items() if one in pair))) > 1
            for one in everybody
        ),
        RingReason.TWO_KINDS_PAIRWISE: all(len(kinds) > 1 for kinds in shared.values()),
        RingReason.MANY_PERSONS: len(everybody) > 3,
        RingReason.DENSE: 2 * tied >= len(shared),
        RingReason.SEVERAL_GROUPS: len({row.group for row in rows}) > 1,
        RingReason.CROWDED_DEVICE: any(
            kind is Kind.DEVICE and len(held) > 3 and len(by[kind, i]) > 1
            for (kind, i), held in holders.items()
        ),
        RingReason.BURST: len(days) == len(rows) and max(days) - min(days) + 7 <= 14,
        RingReason.ONE_ADDRESS: any(
            kind is Kind.ADDR and some == everybody for (kind, _), some in by.items()
        ),
    }


def test_reasons_density_and_shared_identifiers_are_true_of_the_members() -> None:
    told, untold = set(), set()
    for number in range(6):
        for town in (build_tangle(number), build_town(number)[0]):
            for found in town.find():
                holds = count_again(town, found)
                assert found.reasons == tuple(reason for reason in RingReason if holds[reason])
                told |= set(found.reasons)
                untold |= set(RingReason) - set(found.reasons)
    assert told | {RingReason.ONE_ADDRESS} == set(RingReason) == untold


def test_evidence_of_half_lives_adds_up_and_is_not_counted_again_under_each_token() -> None:
    town = Town()
    for account in (3, 1, 2):
        for identifier, kind in ((account, 0), (7, Kind.DEVICE.code), (8, Kind.PAY.code)):
            at = (account, 4, "group", identifier, kind, 0)
            town.rows += [Membership(*at, account * U, 5, 9), Membership(*at, 10, 3, 6)]
    (found,) = town.find()
    assert [one.evidence for one in found.members] == [U + 10, 2 * U + 10, 3 * U + 10]
    assert (found.evidence, found.first_day, found.last_day) == (6 * U + 30, 3, 9)
    assert (found.platforms, found.groups, found.core_ties, found.core) == (1, 1, 2, (1, 2, 3))
    assert found.shared == ((7, Kind.DEVICE, 3), (8, Kind.PAY, 3))
    town.rows = [row for row in town.rows if not row.kind_code]
    assert town.find() == ()
    assert Town().find() == ()


def test_core_is_the_densest_part_and_the_heaviest_ring_comes_first() -> None:
    town, _ = build_town(1)
    dense = town.add_each([1] * 5, "device it, pay it")
    dense.add(town.add(1, "device it, pay it, device more, pay more"))
    town.add(1, "device more, pay more")
    found = next(one for one in town.find() if dense < {x.account for x in one.members})
    assert (found.core_ties, set(found.core), found.persons) == (5, dense, 7)
    evidence = [-one.evidence for one in town.find()]
    assert evidence == sorted(evidence)


@pytest.mark.parametrize("number", range(3))
def test_ties_are_as_strong_as_in_the_score_to_the_last_micro_unit(number: int) -> None:
    rows = build_tangle(number).rows
    book = ring._read(rows, POLICY.kinds, POLICY.multiplicity_k)
    holder, tokens, _ = book.holdings
    ties = ring._tie(book, holder, tokens, np.empty((2, 0), np.int64))
    n = count_most(rows)
    held: dict[int, set[tuple[str, int]]] = {}
    for row in rows:
        kind = Kind.from_code(row.kind_code).value
        if n[row.identifier] <= KINDS[kind][2]:
            held.setdefault(row.account - 1, set()).add((kind, row.identifier))
    expected = {}
    for one, other in combinations(sorted(held), 2):
        rest, both = U, held[one] & held[other]
        for kind in KINDS:
            best = max((strength(k, n[i]) // U for k, i in both if k == kind), default=0)
            rest = rest * (U - best) // U
        if any(kind != "addr" for kind, _ in both):
            expected[one, other] = U - rest
    assert {(low, high): weight for low, high, weight, _ in ties.T.tolist()} == expected
