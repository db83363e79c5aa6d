"""The birth of a ledger: what it is, its own key, its first policy and its first checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.errors import Conflict, LedgerUnavailable
from ledger.identity.key import KeyState, PlatformKey, parse_jwk, public_jwk
from ledger.identity.platform import Platform, PlatformState, check_platform_uri
from ledger.ledger import assemble_ledger
from ledger.log.leaf import Op
from ledger.log.merkle import EMPTY_ROOT
from ledger.risk.policy import parse_policy
from ledger.sequencing import (
    draft_own_statement,
    publish_checkpoint,
    seal_secret,
    sequence_pending,
    tag_key_context,
)
from ledger.store import entries, ledgers, platforms
from ledger.store.engine import begin_write, open_database
from ledger.store.entries import LogState
from ledger.store.ledgers import StoredLedger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ledger.ledger import Ledger, LedgerKeys
    from ledger.log.witness import WitnessPolicy
    from ledger.rights.jurisdiction import JurisdictionProfile


def create_ledger(  # noqa: PLR0913 - what a ledger is made of
    database_url: str,
    keys: LedgerKeys,
    profiles: Mapping[str, JurisdictionProfile],
    *,
    origin: str,
    jurisdiction: str,
    policy_text: str,
    at: datetime,
    witnesses: WitnessPolicy | None = None,
) -> None:
    """Create a ledger in a database that has its schema and no ledger yet.

    *Raises*: Conflict where a ledger exists, LedgerUnavailable where the schema is missing or
    the jurisdiction has no profile. Everything is written in one transaction but the first
    checkpoint, which the next publication makes if we die before it.
    """
    check_platform_uri(f"https://{origin}")
    if jurisdiction not in profiles:
        raise LedgerUnavailable("This jurisdiction has no profile.")
    policy = parse_policy(policy_text)
    database = open_database(database_url)
    ledger = assemble_ledger(
        database,
        keys,
        profiles[jurisdiction],
        origin=origin,
        policies={policy.version: policy_text},
        witnesses=witnesses,
    )
    try:
        _write_beginning(ledger, policy.version, policy_text, at)
        publish_checkpoint(ledger, at)
    finally:
        database.engine.dispose()


def _write_beginning(ledger: Ledger, version: int, policy_text: str, at: datetime) -> None:
    """Write everything that a new ledger holds, in one transaction."""
    kid, algorithm, jwk = parse_jwk(public_jwk(ledger.keys.event_key))
    itself = Platform(
        id=platforms.LEDGER_PLATFORM,
        uri=ledger.issuer,
        name="the ledger",
        group="the ledger",
        jurisdictions=(ledger.jurisdiction.code,),
        scopes=(),
        state=PlatformState.ACTIVE,
    )
    with begin_write(ledger.database) as connection:
        if not ledgers.has_schema(connection):
            raise LedgerUnavailable("The database has no schema: run the migrations.")
        if ledgers.find_ledger(connection) is not None:
            raise Conflict("There is a ledger in this database already.")
        created = StoredLedger(ledger.origin, ledger.jurisdiction.code, ledger.sandbox, at)
        ledgers.insert_ledger(connection, created)
        ledgers.insert_policy(connection, version, policy_text, at)
        platforms.insert_platform(
            connection,
            itself,
            tag_key=seal_secret(ledger, ledger.keys.tag_key, tag_key_context(itself.uri)),
            enrolled_at=at,
            fixed_id=True,
        )
        key = PlatformKey(
            platform=itself.id,
            kid=kid,
            algorithm=algorithm,
            jwk=jwk,
            state=KeyState.ACTIVE,
            not_before=at,
            not_after=None,
        )
        platforms.insert_key(connection, key)
        entries.insert_state(connection, LogState(0, EMPTY_ROOT, b""))
        published = draft_own_statement(
            ledger,
            "policy-published",
            {"version": version, "policy": policy_text},
            op=Op.POLICY_PUBLISHED,
            incident="",
            at=at,
        )
        entries.insert_event(connection, published)
        sequence_pending(ledger, connection)
