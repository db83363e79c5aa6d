"""What the public log tells of who filed what: nothing, over a year, to outsiders and to members.

A real ledger takes a year of statements of several platforms of different sizes. The bytes that
anybody may fetch are then searched for anything that goes with the platform. Each search is first
shown to find a planted leak.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from conftest import clone_database, founded
from exact import settle
from reports import NOW
from simulator import Simulator, phone_and_device

from ledger.log.leaf import parse_leaf, tag_issuer
from ledger.proving import latest_checkpoint
from ledger.store import entries
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ledger.ledger import Ledger, LedgerKeys
    from ledger.rights.jurisdiction import JurisdictionProfile

SHARES = {"shop-a": 6, "shop-b": 3, "shop-c": 2, "shop-d": 1}
REPORTS = 300
TAG = slice(16, 48)
SECRET_BITS = range(16 * 8, 80 * 8)  # issuer tag and commitment
# A bit's frequency at one platform against all others', in standard errors. Of 512 bits and four
# platforms one lies beyond 6.5 by chance in about 6 million runs.
BEYOND_CHANCE = 6.5


class Year:
    """A year of a ledger: its public entries, and who filed which."""

    def __init__(self, ledger: Ledger) -> None:
        """Let it pass."""
        chance = random.Random(20261122)
        shops = {name: Simulator(ledger, name) for name in SHARES}
        for shop in shops.values():
            shop.enrol(NOW)
        at = NOW
        for number in range(REPORTS):
            at += timedelta(hours=24 * 365 / REPORTS)
            shop = shops[chance.choices(list(SHARES), list(SHARES.values()))[0]]
            sent = shop.report(f"p{number}", phone_and_device(f"p{number}"), at)
            if chance.random() < 0.2:
                shop.retract(sent, at)
            settle(ledger, at)
        with begin_read(ledger.database) as connection:
            self.entries = [entry for _, entry, _ in entries.stream_entries(connection)]
            events = entries.select_sequenced(connection)
        self.platforms = [one.platform for one in events]
        self.note = latest_checkpoint(ledger)
        self.tag_keys = {number: shop.tag_key for number, shop in enumerate(shops.values(), 1)}


@pytest.fixture(scope="module")
def year(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    keys: LedgerKeys,
    profiles: Mapping[str, JurisdictionProfile],
    policy_text: str,
) -> Iterator[Year]:
    """Give one year for all tests of this file."""
    folder = tmp_path_factory.mktemp("year")
    with (
        clone_database("sqlite", request, folder) as url,
        founded(url, keys, profiles, policy_text, NOW) as ledger,
    ):
        yield Year(ledger)


def find_telling_bits(public: Sequence[bytes], filed: Sequence[int]) -> list[tuple[int, int]]:
    """Find bits of tag or commitment whose frequency at a platform isn't the others'."""
    found = []
    for platform in set(filed):
        own = [entry for entry, by in zip(public, filed, strict=True) if by == platform]
        rest = [entry for entry, by in zip(public, filed, strict=True) if by != platform]
        error = (0.25 / len(own) + 0.25 / len(rest)) ** 0.5
        for bit in SECRET_BITS:
            shares = [
                sum(entry[bit // 8] >> bit % 8 & 1 for entry in some) / len(some)
                for some in (own, rest)
            ]
            if abs(shares[0] - shares[1]) / error > BEYOND_CHANCE:
                found.append((platform, bit))
    return found


def count_shared_pieces(public: Sequence[bytes], length: int = 8) -> int:
    """Count how many pieces of a tag or a commitment stand in more than one entry."""
    pieces = Counter(
        entry[start : start + length] for entry in public for start in range(16, 81 - length)
    )
    return sum(count > 1 for count in pieces.values())


def test_the_year_has_many_entries_of_every_platform(year: Year) -> None:
    counts = Counter(year.platforms)
    assert len(year.entries) == sum(counts.values()) > 2 * REPORTS
    assert min(counts[number] for number in year.tag_keys) >= 20


def test_no_two_entries_share_a_tag_or_a_commitment_or_a_piece_of_either(year: Year) -> None:
    leaves = [parse_leaf(entry) for entry in year.entries]
    seen = [one.issuer_tag for one in leaves] + [one.commitment for one in leaves]
    assert len(set(seen)) == 2 * len(leaves)
    assert count_shared_pieces(year.entries) == 0
    leaky = [entry[:16] + bytes(8) + entry[24:] for entry in year.entries]
    assert count_shared_pieces(leaky) > 0


def test_no_bit_of_an_entry_goes_with_its_platform_better_than_chance(year: Year) -> None:
    assert find_telling_bits(year.entries, year.platforms) == []
    leaky = [
        entry[:40] + bytes([entry[40] & 0xFE | by & 1]) + entry[41:]
        for entry, by in zip(year.entries, year.platforms, strict=True)
    ]
    assert {bit for _, bit in find_telling_bits(leaky, year.platforms)} == {40 * 8}


def test_neighbours_of_one_platform_are_no_more_alike_than_others(year: Year) -> None:
    """A counter or a nonce that runs on would show in entries that follow one another."""

    def distance(pairs: list[tuple[bytes, bytes]]) -> float:
        apart = [(int.from_bytes(a[16:]) ^ int.from_bytes(b[16:])).bit_count() for a, b in pairs]
        return sum(apart) / len(apart)

    last: dict[int, bytes] = {}
    pairs = []
    for entry, by in zip(year.entries, year.platforms, strict=True):
        if by in last:
            pairs.append((last[by], entry))
        last[by] = entry
    error = (512 * 0.25 / len(pairs)) ** 0.5
    assert abs(distance(pairs) - 256) < BEYOND_CHANCE * error


def test_a_member_recognises_all_of_its_own_entries_and_none_of_the_others(year: Year) -> None:
    for number, tag_key in year.tag_keys.items():
        recognised = [tag_issuer(tag_key, entry[48:]) == entry[TAG] for entry in year.entries]
        assert recognised == [by == number for by in year.platforms]


def test_fields_in_the_open_say_what_was_done_and_nothing_of_by_whom(year: Year) -> None:
    """Op, reason, policy and ref: the same few values at every platform."""
    said: dict[int, set[tuple[int, ...]]] = {}
    for entry, by in zip(year.entries, year.platforms, strict=True):
        leaf = parse_leaf(entry)
        said.setdefault(by, set()).add((leaf.op, leaf.reason, leaf.policy_version))
    assert len({frozenset(said[number]) for number in year.tag_keys}) == 1
    for public in [year.note, *(bytes(entry).hex() for entry in year.entries)]:
        assert not any(name in public for name in (*SHARES, b"shop".hex(), b"http".hex()))
