"""What a ledger does by its jurisdiction: what it takes, what it answers, how long it holds.

The kind of database doesn't matter here, so everything runs on one.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from simulator import Simulator, phone_and_device
from sqlalchemy import select

from ledger.activating import activate_due
from ledger.errors import InvalidIdentifier, NotOffered
from ledger.identity.identifier import Binding, Bucket, Identifier, IdentifierClaim, Kind
from ledger.store import tables
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.ledger import Ledger

DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
# RFC 9496 §A.1: the generator of ristretto255, which is a token that an evaluator could give.
GENERATOR = bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76")
SQLITE = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


def _blinded(epoch: int, value: bytes = GENERATOR) -> IdentifierClaim:
    return IdentifierClaim(Identifier(Kind.PHONE, epoch, value), Binding.OTP, None, Bucket.ONE)


@pytest.fixture
def shop_in_china(found_ledger: Callable[[str], Ledger], now: datetime) -> Simulator:
    """Give a platform of a ledger under the profile of mainland China."""
    shop = Simulator(found_ledger("CN"), "shop-a")
    shop.enrol(now)
    return shop


@SQLITE
def test_ledger_of_facts_alone_answers_no_score_and_records_nobody(
    shop_in_china: Simulator, now: datetime
) -> None:
    with pytest.raises(NotOffered):
        shop_in_china.ask("buyer", [_blinded(1)], now)
    with begin_read(shop_in_china.ledger.database) as connection:
        for table in (tables.assessment, tables.assessed_order):
            assert connection.execute(select(table)).all() == []


@SQLITE
def test_ledger_of_a_real_jurisdiction_takes_blinded_identifiers_and_no_demo_ones(
    shop_in_china: Simulator, now: datetime
) -> None:
    odd = _blinded(1, b"\x01" + GENERATOR[1:])
    for identifiers in (
        phone_and_device("buyer"),
        [_blinded(0)],
        [_blinded(1), *phone_and_device("buyer")],
        [odd],
    ):
        with pytest.raises(InvalidIdentifier):
            shop_in_china.report("buyer", identifiers, now)
    sent = shop_in_china.report("buyer", [_blinded(1)], now)
    assert shop_in_china.look_up(sent.incident_id, now).state == "active"


@SQLITE
def test_sandbox_takes_demo_identifiers_and_no_others(
    simulator: Callable[[str], Simulator], now: datetime
) -> None:
    shop = simulator("shop-a")
    for identifiers in ([_blinded(1)], [*phone_and_device("buyer"), _blinded(7)]):
        with pytest.raises(InvalidIdentifier):
            shop.report("buyer", identifiers, now)
        with pytest.raises(InvalidIdentifier):
            shop.ask("buyer", identifiers, now)
    assert shop.report("buyer", phone_and_device("buyer"), now).incident_id


@SQLITE
def test_incident_in_china_is_held_until_midnight_in_shanghai(
    shop_in_china: Simulator, now: datetime
) -> None:
    honest = shop_in_china.incident("buyer", [_blinded(1)], now)
    assert honest.notice is not None
    sent_at = now - 5 * DAY
    notice = replace(honest.notice, sent_at=sent_at, response_until=sent_at + 15 * DAY)
    sent = shop_in_china.send(replace(honest, notice=notice), now)
    seen = shop_in_china.look_up(sent.incident_id, now)
    assert seen.state == "held"
    midnight = datetime(2026, 12, 3, tzinfo=ZoneInfo("Asia/Shanghai"))
    assert seen.active_from == midnight
    assert activate_due(shop_in_china.ledger, midnight - TICK) == 0
    assert activate_due(shop_in_china.ledger, midnight) == 1
    assert shop_in_china.look_up(sent.incident_id, midnight).state == "active"
