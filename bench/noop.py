"""The server under test with one more route, which is authenticated and then does nothing.

`/v1/nothing` passes the same gates as every other operation: the baseline of bench/query.py.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import wsgi
from api.app import OPERATIONS, create_app
from api.operation import Reply, operation
from api.rendering import Answer

if TYPE_CHECKING:
    from api.operation import Call
    from ledger.ledger import Ledger


@operation(
    "GET",
    "/v1/nothing",
    tag="About",
    scope="risk:read",
    replies=(Reply(204, "Nothing.", media_type=None),),
)
def do_nothing(ledger: Ledger, call: Call[None]) -> Answer:
    """Do nothing."""
    del ledger, call
    return Answer(204)


application = create_app(
    wsgi.ledger,
    public_url=wsgi.public_url,
    body_max_bytes=wsgi.settings.body_max_bytes,
    operations=(*OPERATIONS, do_nothing),
)
gc.freeze()  # as wsgi.py does
