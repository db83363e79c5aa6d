"""What follows from one statement: how an incident stands, what it weighs, what overrides links.

Pure but for decryption: it reads the statements that it is given and writes nothing. The
sequencer applies what it says, and an audit applies the same again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, TypeAlias

from ledger.errors import LedgerCorrupt
from ledger.graph.posting import bounded_mass, day_number, forward_mass
from ledger.identity.identifier import account_key, lookup_key
from ledger.identity.standing import name_suspended
from ledger.identity.token import payload_of
from ledger.incident.decision import decision_reason
from ledger.incident.evidence import Piece, find_pieces
from ledger.incident.incident import IncidentReport
from ledger.incident.lifecycle import BEGINNING, CLOSED, CONCLUDING, ENDING, State, next_state
from ledger.incident.statement import (
    Correction,
    Forgery,
    Marking,
    Recycling,
    Unlinking,
    parse_event,
    parse_ledger_statement,
)
from ledger.incident.taxonomy import ProofLevel
from ledger.log.leaf import NO_REF, EntryReason, Op
from ledger.privacy.sealing import unseal
from ledger.store.incidents import StoredIncident
from ledger.store.overrides import Mark, Recycled, Separated
from ledger.store.postings import TokenClaim

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ledger.incident.statement import Statement
    from ledger.ledger import Ledger
    from ledger.risk.policy import RiskPolicy
    from ledger.store.entries import StoredEvent

Override: TypeAlias = Separated | Recycled | Mark
_REASONS = {Op.ACTIVATED: EntryReason.WINDOW_PASSED, Op.EXPIRED: EntryReason.RETENTION_ENDED}
_DECIDED = {Op.DISPUTE_REJECTED: (1, 0), Op.EXPUNGED: (0, 1)}


class Relief(IntEnum):
    """What makes an incident weigh less for good, by its number in the database."""

    NONE = 0
    RESTITUTED = 1
    WAIVED = 2


@dataclass(frozen=True, slots=True)
class Effect:
    """What follows from one entry.

    *Shape*: `before` is the incident while it counted, which stops; `after` how it stands now,
    counting from here where there is an `account`, under `claims`. `decided` are the reports of
    its reporter that this decides: upheld, overturned. `pieces` is by what evidence its record is
    recognised from here on, none where it isn't any more; None leaves it. What `ends` is the
    record at `ref`, which is no incident; `named` are the lookup keys that it was about. The member
    that it `suspends` vouches for no evidence any more.
    """

    ref: int
    reason: EntryReason
    after: StoredIncident | None = None
    before: StoredIncident | None = None
    account: bytes | None = None
    claims: tuple[TokenClaim, ...] = ()
    decided: tuple[int, int] = (0, 0)
    override: Override | None = None
    policy_version: int = 0
    pieces: tuple[Piece, ...] | None = None
    day: int = 0
    ends: bool = False
    named: tuple[bytes, ...] = ()
    suspends: str | None = None

    @property
    def kinds(self) -> Mapping[bytes, int]:
        """The lookup keys that must exist, with the codes of their kinds; 0 is an account."""
        if self.override is not None:
            return self.override.keys
        own = {} if self.account is None else {self.account: 0}
        return own | {claim.key: claim.kind for claim in self.claims}

    @property
    def waives(self) -> tuple[str, ...]:
        """The reports that weigh nothing from here on, by jti."""
        return self.override.incident_jtis if isinstance(self.override, Mark) else ()


def event_context(platform: int, jti: str) -> bytes:
    """Give the context that a sealed event is bound to, so that no two can change places."""
    return b"bcl/event\x00%d\x00%s" % (platform, jti.encode())


def open_event(ledger: Ledger, stored: StoredEvent) -> bytes:
    """Give the token of a stored event as it was received.

    *Raises*: LedgerCorrupt where it is missing or was changed.
    """
    if stored.sealed is None:
        raise LedgerCorrupt("An event's content is missing.")
    return unseal(
        ledger.keys.wrap_key, stored.sealed, context=event_context(stored.platform, stored.jti)
    )


def read_statement(ledger: Ledger, stored: StoredEvent) -> Statement:
    """Open and parse a platform's statement. *Raises*: LedgerCorrupt."""
    return parse_event(payload_of(open_event(ledger, stored)))


