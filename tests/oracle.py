"""An independent reading of docs/scoring.md: a NetworkX graph of statements, and plain fractions.

It hears statements in log order and never sees a table, a posting or the policy file: every number
stands here a second time. It keeps how each case stands and what overrides links, and draws the
graph of what counts anew whenever it is asked; it weighs, links and advises by itself.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction
from functools import cache, cached_property
from itertools import count
from math import floor
from typing import TYPE_CHECKING, Any, TypeAlias

import networkx as nx

from ledger.incident.incident import IncidentReport
from ledger.incident.statement import Correction, Marking, Recycling, Restitution, Unlinking

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ledger.assessing import AssessmentRequest
    from ledger.identity.identifier import AccountRef, Identifier, IdentifierClaim
    from ledger.incident.statement import Statement

    Linked: TypeAlias = list[tuple[AccountRef, dict[str, int]]]  # with n by shared kind
    Found: TypeAlias = tuple[set[AccountRef], set[AccountRef], set[AccountRef]]

U = 10**6
EPOCH_ORDINAL = 738_886  # 2024-01-01
# Strength in per cent, free number, hub cap, and the bindings that verify it.
KINDS: dict[str, tuple[int, int, float, set[str]]] = {
    "nid": (95, 1, float("inf"), {"real_name"}),
    "pay": (80, 2, 10, {"psp"}),
    "device": (70, 2, 20, {"observed", "otp", "psp", "real_name"}),
    "email": (60, 1, 6, {"otp"}),
    "phone": (55, 2, 10, {"otp", "real_name"}),
    "addr": (15, 4, 50, set()),
}
BUCKETS: dict[str, tuple[int, float]] = {"1": (1, 1), "2-4": (2, 4), "5-9": (5, 9)}
BUCKETS |= {"10-49": (10, 49), "50-499": (50, 499), "500+": (500, float("inf"))}
# Conducts, half-life, severity; every other is fraud.
CLASSES = (
    ({"refund_service_operator", "refund_service_client", "competitor_directed"}, 730, "1.2"),
    ({"wardrobing", "price_arbitrage", "promo_multi_account"}, 90, "0.3"),
    ({"nonreceipt_false", "missing_item_false"}, 180, "0.7"),
)
WEAKER = {"grant", "require_live_evidence", "proceed"}  # than a proof of identity
CLAIM = ((250, "require_live_evidence"), (400, "require_return"), (500, "human_review"))
CHECKOUT = ((250, "require_delivery_proof"), (400, "withhold_instant_refund"))
FEN = {"CNY": "1", "EUR": "7.8", "GBP": "9.1", "HKD": "0.92", "JPY": "4.9", "USD": "7.2"}


@dataclass(frozen=True)
class Expected:
    """What a question must be answered with, exactly. `seen`: groups, first and last day."""

    score: int
    direct: int
    linked: int
    level: str
    basis: str
    groups: dict[str, tuple[int, int]]
    links: list[tuple[str, int, int, int]]
    ignored: list[str]
    advice: tuple[tuple[str, str], ...]
    incidents: int
    seen: tuple[int, date | None, date | None]


@dataclass
class Case:
    """One report: its place in the order, what it says now, and what became of it."""

    at: int
    report: IncidentReport
    halved: bool = False
    gone: bool = False  # retracted, or waived by a victim's marker

    @cached_property
    def weight(self) -> tuple[int, int]:
        """What it weighs while it is fresh: its half-life in days, and micro-units."""
        half_life, mass = weigh(self.report)
        return half_life, 0 if self.gone else int(mass * U) // (2 if self.halved else 1)


def weigh(report: IncidentReport) -> tuple[int, Fraction]:
    """Weigh a fresh report: its half-life in days and its mass in incidents."""
    conduct, actor = report.conduct.value, report.actor.value
    found = ((h, severity) for words, h, severity in CLASSES if conduct in words)
    half_life, severity = next(found, (365, "1"))
    if actor in {"victim", "coerced_or_mule"} or conduct == "account_takeover_refund":
        severity = "0"
    confirmed = Fraction("1.5") if report.proof.level.value == "A" else Fraction(1)
    fen = report.amount.minor * Fraction(FEN.get(report.amount.currency, "0"))
    large = Fraction("1.2") if fen >= 300_000 else Fraction(1)
    claims = min(report.series.claims, 3) if report.series else 1
    return half_life, Fraction(severity) * confirmed * large * claims


@cache
def power(r: int, h: int) -> int:
    """Give round(2^(r/h)·2^32): the p of which (2p−1)^h < 2^(r+33h) < (2p+1)^h."""
    p = round(2 ** (32 + r / h)) - 1  # at most one too low, which integers then decide
    while (2 * p + 1) ** h <= 1 << (r + 33 * h):
        p += 1
    return p


def store(micro: int, day: date, h: int) -> int:
    """Give the mass that a weight of a day is stored as."""
    q, r = divmod(day.toordinal() - EPOCH_ORDINAL, h)
    return floor(Fraction(micro * power(r, h)) * Fraction(2) ** (q - 24))


def recall(mass: int, today: date, h: int) -> int:
    """Give what a stored mass weighs today, rounded once."""
    q, r = divmod(today.toordinal() - EPOCH_ORDINAL, h)
    d = power(r, h) << q
    return (mass * 2**24 + d // 2) // d


def saturate(cap: int, x: int) -> int:
    """Give cap·x / (cap + x)."""
    return floor(Fraction(cap * x, cap + x))


def share(total: int, parts: list[tuple[int, tuple[int, ...]]]) -> list[int]:
    """Share points by the largest remainder; ties to the lower platform, kind, account."""
    whole = sum(weight for weight, _ in parts)
    exact = [Fraction(total * weight, whole) if whole else Fraction(0) for weight, _ in parts]
    given = [floor(one) for one in exact]
    waiting = sorted(range(len(parts)), key=lambda i: (given[i] - exact[i], parts[i][1]))
    for i in waiting[: (total if whole else 0) - sum(given)]:
        given[i] += 1
    return given


class Oracle:
    """A ledger as a graph: accounts and tokens, an edge for each token of each case that counts."""

    def __init__(self, platforms: Mapping[str, tuple[int, str]]) -> None:
        """Know each member's row id and group; `decided` are a group's upheld and overturned."""
        self.platforms = platforms
        self.decided: dict[str, tuple[int, int]] = {}
        self.cases: dict[tuple[str, str], Case] = {}
        self.apart: list[tuple[AccountRef, AccountRef]] = []
        self.recycled: dict[Identifier, dict[str, date]] = defaultdict(dict)
        self.markers: list[Marking] = []
        self.since: dict[AccountRef, int] = {}
        self._clock = count(1)
        self._graph: nx.MultiGraph | None = None

    def hear(self, said: Statement) -> None:
        """Take in one statement, in the order of the log."""
        if isinstance(said, IncidentReport):
            self.cases[said.issuer, said.jti] = Case(next(self._clock), said)
        elif isinstance(said, Unlinking):
            self.apart.append((said.account, said.other))
        elif isinstance(said, Recycling):
            dates, group = self.recycled[said.identifier], self.platforms[said.issuer][1]
            dates[group] = max(said.recycled_at.date(), dates.get(group, date.min))
        elif isinstance(said, Marking):
            self.markers.append(said)
            for jti in said.incident_jtis:
                self.change(said.issuer, jti, gone=True)
        elif isinstance(said, Correction):
            self.change(said.issuer, said.incident_jti, report=said.report)
        elif hasattr(said, "incident_jti"):
            how = "halved" if isinstance(said, Restitution) else "gone"
            self.change(said.issuer, said.incident_jti, **{how: True})
        self._graph = None
        known = [case.report.account for case in self.cases.values() if case.weight[1]]
        known += [one for pair in self.apart for one in pair]
        known += [one.account for one in self.markers]
        self.since = {one: self.since.get(one) or next(self._clock) for one in dict.fromkeys(known)}

    def change(self, issuer: str, jti: str, **changes: Any) -> None:
        """Change how a case stands; its place stays."""
        self.cases[issuer, jti] = replace(self.cases[issuer, jti], **changes)

    def is_cut(self, claim: IdentifierClaim, report: IncidentReport) -> bool:
        """Tell whether an identifier went to somebody else after what is reported.

        By the word of the reporter's group, or else by that of two groups.
        """
        dates = self.recycled.get(claim.identifier, {})
        own = dates.get(self.platforms[report.issuer][1], date.min)
        confirmed = sorted([date.min, date.min, *dates.values()])[-2]
        return report.conduct_ended_at.date() < max(own, confirmed)

    @property
    def graph(self) -> nx.MultiGraph:
        """Accounts with their cases, and tokens. An edge has the place of its report."""
        if self._graph is None:
            self._graph = nx.MultiGraph()
            for case in self.cases.values():
                if case.weight[1]:
                    account = case.report.account
                    self._graph.add_node(account)
                    self._graph.nodes[account].setdefault("cases", []).append(case)
                    for one in case.report.identifiers:
                        if not self.is_cut(one, case.report):
                            self._graph.add_edge(account, one.identifier, at=case.at, claim=one)
        return self._graph

    def borne_by(self, accounts: Iterable[AccountRef]) -> list[Case]:
        """Give the cases that count against accounts."""
        return [case for one in accounts for case in self.graph.nodes[one]["cases"]]

    def evidence(self, account: AccountRef, today: date) -> int:
        """Give the mass that an account bears today."""
        stored: dict[int, int] = defaultdict(int)
        for case in self.borne_by([account]):
            h, micro = case.weight
            stored[h] += store(micro, case.report.conduct_ended_at.date(), h)
        return sum(recall(mass, today, h) for h, mass in stored.items())

    def judge_token(self, asked: AssessmentRequest, mine: IdentifierClaim) -> int | None:
        """Count the accounts on a token; None where it is a hub."""
        token, home = mine.identifier, self.platforms[asked.account.iss][1]
        cap = KINDS[token.kind.value][2]
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
        apart = {one for pair in self.apart if asked.account in pair for one in pair}
        for mine in asked.identifiers:
            token, kind = mine.identifier, mine.identifier.kind.value
            if token not in self.graph:
                if BUCKETS[mine.accounts_here.value][0] > KINDS[kind][2]:
                    ignored.append(kind)  # as the asker itself says
                continue
            n = self.judge_token(asked, mine)
            if n is None:
                ignored.append(kind)
                continue
            for other in set(self.graph[token]) - {asked.account} - apart:
                kinds = shared.setdefault(other, {})
                kinds[kind] = min(n, kinds.get(kind, n))
                edges = self.graph.get_edge_data(other, token).values()
                theirs = max(edges, key=lambda edge: edge["at"])["claim"].binding.value
                both = {theirs, mine.binding.value} <= KINDS[kind][3]
                if both and (n <= KINDS[kind][1] or kind == "nid"):
                    proven.setdefault(other, set()).add(kind)
        same = {
            other
            for other, kinds in proven.items()
            if "nid" in kinds or ("phone" in kinds and kinds & {"pay", "email", "device"})
        }
        own = {asked.account} & set(self.graph)
        sure = own | {other for other in same if "nid" in proven[other]}
        others = sorted(set(shared) - same, key=self.since.__getitem__)
        linked = [(one, shared[one]) for one in others]
        expected = self._conclude((own, same, sure), linked, ignored, today)
        marked: set[object] = {asked.account, *(one.identifier for one in asked.identifiers)}
        for one in self.markers:
            days = one.begins.date(), one.until.date()
            if marked & {one.account, *one.identifiers} and days[0] <= today <= days[1]:
                return protect(expected)
        return expected

    def _sum(self, accounts: Iterable[AccountRef], today: date) -> dict[str, int]:
        masses: dict[str, int] = {}
        for one in accounts:
            group = self.platforms[one.iss][1]
            masses[group] = masses.get(group, 0) + self.evidence(one, today)
        direct = {}
        for group, mass in masses.items():
            upheld, overturned = self.decided.get(group, (0, 0))
            trusted = U * (18 + upheld) // (20 + upheld + overturned)
            direct[group] = trusted * saturate(2 * U, mass) // U
        return {group: weight for group, weight in direct.items() if weight}

    def _has_court(self, accounts: set[AccountRef]) -> bool:
        return any(case.report.proof.level.value == "A" for case in self.borne_by(accounts))

    def _weigh(self, linked: Linked, today: date) -> list[tuple[AccountRef, dict[str, int], int]]:
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

    def _conclude(self, found: Found, linked: Linked, ignored: list[str], today: date) -> Expected:
        own, same, sure = found
        direct, certain = self._sum(own | same, today), self._sum(sure, today)
        h_direct, h_certain = sum(direct.values()), sum(certain.values())
        counted = self._weigh(linked, today)
        x = sum(weight for _, _, weight in counted)
        sorts = {kind for _, kinds, _ in counted for kind in kinds} - {"addr"}
        h_linked = saturate(U if len(sorts) > 1 else U // 3, x) if x else 0
        ids = [self.platforms[one.iss] for one in own | same]
        parts: list[tuple[int, tuple[int, ...]]]
        parts = [(w, (min(n for n, name in ids if name == g),)) for g, w in direct.items()]
        for other, kinds, weight in counted:
            kind, since = list(KINDS).index(strongest(kinds)[0]), self.since[other]
            parts.append((h_linked * weight // x, (self.platforms[other.iss][0], kind, since)))
        score, *exact = (1000 * h // (U + h) for h in (h_direct + h_linked, h_direct, h_linked))
        points = share(score, parts)
        high = score >= 600 and (len(direct) > 1 or self._has_court(own | same))
        settled = 1000 * h_certain // (U + h_certain) >= 600 and (
            len(certain) > 1 or self._has_court(sure)
        )
        basis = "association" if h_linked else "no_record"
        if h_direct:
            basis = "same_person" if same else "own_account"
        seen = [case.report for case in self.borne_by([*own, *same, *(one for one, _ in linked)])]
        began = [one.series.first_at if one.series else one.conduct_ended_at for one in seen]
        return Expected(
            score=score,
            direct=exact[0],
            linked=exact[1],
            level="HIGH" if high else "MEDIUM" if score >= 250 else "LOW",
            basis=basis,
            groups={g: (direct[g], given) for g, given in zip(direct, points, strict=False)},
            links=[
                (*strongest(kinds), parts[place][0], points[place])
                for place, (_, kinds, _) in enumerate(counted, len(direct))
            ],
            ignored=sorted(ignored, key=list(KINDS).index),
            advice=advise(exact[0], exact[1], len(sorts), high=high, settled=settled),
            incidents=len(seen),
            seen=(
                len({self.platforms[one.issuer][1] for one in seen}),
                min((one.date() for one in began), default=None),
                max((one.conduct_ended_at.date() for one in seen), default=None),
            ),
        )


def strength(kind: str, n: int) -> int:
    """Give s·δ in squared micro-units."""
    s, free, *_ = KINDS[kind]
    return s * U // 100 * (4 * U // (4 + max(0, n - free)))


def strongest(kinds: dict[str, int]) -> tuple[str, int]:
    """Give the strongest of shared kinds with its number of accounts; ties to the first kind."""
    best = max(KINDS, key=lambda kind: strength(kind, kinds[kind]) if kind in kinds else -1)
    return best, kinds[best]


def advise(
    direct: int, linked: int, kinds: int, *, high: bool, settled: bool
) -> tuple[tuple[str, str], ...]:
    """Advise on a claim and on a checkout: an action and its rule, the last that fits."""
    claim, checkout = ("grant", "below_every_threshold"), ("proceed", "below_every_threshold")
    if kinds > 1 and linked >= 150:
        claim = ("require_live_evidence", "association_by_two_kinds")
    for least, action in CLAIM:
        claim = (action, "direct_score") if direct >= least else claim
    if direct >= 600 and high:
        claim = ("human_review", "same_person_without_nid")
        if settled:
            claim = ("decline_refund_only", "confirmed_at_two_groups_or_by_a_court")
    for least, action in CHECKOUT:
        checkout = (action, "direct_score") if direct >= least else checkout
    return claim, checkout


def protect(told: Expected) -> Expected:
    """Ask for a proof of identity, or for what is stronger; no score changes."""
    proof = ("require_identity_proof", "protective_marker")
    advice = tuple(proof if one[0] in WEAKER else one for one in told.advice)
    return replace(told, basis="protected", advice=advice)
