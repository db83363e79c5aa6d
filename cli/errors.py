"""What a command refuses by itself, apart from what the ledger and its client refuse."""

from __future__ import annotations


class AskedWrongly(Exception):
    """What was asked can't be done here, or not with these settings; the text says why."""
