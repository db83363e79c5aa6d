"""Members come, change their keys and are suspended; each step is an entry of the log.

What is true when: before the commit nothing changed; after it the change is in force and its
statement accepted. If we die before the checkpoint, the next publication covers it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledger.errors import InvalidInput, InvalidKey, PlatformEnrolled, UnknownPlatform
from ledger.identity.key import KeyState, PlatformKey
from ledger.identity.platform import SCOPES, Platform, PlatformState, check_platform_uri
from ledger.log.leaf import Op
from ledger.sequencing import (
    draft_own_statement,
    publish_checkpoint,
    seal_secret,
    sequence_pending,
    tag_key_context,
)
from ledger.store import entries, platforms
from ledger.store.engine import begin_read, begin_write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ledger.identity.key import Algorithm
    from ledger.ledger import Ledger
    from ledger.store.entries import StoredEvent

_TAG_KEY_BYTES = 32
_NAME_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A new member, and the tag key that it must keep to recognise its own entries."""

    platform: Platform
    tag_key: bytes = field(repr=False)


def enrol_platform(  # noqa: PLR0913 - what a membership is made of
    ledger: Ledger,
    *,
    uri: str,
    name: str,
    group: str,
    jurisdictions: Sequence[str],
    scopes: Sequence[str],
    keys: Sequence[tuple[str, Algorithm, Mapping[str, str]]],
    at: datetime,
) -> Enrolled:
    """Enrol a member with its corporate group, jurisdictions, scopes and public keys.

    *Shape*: `keys` as `parse_jwk` gives them. *Raises*: InvalidInput, PlatformEnrolled.
    """
    check_platform_uri(uri)
    if not keys or not jurisdictions or not name.strip() or not group.strip():
        raise InvalidInput("A platform needs a name, a group, a jurisdiction and a key.")
    if not all(len(one) <= _NAME_LENGTH_MAX and one.isprintable() for one in (name, group)):
        raise InvalidInput("A name or a group has at most 200 printable characters.")
    if not all(one.isascii() and one.isalnum() for one in jurisdictions):
        raise InvalidInput("A jurisdiction is a code like CN.")
    if not set(scopes) <= SCOPES:
        raise InvalidInput("A scope isn't one of the published scopes.")
    platform = Platform(
        id=-1,
        uri=uri,
        name=name.strip(),
        group=group.strip(),
        jurisdictions=tuple(dict.fromkeys(jurisdictions)),
        scopes=tuple(dict.fromkeys(scopes)),
        state=PlatformState.ACTIVE,
    )
    tag_key = secrets.token_bytes(_TAG_KEY_BYTES)
    members = {
        "change": "enrolled",
        "platform": uri,
        "group": platform.group,
        "jurisdictions": list(platform.jurisdictions),
        "scopes": list(platform.scopes),
        "kids": [kid for kid, _, _ in keys],
    }
    statement = _draft_change(ledger, members, at)
    with begin_write(ledger.database) as connection:
        if platforms.find_platform(connection, uri) is not None:
            raise PlatformEnrolled("A platform of this name is enrolled already.")
        platform_id = platforms.insert_platform(
            connection,
            platform,
            tag_key=seal_secret(ledger, tag_key, tag_key_context(uri)),
            enrolled_at=at,
        )
        for key in keys:
            platforms.insert_key(connection, _enrolled_key(platform_id, key, at))
        entries.insert_event(connection, statement)
        if ledger.database.embedded:
            sequence_pending(ledger, connection)
    if ledger.database.embedded:
        publish_checkpoint(ledger, at)
    enrolled = Platform(
        id=platform_id,
        uri=platform.uri,
        name=platform.name,
        group=platform.group,
        jurisdictions=platform.jurisdictions,
        scopes=platform.scopes,
        state=platform.state,
    )
    return Enrolled(enrolled, tag_key)


def _enrolled_key(
    platform_id: int, key: tuple[str, Algorithm, Mapping[str, str]], at: datetime
) -> PlatformKey:
    kid, algorithm, jwk = key
    return PlatformKey(
        platform=platform_id,
        kid=kid,
        algorithm=algorithm,
        jwk=dict(jwk),
        state=KeyState.ACTIVE,
        not_before=at,
        not_after=None,
    )


def _draft_change(ledger: Ledger, members: Mapping[str, object], at: datetime) -> StoredEvent:
    return draft_own_statement(
        ledger, "platform-changed", members, op=Op.PLATFORM_CHANGED, incident="", at=at
    )


def list_platforms(ledger: Ledger) -> tuple[tuple[Platform, tuple[PlatformKey, ...]], ...]:
    """Give every member with all keys that it ever had."""
    with begin_read(ledger.database) as connection:
        return tuple(
            (platform, tuple(platforms.select_keys(connection, platform.id)))
            for platform in platforms.select_platforms(connection)
            if platform.id != platforms.LEDGER_PLATFORM
        )


def suspend_platform(ledger: Ledger, uri: str, at: datetime) -> None:
    """Suspend a member: it can neither report nor ask, and its evidence matches nothing any more.

    It gets its place in the log at once, behind all that was accepted. *Raises*: UnknownPlatform.
    """
    statement = _draft_change(ledger, {"change": "suspended", "platform": uri}, at)
    with begin_write(ledger.database) as connection:
        entries.read_state(connection, lock=True)
        while sequence_pending(ledger, connection):
            pass  # what was accepted before is judged while it is a member
        platform = platforms.find_platform(connection, uri)
        if platform is None or platform.id == platforms.LEDGER_PLATFORM:
            raise UnknownPlatform("No platform of this name is enrolled.")
        entries.insert_event(connection, statement)
        while sequence_pending(ledger, connection):
            pass
    publish_checkpoint(ledger, at)


def rotate_key(
    ledger: Ledger, uri: str, key: tuple[str, Algorithm, Mapping[str, str]], at: datetime
) -> None:
    """Add a key beside the present ones; revoke the old one once the new one is in use.

    *Raises*: UnknownPlatform, PlatformEnrolled where the key is known already.
    """
    members = {"change": "key-added", "platform": uri, "kids": [key[0]]}
    statement = _draft_change(ledger, members, at)
    with begin_write(ledger.database) as connection:
        platform = platforms.find_platform(connection, uri)
        if platform is None or platform.id == platforms.LEDGER_PLATFORM:
            raise UnknownPlatform("No platform of this name is enrolled.")
        platforms.insert_key(connection, _enrolled_key(platform.id, key, at))
        entries.insert_event(connection, statement)
        if ledger.database.embedded:
            sequence_pending(ledger, connection)
    if ledger.database.embedded:
        publish_checkpoint(ledger, at)


def revoke_key(ledger: Ledger, uri: str, kid: str, at: datetime) -> None:
    """Revoke a member's key at once. *Raises*: UnknownPlatform, InvalidKey."""
    members = {"change": "key-revoked", "platform": uri, "kids": [kid]}
    statement = _draft_change(ledger, members, at)
    with begin_write(ledger.database) as connection:
        platform = platforms.find_platform(connection, uri)
        if platform is None or platform.id == platforms.LEDGER_PLATFORM:
            raise UnknownPlatform("No platform of this name is enrolled.")
        found = platforms.find_key(connection, kid)
        if found is None or found[1].id != platform.id:
            raise InvalidKey("The platform has no such key.")
        platforms.change_key_state(connection, kid, KeyState.REVOKED, at)
        entries.insert_event(connection, statement)
        if ledger.database.embedded:
            sequence_pending(ledger, connection)
    if ledger.database.embedded:
        publish_checkpoint(ledger, at)
