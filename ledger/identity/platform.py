"""Who takes part: a member platform, and who is calling with which scopes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ledger.errors import InsufficientScope, InvalidInput

if TYPE_CHECKING:
    from datetime import datetime

URI_LENGTH_MAX = 200
SCOPES = frozenset({"incidents:read", "risk:read"})


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


def require_scope(caller: Caller, scope: str) -> None:
    """Refuse a caller whose token lacks a scope. *Raises*: InsufficientScope."""
    if scope not in caller.scopes:
        raise InsufficientScope("The access token lacks the scope of this operation.")


def check_platform_uri(text: str) -> None:
    """Check a platform's name: an https URL without user, query or fragment.

    *Raises*: InvalidInput.
    """
    try:
        parts = urlsplit(text)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError as error:
        raise InvalidInput("A platform's name is an https URL.") from error
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    printable = text.isascii() and text.isprintable() and " " not in text
    if (
        parts.scheme != "https"
        or not parts.hostname
        or not (plain and printable and port_is_fine)
        or text != text.rstrip("/?#")
        or len(text) > URI_LENGTH_MAX
    ):
        raise InvalidInput("A platform's name is an https URL without query or trailing slash.")
