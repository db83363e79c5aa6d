"""How much one associative link alone tells, on a real graph whose labels are known.

It takes accounts, what they share and who was found bad, hides most labels at random, and scores
every hidden account by the product's formula with hub caps off: every bad account bears mass 1,
and n is an identifier's whole degree. A sample of each seed is scored by the product's own
functions too and must give the same integers. It knows nothing of what the identifiers are.
Where the nodes of a graph aren't accounts first and identifiers then, each node is an identifier
of its neighbours and of itself: accounts are linked by a shared neighbour, or directly.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import numpy as np
from exact import POLICY

from ledger.graph.link import Presented
from ledger.graph.neighbourhood import (
    Bearer,
    Evidence,
    Neighbourhood,
    SharedKind,
    build_neighbourhood,
)
from ledger.graph.posting import UNIT, Multiplicity, Posting, forward_mass
from ledger.identity.identifier import Kind
from ledger.risk.fading import fade, saturate
from ledger.risk.score import weigh_links

if TYPE_CHECKING:
    from ledger.risk.policy import RiskPolicy

Ints = np.typing.NDArray[np.int64]
Bits = np.typing.NDArray[np.bool_]
FRAUD, SAMPLE = 1, 60
GRAPH_PLACE = "../shared/data/reddit_bans.npz"  # beside the repository
GRAPH, AUC_LEAST = Path(__file__).parent.parent / GRAPH_PLACE, 0.64
GROUP = "everybody"


@dataclass(frozen=True)
class Town:
    """Who shares what: the identifiers of each account, the accounts on each, who is bad."""

    identifiers: list[Ints]
    accounts: list[Ints]
    bad: Bits


def load_town(path: Path) -> Town:
    """Read `edges` and `label` of an npz file.

    *Shape*: pairs of node numbers from 0 in two rows or two columns, undirected, once or more
    often; loops are left out. `label` is 1 for a bad account, negative for a node that is none;
    nodes beyond the last label are none either.
    """
    with np.load(path, allow_pickle=False) as file:
        edges, label = file["edges"].astype(np.int64), file["label"].astype(np.int64)
    if edges.ndim != 2 or 2 not in edges.shape:  # noqa: PLR2004 - both ends of an edge
        sys.exit("`edges` has neither two rows nor two columns.")
    ends = edges if edges.shape[0] == 2 else edges.T  # noqa: PLR2004
    low, high = np.unique(np.sort(ends, axis=0)[:, ends[0] != ends[1]], axis=1)
    if not len(low) or low[0] < 0:
        sys.exit("`edges` names no two nodes, or one below 0.")
    first, nodes = int(high.min()), int(high.max()) + 1
    if low.max() < first and not (label[first:] == 1).any():
        return _build_town(low, high - first, nodes - first, label[:first] == 1)
    is_account = np.zeros(nodes, np.bool_)
    is_account[: len(label)] = label[:nodes] >= 0
    own = np.arange(nodes)
    accounts, identifiers = np.concatenate([(low, high), (high, low), (own, own)], axis=1)
    pairs = is_account[accounts]
    number = np.cumsum(is_account) - 1
    bad = label[:nodes][is_account[: len(label)]] == 1
    return _build_town(number[accounts[pairs]], identifiers[pairs], nodes, bad)


def _build_town(accounts: Ints, identifiers: Ints, size: int, bad: Bits) -> Town:
    """Build a town from who has what, of so many identifiers."""
    ours = [np.empty(0, np.int64)] * len(bad)
    for account, some in zip(*_group(accounts, identifiers), strict=True):
        ours[account] = some
    on = [np.empty(0, np.int64)] * size
    for identifier, some in zip(*_group(identifiers, accounts), strict=True):
        on[identifier] = some
    return Town(ours, on, bad)


def _group(keys: Ints, values: Ints) -> tuple[list[int], list[Ints]]:
    order = np.lexsort((values, keys))
    names, starts = np.unique(keys[order], return_index=True)
    return names.tolist(), np.split(values[order], starts[1:])


def hide_labels(town: Town, seed: int, known_per_cent: int) -> Bits:
    """Draw the accounts whose labels are known."""
    size = len(town.bad)
    known = np.zeros(size, np.bool_)
    known[np.random.default_rng(seed).permutation(size)[: size * known_per_cent // 100]] = True
    return known


def without_caps(policy: RiskPolicy) -> RiskPolicy:
    """Give a policy under which nothing is a hub."""
    kinds = {code: rule._replace(cap=None) for code, rule in policy.kinds.items()}
    return replace(policy, kinds=kinds)


def associate(town: Town, seen: Bits, policy: RiskPolicy, kind: Kind, *, best: bool) -> Ints:
    """Give H_L of every account from the bad accounts seen.

    *Shape*: λ multiplies over all identifiers that are shared, or takes the `best` alone, as the
    product does within one kind.
    """
    rule, k = policy.kinds[kind.code], policy.multiplicity_k
    degrees = np.array([len(some) for some in town.accounts])
    strengths = rule.strength * (k * UNIT // (k + np.maximum(0, degrees - rule.free))) // UNIT
    borne = policy.reliability(0, 0) * saturate(2 * UNIT, UNIT) // UNIT
    x = np.zeros(len(seen), np.int64)
    for account in np.flatnonzero(seen).tolist():
        rest = np.full(len(seen), UNIT)
        for identifier in town.identifiers[account].tolist():
            on, left = town.accounts[identifier], UNIT - strengths[identifier]
            rest[on] = np.minimum(rest[on], left) if best else rest[on] * left // UNIT
        weight = (UNIT - rest) * borne // (2 * UNIT)
        weight[account] = 0
        x += weight
    cap = UNIT // 3  # all links share one kind
    return cap * x // (cap + x)


def associate_exactly(
    town: Town, seen: Bits, policy: RiskPolicy, kind: Kind, asked: int, *, best: bool
) -> int:
    """Give H_L of one account by the product's own functions."""
    day = policy.epoch_day
    mass = forward_mass(UNIT, day, policy.half_lives[FRAUD], policy.epoch_day)
    own = town.identifiers[asked].tolist()

    def post(account: int, key: bytes) -> Posting:
        at = (key, kind.code, account, 1, GROUP, FRAUD, mass, 1)
        return Posting(*at, 0, 0, 0, day, day, 0, 0)

    if best:
        keys = {identifier: identifier.to_bytes(8, "big") for identifier in own}
        postings = [
            post(account, key)
            for identifier, key in keys.items()
            for account in town.accounts[identifier][seen[town.accounts[identifier]]].tolist()
        ]
        numbers = [
            Multiplicity(key, kind.code, len(town.accounts[identifier]) - 1, 1, GROUP, 0, 1)
            for identifier, key in keys.items()
        ]  # the asker counts itself
        presented = [Presented(key, kind.code, 0, 0) for key in keys.values()]
        evidence = Evidence(0, policy.version, postings, numbers)
        around = build_neighbourhood(b"asker", GROUP, presented, evidence, policy.kinds)
    else:
        shared: dict[int, list[SharedKind]] = {}
        for identifier in own:
            on = town.accounts[identifier]
            for account in on[seen[on]].tolist():
                shared.setdefault(account, []).append(SharedKind(kind.code, len(on)))
        bearers = [
            Bearer(account, 1, GROUP, [post(account, b"")], tuple(some), has_nid=False)
            for account, some in sorted(shared.items())
        ]
        around = Neighbourhood(None, (), tuple(bearers), ())
    return weigh_links(fade(around, policy), day)[1]


