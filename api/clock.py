"""The only clock of the server: everything below is given the instant."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> datetime:
    """Tell the current instant, in UTC."""
    return datetime.now(UTC)
