"""What a member does without a connection: questions, commitments, receipts and their standing.

Receipts are a real ledger's. Statuses are signed here with that ledger's key, or with another, so
that each can be of any age and say anything.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT
from pydantic import TypeAdapter
from reports import claim
from sandbox import environment, log_jwk
from simulator import phone_and_device

from api.questions import RiskAssessmentRequest
from ledger.errors import InvalidInput, InvalidNote, InvalidReceipt, InvalidToken
from ledger.identity.identifier import AccountRef, Binding, Bucket, Kind
from ledger.identity.key import Algorithm, generate_signing_jwk
from ledger.identity.token import ACKNOWLEDGEMENT_TYPE, STATUS_TYPE, sign_token
from ledger.incident.incident import Money
from ledger.log.note import signer_from_seed
from ledger.risk.advice import Purpose
from ledger_client.client import Client
from ledger_client.question import Question, commit_order, render_question
from ledger_client.receipt import issuer_of, verify_acknowledgement, verify_standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator import Simulator

    from ledger.ledger import Ledger
    from ledger_client.receipt import Standing

DAY = date(2026, 11, 22)
KEY = generate_signing_jwk(Algorithm.ED25519)
VKEY = signer_from_seed("ledger.example/log", bytes(range(32))).vkey
ONLY_SQLITE = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


# --- Questions ------------------------------------------------------------------------------


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Compute an HMAC step by step (RFC 2104 §2)."""
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()


@pytest.mark.parametrize("salt", [b"salt", bytes(32), b"s" * 65])
def test_order_commitment_is_an_hmac_over_order_account_and_day(salt: bytes) -> None:
    digest = hmac_sha256(salt, "订单-1\0acct_91\0".encode() + b"2026-11-22")
    text = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    made = commit_order(salt, order="订单-1", account="acct_91", day=DAY)
    assert made == f"hmac-sha-256:{text}"


def test_order_commitment_differs_where_anything_differs() -> None:
    asked: dict[str, Any] = {"order": "12", "account": "3", "day": DAY}
    changes: tuple[dict[str, Any], ...] = (
        {},
        {"order": "1", "account": "23"},
        {"order": "123", "account": ""},
        {"day": DAY + timedelta(days=1)},
    )
    made = {commit_order(b"salt", **(asked | change)) for change in changes}
    made.add(commit_order(b"other salt", **asked))
    assert len(made) == len(changes) + 1
    for change in ({"order": "1\0" + "2"}, {"account": "\0"}):
        with pytest.raises(InvalidInput):
            commit_order(b"salt", **(asked | change))


def test_rendered_question_is_what_the_interface_takes_and_all_of_it() -> None:
    verified = claim(Kind.PHONE, "+8613800000001")._replace(verified_on=DAY)
    address = claim(Kind.ADDR, "8 Lotus Lane", Binding.NONE, Bucket.FEW)
    plain = Question(
        account=AccountRef("https://shop-b.example", "买家 91"),
        identifiers=(verified, address),
        purpose=Purpose.REFUND_ONLY_CLAIM,
        order_commitment=commit_order(b"salt", order="1", account="2", day=DAY),
    )
    full = replace(
        plain,
        claim_code="not_as_described",
        amount=Money(12990, "CNY"),
        client_reference="claim 88213",
        evidence=[{"sha256": "0a" * 32, "pdq": [{"forms": ["0b" * 32], "quality": 90}]}],
    )
    shape = TypeAdapter(RiskAssessmentRequest)
    for purpose in Purpose:
        for asked in (replace(plain, purpose=purpose), replace(full, purpose=purpose)):
            rendered = render_question(asked)
            parsed = shape.validate_json(json.dumps(rendered))
            taken = shape.dump_python(parsed, mode="json", exclude_none=True, exclude_defaults=True)
            assert taken == rendered
            assert parsed.context.purpose is purpose
    context = render_question(full)["context"]
    assert isinstance(context, dict)
    assert context["amount"] == {"value": "129.90", "currency": "CNY"}
    assert [one["accounts_here"] for one in context["bindings"].values()] == ["1", "2-4"]
    assert [one.get("verified_on") for one in context["bindings"].values()] == ["2026-11-22", None]


# --- Receipts and their standing ------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """What a member kept of a report, and the key that the ledger signs statuses with."""

    vkey: str
    receipt: str
    token: bytes
    log_key: dict[str, str]
    claims: dict[str, object]
    now: datetime

    def status(
        self, *, key: dict[str, str] | None = None, typ: str = STATUS_TYPE, **changes: object
    ) -> str:
        """Sign a status that differs from the honest one in some claims."""
        claims = {name: value for name, value in (self.claims | changes).items() if value != ""}
        return sign_token(claims, key or self.log_key, typ=typ)

    def verify(self, status: str | None, *, event: bytes | None = None) -> Standing:
        """Verify the receipt with a status."""
        return verify_standing(self.receipt, self.vkey, event=event, status=status, now=self.now)


