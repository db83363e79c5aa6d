"""Random histories of a ledger in memory: members without keys, an index in plain dicts.

A history is drawn from a tape of bytes, so that whoever shrinks the bytes shrinks the history. The
index hears the same statements as a real ledger and keeps, row by row, what the store keeps; it is
read by the product's own neighbourhood and score. It knows neither signatures nor databases.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, date, datetime
from itertools import count
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from exact import POLICY
from simulator import Simulator
from worlds import World, cases_of

from ledger.deriving import Relief, weigh_report
from ledger.graph.link import Presented
from ledger.graph.neighbourhood import Evidence, build_neighbourhood
from ledger.graph.posting import UNIX_ORDINAL, Multiplicity, Posting, day_number
from ledger.identity.identifier import AccountRef, Identifier, IdentifierClaim
from ledger.incident.incident import IncidentReport
from ledger.incident.lifecycle import State, next_state
from ledger.incident.statement import Change, Correction, Marking, Recycling, Restitution, Unlinking
from ledger.incident.taxonomy import ProofLevel
from ledger.judging import op_of
from ledger.log.leaf import Op
from ledger.risk.advice import Purpose, advise
from ledger.risk.score import RiskScore, score_on_day
from ledger.store.overrides import _cut_day

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from oracle import Expected

    from ledger.assessing import AssessmentRequest
    from ledger.incident.statement import Statement

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
_LAND = SimpleNamespace(jurisdiction=SimpleNamespace(code="SANDBOX", response_window_days=0))
# Four platforms, of which two are of one group.
GROUPS = {"shop-a": "first", "shop-b": "second", "shop-c": "first", "shop-d": "fourth"}
MEMBERS = [Simulator(cast("Any", _LAND), name, group=group) for name, group in GROUPS.items()]
IDS = {one.uri: (number, one.group) for number, one in enumerate(MEMBERS, 1)}


class Tape(Random):
    """Chance that is read from bytes; beyond their end everything is the first of its kind."""

    def __init__(self, content: bytes) -> None:
        """Begin at the first byte."""
        super().__init__()
        self._rest = iter(content)

    def random(self) -> float:
        """Give a number below one, from one byte."""
        return next(self._rest, 0) / 256

    def _randbelow(self, n: int) -> int:
        return next(self._rest, 0) * n >> 8


class Borne(NamedTuple):
    """What one incident, or all of an account and half-life, adds up to."""

    mass: int = 0
    incidents: int = 0
    level_a: int = 0
    first_day: int = 0
    last_day: int = 0


NOTHING = Borne()


@dataclass(frozen=True)
class Standing:
    """One incident: the place of its report, what it says now, how it stands, what it links."""

    place: int
    report: IncidentReport
    state: State = State.ACTIVE
    relief: Relief = Relief.NONE
    half_life: int = 0
    borne: Borne = NOTHING


def key_of(one: AccountRef | Identifier) -> bytes:
    """Give a lookup key that needs no secret."""
    return repr(one).encode()


class MemoryIndex:
    """Postings, edges, multiplicities and overrides, kept statement by statement."""

    def __init__(self, members: Mapping[str, tuple[int, str]] = IDS) -> None:
        """Know each member's row id and group; `decided` are a group's upheld and overturned."""
        self.members = members
        self.decided: dict[str, tuple[int, int]] = {}
        self.incidents: dict[tuple[str, str], Standing] = {}
        self.sums: dict[AccountRef, dict[int, Borne]] = defaultdict(dict)
        self.edges: dict[Identifier, dict[int, IdentifierClaim]] = defaultdict(dict)
        self.bearers: dict[int, AccountRef] = {}
        self.apart: set[tuple[AccountRef, AccountRef]] = set()
        self.recycled: dict[Identifier, dict[str, int]] = defaultdict(dict)
        self.marked: dict[AccountRef | Identifier, set[tuple[int, int, int]]] = defaultdict(set)
        self.numbers: dict[AccountRef, int] = {}
        self._heard: set[str] = set()
        self._clock = count(1)

    # --- Hearing --------------------------------------------------------------------------------

    def hear(self, said: Statement) -> None:
        """Take in one statement, once."""
        if said.jti in self._heard:
            return
        self._heard.add(said.jti)
        place = next(self._clock)
        if isinstance(said, IncidentReport):
            self.bearers[place] = said.account
            self._settle(None, Standing(place, said))
        elif isinstance(said, Unlinking):
            self.apart |= {(said.account, said.other), (said.other, said.account)}
            self._number(said.account, said.other)
        elif isinstance(said, Recycling):
            self._recycle(said)
        elif isinstance(said, Marking):
            self._mark(said)
        elif isinstance(said, Change):
            self._change(said)

    def _change(self, said: Change) -> None:
        known, op = self.incidents[said.issuer, said.incident_jti], op_of(said)
        state = next_state(known.state, op)
        if state is None or (op is Op.RESTITUTED and known.relief):
            return
        changed = replace(known, state=state)
        if isinstance(said, Correction):
            stays = replace(said.report, jti=said.incident_jti)
            changed = replace(changed, report=stays)
        if isinstance(said, Restitution):
            changed = replace(changed, relief=Relief.RESTITUTED)
        self._settle(known, changed)

    def _mark(self, said: Marking) -> None:
        days = day_number(said.begins.date()), day_number(said.until.date())
        self._number(said.account)
        keys: tuple[AccountRef | Identifier, ...] = (said.account, *said.identifiers)
        for one in keys:
            self.marked[one].add((said.kind.code, *days))
        for jti in said.incident_jtis:
            known = self.incidents[said.issuer, jti]
            self._settle(known, replace(known, relief=Relief.WAIVED))

    def _recycle(self, said: Recycling) -> None:
        token, day = said.identifier, day_number(said.recycled_at.date())
        days = self.recycled[token]
        days[said.issuer] = max(day, days.get(said.issuer, day))
        for known in self.incidents.values():
            if known.place in self.edges[token] and self._is_cut(token, known):
                del self.edges[token][known.place]

    def _settle(self, before: Standing | None, after: Standing) -> None:
        """Let an incident count no more as it stood, and count as it stands."""
        account = after.report.account
        if before is not None and before.borne.incidents:
            self._take_back(account, before)
        borne = NOTHING
        if after.state is State.ACTIVE and after.relief is not Relief.WAIVED:
            half_life, mass = weigh_report(POLICY, after.report, after.relief)
            last = after.report.conduct_ended_at
            first = after.report.series.first_at if after.report.series else last
            days = day_number(first.date()), day_number(last.date())
            level_a = int(after.report.proof.level is ProofLevel.A)
            borne = Borne(mass, 1, level_a, *days) if mass else borne
            after = replace(after, half_life=half_life)
        after = replace(after, borne=borne)
        self.incidents[after.report.issuer, after.report.jti] = after
        if borne.incidents:
            self._number(account)
            sums = self.sums[account]
            sums[after.half_life] = add(sums.get(after.half_life), borne)
            for one in after.report.identifiers:
                if not self._is_cut(one.identifier, after):
                    self.edges[one.identifier][after.place] = one
        if not (self.sums[account] or self._is_kept(account)):
            self.numbers.pop(account, None)

    def _take_back(self, account: AccountRef, gone: Standing) -> None:
        for one in gone.report.identifiers:
            self.edges[one.identifier].pop(gone.place, None)
        of_account = [
            one
            for one in self.incidents.values()
            if one.report.account == account
            and one.half_life == gone.half_life
            and one.borne.incidents
            and one.place != gone.place
        ]
        sums = self.sums[account]
        left = sums.pop(gone.half_life)
        if of_account:
            sums[gone.half_life] = Borne(
                left.mass - gone.borne.mass,
                left.incidents - gone.borne.incidents,
                left.level_a - gone.borne.level_a,
                min(one.borne.first_day for one in of_account),
                max(one.borne.last_day for one in of_account),
            )

    def _is_cut(self, token: Identifier, known: Standing) -> bool:
        said = [(self.members[uri][1], day) for uri, day in self.recycled[token].items()]
        group = self.members[known.report.issuer][1]
        return bool(said) and known.borne.last_day < _cut_day(said, group)

    def _is_kept(self, account: AccountRef) -> bool:
        return account in self.marked or any(account in pair for pair in self.apart)

    def _number(self, *accounts: AccountRef) -> None:
        for one in accounts:
            if one not in self.numbers:
                self.numbers[one] = next(self._clock)

    # --- Reading --------------------------------------------------------------------------------

    def read(self, asked: AssessmentRequest) -> Evidence:
        """Read what the store reads in its one statement."""
        tokens = list(dict.fromkeys(one.identifier for one in asked.identifiers))
        known = [one for one in tokens if self.edges[one]]
        postings = list(self._rows(asked.account, asked.account, 0, 0))
        for token in known:
            for account, claim in self._latest(token).items():
                postings += self._rows(token, account, token.kind.code, claim.binding.code)
        apart = [self.numbers[other] for one, other in self.apart if one == asked.account]
        keys: tuple[AccountRef | Identifier, ...] = (asked.account, *tokens)
        markers = [one for key in keys for one in self.marked[key]]
        counted = [row for one in known if len(self._latest(one)) > 1 for row in self._count(one)]
        return Evidence(0, 1, postings, counted, frozenset(apart), markers)

    def _latest(self, token: Identifier) -> dict[AccountRef, IdentifierClaim]:
        return {self.bearers[place]: one for place, one in sorted(self.edges[token].items())}

    def _rows(
        self, under: AccountRef | Identifier, account: AccountRef, kind: int, binding: int
    ) -> Iterator[Posting]:
        platform, group = self.members[account.iss]
        decided = self.decided.get(group, (0, 0))
        for half_life, one in self.sums[account].items():
            bearer = (key_of(under), kind, self.numbers[account], platform, group, half_life)
            borne = (one.mass, one.incidents, 0, one.level_a, binding)
            yield Posting(*bearer, *borne, one.first_day, one.last_day, *decided)

    def _count(self, token: Identifier) -> Iterator[Multiplicity]:
        seen: dict[int, set[AccountRef]] = defaultdict(set)
        latest: dict[int, tuple[int, int]] = {}
        for place, claim in sorted(self.edges[token].items()):
            platform = self.members[self.bearers[place].iss][0]
            seen[platform].add(self.bearers[place])
            latest[platform] = (claim.accounts_here.code, place)
        groups = dict(self.members.values())
        for platform, accounts in seen.items():
            at = (key_of(token), token.kind.code, len(accounts), platform, groups[platform])
            yield Multiplicity(*at, *latest[platform])

    def state(self, *, ordered: bool = True) -> dict[object, object]:
        """Give every row without row ids, places as their order or not at all, to be compared."""
        rows: dict[object, object] = {
            ("posting", account, half_life): borne
            for account, sums in self.sums.items()
            for half_life, borne in sums.items()
        }
        places = sorted({place for edges in self.edges.values() for place in edges})
        for token, edges in self.edges.items():
            for place, claim in edges.items():
                row = ("edge", token, self.bearers[place], claim, ordered and places.index(place))
                rows[row] = int(str(rows.get(row, 0))) + 1
        rows["separations"] = frozenset(self.apart)
        rows |= {("recycled", one): dict(days) for one, days in self.recycled.items() if days}
        rows |= {("marker", one): frozenset(days) for one, days in self.marked.items() if days}
        return rows

    def score(self, asked: AssessmentRequest, today: date) -> RiskScore:
        """Score a question by the product's own rules."""
        presented = [
            Presented(
                key_of(one.identifier),
                one.identifier.kind.code,
                one.binding.code,
                one.accounts_here.code,
            )
            for one in asked.identifiers
        ]
        account, (_, group) = asked.account, self.members[asked.account.iss]
        found = self.read(asked)
        around = build_neighbourhood(key_of(account), group, presented, found, POLICY.kinds)
        return score_on_day(around, POLICY, day_number(today))