def read_decision(ledger: Ledger, stored: StoredEvent) -> EntryReason:
    """Give the reason of an operator's decision, or that it is the first of two persons' alone.

    *Raises*: LedgerCorrupt where the ledger stated something else.
    """
    members = parse_ledger_statement(payload_of(open_event(ledger, stored))).members
    if "confirms" not in members and not ledger.sandbox:
        return EntryReason.FIRST_OF_TWO
    reason = decision_reason(Op(stored.op), str(members.get("reason")))
    if reason is None:
        raise LedgerCorrupt("A decision of the operator's has no published reason.")
    return reason


def read_report(ledger: Ledger, stored: StoredEvent | None) -> IncidentReport:
    """Open what an incident is now: its report, or the last correction of it.

    *Raises*: LedgerCorrupt where it is something else.
    """
    statement = read_statement(ledger, stored) if stored else None
    report = statement.report if isinstance(statement, Correction) else statement
    if not isinstance(report, IncidentReport):
        raise LedgerCorrupt("An incident has no report.")
    return report


def derive_effect(
    ledger: Ledger,
    policy: RiskPolicy,
    stored: StoredEvent,
    known: StoredIncident | None,
    said: Sequence[StoredEvent],
    index: int,
) -> Effect:
    """Derive what the statement at an index does.

    *Shape*: `known` is the incident that it is about as it stands, `said` the one statement that
    says what that is, or all about a record that is no incident and ends. A statement that lost a
    race still becomes an entry, with the reason "no effect".
    """
    op = Op(stored.op)
    if op is Op.POLICY_PUBLISHED:
        published = parse_ledger_statement(payload_of(open_event(ledger, stored)))
        version = int(str(published.members["version"]))
        return Effect(NO_REF, EntryReason.NONE, policy_version=version)
    if op is Op.PLATFORM_CHANGED:
        change = parse_ledger_statement(payload_of(open_event(ledger, stored))).members
        return Effect(NO_REF, EntryReason.NONE, suspends=name_suspended(change))
    if op in BEGINNING and op is not Op.INCIDENT_CONFIRMED and stored.gone is not None:
        return Effect(NO_REF, EntryReason.NONE)
    if op is Op.EVIDENCE_SEEN:
        return derive_forgery(ledger, stored)
    if op in {Op.LINK_STATED, Op.MARKED}:
        override = derive_override(ledger, read_statement(ledger, stored), stored.platform, index)
        return Effect(NO_REF, EntryReason.NONE, override=override)
    if known is None and op in CONCLUDING:
        return derive_end(ledger, stored, said, index)
    return _derive_change(ledger, policy, stored, known, said[0] if said else None, index)


def _derive_change(
    ledger: Ledger,
    policy: RiskPolicy,
    stored: StoredEvent,
    known: StoredIncident | None,
    content: StoredEvent | None,
    index: int,
) -> Effect:
    """Derive what a statement about an incident does, the report itself included."""
    op = Op(stored.op)
    after = next_state(known.state if known else None, op)
    ref = known.reported_index if known else NO_REF
    if after is None or (op is Op.RESTITUTED and known and known.relief):
        return Effect(ref, EntryReason.NO_EFFECT)
    if known is None:
        held = StoredIncident(stored.incident, stored.platform, after, index, index, index)
        return _recognise(ledger, stored, Effect(ref, EntryReason.NONE, held))
    changed = replace(known, state=after, changed_index=index)
    if op is Op.CORRECTED:
        changed, content = replace(changed, content_index=index), stored
    if op is Op.RESTITUTED:
        changed = replace(changed, relief=int(Relief.RESTITUTED))
    if op is Op.ERASURE_ACKNOWLEDGED:
        return Effect(ref, EntryReason.NONE)
    reason = _REASONS.get(op, EntryReason.NONE)
    if op in {Op.EXPUNGED, Op.ERASED}:
        reason = read_decision(ledger, stored)
        if reason is EntryReason.FIRST_OF_TWO:
            return Effect(ref, reason)
    effect = Effect(ref, reason, decided=_DECIDED.get(op, (0, 0)))
    if op is Op.CORRECTED:
        effect = _recognise(ledger, stored, effect)
    elif after in CLOSED:
        effect = replace(effect, pieces=())
    return weigh_again(ledger, policy, known, changed, content, effect)


