"""The inverted index in plain dicts: what the store's tables and its one read give, without SQL.

It knows accounts with their active incidents, the edges between accounts and identifiers, and
what follows from them; bindings and buckets are those of the latest active event. It keeps no
log: events come to it in log order, already active, and statements that a platform changed, an
account was separated or a marker was set never come. What is read is judged by the product's
rules, or by a copy of them that a test broke.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ledger.graph.link import CROWD_SEEN_MAX, NID, Presented
from ledger.graph.neighbourhood import Evidence, Neighbourhood, build_neighbourhood
from ledger.graph.posting import Multiplicity, Posting, forward_mass
from ledger.incident.taxonomy import Actor, Conduct, ProofLevel
from ledger.risk.advice import Purpose, advise
from ledger.risk.policy import RiskPolicy, parse_policy
from ledger.risk.score import RiskScore, score_on_day

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ledger.incident.incident import Money

_ROOT = Path(__file__).parent.parent
POLICY = parse_policy((_ROOT / "config" / "policy.toml").read_text("utf-8"))


class Conducted(NamedTuple):
    """What a report says of the conduct, as far as it weighs. *Units*: days since 1970-01-01."""

    day: int
    amount: Money
    conduct: Conduct = Conduct.EVIDENCE_FORGED_AI
    actor: Actor = Actor.FIRST_PARTY
    level: ProofLevel = ProofLevel.D
    claims: int = 1
    first_day: int | None = None


class ActiveIncident(NamedTuple):
    """One incident that counts. `place` is that of its report in the log, and names it."""

    place: int
    platform: int
    account: bytes
    bound: tuple[Presented, ...]
    half_life: int
    mass: int
    level_a: int
    first_day: int
    last_day: int


class _Sum(NamedTuple):
    """What an account bears in one half-life."""

    mass: int
    incidents: int
    level_a: int
    first_day: int
    last_day: int


def weigh_incident(
    policy: RiskPolicy,
    place: int,
    platform: int,
    account: bytes,
    bound: tuple[Presented, ...],
    told: Conducted,
) -> ActiveIncident:
    """Weigh what a platform reported about an account and the identifiers bound to it."""
    weight = policy.weigh(told.conduct, told.actor, told.level, told.amount, told.claims)
    days = policy.half_life_days(weight.half_life)
    return ActiveIncident(
        place=place,
        platform=platform,
        account=account,
        bound=bound,
        half_life=int(weight.half_life),
        mass=forward_mass(weight.micro, told.day, days, policy.epoch_day),
        level_a=int(told.level is ProofLevel.A),
        first_day=told.day if told.first_day is None else told.first_day,
        last_day=told.day,
    )


class MemoryIndex:
    """Postings and multiplicities of the incidents that are active at the moment."""

    def __init__(self, groups: Mapping[int, str]) -> None:
        """Know each platform's corporate group, with no report upheld or overturned."""
        self._groups = groups
        self._incidents: dict[int, ActiveIncident] = {}
        self._borne: dict[bytes, dict[int, ActiveIncident]] = {}
        self._edges: dict[bytes, dict[bytes, dict[int, Presented]]] = {}
        self._sums: dict[bytes, dict[int, _Sum]] = {}
        self._numbers: dict[bytes, int] = {}
        self._keys: dict[int, bytes] = {}
        self._last = 0

    def add(self, incident: ActiveIncident) -> None:
        """Let an incident count; without weight it leaves no trace."""
        if incident.mass == 0:
            return
        account, place = incident.account, incident.place
        self._incidents[place] = incident
        self._borne.setdefault(account, {})[place] = incident
        if account not in self._numbers:
            self._last += 1
            self._numbers[account] = self._last
            self._keys[self._last] = account
        for one in incident.bound:
            self._edges.setdefault(one.key, {}).setdefault(account, {})[place] = one
        self._sums[account] = _sum_up(self._borne[account].values())

    def remove(self, place: int) -> None:
        """Let an incident count no more, as if it had never been filed."""
        incident = self._incidents.pop(place, None)
        if incident is None:
            return
        account = incident.account
        del self._borne[account][place]
        for one in incident.bound:
            accounts = self._edges[one.key]
            del accounts[account][place]
            if not accounts[account]:
                del accounts[account]
            if not accounts:
                del self._edges[one.key]
        self._sums[account] = _sum_up(self._borne[account].values())
        if not self._borne[account]:
            del self._borne[account], self._sums[account]
            del self._keys[self._numbers.pop(account)]

    def account_of(self, number: int) -> bytes:
        """Give the key of an account by the number that it has in postings."""
        return self._keys[number]

    def read(self, account: bytes, tokens: Iterable[bytes]) -> Evidence:
        """Read what the store reads in its one statement, as of version 1 of the policy."""
        postings = []
        multiplicities = []
        if account in self._sums:
            postings += self._rows(account, account, 0, 0)
        for token in dict.fromkeys(tokens):
            accounts = self._edges.get(token)
            if accounts is None:
                continue
            latest = {one: claims[max(claims)] for one, claims in accounts.items()}
            kind = next(iter(latest.values())).kind
            counted = self._count(token, kind, accounts) if len(accounts) > 1 else []
            multiplicities += counted
            if kind == NID or all(one.accounts <= CROWD_SEEN_MAX for one in counted):
                for one, claim in latest.items():
                    postings += self._rows(token, one, kind, claim.binding)
        return Evidence(len(self._incidents), 1, postings, multiplicities)

    @staticmethod
    def count_all(evidence: Evidence) -> list[Multiplicity]:
        """Count accounts at each platform, a token's only one too; what it declared is unknown."""
        counted = {one.key for one in evidence.multiplicities}
        alone = {row.key: row for row in evidence.postings if row.kind_code}
        return [
            *evidence.multiplicities,
            *(
                Multiplicity(key, row.kind_code, 1, row.platform, row.group, 0, -1)
                for key, row in alone.items()
                if key not in counted
            ),
        ]

    def _count(
        self, token: bytes, kind: int, accounts: Mapping[bytes, Mapping[int, Presented]]
    ) -> list[Multiplicity]:
        """Count a token's accounts at each platform, with the bucket of its latest event."""
        counts: dict[int, tuple[int, int, int]] = {}
        for claims in accounts.values():
            place = max(claims)
            platform = self._incidents[place].platform
            seen, latest, bucket = counts.get(platform, (0, -1, 0))
            newest = (place, claims[place].bucket) if place > latest else (latest, bucket)
            counts[platform] = (seen + 1, *newest)
        return [
            Multiplicity(token, kind, seen, platform, self._groups[platform], bucket, latest)
            for platform, (seen, latest, bucket) in counts.items()
        ]

    def _rows(self, token: bytes, account: bytes, kind: int, binding: int) -> list[Posting]:
        platform = next(iter(self._borne[account].values())).platform
        group = self._groups[platform]
        return [
            Posting(
                *(token, kind, self._numbers[account], platform, group, half_life),
                *(one.mass, one.incidents, 0, one.level_a, binding),
                *(one.first_day, one.last_day, 0, 0),
            )
            for half_life, one in self._sums[account].items()
        ]


