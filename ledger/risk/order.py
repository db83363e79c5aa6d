"""What an order is bound to, so that nobody probes a buyer's identifiers one by one."""

from __future__ import annotations

from ledger.errors import OrderConflict
from ledger.graph.link import split_claims


def check_order(bound: tuple[bytes, bytes], account: bytes, identifiers: bytes) -> None:
    """Check that an order is asked about with its own account and no fewer identifiers.

    The identifiers come with their bindings and buckets. *Raises*: OrderConflict.
    """
    if bound == (account, identifiers):
        return  # as nearly always
    if bound[0] != account:
        raise OrderConflict("The order commitment is bound to another account.")
    if not set(split_claims(bound[1])) <= set(split_claims(identifiers)):
        raise OrderConflict("The order commitment is bound to another identifier set.")