def _recognise(ledger: Ledger, stored: StoredEvent, effect: Effect) -> Effect:
    """Say by what an incident's own evidence is recognised: only what was itself forged."""
    if stored.gone is not None:
        return effect
    report = read_report(ledger, stored)
    pieces = find_pieces(report.proof.evidence) if report.conduct.forges_evidence else ()
    return replace(effect, pieces=pieces, day=day_number(report.issued_at.date()))


def derive_forgery(ledger: Ledger, stored: StoredEvent) -> Effect:
    """Derive what a statement that evidence is forged does."""
    statement = read_statement(ledger, stored)
    if not isinstance(statement, Forgery):
        raise LedgerCorrupt("A statement about forged evidence has none.")
    pieces = find_pieces(statement.evidence, is_original=statement.is_original)
    day = day_number(statement.issued_at.date())
    return Effect(NO_REF, EntryReason.NONE, pieces=pieces, day=day)


def derive_end(
    ledger: Ledger, stored: StoredEvent, history: Sequence[StoredEvent], index: int
) -> Effect:
    """Derive what the end of a record that is no incident does.

    By a withdrawal, by time, or by a decision that it is unfounded, which evidence alone can be.
    *Shape*: `history` are all statements about the record, the one that began it first.
    """
    first = history[0]
    began, op = first.entry_index, Op(first.op)
    is_wrong = stored.op == Op.EXPUNGED and op is not Op.EVIDENCE_SEEN
    if began is None or op not in BEGINNING or is_wrong:
        raise LedgerCorrupt("What ends was never begun.")
    earlier = [one for one in history if one.entry_index is not None and one.entry_index < index]
    if any(_concludes(ledger, one) for one in earlier):
        return Effect(began, EntryReason.NO_EFFECT, ends=True)
    reason = _REASONS.get(Op(stored.op), EntryReason.NONE)
    if stored.op == Op.EXPUNGED:
        reason = read_decision(ledger, stored)
        if reason is EntryReason.FIRST_OF_TWO:
            return Effect(began, reason)
    named: tuple[bytes, ...] = ()
    if op in {Op.LINK_STATED, Op.MARKED} and first.gone is None:
        override = derive_override(ledger, read_statement(ledger, first), first.platform, began)
        named = tuple(override.keys)
    return Effect(began, reason, pieces=(), ends=True, named=named)


def _concludes(ledger: Ledger, stored: StoredEvent) -> bool:
    if stored.op == Op.EXPUNGED:
        return read_decision(ledger, stored) is not EntryReason.FIRST_OF_TWO
    return stored.op in ENDING


def weigh_again(
    ledger: Ledger,
    policy: RiskPolicy,
    known: StoredIncident,
    changed: StoredIncident,
    content: StoredEvent | None,
    effect: Effect,
) -> Effect:
    """Say what an incident weighed before a change, and what it weighs after it.

    Victims, coerced persons and waived incidents leave no trace in the index. Nor does, where all
    is derived anew, what was erased since: taking it back restored what was before it.
    """
    before = known if known.account is not None else None
    bare = _weightless(changed)
    is_gone = content is not None and content.gone is not None
    if changed.state is not State.ACTIVE or changed.relief == Relief.WAIVED or is_gone:
        return replace(effect, before=before, after=bare)
    report = read_report(ledger, content)
    weighed = _weigh(policy, bare, report)
    if weighed.mass == 0:
        return replace(effect, before=before, after=bare)
    account, claims = find_keys(ledger, report)
    return replace(effect, before=before, after=weighed, account=account, claims=claims)


