"""What a member is, once as its rows say and once as the ledger's own statements made it.

It knows the changes that a `platform-changed` statement can state (docs/format.md). It doesn't
know where rows or statements come from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from ledger.errors import LedgerCorrupt, LedgerError
from ledger.identity.key import KeyState, parse_jwk
from ledger.identity.platform import PlatformState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from ledger.identity.key import PlatformKey
    from ledger.identity.platform import Platform

KeyStanding: TypeAlias = "tuple[KeyState, datetime, datetime | None]"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a member is and may do.

    *Shape*: `keys` gives state, beginning and end of each key by its thumbprint, and None for a
    key that has another thumbprint.
    """

    group: str
    jurisdictions: tuple[str, ...]
    scopes: tuple[str, ...]
    state: PlatformState
    keys: Mapping[str, KeyStanding | None]


def describe_standing(platform: Platform, keys: Iterable[PlatformKey]) -> Standing:
    """Describe what a member is by its rows."""
    return Standing(
        platform.group,
        platform.jurisdictions,
        platform.scopes,
        platform.state,
        {
            key.kid: (key.state, key.not_before, key.not_after) if _is_itself(key) else None
            for key in keys
        },
    )


def _is_itself(key: PlatformKey) -> bool:
    try:
        return parse_jwk(key.jwk)[:2] == (key.kid, key.algorithm)
    except LedgerError:
        return False


def name_suspended(members: Mapping[str, object]) -> str | None:
    """Give the member that a statement about one suspends."""
    return str(members.get("platform")) if members.get("change") == "suspended" else None


def apply_change(before: Standing | None, members: Mapping[str, object], at: datetime) -> Standing:
    """Apply a statement about a member to what it was.

    *Raises*: LedgerCorrupt where it can't follow on that.
    """
    fresh = (KeyState.ACTIVE, at, None)
    match members:
        case {
            "change": "enrolled",
            "group": str(group),
            "jurisdictions": [*jurisdictions],
            "scopes": [*scopes],
            "kids": [*kids],
        } if before is None:
            return Standing(
                group,
                tuple(map(str, jurisdictions)),
                tuple(map(str, scopes)),
                PlatformState.ACTIVE,
                dict.fromkeys(map(str, kids), fresh),
            )
        case {"change": "suspended"} if before:
            return replace(before, state=PlatformState.SUSPENDED)
        case {"change": "key-added", "kids": [str(kid)]} if before:
            return replace(before, keys={**before.keys, kid: fresh})
        case {"change": "key-revoked", "kids": [str(kid)]} if before and before.keys.get(kid):
            known = before.keys[kid] or fresh
            revoked = (KeyState.REVOKED, known[1], at)
            return replace(before, keys={**before.keys, kid: revoked})
    raise LedgerCorrupt("A statement about a member can't be applied.")
