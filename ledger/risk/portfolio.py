"""What makes many accounts a portfolio, and how its counts are put off.

It knows lookup keys and counts, and no account's score.
"""

from __future__ import annotations

import hmac
from collections import Counter
from typing import TYPE_CHECKING

from ledger.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PORTFOLIO_SHARED_MAX = 3
COUNT_STEP = 10


def check_portfolio(subjects: Sequence[Sequence[bytes]]) -> None:
    """Check that a portfolio is one: many accounts, no identifier of which is on many of them.

    Otherwise one buyer's identifiers could be presented a thousand times. *Shape*: the lookup
    keys of each subject, its account's own first. *Raises*: InvalidInput.
    """
    held = Counter(key for keys in subjects for key in set(keys[1:]))
    if len({keys[0] for keys in subjects}) != len(subjects):
        raise InvalidInput("A portfolio names an account once.")
    if max(held.values(), default=0) > PORTFOLIO_SHARED_MAX:
        raise InvalidInput("A portfolio presents an identifier for three accounts at most.")


def blur_counts(
    levels: Mapping[str, int], key: bytes, platform: int, subjects: Sequence[Sequence[bytes]]
) -> dict[str, int]:
    """Put each count off by up to ten, by a key: asking the same again tells nothing more."""
    accounts = b"%d\x00" % platform + b"".join(sorted(b"".join(keys) for keys in subjects))
    blurred = {}
    for name, number in levels.items():
        noise = hmac.digest(key, b"portfolio\x00" + name.encode() + b"\x00" + accounts, "sha256")
        off = int.from_bytes(noise[:8]) % (2 * COUNT_STEP + 1) - COUNT_STEP
        blurred[name] = max(0, number + off) // COUNT_STEP * COUNT_STEP
    return blurred