def measure_auc(scores: Ints, bad: Bits) -> float:
    """Give the chance that a bad account scores above another one, ties counting half."""
    _, at, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[at]
    positive = int(bad.sum())
    if not 0 < positive < len(bad):
        sys.exit("The accounts whose labels are hidden are all bad, or none is.")
    above = float(ranks[bad].sum()) - positive * (positive + 1) / 2
    return above / (positive * (len(bad) - positive))


def measure(town: Town, seed: int, known_per_cent: int, kind: Kind) -> tuple[float, float, float]:
    """Measure one seed: by every identifier shared, by the best, by how many there are."""
    policy = without_caps(POLICY)
    known = hide_labels(town, seed, known_per_cent)
    seen, hidden = known & town.bad, np.flatnonzero(~known)
    found = []
    for best in (False, True):
        weights = associate(town, seen, policy, kind, best=best)
        for asked in np.random.default_rng(seed).choice(hidden, SAMPLE).tolist():
            exact = associate_exactly(town, seen, policy, kind, asked, best=best)
            if exact != weights[asked]:
                sys.exit(f"The product gives account {asked} {exact}, not {weights[asked]}.")
        found.append(measure_auc(weights[hidden], town.bad[hidden]))
    degrees = np.array([len(some) for some in town.identifiers])
    return found[0], found[1], measure_auc(degrees[hidden], town.bad[hidden])


def main() -> None:
    """Measure every seed, and print the mean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "path",
        type=Path,
        nargs="?",
        help="an npz file with the arrays `edges` (pairs of node numbers; where accounts are "
        "numbered before what they share, those are its identifiers, else each node is one of its "
        "neighbours and itself) and `label` (1 for a bad account); without it the Reddit user and "
        "subreddit graph of the PyGOD data sets, in which banned users are labelled, where it lies "
        f"at {GRAPH_PLACE}",
    )
    parser.add_argument("--least", type=float, metavar="AUC", help="exit 1 below this mean")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--known-per-cent", type=int, default=40, metavar="PERCENT")
    parser.add_argument("--kind", type=Kind, choices=list(Kind), default=Kind.DEVICE)
    chosen = parser.parse_args()
    path = chosen.path or GRAPH
    if chosen.path is None and not path.is_file():
        print(f"There is no graph at {GRAPH_PLACE}, and none was given: linking isn't measured.")
        return
    is_known = path.exists() and GRAPH.exists() and path.samefile(GRAPH)
    least = AUC_LEAST if chosen.least is None and is_known else chosen.least
    town = load_town(path)
    print(
        f"{len(town.identifiers)} accounts, {int(town.bad.sum())} of them bad, on "
        f"{len(town.accounts)} identifiers; {chosen.known_per_cent} % of the labels known; "
        f"each identifier a {chosen.kind}"
    )
    rows = [measure(town, seed, chosen.known_per_cent, chosen.kind) for seed in range(chosen.seeds)]
    line = "{:<8} ROC AUC {:.4f}   best identifier alone {:.4f}   their number alone {:.4f}"
    for seed, row in enumerate(rows):
        print(line.format(f"seed {seed}", *row))
    columns = list(zip(*rows, strict=True))
    print(line.format("mean", *map(fmean, columns)))
    if len(rows) > 1:
        print(line.format("spread", *map(stdev, columns)))
    if least is not None and fmean(columns[0]) < least:
        sys.exit(f"The mean is below {least}.")


if __name__ == "__main__":
    main()
