"""An independent reading of docs/scoring.md: a NetworkX graph of statements, and plain fractions.

It is built from reports and retractions in log order and never sees a table, a posting or the
policy file: every number stands here a second time. It weighs, links and advises by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import count
from math import floor
from typing import TYPE_CHECKING

import networkx as nx

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

    from ledger.assessing import AssessmentRequest
    from ledger.identity.identifier import AccountRef, IdentifierClaim
    from ledger.incident.incident import IncidentReport

U = 10**6
EPOCH_ORDINAL = 738_886  # 2024-01-01
# Strength in per cent, free number, hub cap.
KINDS: dict[str, tuple[int, int, float]] = {
    "nid": (95, 1, float("inf")),
    "pay": (80, 2, 10),
    "device": (70, 2, 20),
    "email": (60, 1, 6),
    "phone": (55, 2, 10),
    "addr": (15, 4, 50),
}
VERIFIED = {
    "nid": {"real_name"},
    "pay": {"psp"},
    "device": {"observed", "otp", "psp", "real_name"},
    "email": {"otp"},
    "phone": {"otp", "real_name"},
    "addr": set(),
}
BUCKETS: dict[str, tuple[int, float]] = {
    "1": (1, 1),
    "2-4": (2, 4),
    "5-9": (5, 9),
    "10-49": (10, 49),
    "50-499": (50, 499),
    "500+": (500, float("inf")),
}
ORGANISED = {"refund_service_operator", "refund_service_client", "competitor_directed"}
BREACHES = {"wardrobing", "price_arbitrage", "promo_multi_account"}
DELIVERIES = {"nonreceipt_false", "missing_item_false"}
FEN = {"CNY": "1", "EUR": "7.8", "GBP": "9.1", "HKD": "0.92", "JPY": "4.9", "USD": "7.2"}


@dataclass(frozen=True)
class Expected:
    """What a question must be answered with, exactly."""

    score: int
    direct: int
    linked: int
    level: str
    basis: str
    groups: dict[str, tuple[int, int]]
    links: list[tuple[str, int, int, int]]
    ignored: list[str]
    claim: tuple[str, str]
    checkout: tuple[str, str]
    incidents: int


def weigh(report: IncidentReport) -> tuple[int, Fraction]:
    """Weigh a fresh report: its half-life in days and its mass in incidents."""
    conduct, actor = report.conduct.value, report.actor.value
    half_life, severity = 365, Fraction(1)
    if conduct in ORGANISED:
        half_life, severity = 730, Fraction("1.2")
    if conduct in BREACHES:
        half_life, severity = 90, Fraction("0.3")
    if conduct in DELIVERIES:
        half_life, severity = 180, Fraction("0.7")
    if actor in {"victim", "coerced_or_mule"} or conduct == "account_takeover_refund":
        severity = Fraction(0)
    confirmed = Fraction("1.5") if report.proof.level.value == "A" else Fraction(1)
    fen = report.amount.minor * Fraction(FEN.get(report.amount.currency, "0"))
    large = Fraction("1.2") if fen >= 300_000 else Fraction(1)
    claims = min(report.series.claims, 3) if report.series else 1
    return half_life, severity * confirmed * large * claims


@cache
def power(r: int, h: int) -> int:
    """Give round(2^(r/h)·2^32): the p of which (2p−1)^h < 2^(r+33h) < (2p+1)^h, by bisection."""
    low, high = 1 << 32, 1 << 33
    while low < high:
        p = (low + high) // 2
        low, high = (low, p) if (2 * p + 1) ** h > 1 << (r + 33 * h) else (p + 1, high)
    return low


def store(weight: Fraction, day: date, h: int) -> int:
    """Give the mass that a weight of a day is stored as."""
    q, r = divmod(day.toordinal() - EPOCH_ORDINAL, h)
    return floor(Fraction(int(weight * U) * power(r, h)) * Fraction(2) ** (q - 24))


def recall(mass: int, today: date, h: int) -> int:
    """Give what a stored mass weighs today, rounded once."""
    q, r = divmod(today.toordinal() - EPOCH_ORDINAL, h)
    d = power(r, h) << q
    return (mass * 2**24 + d // 2) // d


def saturate(cap: int, x: int) -> int:
    """Give cap·x / (cap + x)."""
    return floor(Fraction(cap * x, cap + x))


def share(total: int, parts: list[tuple[int, tuple[int, int]]]) -> list[int]:
    """Share points by the largest remainder; ties to the lower platform, then account."""
    whole = sum(weight for weight, _ in parts)
    exact = [Fraction(total * weight, whole) if whole else Fraction(0) for weight, _ in parts]
    given = [floor(one) for one in exact]
    waiting = sorted(range(len(parts)), key=lambda i: (given[i] - exact[i], parts[i][1]))
    for i in waiting[: (total if whole else 0) - sum(given)]:
        given[i] += 1
    return given


class Oracle:
    """A ledger as a graph: accounts and tokens, one edge for each token of each active report."""

    def __init__(self, platforms: Mapping[str, tuple[int, str]]) -> None:
        """Know each member's row id and corporate group."""
        self.platforms = platforms
        self.graph = nx.MultiGraph()
        self.counts: dict[str, IncidentReport] = {}
        self._clock = count(1)

    def report(self, report: IncidentReport) -> None:
        """Let an active report count."""
        if weigh(report)[1] == 0:
            return
        moment = next(self._clock)
        self.counts[report.jti] = report
        if report.account not in self.graph:
            self.graph.add_node(report.account, since=moment)
        for one in report.identifiers:
            token = (one.identifier.kind.value, one.identifier.value)
            self.graph.add_edge(report.account, token, key=report.jti, at=moment, claim=one)

    def retract(self, report: IncidentReport) -> None:
        """Let a report count no more."""
        if self.counts.pop(report.jti, None) is None:
            return
        for one in report.identifiers:
            token = (one.identifier.kind.value, one.identifier.value)
            self.graph.remove_edge(report.account, token, key=report.jti)
        self.graph.remove_nodes_from(list(nx.isolates(self.graph)))

    def evidence(self, account: AccountRef, today: date) -> int:
        """Give the mass that an account bears today."""
        stored: dict[int, int] = {}
        for one in self.counts.values():
            if one.account == account:
                h, weight = weigh(one)
                stored[h] = stored.get(h, 0) + store(weight, one.conduct_ended_at.date(), h)
        return sum(recall(mass, today, h) for h, mass in stored.items())

    def judge_token(self, asked: AssessmentRequest, mine: IdentifierClaim) -> int | None:
        """Count the accounts on a token; None where it is a hub."""
        token = (mine.identifier.kind.value, mine.identifier.value)
        cap = KINDS[token[0]][2]
        home = self.platforms[asked.account.iss][1]
        seen: dict[str, set[AccountRef]] = {home: {asked.account}}
        latest: dict[str, tuple[int, str]] = {}
        for _, account, edge in self.graph.edges(token, data=True):
            group = self.platforms[account.iss][1]
            seen.setdefault(group, set()).add(account)
            declared = (edge["at"], edge["claim"].accounts_here.value)
            latest[group] = max(declared, latest.get(group, (0, "")))
        buckets = {group: said for group, (_, said) in latest.items() if group != home}
        lower = sorted((BUCKETS[said][0] for said in buckets.values()), reverse=True)
        believed = lower[1] if len(lower) > 1 else 0
        numbers = {group: len(accounts) for group, accounts in seen.items()}
        for group, said in buckets.items():
            numbers[group] = max(numbers[group], min(believed, BUCKETS[said][0]))
        buckets[home] = mine.accounts_here.value
        numbers[home] = max(numbers[home], BUCKETS[buckets[home]][0])
        if max(numbers.values()) <= cap:
            return max(numbers.values())
        for group in (group for group, number in numbers.items() if number > cap):
            bearing = len([one for one in seen[group] if one in self.graph[token]])
            if bearing < BUCKETS[buckets[group]][1] / 3:
                return None
        return int(cap)

    def assess(self, asked: AssessmentRequest, today: date) -> Expected:
        """Answer a question exactly."""
        shared: dict[AccountRef, dict[str, int]] = {}
        proven: dict[AccountRef, set[str]] = {}
        ignored = []
        for mine in asked.identifiers:
            kind = mine.identifier.kind.value
            token = (kind, mine.identifier.value)
            if token not in self.graph:
                if BUCKETS[mine.accounts_here.value][0] > KINDS[kind][2]:
                    ignored.append(kind)  # as the asker itself says
                continue
            n = self.judge_token(asked, mine)
            if n is None:
                ignored.append(kind)
                continue
            for other in set(self.graph[token]) - {asked.account}:
                kinds = shared.setdefault(other, {})
                kinds[kind] = min(n, kinds.get(kind, n))
                edges = self.graph.get_edge_data(other, token).values()
                theirs = max(edges, key=lambda edge: edge["at"])["claim"].binding.value
                both = {theirs, mine.binding.value} <= VERIFIED[kind]
                if both and (n <= KINDS[kind][1] or kind == "nid"):
                    proven.setdefault(other, set()).add(kind)
        same = {
            other
            for other, kinds in proven.items()
            if "nid" in kinds or ("phone" in kinds and kinds & {"pay", "email", "device"})
        }
        own = {asked.account} & set(self.graph)
        sure = own | {other for other in same if "nid" in proven[other]}
        linked = sorted(set(shared) - same, key=lambda one: self.graph.nodes[one]["since"])
        return self._conclude(
            own, same, sure, [(one, shared[one]) for one in linked], ignored, today
        )

    def _sum(self, accounts: Iterable[AccountRef], today: date) -> dict[str, int]:
        masses: dict[str, int] = {}
        for one in accounts:
            group = self.platforms[one.iss][1]
            masses[group] = masses.get(group, 0) + self.evidence(one, today)
        return {group: 9 * saturate(2 * U, mass) // 10 for group, mass in masses.items()}

    def _has_court(self, accounts: set[AccountRef]) -> bool:
        reports = self.counts.values()
        return any(one.account in accounts and one.proof.level.value == "A" for one in reports)

    def _weigh(
        self, linked: list[tuple[AccountRef, dict[str, int]]], today: date
    ) -> list[tuple[AccountRef, dict[str, int], int]]:
        counted = []
        for other, kinds in linked:
            rest = U
            for kind in KINDS:
                if kind in kinds:
                    rest = rest * (U - strength(kind, kinds[kind]) // U) // U
            weight = (U - rest) * sum(self._sum({other}, today).values()) // (2 * U)
            if weight:
                counted.append((other, kinds, weight))
        return counted

    def _conclude(
        self,
        own: set[AccountRef],
        same: set[AccountRef],
        sure: set[AccountRef],
        linked: list[tuple[AccountRef, dict[str, int]]],
        ignored: list[str],
        today: date,
    ) -> Expected:
        direct = {g: weight for g, weight in self._sum(own | same, today).items() if weight}
        h_direct = sum(direct.values())
        counted = self._weigh(linked, today)
        x = sum(weight for _, _, weight in counted)
        sorts = {kind for _, kinds, _ in counted for kind in kinds} - {"addr"}
        h_linked = saturate(U if len(sorts) > 1 else U // 3, x) if x else 0
        score = 1000 * (h_direct + h_linked) // (U + h_direct + h_linked)
        lowest = {
            g: min(
                self.platforms[one.iss][0] for one in own | same if self.platforms[one.iss][1] == g
            )
            for g in direct
        }
        parts = [(weight, (lowest[g], 0)) for g, weight in direct.items()]
        parts += [
            (
                h_linked * weight // x,
                (self.platforms[other.iss][0], self.graph.nodes[other]["since"]),
            )
            for other, _, weight in counted
        ]
        points = share(score, parts)
        certain = {g: weight for g, weight in self._sum(sure, today).items() if weight}
        exact = 1000 * h_direct // (U + h_direct), 1000 * h_linked // (U + h_linked)
        high = score >= 600 and (len(direct) > 1 or self._has_court(own | same))
        sum_certain = sum(certain.values())
        settled = 1000 * sum_certain // (U + sum_certain) >= 600 and (
            len(certain) > 1 or self._has_court(sure)
        )
        everyone = own | same | {other for other, _ in linked}
        return Expected(
            score=score,
            direct=exact[0],
            linked=exact[1],
            level="HIGH" if high else "MEDIUM" if score >= 250 else "LOW",
            basis="same_person"
            if same and h_direct
            else "own_account"
            if h_direct
            else "association"
            if h_linked
            else "no_record",
            groups={g: (direct[g], given) for g, given in zip(direct, points, strict=False)},
            links=[
                (*strongest(kinds), weight, given)
                for (_, kinds, _), (weight, _), given in zip(
                    counted, parts[len(direct) :], points[len(direct) :], strict=True
                )
            ],
            ignored=ignored,
            claim=advise_claim(exact, len(sorts), high=high, settled=settled),
            checkout=advise_checkout(exact[0]),
            incidents=sum(1 for one in self.counts.values() if one.account in everyone),
        )


def strength(kind: str, n: int) -> int:
    """Give s·δ in squared micro-units."""
    s, free, _ = KINDS[kind]
    return s * U // 100 * (4 * U // (4 + max(0, n - free)))


def strongest(kinds: dict[str, int]) -> tuple[str, int]:
    """Give the strongest of shared kinds with its number of accounts; ties to the first kind."""
    best = max(KINDS, key=lambda kind: strength(kind, kinds[kind]) if kind in kinds else -1)
    return best, kinds[best]


def advise_claim(
    exact: tuple[int, int], kinds: int, *, high: bool, settled: bool
) -> tuple[str, str]:
    """Advise on a claim from the direct and the linked score."""
    direct, linked = exact
    if direct >= 600 and high:
        if settled:
            return "decline_refund_only", "confirmed_at_two_groups_or_by_a_court"
        return "human_review", "same_person_without_nid"
    for least, action in (
        (500, "human_review"),
        (400, "require_return"),
        (250, "require_live_evidence"),
    ):
        if direct >= least:
            return action, "direct_score"
    if kinds > 1 and linked >= 150:
        return "require_live_evidence", "association_by_two_kinds"
    return "grant", "below_every_threshold"


def advise_checkout(direct: int) -> tuple[str, str]:
    """Advise on a checkout from the direct score."""
    for least, action in ((400, "withhold_instant_refund"), (250, "require_delivery_proof")):
        if direct >= least:
            return action, "direct_score"
    return "proceed", "below_every_threshold"
