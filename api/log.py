"""The public log over HTTP, for tools that never heard of this ledger (C2SP tlog-tiles).

Its newest checkpoint, and the tiles and entries of published sizes, which never change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.operation import Reply, operation
from api.rendering import TEXT, Answer, render_text
from ledger.errors import NotFound, ReceiptUnpublished, UnknownTile
from ledger.log.tile import LEVEL_PATTERN, PATH_PATTERN, TileAddress, parse_path
from ledger.proving import latest_checkpoint, read_bundle, read_tile

if TYPE_CHECKING:
    from api.operation import Call
    from ledger.ledger import Ledger

_BYTES = "application/octet-stream"
_FOR_EVER = "public, max-age=31536000, immutable"


@operation(
    "GET",
    "/log/checkpoint",
    tag="Log",
    scope=None,
    replies=(Reply(200, "A signed note (C2SP tlog-checkpoint).", media_type=TEXT),),
    errors=(ReceiptUnpublished,),
    cache="no-cache",
)
def read_checkpoint(ledger: Ledger, call: Call[None]) -> Answer:
    """Fetch the log's newest published checkpoint."""
    del call
    return render_text(latest_checkpoint(ledger))


@operation(
    "GET",
    "/log/tile/{level}/{+tile}",
    tag="Log",
    scope=None,
    patterns={"level": LEVEL_PATTERN, "tile": PATH_PATTERN},
    replies=(Reply(200, "Hashes of 32 bytes, one after the other.", media_type=_BYTES),),
    errors=(UnknownTile,),
    cache=_FOR_EVER,
)
def read_log_tile(ledger: Ledger, call: Call[None]) -> Answer:
    """Fetch a tile of the tree (C2SP tlog-tiles).

    `tile` is its index in groups of three digits, `x001/x234/067`, and `.p/W` behind it for a
    partial one of W hashes, which is there for every published size and for no other. The slashes
    are parts of the path.
    """
    index, width = _parse(call.path["tile"])
    return Answer(
        200, read_tile(ledger, TileAddress(int(call.path["level"]), index, width)), _BYTES
    )


@operation(
    "GET",
    "/log/tile/entries/{+tile}",
    tag="Log",
    scope=None,
    patterns={"tile": PATH_PATTERN},
    replies=(Reply(200, "Entries, a 16-bit big-endian length before each.", media_type=_BYTES),),
    errors=(UnknownTile,),
    cache=_FOR_EVER,
)
def read_log_entries(ledger: Ledger, call: Call[None]) -> Answer:
    """Fetch the entries under a tile of level 0 (C2SP tlog-tiles).

    `tile` is as for the tile itself.
    """
    return Answer(200, read_bundle(ledger, *_parse(call.path["tile"])), _BYTES)


def _parse(path: str) -> tuple[int, int]:
    parsed = parse_path(path)
    if parsed is None:
        raise NotFound("There is no such thing.")
    return parsed