def waive(ledger: Ledger, policy: RiskPolicy, known: StoredIncident, index: int) -> Effect:
    """Let an incident weigh nothing for good, by the marker at an index."""
    waived = replace(known, relief=int(Relief.WAIVED), changed_index=index)
    effect = Effect(known.reported_index, EntryReason.NONE)
    return weigh_again(ledger, policy, known, waived, None, effect)


def derive_override(ledger: Ledger, statement: Statement, platform: int, index: int) -> Override:
    """Derive what a statement about links says. *Raises*: LedgerCorrupt for any other."""
    key = ledger.keys.index_key
    if isinstance(statement, Unlinking):
        accounts = account_key(key, statement.account), account_key(key, statement.other)
        return Separated(index, platform, *accounts)
    if isinstance(statement, Recycling):
        identifier = statement.identifier
        day = day_number(statement.recycled_at.date())
        return Recycled(index, platform, lookup_key(key, identifier), identifier.kind.code, day)
    if isinstance(statement, Marking):
        kinds = {account_key(key, statement.account): 0}
        kinds |= {lookup_key(key, one): one.kind.code for one in statement.identifiers}
        days = day_number(statement.begins.date()), day_number(statement.until.date())
        return Mark(index, platform, kinds, statement.kind.code, *days, statement.incident_jtis)
    raise LedgerCorrupt("A statement about links says nothing about them.")


def _weightless(incident: StoredIncident) -> StoredIncident:
    if incident.state in CLOSED:  # what its statements said of it is gone with them
        incident = replace(incident, content_index=incident.reported_index, relief=0)
    return StoredIncident(
        incident.id,
        incident.platform,
        incident.state,
        incident.reported_index,
        incident.changed_index,
        incident.content_index,
        incident.relief,
    )


def weigh_report(
    policy: RiskPolicy,
    report: IncidentReport,
    relief: int = Relief.NONE,
    *,
    bounded: bool = False,
) -> tuple[int, int]:
    """Weigh a report under a policy: the code of its half-life, and its mass.

    *Units*: forward-decayed micro-units. *Raises*: EvidenceTooHeavy beyond 64 bits, unless it is
    to be bounded.
    """
    claims = report.series.claims if report.series else 1
    weight = policy.weigh(report.conduct, report.actor, report.proof.level, report.amount, claims)
    mass = (bounded_mass if bounded else forward_mass)(
        weight.micro // 2 if relief == Relief.RESTITUTED else weight.micro,
        day_number(report.conduct_ended_at.date()),
        policy.half_life_days(weight.half_life),
        policy.epoch_day,
    )
    return int(weight.half_life), mass


def _weigh(policy: RiskPolicy, incident: StoredIncident, report: IncidentReport) -> StoredIncident:
    half_life, mass = weigh_report(policy, report, incident.relief, bounded=True)
    last_day = day_number(report.conduct_ended_at.date())
    first_day = day_number(report.series.first_at.date()) if report.series else last_day
    return replace(
        incident,
        half_life=half_life,
        mass=mass,
        count=1,
        level_a=int(report.proof.level is ProofLevel.A),
        first_day=first_day,
        last_day=last_day,
    )


def find_keys(ledger: Ledger, report: IncidentReport) -> tuple[bytes, tuple[TokenClaim, ...]]:
    """Give the lookup keys of a report's account and identifiers, with how they are bound."""
    claims = tuple(
        TokenClaim(
            key=lookup_key(ledger.keys.index_key, claim.identifier),
            kind=claim.identifier.kind.code,
            binding=claim.binding.code,
            bucket=claim.accounts_here.code,
        )
        for claim in report.identifiers
    )
    return account_key(ledger.keys.index_key, report.account), claims
