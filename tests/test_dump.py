"""What a stolen database shows: lookup keys and ciphertext, and of nobody's identifiers anything.

The whole file is searched as it lies on the disk, freed pages and write-ahead log included, and on
both databases every value of every row.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from exact import settle
from kept import BUYER, hold
from simulator import Simulator, phone_and_device
from sqlalchemy import select

from ledger.identity.identifier import account_key, lookup_key, render_identifier
from ledger.store.engine import begin_read
from ledger.store.tables import METADATA

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from ledger.ledger import Ledger

THIRD = phone_and_device("third")


@pytest.fixture
def secrets_told(
    simulator: Callable[[str], Simulator], now: datetime
) -> tuple[Simulator, set[bytes]]:
    """Report, hold, take back and ask; give what was told and must not be found again."""
    shop = simulator("shop-a")
    sent = [shop.report("buyer", BUYER, now), shop.report("third", THIRD, now)]
    sent.append(hold(shop, now, until=now.replace(year=2027)))
    settle(shop.ledger, now)
    sent.append(shop.retract(sent[1], now))
    settle(shop.ledger, now)
    shop.ask("asked", (*BUYER, *THIRD), now)
    told = {b"acct-buyer", b"acct-third", b"acct-asked"}
    for one in sent:
        header, payload, signature = one.token.split(b".")
        told |= {one.token, payload, signature, header + b"." + payload[:40]}
        told.add(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
    for claim in (*BUYER, *THIRD):
        value = claim.identifier.value
        text = render_identifier(claim.identifier)
        told |= {value, value.hex().encode(), base64.b64encode(value), text.encode()}
        told.add(text.rpartition(".")[2].encode())
    return shop, told


def read_values(ledger: Ledger) -> bytes:
    """Read every value of every row, one after the other."""
    with begin_read(ledger.database) as connection:
        return b"\n".join(
            bytes(value) if isinstance(value, bytes) else str(value).encode()
            for table in METADATA.sorted_tables
            for row in connection.execute(select(table))
            for value in row
        )


def find_keys(shop: Simulator) -> set[bytes]:
    """Give the lookup keys that must be found, so that the search is known to search."""
    key = shop.ledger.keys.index_key
    return {
        account_key(key, shop.account("buyer")),
        *(lookup_key(key, claim.identifier) for claim in BUYER),
    }


def test_no_value_of_any_row_shows_a_token_a_pseudonym_or_a_statement(
    secrets_told: tuple[Simulator, set[bytes]],
) -> None:
    shop, told = secrets_told
    values = read_values(shop.ledger)
    assert [one for one in told if one in values] == []
    assert all(one in values for one in find_keys(shop))


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_no_byte_of_the_file_shows_a_token_a_pseudonym_or_a_statement(
    secrets_told: tuple[Simulator, set[bytes]], tmp_path: Path
) -> None:
    shop, told = secrets_told
    files = sorted(tmp_path.glob("ledger.sqlite3*"))
    assert {"ledger.sqlite3", "ledger.sqlite3-wal"} <= {one.name for one in files}
    dump = b"".join(one.read_bytes() for one in files)
    assert [one for one in told if one in dump] == []
    assert all(one in dump for one in find_keys(shop))
    shop.ledger.database.engine.dispose()  # the last connection writes the log back
    dump = (tmp_path / "ledger.sqlite3").read_bytes()
    assert [one for one in told if one in dump] == []
    assert all(one in dump for one in find_keys(shop))


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_ledger_s_secrets_are_in_no_representation_and_no_file(
    secrets_told: tuple[Simulator, set[bytes]], tmp_path: Path
) -> None:
    shop, _ = secrets_told
    keys = shop.ledger.keys
    secrets = [keys.log_key, keys.wrap_key, keys.index_key, keys.tag_key, shop.tag_key]
    secrets += [keys.event_key["d"].encode(), keys.access_key["d"].encode()]
    dump = b"".join(one.read_bytes() for one in tmp_path.glob("ledger.sqlite3*"))
    shown = repr(shop.ledger) + repr(keys)
    for secret in secrets:
        assert secret not in dump
        assert repr(secret)[2:-1] not in shown
