"""The client's only clock and its only way to wait."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """Tell the current instant, in UTC."""
    return datetime.now(UTC)


def wait(seconds: float) -> None:
    """Let some time pass."""
    time.sleep(seconds)


def monotonic() -> float:
    """Tell the seconds of a clock that never goes back, for measuring waits."""
    return time.monotonic()