def add(before: Borne | None, one: Borne) -> Borne:
    """Add what an incident weighs to what is borne already."""
    if before is None:
        return one
    return Borne(
        before.mass + one.mass,
        before.incidents + one.incidents,
        before.level_a + one.level_a,
        min(before.first_day, one.first_day),
        max(before.last_day, one.last_day),
    )


def describe(score: RiskScore) -> tuple[object, ...]:
    """Give what the oracle must agree with."""
    first, last = (
        None if day is None else date.fromordinal(day + UNIX_ORDINAL)
        for day in (score.first_day, score.last_day)
    )
    return (
        (score.score, score.direct_score, score.linked_score, score.level, score.basis),
        {part.group: (part.weight, part.points) for part in score.groups},
        [(one.kind.value, one.accounts, one.weight, one.points) for one in score.links],
        [one.kind.value for one in score.ignored],
        score.incidents,
        (score.platforms, first, last),
        tuple(
            (told.action, told.rule)
            for purpose in (Purpose.REFUND_ONLY_CLAIM, Purpose.CHECKOUT)
            if (told := advise(score, purpose, POLICY))
        ),
    )


def expect(expected: Expected) -> tuple[object, ...]:
    """Give the same of the oracle's answer."""
    return (
        (expected.score, expected.direct, expected.linked, expected.level, expected.basis),
        expected.groups,
        expected.links,
        expected.ignored,
        expected.incidents,
        expected.seen,
        expected.advice,
    )


