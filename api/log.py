"""The public log over HTTP: its newest checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.operation import Reply, operation
from api.rendering import TEXT, render_text
from ledger.errors import ReceiptUnpublished
from ledger.proving import latest_checkpoint

if TYPE_CHECKING:
    from api.operation import Call
    from api.rendering import Answer
    from ledger.ledger import Ledger


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
