"""How a score adds up: each sum between the postings and the integer, for an auditor to follow.

Every value comes from the functions that score; nothing here decides anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ledger.graph.posting import decayed_mass
from ledger.identity.identifier import Kind
from ledger.risk.fading import bear, fade
from ledger.risk.score import weigh_links

if TYPE_CHECKING:
    from ledger.graph.neighbourhood import Neighbourhood
    from ledger.risk.fading import Rows
    from ledger.risk.policy import RiskPolicy


class Borne(NamedTuple):
    """What was borne: the evidence S as of the day, rel of its reporters, and D of both.

    *Units*: micro-units, as everywhere here.
    """

    evidence: int
    reliability: int
    saturated: int


class LinkWorking(NamedTuple):
    """What an associated account bears, λ over the kinds with their n, and X_a.

    *Shape*: `platform` is the row of the account's platform, which its replay shares with the
    ledger; `group` is that platform's.
    """

    platform: int
    group: str
    borne: Borne
    shared: tuple[tuple[Kind, int], ...]
    strength: int
    x: int


class Working(NamedTuple):
    """Groups and links in the order of a score's own, and the sums H_D and H_L."""

    groups: tuple[Borne, ...]
    links: tuple[LinkWorking, ...]
    direct: int
    linked: int


def work_out(neighbourhood: Neighbourhood, policy: RiskPolicy, day: int) -> Working:
    """Work out what a neighbourhood's score is made of. *Units*: `day` since 1970-01-01."""
    fading = fade(neighbourhood, policy)

    def borne(reliability: int, rows: Rows) -> Borne:
        evidence = [
            decayed_mass(mass, day, half_life, policy.epoch_day) for mass, half_life, _, _ in rows
        ]
        saturated = bear(reliability, rows, day, policy.epoch_day)
        return Borne(sum(evidence), reliability, saturated)

    groups = [borne(one.reliability, one.rows) for one in fading.groups]
    weighed, linked, _ = weigh_links(fading, day)
    return Working(
        tuple([one for one in groups if one.saturated]),
        tuple(
            [
                LinkWorking(
                    link.bearer.platform,
                    link.bearer.group,
                    borne(link.reliability, link.rows),
                    tuple([(Kind.from_code(kind), n) for kind, n in link.bearer.shared]),
                    link.strength,
                    weight,
                )
                for link, weight in weighed
            ]
        ),
        sum([one.saturated for one in groups]),
        linked,
    )