@pytest.fixture
def kept(ledger: Ledger, simulator: Callable[..., Simulator], now: datetime) -> Kept:
    """Report one incident and keep what a member keeps."""
    shop = simulator("shop-a")
    sent = shop.report("p", phone_and_device("p"), now)
    index = shop.look_up(sent.incident_id, now).log_index
    claims: dict[str, object] = {
        "iss": ledger.issuer,
        "jti": sent.statement.jti,
        "index": index,
        "state": "active",
        "as_of": now.isoformat(),
    }
    log_key = log_jwk(ledger.vkey, ledger.keys.log_key)
    return Kept(
        ledger.vkey, shop.fetch_receipt(sent.incident_id, now), sent.token, log_key, claims, now
    )


@ONLY_SQLITE
def test_standing_is_the_status_s_for_a_day_and_historic_then(kept: Kept) -> None:
    for age, state in (
        (timedelta(0), "active"),
        (timedelta(seconds=-60), "active"),
        (timedelta(hours=24), "active"),
        (timedelta(hours=24, seconds=1), "historic"),
        (timedelta(days=400), "historic"),
    ):
        standing = kept.verify(kept.status(as_of=(kept.now - age).isoformat()), event=kept.token)
        assert (standing.state, standing.as_of) == (state, kept.now - age)
        assert standing.receipt.opened
    assert kept.verify(None, event=kept.token).state == "historic"
    assert kept.verify(None).as_of is None
    assert not kept.verify(kept.status()).receipt.opened


@ONLY_SQLITE
def test_status_that_isn_t_the_ledgers_for_this_entry_is_refused(kept: Kept) -> None:
    later = (kept.now + timedelta(seconds=61)).isoformat()
    index = kept.claims["index"]
    assert isinstance(index, int)
    for status in (
        kept.status(key=KEY),
        kept.status(typ=ACKNOWLEDGEMENT_TYPE),
        kept.status(iss="https://other.example"),
        kept.status(as_of=later),
        kept.status(as_of=kept.now.replace(tzinfo=None).isoformat()),
        kept.status(as_of="yesterday"),
        kept.status(as_of=""),
        kept.status()[:-1],
        "",
        "a.b.c",
    ):
        with pytest.raises(InvalidToken):
            kept.verify(status, event=kept.token)
    for status in (kept.status(index=index + 1), kept.status(index=""), kept.status(jti="other")):
        with pytest.raises(InvalidReceipt):
            kept.verify(status, event=kept.token)


@ONLY_SQLITE
def test_receipt_opens_for_its_own_statement_under_its_own_log_alone(kept: Kept) -> None:
    for token in (kept.token + b"A", kept.token[:-1], b"", b"\xff"):
        with pytest.raises(InvalidReceipt):
            kept.verify(None, event=token)
    with pytest.raises(InvalidNote):
        verify_standing(kept.receipt, VKEY, event=kept.token, status=None, now=kept.now)
    name = kept.vkey.partition("+")[0]
    foreign = signer_from_seed(name, bytes(32)).vkey
    with pytest.raises(InvalidNote):
        verify_standing(kept.receipt, foreign, event=kept.token, status=None, now=kept.now)


def test_acknowledgement_gives_what_was_promised() -> None:
    log_key = log_jwk(VKEY, bytes(range(32)))
    claims = {"iss": issuer_of(VKEY), "jti": "jti-1", "sequenced_within_seconds": 60}
    text = sign_token(claims, log_key, typ=ACKNOWLEDGEMENT_TYPE)
    assert verify_acknowledgement(text, VKEY, jti="jti-1") == claims
    for wrong, jti in (
        (text, "jti-2"),
        (sign_token(claims, KEY, typ=ACKNOWLEDGEMENT_TYPE), "jti-1"),
        (sign_token(claims, log_key, typ=STATUS_TYPE), "jti-1"),
    ):
        with pytest.raises(InvalidToken):
            verify_acknowledgement(wrong, VKEY, jti=jti)


# --- What a member installs -----------------------------------------------------------------


def test_address_and_verifier_key_are_checked_at_once() -> None:
    for url in ("", "nonsense", "ftp://ledger.test", "http://", "http://ledger.test:x"):
        with pytest.raises(InvalidInput):
            Client(url, vkey=VKEY, platform="https://shop-a.example", key=KEY)
    for vkey in ("", "a+b+c", VKEY[:-1], "é" + VKEY):
        with pytest.raises(InvalidNote):
            Client("http://ledger.test", vkey=vkey, platform="https://shop-a.example", key=KEY)


def test_client_brings_neither_database_nor_server_nor_graph_along() -> None:
    program = (
        "import sys, ledger_client.client, ledger_client.question, ledger_client.receipt;"
        "print(*{name.partition('.')[0] for name in sys.modules}, *sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(ended.stdout.split())
    assert {"ledger_client.client", "ledger.identity.token", "httpx"} <= loaded
    unwanted = {"sqlalchemy", "flask", "werkzeug", "networkx", "alembic", "psycopg", "granian"}
    assert loaded.isdisjoint(unwanted | {"api", "cli", "config", "ledger.store", "ledger.ledger"})
