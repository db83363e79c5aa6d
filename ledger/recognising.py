"""What is told of evidence that was seen as forged before: bands, a month, and nobody's name.

A match says that a picture was reported, never by whom, never of whom, and it is no part of any
score. What the asker's own group reported is left out: it knows that, and by counting it could
tell others' reports apart. An answer rests on three matches of a file at most: while these stand,
it is true, whatever else is reported or withdrawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.graph.posting import month_text
from ledger.incident.evidence import band_distance
from ledger.store.evidence import find_matches, hold_pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.incident.evidence import Sought
    from ledger.store.engine import Connection
    from ledger.store.evidence import Match


def recognise(connection: Connection, sought: Sequence[Sought], group: str) -> list[list[Match]]:
    """Find for each file on what an answer about it rests; best in a snapshot, as it takes long."""
    return [choose_told(find_matches(connection, one, group)) for one in sought]


def choose_told(matches: Sequence[Match]) -> list[Match]:
    """Choose the matches on which an answer rests.

    *Shape*: the nearest, the nearest of another group, the first seen; each once.
    """
    if not matches:
        return []
    nearest = min(matches, key=_rank)
    first = min(matches, key=lambda one: (one.seen_day, one.piece))
    others = [one for one in matches if one.group != nearest.group]
    chosen = (nearest, first, *([min(others, key=_rank)] if others else []))
    return list(dict.fromkeys(chosen))


def hold(
    connection: Connection, found: list[list[Match]], sought: Sequence[Sought], group: str
) -> list[list[Match]]:
    """Hold what was found until the transaction ends, so that nobody withdraws it unheard.

    What was withdrawn since it was found is looked for again, and isn't told if it goes once more.
    """
    held = _hold(connection, found)
    return held if held == found else _hold(connection, recognise(connection, sought, group))


def _hold(connection: Connection, found: list[list[Match]]) -> list[list[Match]]:
    there = hold_pieces(connection, {one.piece for matches in found for one in matches})
    return [[one for one in matches if one.piece in there] for matches in found]


def _rank(match: Match) -> tuple[int, int]:
    """Order matches by distance, the very file first, and then as they were reported."""
    return -1 if match.distance is None else match.distance, match.piece


def render_seen(matches: Sequence[Match]) -> dict[str, object] | None:
    """Render what an asker may see of matches, None where there are none.

    *Shape*: the nearest distance as a band, platforms as 1 or 2+, the first month, and whether
    the nearest is an original that was only used falsely.
    """
    if not matches:
        return None
    nearest = min(matches, key=_rank)
    return {
        "distance": band_distance(nearest.distance),
        "platforms": "1" if len({one.group for one in matches}) == 1 else "2+",
        "first_seen": month_text(min(one.seen_day for one in matches)),
        "source": nearest.is_original,
    }
