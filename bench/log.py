"""The log alone, against pymerkle 7.0 and against hashlib's own speed, in the same run.

CPU time of this process, for `--entries` random entries of 80 bytes: hashing and integrating them,
proving inclusion from a database, verifying. Then durable appends on PostgreSQL
(`bench/appending.py`), in turns.

pymerkle is under the GPL and no dependency of anything here. It is measured where it is installed:
`.venv/bin/pip install pymerkle==7.0.0`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import random
import secrets
import time
from typing import TYPE_CHECKING, Any

from appending import append, measure_appends
from ground import create_secrets, describe_machine, found_ledger, open_database

from ledger.log.merkle import (
    extend_frontier,
    frontier_root,
    grow,
    leaf_hash,
    leaf_hashes,
    verify_inclusion,
)
from ledger.log.tile import cut_tiles
from ledger.store import entries as stored
from ledger.store.engine import begin_read, begin_write
from ledger.store.tree_cache import TreeCache
from ledger.tiling import read_edge, recall_inclusion

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_STEP = 10_000


def spend(work: Callable[[], object]) -> float:
    """Give the CPU seconds of some work, the best of three."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


def hash_bare(entries: Sequence[bytes]) -> float:
    """Give what hashlib alone takes for as many hashes of the same lengths."""
    leaves = [b"\x00" + one for one in entries]
    nodes = [b"\x01" + secrets.token_bytes(64) for _ in range(1000)]
    sha256 = hashlib.sha256

    def work() -> None:
        for one in leaves:
            sha256(one).digest()
        for _ in range(len(leaves) // len(nodes)):
            for one in nodes:
                sha256(one).digest()

    return spend(work)


def integrate(entries: Sequence[bytes]) -> None:
    """Hash entries and integrate them in batches as the sequencer's are: frontier and tiles."""
    size, frontier = 0, b""
    for begin in range(0, len(entries), _STEP):
        hashes = leaf_hashes(entries[begin : begin + _STEP])
        grown, rows = grow(size, frontier, hashes)
        for _ in cut_tiles(size, rows):
            pass
        size, frontier = size + len(hashes), grown


def measure_hashing(entries: Sequence[bytes], rival: Any) -> Any:  # noqa: ANN401 - an optional library
    """Measure hashing with integrating; give the rival's tree."""
    count = len(entries)
    bound, ours = hash_bare(entries), spend(lambda: integrate(entries))
    rates = f"ours {count / ours / 1e3:7.0f} k/s   hashlib alone {count / bound / 1e3:7.0f} k/s"
    print(f"hash + integrate   {rates}   ours / hashlib {bound / ours:.2f}")
    if rival is None:
        return None
    tree = rival.InmemoryTree(algorithm="sha256")
    started = time.process_time()
    for one in entries:
        tree.append_entry(one)
    theirs = time.process_time() - started
    assert tree.get_root() == root_of(entries), "both build the tree of RFC 6962"  # noqa: S101
    rate = f"pymerkle {count / theirs / 1e3:7.0f} k/s"
    print(f"                   {rate}   ours / pymerkle {theirs / ours:.1f}")
    return tree


def root_of(entries: Sequence[bytes]) -> bytes:
    """Give the root over entries."""
    return frontier_root(len(entries), extend_frontier(0, b"", leaf_hashes(entries)))


def measure_proofs(entries: Sequence[bytes], tree: Any, proofs: int) -> None:  # noqa: ANN401
    """Measure proofs of inclusion out of SQLite, and their verification."""
    chosen = random.Random(1)  # noqa: S311 - which entries are asked for is no secret
    with open_database("sqlite") as url, found_ledger(url, create_secrets()) as ledger:
        for begin in range(0, len(entries), _STEP):
            with begin_write(ledger.database) as connection:
                append(connection, entries[begin : begin + _STEP])
        with begin_read(ledger.database) as connection:
            size = stored.read_state(connection).size
            indexes = [chosen.randrange(size - len(entries), size) for _ in range(proofs)]
            edge = read_edge(connection, size)

            def prove(cache: TreeCache, chosen: Sequence[int]) -> list[list[bytes]]:
                return [recall_inclusion(connection, cache, edge, one) for one in chosen]

            cache = TreeCache()
            started = time.process_time()
            made = prove(cache, indexes)
            first = time.process_time() - started
            ours = spend(lambda: prove(cache, indexes))
            few = proofs // 20
            alone = spend(lambda: [prove(TreeCache(), [one]) for one in indexes[:few]])
            edges = spend(lambda: [read_edge(connection, size) for _ in range(few)])
        hashes = [leaf_hash(entries[index - size + len(entries)]) for index in indexes]
        root = edge.root_hash
        cases = list(zip(hashes, indexes, made, strict=True))

        def verify() -> None:
            for hashed, index, proof in cases:
                verify_inclusion(hashed, index, size, proof, root)

        verified = spend(verify)
    print(f"inclusion          ours {proofs / ours / 1e3:7.1f} k/s warm")
    read = f"first time {proofs / first / 1e3:.1f}, no tile kept {few / alone / 1e3:.1f}"
    print(f"                   {read}, nor the edge {few / (alone + edges) / 1e3:.2f} k/s")
    print(f"verify             ours {proofs / verified / 1e3:7.1f} k/s")
    if tree is None:
        return
    rival = importlib.import_module("pymerkle")
    picked = [chosen.randrange(1, len(entries) + 1) for _ in range(few)]
    theirs = spend(lambda: [tree.prove_inclusion(one) for one in picked]) / few  # warm at the end
    shown = [(tree.get_leaf(one), tree.prove_inclusion(one)) for one in picked]
    top = tree.get_root()
    checked = spend(lambda: [rival.verify_inclusion(leaf, top, proof) for leaf, proof in shown])
    rate, ratio = f"{1 / theirs / 1e3:7.2f} k/s warm", theirs * proofs / ours
    print(f"inclusion          pymerkle {rate}   ours / pymerkle {ratio:.1f}")
    rate, ratio = f"{few / checked / 1e3:7.1f} k/s", checked / few * proofs / verified
    print(f"verify             pymerkle {rate}   ours / pymerkle {ratio:.1f}")


def main() -> None:
    """Measure everything and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--proofs", type=int, default=20_000)
    parser.add_argument("--appends", type=int, default=4_000, help="of each kind, in each turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--interval", type=float, default=0.1)
    chosen = parser.parse_args()
    print(describe_machine())
    try:
        rival = importlib.import_module("pymerkle")
    except ImportError:
        rival = None
        print("pymerkle isn't installed: .venv/bin/pip install pymerkle==7.0.0")
    entries = [secrets.token_bytes(80) for _ in range(chosen.entries)]
    tree = measure_hashing(entries, rival)
    measure_proofs(entries, tree, chosen.proofs)
    measure_appends(chosen.appends, chosen.writers, chosen.interval, chosen.turns)


if __name__ == "__main__":
    main()
