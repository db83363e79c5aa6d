"""A receipt that is waited for: on PostgreSQL until the next publication, elsewhere not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Condition
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from kept import BUYER
from simulator import RemoteSimulator, Simulator
from sqlalchemy import event

from api.app import create_app
from ledger.log.receipt import verify_receipt
from ledger.sequencing import sequence
from ledger.store import waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from ledger.ledger import Ledger

POSTGRES = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
SQLITE = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
LONG = 20


@pytest.fixture
def shop(simulator: Callable[[str], Simulator]) -> Simulator:
    """Enrol a platform."""
    return simulator("shop-a")


@pytest.fixture
def fetch(
    ledger: Ledger, shop: Simulator, now: datetime
) -> Iterator[Callable[..., httpx.Response]]:
    """Fetch the receipt of an incident over the application, with a preference or none."""
    app = create_app(ledger, public_url=ledger.issuer, body_max_bytes=65_536, now=lambda: now)
    with httpx.Client(
        transport=httpx.WSGITransport(app=app), base_url="https://ledger.test"
    ) as http:
        access = RemoteSimulator(shop, http).get_access(now)

        def get(incident_id: str, prefer: str = "") -> httpx.Response:
            headers = access | {"Prefer": prefer}
            return http.get(f"/v1/incidents/{incident_id}/receipt", headers=headers)

        yield get


class Looks:
    """Counts how often the statements about an incident are looked at."""

    def __init__(self, ledger: Ledger) -> None:
        """Watch every statement of this ledger."""
        self._counted = Condition()
        self.number = 0
        engine = ledger.database.autocommit or ledger.database.engine
        event.listen(engine, "after_cursor_execute", self._watch)

    def _watch(self, *execution: Any) -> None:
        if "event.incident =" in execution[2]:
            with self._counted:
                self.number += 1
                self._counted.notify_all()

    def reach(self, number: int) -> bool:
        """Wait until it was looked so often."""
        with self._counted:
            return self._counted.wait_for(lambda: self.number >= number, LONG)


@POSTGRES
@pytest.mark.parametrize(
    "prefer", [f"wait={LONG}", f"respond-async, WAIT = {LONG} ; x", "wait=99999999"]
)
def test_receipt_is_given_with_the_publication_that_is_waited_for(
    ledger: Ledger,
    shop: Simulator,
    now: datetime,
    fetch: Callable[..., httpx.Response],
    prefer: str,
) -> None:
    sequence(ledger, now)
    sent = shop.send(shop.incident("buyer", BUYER, now), now)
    assert fetch(str(sent.incident_id)).status_code == 404
    looks = Looks(ledger)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(fetch, str(sent.incident_id), prefer)
        assert looks.reach(2), "once in vain, and once more when it listened"
        assert not answer.done()
        sequence(ledger, now)
        assert answer.result(LONG).status_code == 200
    receipt = answer.result().text
    verify_receipt(receipt, (ledger.verifier,), token=sent.token)


@POSTGRES
def test_waiting_ends_with_the_time_that_was_asked_for(
    shop: Simulator, now: datetime, fetch: Callable[..., httpx.Response]
) -> None:
    sent = shop.send(shop.incident("buyer", BUYER, now), now)
    answer = fetch(str(sent.incident_id), "wait=1")
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (
        404,
        "receipt-unpublished",
    )
    assert answer.headers["Retry-After"]


@POSTGRES
def test_who_finds_all_places_taken_is_told_to_come_again(
    ledger: Ledger, shop: Simulator, now: datetime, fetch: Callable[..., httpx.Response]
) -> None:
    sent = shop.send(shop.incident("buyer", BUYER, now), now)
    looks = Looks(ledger)
    with ThreadPoolExecutor(2) as pool:
        first = [pool.submit(fetch, str(sent.incident_id), f"wait={LONG}") for _ in range(2)]
        assert looks.reach(4)
        assert fetch(str(sent.incident_id), f"wait={LONG}").status_code == 404
        assert not any(one.done() for one in first)
        sequence(ledger, now)
        assert [one.result(LONG).status_code for one in first] == [200, 200]
    assert fetch(str(sent.incident_id), f"wait={LONG}").status_code == 200


@POSTGRES
@pytest.mark.parametrize("prefer", ["wait", "wait=-1", "wait=soon", "awaits=9", "wait=9x"])
def test_preference_that_cannot_be_read_is_none(
    ledger: Ledger,
    shop: Simulator,
    now: datetime,
    fetch: Callable[..., httpx.Response],
    prefer: str,
) -> None:
    sent = shop.send(shop.incident("buyer", BUYER, now), now)
    looks = Looks(ledger)
    assert fetch(str(sent.incident_id), prefer).status_code == 404
    assert looks.number == 1


@SQLITE
def test_nobody_waits_where_nobody_is_told(ledger: Ledger) -> None:
    assert list(waiting.stream_publications(ledger.database, LONG)) == []
