"""What was read of the tree and never changes again: full tiles, and the right edges of sizes.

It knows no table. Only proofs are made from it, which are verified before they leave, and only
reading transactions fill it; whoever signs, audits or exports reads the rows themselves.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

from ledger.log.tile import FULL_BYTES

if TYPE_CHECKING:
    from ledger.log.tile import Edge

TILES_BYTES_MAX = 64 * 2**20  # what proofs of a million entries need
EDGES_MAX = 8  # of some 16 KB a level each

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Recent(Generic[_Key, _Value]):
    """A map of bounded length that forgets what wasn't asked for longest."""

    def __init__(self, most: int) -> None:
        """Begin empty."""
        self._most = most
        self._kept: OrderedDict[_Key, _Value] = OrderedDict()
        self._lock = Lock()

    def find(self, key: _Key) -> _Value | None:
        """Find what is kept under a key."""
        with self._lock:
            value = self._kept.get(key)
            if value is not None:
                self._kept.move_to_end(key)
            return value

    def keep(self, key: _Key, value: _Value) -> None:
        """Keep a value under a key."""
        with self._lock:
            self._kept[key] = value
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()


class TreeCache:
    """Of one database what this process read last, full tiles and edges, and how far it signed."""

    def __init__(self) -> None:
        """Begin empty."""
        self.tiles: Recent[tuple[int, int], bytes] = Recent(TILES_BYTES_MAX // FULL_BYTES)
        self.edges: Recent[int, Edge] = Recent(EDGES_MAX)
        self.signed_size = 0  # the newest that this process signed, which it never forgets

    def clear(self) -> None:
        """Forget what was read."""
        self.tiles.clear()
        self.edges.clear()
