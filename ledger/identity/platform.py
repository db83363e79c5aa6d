"""Who takes part: a member platform, and who is calling with which scopes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ledger.errors import InsufficientScope, InvalidInput

if TYPE_CHECKING:
    from datetime import datetime

URI_LENGTH_MAX = 200
SCOPES = frozenset({"evidence:read", "incidents:read", "risk:read"})
_URI = re.compile(
    r"https://[a-z0-9-]+(\.[a-z0-9-]+)*(:[1-9][0-9]{0,4})?(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*"
)


class PlatformState(StrEnum):
    """Whether a member may report and ask."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Platform:
    """A member marketplace. Platforms of one corporate group count once."""

    id: int
    uri: str
    name: str
    group: str
    jurisdictions: tuple[str, ...]
    scopes: tuple[str, ...]
    state: PlatformState


@dataclass(frozen=True, slots=True)
class Caller:
    """A platform behind a verified access token."""

    platform: Platform
    scopes: frozenset[str]
    expires_at: datetime


def require_scope(caller: Caller, *scopes: str) -> None:
    """Refuse a caller whose token has none of some scopes. *Raises*: InsufficientScope."""
    if caller.scopes.isdisjoint(scopes):
        raise InsufficientScope("The access token lacks the scope of this operation.")


def check_platform_uri(text: str) -> None:
    """Check a platform's name: an https URL in its plain spelling, as tokens must repeat it.

    That is a lower-case host in ASCII, a port where there is one, path segments, and nothing else.
    *Raises*: InvalidInput.
    """
    if len(text) > URI_LENGTH_MAX or _URI.fullmatch(text) is None:
        raise InvalidInput("A platform's name is an https URL without query or trailing slash.")
