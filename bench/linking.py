"""How much one associative link alone tells, on a real bipartite graph whose labels are known.

It takes accounts, what they share and who was found bad, hides most labels at random, and scores
every hidden account by the product's formula with hub caps off: every bad account bears mass 1,
and n is an identifier's whole degree. A sample of each seed is scored by the product's own
functions too and must give the same integers. It knows nothing of what the identifiers are.
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
FRAUD, SAMPLE, AUC_LEAST = 1, 60, 0.64
GROUP = "everybody"


@dataclass(frozen=True)
class Town:
    """Who shares what: the identifiers of each account, the accounts on each, who is bad."""

    identifiers: list[Ints]
    accounts: list[Ints]
    bad: Bits


def load_town(path: Path) -> Town:
    """Read `edges` and `label` of an npz file.

    *Shape*: pairs of node numbers in two rows or two columns, once or in both directions; loops
    are left out. Accounts are numbered before identifiers; `label` is 1 for a bad account.
    """
    with np.load(path, allow_pickle=False) as file:
        edges, label = file["edges"].astype(np.int64), file["label"]
    ends = edges if edges.shape[0] < edges.shape[1] else edges.T
    low, high = np.unique(np.sort(ends, axis=0)[:, ends[0] != ends[1]], axis=1)
    first = int(high.min())
    if low.max() >= first:
        sys.exit("The edges aren't between accounts and identifiers numbered after them.")
    identifiers = [np.empty(0, np.int64)] * first
    for account, some in zip(*_group(low, high - first), strict=True):
        identifiers[account] = some
    accounts = [np.empty(0, np.int64)] * int(high.max() - first + 1)
    for identifier, some in zip(*_group(high - first, low), strict=True):
        accounts[identifier] = some
    return Town(identifiers, accounts, label[:first] == 1)


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
        help="an npz file with the arrays `edges` (pairs of node numbers, accounts numbered before "
        "what they share) and `label` (1 for a bad account): for example the Reddit user and "
        "subreddit graph of the PyGOD data sets, in which banned users are labelled",
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--known-per-cent", type=int, default=40, metavar="PERCENT")
    parser.add_argument("--kind", type=Kind, choices=list(Kind), default=Kind.DEVICE)
    chosen = parser.parse_args()
    if chosen.path is None:
        print("No graph was given: linking alone isn't measured.")
        return
    town = load_town(chosen.path)
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
    if fmean(columns[0]) < AUC_LEAST:
        sys.exit(f"The mean is below {AUC_LEAST}.")


if __name__ == "__main__":
    main()