def _sum_up(borne: Iterable[ActiveIncident]) -> dict[int, _Sum]:
    """Sum the incidents of one account by their half-lives."""
    sums: dict[int, _Sum] = {}
    for one in borne:
        new = _Sum(one.mass, 1, one.level_a, one.first_day, one.last_day)
        old = sums.get(one.half_life)
        sums[one.half_life] = (
            new
            if old is None
            else _Sum(
                mass=old.mass + new.mass,
                incidents=old.incidents + 1,
                level_a=old.level_a + new.level_a,
                first_day=min(old.first_day, new.first_day),
                last_day=max(old.last_day, new.last_day),
            )
        )
    return sums


class Rulebook(NamedTuple):
    """The rules that judge: the product's, unless a test broke a copy."""

    policy: RiskPolicy = POLICY
    build: Callable[..., Neighbourhood] = build_neighbourhood
    score: Callable[[Neighbourhood, RiskPolicy, int], RiskScore] = score_on_day
    ledger: type[MemoryIndex] = MemoryIndex


class Asked(NamedTuple):
    """A question: an account and its platform's group, what it presents, and the day."""

    key: bytes
    group: str
    presented: tuple[Presented, ...]
    day: int


class Judged(NamedTuple):
    """An answer to a claim, with the neighbourhood that it was made from."""

    around: Neighbourhood
    score: RiskScore
    action: str

    @property
    def marks(self) -> dict[str, bool]:
        """Tell whether the buyer is above LOW, and whether the advice is anything but to grant."""
        return {"above LOW": self.score.level != "LOW", "any advice": self.action != "grant"}

    @property
    def plain(self) -> tuple[object, ...]:
        """The whole answer but for row numbers, which tell in which order accounts came."""
        links = sorted(one._replace(account=0, points=0) for one in self.score.links)
        return self.score._replace(links=tuple(links)), self.action


def judge(rules: Rulebook, asked: Asked, evidence: Evidence) -> Judged:
    """Answer a question by the rules."""
    around = rules.build(asked.key, asked.group, asked.presented, evidence, rules.policy.kinds)
    return conclude(rules, around, asked.day)


def conclude(rules: Rulebook, around: Neighbourhood, day: int) -> Judged:
    """Score a neighbourhood and advise on a claim."""
    score = rules.score(around, rules.policy, day)
    advice = advise(score, Purpose.REFUND_ONLY_CLAIM, rules.policy)
    return Judged(around, score, advice.action if advice else "grant")
