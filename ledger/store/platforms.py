"""Statements about members: platforms, their keys, their tag keys and one-time assertions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from ledger.errors import LedgerCorrupt, PlatformEnrolled, TokenReplayed
from ledger.identity.key import Algorithm, KeyState, PlatformKey
from ledger.identity.platform import Platform, PlatformState
from ledger.privacy.sealing import SealedToken
from ledger.store.tables import client_assertion, platform, platform_key

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.engine import Connection

LEDGER_PLATFORM = 0  # the ledger itself, which signs the clock's and the operator's statements


_BY_KID = select(platform_key).where(platform_key.c.kid == bindparam("name"))
_BY_ID = select(platform).where(platform.c.id == bindparam("member"))
_BY_URI = select(platform).where(platform.c.uri == bindparam("name"))
_NAMES = select(platform.c.id, platform.c.uri)
_TAG_KEY = select(platform.c.uri, platform.c.tag_key, platform.c.tag_key_wrap).where(
    platform.c.id == bindparam("member")
)


def _platform(row: Row[tuple[object, ...]]) -> Platform:
    fields = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row by column
    try:
        state = PlatformState(fields["state"])
    except ValueError as error:
        raise LedgerCorrupt("A member's state isn't one.") from error
    return Platform(
        id=fields["id"],
        uri=fields["uri"],
        name=fields["name"],
        group=fields["group_name"],
        jurisdictions=tuple(fields["jurisdictions"].split()),
        scopes=tuple(fields["scopes"].split()),
        state=state,
    )


def _key(row: Row[tuple[object, ...]]) -> PlatformKey:
    fields = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row by column
    try:
        algorithm, state = Algorithm(fields["algorithm"]), KeyState(fields["state"])
        jwk = json.loads(fields["jwk"])
    except ValueError as error:
        raise LedgerCorrupt("A stored key can't be read.") from error
    if not isinstance(jwk, dict) or "kty" not in jwk:
        raise LedgerCorrupt("A stored key isn't one.")
    return PlatformKey(
        platform=fields["platform"],
        kid=fields["kid"],
        algorithm=algorithm,
        jwk=jwk,
        state=state,
        not_before=fields["not_before"],
        not_after=fields["not_after"],
    )


def insert_platform(
    connection: Connection,
    enrolled: Platform,
    *,
    tag_key: SealedToken,
    enrolled_at: datetime,
    fixed_id: bool = False,
) -> int:
    """Insert one platform and give its id; `fixed_id` keeps the given one.

    It shares its group's record of upheld and overturned reports from the start.
    *Raises*: PlatformEnrolled where the name is taken.
    """
    of_group = platform.c.group_name == enrolled.group
    record = {
        name: select(func.coalesce(func.max(platform.c[name]), 0)).where(of_group).scalar_subquery()
        for name in ("upheld", "overturned")
    }
    values: dict[str, object] = {
        "uri": enrolled.uri,
        "name": enrolled.name,
        "group_name": enrolled.group,
        "jurisdictions": " ".join(enrolled.jurisdictions),
        "scopes": " ".join(enrolled.scopes),
        "state": enrolled.state.value,
        "tag_key": tag_key.ciphertext,
        "tag_key_wrap": tag_key.wrapped_key,
        "enrolled_at": enrolled_at,
    }
    values |= record
    if fixed_id:
        values["id"] = enrolled.id
    try:
        result = connection.execute(insert(platform).values(values).returning(platform.c.id))
    except IntegrityError as error:
        raise PlatformEnrolled("A platform of this name is enrolled already.") from error
    return int(result.scalar_one())


def insert_key(connection: Connection, key: PlatformKey) -> None:
    """Insert one key. *Raises*: PlatformEnrolled where the key is known already."""
    try:
        connection.execute(
            insert(platform_key).values(
                kid=key.kid,
                platform=key.platform,
                algorithm=key.algorithm.value,
                jwk=json.dumps(key.jwk, sort_keys=True, separators=(",", ":")),
                state=key.state.value,
                not_before=key.not_before,
                not_after=key.not_after,
            )
        )
    except IntegrityError as error:
        raise PlatformEnrolled("This key is enrolled already.") from error


def find_key(connection: Connection, kid: str) -> tuple[PlatformKey, Platform] | None:
    """Find a key and the platform that owns it."""
    row = connection.execute(_BY_KID, {"name": kid}).one_or_none()
    if row is None:
        return None
    key = _key(row)
    owner = connection.execute(_BY_ID, {"member": key.platform}).one()
    return key, _platform(owner)


def find_platform(connection: Connection, uri: str) -> Platform | None:
    """Find a platform by its name, which is its issuer URL."""
    row = connection.execute(_BY_URI, {"name": uri}).one_or_none()
    return None if row is None else _platform(row)


def read_member(connection: Connection, platform_id: int) -> Platform:
    """Read a platform by its row id. *Raises*: LedgerCorrupt where there is none."""
    row = connection.execute(_BY_ID, {"member": platform_id}).one_or_none()
    if row is None:
        raise LedgerCorrupt("Whoever asked is no member.")
    return _platform(row)


def select_platforms(connection: Connection) -> list[Platform]:
    """Give all platforms by id, the ledger itself first."""
    return [_platform(row) for row in connection.execute(select(platform).order_by(platform.c.id))]


def select_names(connection: Connection) -> dict[int, str]:
    """Give every platform's name in tokens, by id."""
    return {row.id: row.uri for row in connection.execute(_NAMES)}


def select_keys(connection: Connection, platform_id: int) -> list[PlatformKey]:
    """Give all keys that a platform ever had."""
    statement = select(platform_key).where(platform_key.c.platform == platform_id)
    return [_key(row) for row in connection.execute(statement.order_by(platform_key.c.kid))]


def select_tag_key(connection: Connection, platform_id: int) -> tuple[str, SealedToken]:
    """Give a platform's name, which its tag key is bound to, and the sealed tag key."""
    row = connection.execute(_TAG_KEY, {"member": platform_id}).one()
    return row.uri, SealedToken(ciphertext=row.tag_key, wrapped_key=row.tag_key_wrap)


def suspend_member(connection: Connection, uri: str) -> int:
    """Suspend a platform for good, and give its id. *Raises*: LedgerCorrupt where there is none."""
    suspended = {"state": PlatformState.SUSPENDED.value}
    changed = update(platform).where(platform.c.uri == uri).values(suspended)
    member = connection.execute(changed.returning(platform.c.id)).scalar_one_or_none()
    if member is None:
        raise LedgerCorrupt("Who was suspended is no member.")
    return int(member)


def change_key_state(
    connection: Connection, kid: str, state: KeyState, not_after: datetime
) -> None:
    """Retire or revoke a key from an instant on."""
    connection.execute(
        update(platform_key)
        .where(platform_key.c.kid == kid)
        .values(state=state.value, not_after=not_after)
    )


def insert_assertion(
    connection: Connection, platform_id: int, jti: str, *, expires_at: datetime, now: datetime
) -> None:
    """Use up a one-time assertion, and forget those that expired.

    *Raises*: TokenReplayed where it was used before.
    """
    connection.execute(delete(client_assertion).where(client_assertion.c.expires_at < now))
    try:
        connection.execute(
            insert(client_assertion).values(platform=platform_id, jti=jti, expires_at=expires_at)
        )
    except IntegrityError as error:
        raise TokenReplayed("This assertion was used already.") from error
