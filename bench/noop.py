"""The server under test with one more route, which is authenticated and then does nothing.

`/v1/nothing` passes the same gates as every other operation: the baseline of bench/query.py.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from api.app import OPERATIONS, create_app
from api.operation import Reply, operation
from api.rendering import Answer
from config.settings import load_environment, read_config
from ledger.ledger import open_ledger, parse_keys
from ledger.rights.jurisdiction import parse_profiles

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


settings = load_environment()
application = create_app(
    open_ledger(
        settings.database_url,
        parse_keys(**settings.require_keys()),
        parse_profiles(read_config("jurisdictions.toml")),
    ),
    public_url=settings.public_url,
    body_max_bytes=settings.body_max_bytes,
    operations=(*OPERATIONS, do_nothing),
)
gc.freeze()  # as wsgi.py does
