"""Rings: groups among confirmed accounts that act as one, for the analyst's eyes only.

It knows accounts, what they share and what they bear, as values, and says of each ring why it is
one. It runs offline, never feeds a score or an advice, and gives no ring a number that could be
kept. It refuses to see a ring in a household, or in one buyer who has many accounts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import networkx as nx
import numpy as np
from scipy.sparse import coo_array, triu
from scipy.sparse.csgraph import connected_components

from ledger.graph.link import ADDR, NID, VERIFIED
from ledger.graph.posting import UNIT
from ledger.identity.identifier import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ledger.graph.link import KindRule

    Ints = np.typing.NDArray[np.int64]

# Judgement, all of it: one person has up to two accounts in a group; up to three may share a
# family's tablet and nothing else; a household is up to six; whoever is tied once hangs on.
PERSON_MAX, ONE_KIND_MIN, HOUSEHOLD_MAX, TIES_MIN = 2, 4, 6, 2
CROWDED_DEVICE_MIN, BURST_DAYS = 4, 14
CROWD_MAX, PIECE_MAX = 200, 1000  # accounts on one identifier; persons divided at once
_UNCLEAR_MAX, _CUT_PARTS = 50, 6  # so few persons are divided only by cutting a sixth or less
_SEED, _ROUNDS = 0, 3
_PERSONAL = (NID, Kind.PHONE.code, Kind.EMAIL.code)
_NEVER = 1 << 62  # later than every day; its opposite is earlier


class RingReason(StrEnum):
    """Why a group is a ring, kinds without the address. ONE_ADDRESS alone speaks against it."""

    TWO_KINDS_EACH = "two_kinds_each"  # everybody shares two kinds with others of the ring
    TWO_KINDS_PAIRWISE = "two_kinds_pairwise"  # every two share two kinds with each other
    MANY_PERSONS = "many_persons"  # ONE_KIND_MIN or more
    DENSE = "dense"  # at least half of all pairs are tied
    SEVERAL_GROUPS = "several_groups"  # accounts at two platform groups or more
    CROWDED_DEVICE = "crowded_device"  # one device with CROWDED_DEVICE_MIN accounts or more
    BURST = "burst"  # all incidents within BURST_DAYS
    ONE_ADDRESS = "one_address"  # all share one address


class Membership(NamedTuple):
    """One row: a confirmed account bears evidence under an identifier.

    *Shape*: rows of one account and identifier (one a half-life) add up to the same for each of
    its identifiers. A row of kind 0, the account's own key, links nobody. *Units*: evidence in
    micro-units, days since 1970-01-01.
    """

    account: int
    platform: int
    group: str
    identifier: int
    kind_code: int
    binding: int
    evidence: int
    first_day: int | None = None
    last_day: int | None = None


class RingMember(NamedTuple):
    """An account of a ring; `person` is the lowest account that counts as the same person."""

    account: int
    person: int
    platform: int
    group: str
    evidence: int


class SharedIdentifier(NamedTuple):
    """An identifier that persons of a ring share, and how many of its accounts are on it."""

    identifier: int
    kind: Kind
    accounts: int


@dataclass(frozen=True, slots=True)
class Ring:
    """A group that acts as one.

    *Shape*: `core` is the densest part, where each is tied to at least `core_ties` others; of all
    pairs of persons `density_per_mille` are tied. *Units*: days since 1970-01-01, or None.
    """

    members: tuple[RingMember, ...]
    shared: tuple[SharedIdentifier, ...]
    persons: int
    platforms: int
    groups: int
    evidence: int
    density_per_mille: int
    core_ties: int
    core: tuple[int, ...]
    first_day: int | None
    last_day: int | None
    reasons: tuple[RingReason, ...]


class _Book(NamedTuple):
    """The rows as columns: accounts, their days, the tokens, and who holds which that links."""

    accounts: list[RingMember]  # each its own person
    groups: Ints
    days: Ints  # first, last
    tokens: Ints  # identifier, kind, s·δ
    holdings: Ints  # account, token, whether it can join accounts to persons; ascending


def find_rings(
    rows: Iterable[Membership],
    rules: Mapping[int, KindRule],
    multiplicity_k: int,
    *,
    separated: Iterable[tuple[int, int]] = (),
    persons_min: int = 3,
) -> tuple[Ring, ...]:
    """Find the rings among confirmed accounts, the heaviest first.

    Accounts that verified nids, phones or emails join count as one person: since this clears
    people, it asks for less than link.py, and chains. Persons are tied as strongly as in the
    score; an address adds to a tie and makes none, `separated` accounts aren't tied. Whoever is
    tied fewer than twice, to two others or by two kinds, is left out. Components are divided by
    Louvain. A community is a ring if each of its persons shares two kinds, or if it has
    ONE_KIND_MIN persons; but up to HOUSEHOLD_MAX persons at one address are a household, unless
    every two of them share two kinds besides.

    Limits: an identifier on more confirmed accounts of one group than its kind's cap, or on more
    than CROWD_MAX in all, links nobody. Declared buckets aren't known here, so that a large ring's
    tablet for which a group would vouch is lost, and a crowd in which few are confirmed isn't
    recognised. A component above PIECE_MAX persons loses its weakest ties, then its least tied
    persons, until its pieces fit: what nothing stronger holds together isn't reported. Neither the
    order of rows nor ids matter, except between persons alike in what they bear and who is around.
    """
    listed = list(rows)
    if not listed:
        return ()
    book = _read(listed, rules, multiplicity_k)
    size = len(book.accounts)
    place = {one.account: at for at, one in enumerate(book.accounts)}
    known = [(place[a], place[b]) for a, b in separated if a in place and b in place]
    apart = np.array(known, np.int64).reshape(-1, 2).T
    person = _merge(book, apart)
    own: dict[int, list[int]] = {}
    for at, whose in enumerate(person.tolist()):
        own.setdefault(whose, []).append(at)
    ties = _tie(book, person[book.holdings[0]], book.holdings[1], person[apart])
    ties = _split_giants(ties, size)
    community = _divide(ties, book, own)
    ties = _peel(ties[:, community[ties[0]] == community[ties[1]]], size, TIES_MIN)
    rings = filter(None, (_judge(group, book, own, persons_min) for group in _split(ties, size)))
    return tuple(sorted(rings, key=lambda ring: (-ring.evidence, ring.members[0].account)))


def _read(rows: list[Membership], rules: Mapping[int, KindRule], multiplicity_k: int) -> _Book:
    """Turn the rows into columns, and leave hubs out."""
    account, platform, token, code, evidence, verified, first, last = np.array(
        [
            (
                *(account, platform, token, code, evidence, (code, binding) in VERIFIED),
                *(_NEVER if first is None else first, -_NEVER if last is None else last),
            )
            for account, platform, _, token, code, binding, evidence, first, last in rows
        ],
        np.int64,
    ).T
    accounts, some, holders = np.unique(account, return_index=True, return_inverse=True)
    tokens, one, helds = np.unique(token, return_index=True, return_inverse=True)
    pairs, at = np.unique(holders * len(tokens) + helds, return_inverse=True)
    holder, held = np.divmod(pairs, len(tokens))
    borne = _gather(np.maximum, holder, _gather(np.add, at, evidence, 0), 0)
    names, group = np.unique([rows[row].group for row in some.tolist()], return_inverse=True)
    crowds, crowd = np.unique(held * len(names) + group[holder], return_counts=True)
    n = _gather(np.maximum, crowds // len(names), crowd, 0)
    limits = [(r.strength, r.free, r.cap or CROWD_MAX) for _, r in sorted(rules.items())]
    strength, free, cap = np.array([(0, 0, 0), *limits], np.int64)[code[one]].T
    delta = multiplicity_k * UNIT // (multiplicity_k + np.maximum(0, n - free))
    links = (n <= cap) & (np.bincount(held) <= CROWD_MAX)
    joins = (np.isin(code[one], _PERSONAL) & ((code[one] == NID) | (n <= free)))[held]
    joins &= _gather(np.maximum, at, verified, 0) > 0
    days = _gather(np.minimum, holders, first, _NEVER), _gather(np.maximum, holders, last, -_NEVER)
    columns = (accounts, accounts, platform[some], names[group], borne)
    return _Book(
        [RingMember(*one) for one in zip(*(column.tolist() for column in columns), strict=True)],
        group,
        np.stack(days),
        np.stack([tokens, code[one], strength * delta // UNIT]),
        np.stack([holder, held, joins])[:, links[held]],
    )


def _gather(how: np.ufunc, places: Ints, values: Ints, start: int) -> Ints:
    """Add values up by place, or keep the largest or smallest."""
    gathered = np.full(places.max() + 1, start)
    how.at(gathered, places, values)
    return gathered


def _merge(book: _Book, apart: Ints) -> Ints:
    """Give each account the place of its person's lowest account.

    Where a group sees too many of them, or some are separated, each counts by itself.
    """
    size = len(book.accounts)
    holder, held, joins = book.holdings
    ends = np.stack([holder, held + size])[:, joins > 0]
    labels = _label(ends, size + book.tokens.shape[1])[:size]
    _, lowest, labels = np.unique(labels, return_index=True, return_inverse=True)
    seen, crowd = np.unique(np.stack([labels, book.groups]), axis=1, return_counts=True)
    parted = labels[apart[0]][labels[apart[0]] == labels[apart[1]]]
    several = np.isin(labels, [*seen[0, crowd > PERSON_MAX], *parted])
    return np.where(several, np.arange(size), lowest[labels])


def _tie(book: _Book, holder: Ints, held: Ints, apart: Ints) -> Ints:
    """Project the bipartite graph of holders and tokens: tie those who share more than an address.

    *Shape*: four rows: the lower end, the higher end, λ, and the kinds but the address as bits.
    The best token of each kind counts, in table order and rounded as in the score.
    """
    size = len(book.accounts)
    level, of = np.unique(book.tokens[1, held] * UNIT + book.tokens[2, held], return_inverse=True)
    found = [np.empty(0, np.int64)]
    for at in range(len(level)):
        mine = of == at
        ends = (np.ones(mine.sum(), np.int32), (held[mine], holder[mine]))
        matrix = coo_array(ends, shape=(book.tokens.shape[1], size)).tocsr()
        pairs = triu(matrix.T @ matrix, 1).tocoo()
        found.append(pairs.row.astype(np.int64) * size + pairs.col)
    keys = np.sort(np.concatenate(found))
    keys = keys[np.diff(keys, prepend=-1) > 0]
    kinds, best = np.zeros(len(keys), np.int64), np.zeros((ADDR + 1, len(keys)), np.int64)
    for code, some in zip(level.tolist(), found[1:], strict=True):
        where = np.searchsorted(keys, some)
        kinds[where] |= (1 << code // UNIT) & ~(1 << ADDR)
        best[code // UNIT, where] = code % UNIT  # ever stronger
    rest = np.full(len(keys), UNIT)
    for strengths in best:
        rest = rest * (UNIT - strengths) // UNIT
    parted = np.isin(keys, [apart[0] * size + apart[1], apart[1] * size + apart[0]])
    return np.stack([keys // size, keys % size, UNIT - rest, kinds])[:, (kinds > 0) & ~parted]


def _label(ties: Ints, size: int) -> Ints:
    """Give the component of each place."""
    graph = coo_array((np.ones(ties.shape[1]), (ties[0], ties[1])), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _split(ties: Ints, size: int) -> Iterator[Ints]:
    """Give the ties of each component that has any."""
    labels = _label(ties, size)[ties[0]]
    order = np.argsort(labels, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    return (ties[:, part] for part in parts if len(part))


def _peel(ties: Ints, size: int, least: int) -> Ints:
    """Leave out, one after another, who is tied fewer than `least` times; each kind is a tie."""
    times = np.tile(np.bitwise_count(ties[3]).astype(np.int64), 2)
    ends = np.concatenate([ties[0], ties[1]]), np.concatenate([ties[1], ties[0]])
    matrix = coo_array((times, ends), shape=(size, size)).tocsr()
    left = matrix.sum(axis=1).tolist()
    starts, others, worth = matrix.indptr.tolist(), matrix.indices.tolist(), matrix.data.tolist()
    leaving = [at for at, number in enumerate(left) if 0 < number < least]
    for at in leaving:  # grows while it is read
        for edge in range(starts[at], starts[at + 1]):
            before = left[others[edge]]
            left[others[edge]] = before - worth[edge]
            if before >= least > left[others[edge]]:
                leaving.append(others[edge])
    stays = np.array(left) >= least
    return ties[:, stays[ties[0]] & stays[ties[1]]]


def _split_giants(ties: Ints, size: int) -> Ints:
    """Take the weakest quarter of the ties at a time from components too large to divide."""
    fitting, pending = [ties[:, :0]], [(ties, TIES_MIN)]
    while pending:
        some, least = pending.pop()
        for piece in _split(_peel(some, size, least), size):
            if len(np.unique(piece[:2])) <= PIECE_MAX:
                fitting.append(piece)
                continue
            weights = np.sort(piece[2])
            alike = weights[0] == weights[-1]
            floor = weights[0] if alike else max(weights[len(weights) // 4], weights[0] + 1)
            pending.append((piece[:, piece[2] >= floor], least + int(alike)))
    return np.concatenate(fitting, axis=1)


def _divide(ties: Ints, book: _Book, own: Mapping[int, list[int]]) -> Ints:
    """Give each person its community; where every two are tied there is nothing to divide."""
    community = np.arange(len(book.accounts))
    for piece in _split(ties, len(community)):
        persons = np.unique(piece[:2])
        complete = 2 * piece.shape[1] == len(persons) * (len(persons) - 1)
        for part in [persons] if complete else _communities(piece, book, own):
            community[part] = min(part)
    return community


def _communities(ties: Ints, book: _Book, own: Mapping[int, list[int]]) -> Iterator[list[int]]:
    """Divide by Louvain, and the parts again, since modularity overlooks small groups.

    Persons are taken in an order in which ids decide nothing: by what they bear and how they are
    tied (Weisfeiler and Leman).
    """
    graph = nx.Graph()
    graph.add_weighted_edges_from(ties[:3].T.tolist())
    for at in graph:
        borne = [(book.accounts[i].evidence, *book.days[:, i].tolist()) for i in own[at]]
        graph.nodes[at]["borne"] = sorted(borne)
    colours = nx.weisfeiler_lehman_subgraph_hashes(graph, "weight", "borne", _ROUNDS)
    ranked = sorted(graph, key=lambda at: (colours[at][-1], at))
    rank = {at: number for number, at in enumerate(ranked)}
    edges = [(*sorted((rank[a], rank[b])), weight) for a, b, weight in graph.edges(data="weight")]
    pending = [sorted(edges)]
    while pending:
        edges = pending.pop()
        graph = nx.Graph()
        graph.add_weighted_edges_from(edges)
        parts = nx.community.louvain_communities(graph, seed=_SEED)
        insides = [sorted(graph.subgraph(part).edges(data="weight")) for part in parts]
        cut = graph.size("weight") - sum(edge[2] for inside in insides for edge in inside)
        unclear = _CUT_PARTS * cut > graph.size("weight")
        if len(parts) == 1 or (unclear and len(graph) <= _UNCLEAR_MAX):
            yield [ranked[number] for number in graph]
        else:
            pending += filter(None, insides)


def _judge(ties: Ints, book: _Book, own: Mapping[int, list[int]], least: int) -> Ring | None:
    """Tell whether a community is a ring, and why."""
    low, high, _, kinds = ties.tolist()
    shares: dict[int, int] = {}
    for at, bits in zip([*low, *high], [*kinds, *kinds], strict=True):
        shares[at] = shares.get(at, 0) | bits
    persons, pairs = len(shares), len(shares) * (len(shares) - 1) // 2
    two_each = all(bits.bit_count() > 1 for bits in shares.values())
    pairwise = len(low) == pairs and all(bits.bit_count() > 1 for bits in kinds)
    on, by = Counter[int](), Counter[int]()
    for at in shares:
        spans = np.searchsorted(book.holdings[0], [own[at], [i + 1 for i in own[at]]]).T
        held = [i for start, stop in spans for i in book.holdings[1, start:stop].tolist()]
        on.update(held)
        by.update(set(held))
    home = any(book.tokens[1, i] == ADDR and by[i] == persons for i in by)
    household = home and persons <= HOUSEHOLD_MAX and not pairwise
    if persons < least or household or (persons < ONE_KIND_MIN and not two_each):
        return None
    tokens = [(*book.tokens[:2, i].tolist(), on[i]) for i in by if by[i] > 1]
    shared = [SharedIdentifier(i, Kind.from_code(code), accounts) for i, code, accounts in tokens]
    ones = book.accounts
    members = sorted(ones[i]._replace(person=ones[at].account) for at in shares for i in own[at])
    groups = len({one.group for one in members})
    first, last = book.days[:, [i for at in shares for i in own[at]]]
    dated = first.max() < _NEVER and last.min() > -_NEVER
    cores = nx.core_number(nx.Graph(zip(low, high, strict=True)))
    core_ties = max(cores.values())
    core = {ones[at].account for at in cores if cores[at] == core_ties}
    crowd = max((one.accounts for one in shared if one.kind is Kind.DEVICE), default=0)
    reasons = {
        RingReason.TWO_KINDS_EACH: two_each,
        RingReason.TWO_KINDS_PAIRWISE: pairwise,
        RingReason.MANY_PERSONS: persons >= ONE_KIND_MIN,
        RingReason.DENSE: 2 * len(low) >= pairs,
        RingReason.SEVERAL_GROUPS: groups > 1,
        RingReason.CROWDED_DEVICE: crowd >= CROWDED_DEVICE_MIN,
        RingReason.BURST: dated and last.max() - first.min() <= BURST_DAYS,
        RingReason.ONE_ADDRESS: home,
    }
    return Ring(
        members=tuple(members),
        shared=tuple(sorted(shared, key=lambda one: (-one.accounts, one.identifier))),
        persons=persons,
        platforms=len({one.platform for one in members}),
        groups=groups,
        evidence=sum(one.evidence for one in members),
        density_per_mille=1000 * len(low) // pairs,
        core_ties=core_ties,
        core=tuple(one.account for one in members if one.person in core),
        first_day=min((day for day in first.tolist() if day < _NEVER), default=None),
        last_day=max((day for day in last.tolist() if day > -_NEVER), default=None),
        reasons=tuple(reason for reason, holds in reasons.items() if holds),
    )
