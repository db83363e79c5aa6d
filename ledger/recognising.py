"""What is told of evidence that was seen as forged before: bands, a month, and nobody's name.

A match says that a picture was reported, never by whom, never of whom, and it is no part of any
score. What the asker's own group reported is left out: it knows that, and by counting it could
tell others' reports apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.graph.posting import month_text
from ledger.incident.evidence import band_distance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.store.evidence import Match


def render_seen(matches: Sequence[Match]) -> dict[str, object] | None:
    """Render what an asker may see of matches, None where there are none.

    *Shape*: the nearest distance as a band, platforms as 1 or 2+, the first month, and whether
    the nearest is an original that was only used falsely.
    """
    if not matches:
        return None
    nearest = min(
        matches, key=lambda one: (-1 if one.distance is None else one.distance, one.piece)
    )
    return {
        "distance": band_distance(nearest.distance),
        "platforms": "1" if len({one.group for one in matches}) == 1 else "2+",
        "first_seen": month_text(min(one.seen_day for one in matches)),
        "source": nearest.is_original,
    }
