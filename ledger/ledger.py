"""What a ledger is: its name, keys, policies and database, held together and never changed.

The handle has no verbs; the use cases take it as their first argument. It knows which private
keys exist and keeps them out of every representation.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledger.errors import InvalidInput, LedgerCorrupt, LedgerUnavailable
from ledger.identity.key import load_private, parse_jwk, public_jwk
from ledger.log.note import NoteSigner, NoteVerifier, parse_vkey, signer_from_seed
from ledger.risk.policy import RiskPolicy, parse_policy
from ledger.store import ledgers
from ledger.store.columns import to_microseconds
from ledger.store.engine import Database, begin_read, open_database

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ledger.log.witness import WitnessPolicy
    from ledger.rights.jurisdiction import JurisdictionProfile
    from ledger.store.engine import Connection

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class LedgerKeys:
    """The secrets of a ledger, one per use.

    *Shape*: `log_key` is an Ed25519 seed; the two JWKs are private; the other three are 32
    random bytes: `wrap_key` wraps the keys of sealed tokens, `index_key` makes lookup keys,
    `tag_key` tags the ledger's own entries.
    """

    log_key: bytes = field(repr=False)
    event_key: Mapping[str, str] = field(repr=False)
    access_key: Mapping[str, str] = field(repr=False)
    wrap_key: bytes = field(repr=False)
    index_key: bytes = field(repr=False)
    tag_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ledger:
    """One ledger. `issuer` is the audience of every event and the issuer of what it signs.

    *Shape*: `policies` grows where another process publishes one. Which is in force is the log's
    to say.
    """

    origin: str
    jurisdiction: JurisdictionProfile
    sandbox: bool
    database: Database = field(repr=False)
    keys: LedgerKeys = field(repr=False)
    policies: dict[int, RiskPolicy] = field(repr=False)
    shadows: dict[int, RiskPolicy] = field(repr=False)
    signer: NoteSigner = field(repr=False)
    verifier: NoteVerifier = field(repr=False)
    log_jwk: Mapping[str, str] = field(repr=False)
    witnesses: WitnessPolicy | None = None

    @property
    def issuer(self) -> str:
        """The origin as a URL: `iss` of what the ledger signs, `aud` of what it takes."""
        return f"https://{self.origin}"

    @property
    def vkey(self) -> str:
        """The verifier key of the log, as members configure it (C2SP signed-note)."""
        return self.signer.vkey

    @property
    def public_jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public keys of everything that the ledger signs as a JWS (RFC 7517)."""
        keys = []
        for private in (self.log_jwk, self.keys.event_key, self.keys.access_key):
            kid, algorithm, jwk = parse_jwk(public_jwk(private))
            keys.append({**jwk, "kid": kid, "alg": algorithm.value, "use": "sig"})
        return {"keys": keys}


def parse_keys(
    *, log_key: str, event_key: str, access_key: str, wrap_key: str, index_key: str, tag_key: str
) -> LedgerKeys:
    """Read the secrets from their text forms: base64url of 32 bytes, or a private JWK.

    *Raises*: InvalidInput naming the one that can't be read, InvalidJwk for a wrong JWK.
    """
    return LedgerKeys(
        log_key=_parse_secret("log_key", log_key),
        event_key=_parse_private("event_key", event_key),
        access_key=_parse_private("access_key", access_key),
        wrap_key=_parse_secret("wrap_key", wrap_key),
        index_key=_parse_secret("index_key", index_key),
        tag_key=_parse_secret("tag_key", tag_key),
    )


def _parse_secret(name: str, text: str) -> bytes:
    try:
        secret = base64.urlsafe_b64decode(text.strip() + "=" * (-len(text.strip()) % 4))
    except (ValueError, binascii.Error) as error:
        raise InvalidInput(f"{name} isn't base64url.") from error
    if len(secret) != KEY_BYTES:
        raise InvalidInput(f"{name} doesn't have 32 bytes.")
    return secret


def _parse_private(name: str, text: str) -> dict[str, str]:
    try:
        private = json.loads(text)
        parse_jwk(public_jwk(private))
        load_private(private)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{name} isn't a private JWK.") from error
    return dict(private)