def without_rows(told: RiskScore) -> RiskScore:
    """Leave out the row ids of associated accounts, which tell in which order they came."""
    links = sorted(one._replace(account=0, points=0) for one in told.links)
    return told._replace(links=tuple(links))


def draw_world(tape: bytes, **traits: bool) -> World:
    """Draw a world whose members have no keys."""
    return World(Tape(tape), MEMBERS, NOW, label="w", **traits)


def tell(statements: Iterable[Statement]) -> MemoryIndex:
    """Give the index after some statements."""
    index = MemoryIndex()
    for one in statements:
        index.hear(one)
    return index


def reorder(random: Random, statements: Sequence[Statement]) -> list[Statement]:
    """Put statements into another order; of each case they stay in theirs."""
    waiting, ordered = list(statements), []
    while waiting:
        free = [
            one
            for place, one in enumerate(waiting)
            if not any(cases_of(one) & cases_of(earlier) for earlier in waiting[:place])
        ]
        ordered.append(random.choice(free))
        waiting.remove(ordered[-1])
    return ordered


def rename(value: Any) -> Any:
    """Give every account and every identifier in a statement or question another name."""
    if isinstance(value, AccountRef):
        return AccountRef(value.iss, f"renamed {value.sub[::-1]}")
    if isinstance(value, Identifier):
        return value._replace(value=hashlib.sha256(value.value).digest())
    if isinstance(value, tuple):
        renamed = [rename(one) for one in value]
        return type(value)._make(renamed) if hasattr(value, "_make") else tuple(renamed)
    if is_dataclass(value) and not isinstance(value, type):
        members = {one.name: getattr(value, one.name) for one in fields(value)}
        changed = {name: new for name, old in members.items() if (new := rename(old)) is not old}
        return replace(value, **changed)
    return value
