"""The command line's clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """Tell the current instant, in UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Tell the seconds of a clock that never goes back, for measuring waits."""
    return time.monotonic()


def wait(seconds: float) -> None:
    """Let some time pass."""
    time.sleep(seconds)