def _log_jwk(signer: NoteSigner, seed: bytes) -> dict[str, str]:
    public = parse_vkey(signer.vkey).public_key_bytes
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": base64.urlsafe_b64encode(public).rstrip(b"=").decode(),
        "d": base64.urlsafe_b64encode(seed).rstrip(b"=").decode(),
    }


def assemble_ledger(
    database: Database,
    keys: LedgerKeys,
    jurisdiction: JurisdictionProfile,
    *,
    origin: str,
    policies: Mapping[int, str],
    witnesses: WitnessPolicy | None = None,
) -> Ledger:
    """Build the handle of a ledger from what was read of it."""
    parsed = {version: parse_policy(body) for version, body in policies.items()}
    signer = signer_from_seed(origin, keys.log_key)
    return Ledger(
        origin=origin,
        jurisdiction=jurisdiction,
        sandbox=jurisdiction.sandbox,
        database=database,
        keys=keys,
        policies=parsed,
        shadows={},
        signer=signer,
        verifier=parse_vkey(signer.vkey),
        log_jwk=_log_jwk(signer, keys.log_key),
        witnesses=witnesses,
    )


def open_ledger(
    database_url: str,
    keys: LedgerKeys,
    profiles: Mapping[str, JurisdictionProfile],
    witnesses: WitnessPolicy | None = None,
) -> Ledger:
    """Open a ledger that exists.

    *Shape*: with `witnesses` a checkpoint is published only once a quorum of them cosigned it.
    *Raises*: LedgerUnavailable where the database can't be reached or holds no ledger.
    """
    database = open_database(database_url)
    try:
        return _read_ledger(database, keys, profiles, witnesses)
    except Exception:
        database.engine.dispose()
        raise


def _read_ledger(
    database: Database,
    keys: LedgerKeys,
    profiles: Mapping[str, JurisdictionProfile],
    witnesses: WitnessPolicy | None,
) -> Ledger:
    with begin_read(database) as connection:
        stored = ledgers.find_ledger(connection) if ledgers.has_schema(connection) else None
        policies = ledgers.select_policies(connection) if stored else {}
    if stored is None:
        raise LedgerUnavailable(
            "There is no ledger in this database: `bcl db upgrade` creates one, given an --origin "
            "and a --jurisdiction."
        )
    if stored.jurisdiction not in profiles:
        raise LedgerUnavailable("The ledger's jurisdiction has no profile.")
    return assemble_ledger(
        database,
        keys,
        profiles[stored.jurisdiction],
        origin=stored.origin,
        policies=policies,
        witnesses=witnesses,
    )


def learn_policies(
    ledger: Ledger, connection: Connection, version: int, shadow: int = 0
) -> RiskPolicy:
    """Give a published policy, read where this process doesn't know it yet.

    *Shape*: `shadow` numbers the policy that is tried beside it, 0 none; one that can't be read
    stays unknown. *Raises*: LedgerCorrupt where the published one is missing or can't be read.
    """
    if version not in ledger.policies:
        body = ledgers.read_policy(connection, version)
        try:
            ledger.policies[version] = parse_policy(body)
        except InvalidInput as error:
            raise LedgerCorrupt("A policy that is in force can't be read.") from error
    for number, body in ledgers.select_unknown_shadow(connection, shadow, ledger.shadows).items():
        with suppress(InvalidInput):
            ledger.shadows[number] = parse_policy(body)
    return ledger.policies[version]


def _milliseconds(at: datetime) -> int:
    return to_microseconds(at) // 1000


_MINTED = re.compile("[a-z]+_([0-9a-f]{12})7[0-9a-f]{3}[89ab][0-9a-f]{15}", re.ASCII)


def check_minted(minted: str, at: datetime) -> None:
    """Check that an id was minted at an instant. *Raises*: LedgerCorrupt."""
    found = _MINTED.fullmatch(minted)
    if found is None or found[1] != f"{_milliseconds(at):012x}":
        raise LedgerCorrupt("An id wasn't minted when its statement was received.")


def mint_id(prefix: str, at: datetime) -> str:
    """Make a sortable id: a UUIDv7 (RFC 9562 §5.7) in hex behind a prefix like `inc_`."""
    noise = secrets.token_bytes(10)
    digits = noise.hex()
    variant = "89ab"[noise[9] & 0b11]
    return f"{prefix}{_milliseconds(at):012x}7{digits[:3]}{variant}{digits[3:18]}"
