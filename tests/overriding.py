"""What the tests of overrides share: three members, one buyer, one way to ask."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from exact import score_exactly, settle
from simulator import phone_and_device

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from simulator import Simulator

    from ledger.identity.identifier import IdentifierClaim
    from ledger.ledger import Ledger
    from ledger.risk.score import RiskScore

BUYER = phone_and_device("buyer")
PHONE, DEVICE = BUYER
DAY = timedelta(days=1)


@pytest.fixture
def shops(simulator: Callable[..., Simulator]) -> list[Simulator]:
    """Give three members of three groups."""
    return [simulator(f"shop-{name}") for name in "abc"]


def ask(
    ledger: Ledger, asker: Simulator, now: datetime, *tokens: IdentifierClaim, buyer: str = "asked"
) -> RiskScore:
    """Score a question exactly, once all that was stated is sequenced."""
    settle(ledger, now)
    return score_exactly(ledger, asker, asker.request(buyer, tokens or BUYER), now)
