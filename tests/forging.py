"""Tokens made by hand, where our own signer would refuse, who gets them, and that nothing is kept.

Everything is signed with real keys. It knows how an honest token looks and how to change one
thing in it.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from conftest import clone_database, founded
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from reports import NOW
from simulator import Simulator, create_keys, phone_and_device
from sqlalchemy import func, select

from ledger.errors import LedgerError
from ledger.identity.key import encode_base64url, load_private
from ledger.incident.rendering import render_event
from ledger.store import entries, tables
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from ledger.ledger import Ledger
    from ledger.rights.jurisdiction import JurisdictionProfile

GONE = object()  # as a change: the member is left out
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
SECRET = "mallory"  # part of the account's pseudonym: no refusal may repeat it


def sign_bytes(private: Mapping[str, str], message: bytes) -> bytes:
    """Sign as JWS does: 64 bytes for either algorithm (RFC 7518 §3.4, RFC 8037 §3.1)."""
    key = load_private(private)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message)
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


def seal(private: Mapping[str, str], header: bytes, payload: bytes) -> bytes:
    """Make a compact JWS from exact bytes."""
    message = f"{encode_base64url(header)}.{encode_base64url(payload)}".encode()
    return seal_text(private, message)


def seal_text(private: Mapping[str, str], message: bytes) -> bytes:
    """Sign the text of a header and a payload, whatever it is."""
    return message + b"." + encode_base64url(sign_bytes(private, message)).encode()


def with_spare_bits(token: bytes) -> bytes:
    """Set the bits that base64url of 64 bytes leaves unused: another text of the same signature."""
    return token[:-1] + ALPHABET[ALPHABET.index(token[-1]) | 1 :][:1]


def dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def honest_header(shop: Simulator) -> dict[str, Any]:
    return {"typ": "secevent+jwt", "alg": shop.key[1].value, "kid": shop.kid}


def honest_claims(shop: Simulator, at: datetime) -> dict[str, Any]:
    report = shop.incident(SECRET, phone_and_device(SECRET), at)
    return render_event(report, shop.ledger.issuer)


def change(members: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Replace members; a function is given the old value, GONE leaves the member out."""
    changed = dict(members)
    for name, value in changes.items():
        changed[name] = value(members[name]) if callable(value) else value
    return {name: value for name, value in changed.items() if value is not GONE}


def honest_payload(shop: Simulator, at: datetime) -> bytes:
    return dump(honest_claims(shop, at))


def honest_token(shop: Simulator, at: datetime) -> bytes:
    return seal(shop.private_jwk, dump(honest_header(shop)), honest_payload(shop, at))


def forge(
    shop: Simulator, at: datetime, header: dict[str, Any], sign: Callable[[bytes], bytes]
) -> bytes:
    """Make a token whose signature is made by a function."""
    parts = [dump(honest_header(shop) | header), honest_payload(shop, at)]
    message = ".".join(map(encode_base64url, parts)).encode()
    return message + b"." + encode_base64url(sign(message)).encode()


def count_kept(ledger: Ledger) -> tuple[int, int, int]:
    """Count what a statement would leave behind: events, contents, log entries."""
    with begin_read(ledger.database) as connection:
        events, contents = (
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (tables.event, tables.event_content)
        )
        return events, contents, entries.read_state(connection).size


@contextmanager
def refused(ledger: Ledger, error: type[LedgerError]) -> Iterator[None]:
    """Expect exactly this refusal, nothing kept, and nobody's pseudonym in its words."""
    before = count_kept(ledger)
    with pytest.raises(LedgerError) as caught:
        yield
    assert type(caught.value) is error
    assert count_kept(ledger) == before
    assert SECRET not in f"{caught.value.detail}{caught.value.faults}"


@pytest.fixture
def backend() -> str:
    """Judge tokens on SQLite alone: a file takes this over by `backend = forging.backend`."""
    return "sqlite"


@pytest.fixture(scope="module")
def victim(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    profiles: Mapping[str, JurisdictionProfile],
    policy_text: str,
) -> Iterator[Simulator]:
    """Enrol a platform at a ledger that many refusals share, since none of them leaves a trace."""
    with (
        clone_database("sqlite", request, tmp_path_factory.mktemp("victim")) as url,
        founded(url, create_keys(), profiles, policy_text, NOW) as ledger,
    ):
        shop = Simulator(ledger, "shop-a")
        shop.enrol(NOW)
        yield shop
