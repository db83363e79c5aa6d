"""The exact shape of events on the wire, as strict models without unknown members.

It knows members, types and ranges of one event each; rules between members are judged in
`incident.py`, rules of proof in `proof_standard.py`.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic.dataclasses import dataclass

from ledger.identity.identifier import Binding, Bucket
from ledger.incident.taxonomy import (
    Actor,
    Conduct,
    Consequence,
    EvidenceKind,
    EvidenceSource,
    LegalBasisKind,
    MarkerKind,
    NoticeChannel,
    ProofLevel,
)

IDENTIFIERS_MAX = 16
MARKED_INCIDENTS_MAX = 50
FRAMES_MAX = 16
EventT = TypeVar("EventT", bound="EventMembers")
Text = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")
]
Uri = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[!-~]+$")]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Perceptual = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Decimal = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,3})?$")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Code = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.:-]{1,64}$")]
# Further away, a day more or another time zone would leave the calendar of the machine.
_END = datetime(2200, 1, 1, tzinfo=UTC)
Seconds = Annotated[int, Field(ge=0, lt=int(_END.timestamp()))]
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _read_instant(value: object) -> datetime:
    """Read RFC 3339 alone: the library's own reader takes Unix time in a string, and more."""
    if not isinstance(value, str) or _RFC3339.fullmatch(value) is None:
        raise ValueError("not an instant of RFC 3339")
    return datetime.fromisoformat(value)


Instant = Annotated[
    AwareDatetime,
    Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=_END),
    BeforeValidator(_read_instant),
]


# Nearly every string comes once, and is personal: the parser keeps none for the next body.
STRICT = ConfigDict(extra="forbid", strict=True, cache_strings="none")


class Wire(BaseModel):
    """A strict model: no unknown member, no coercion, no change."""

    model_config = ConfigDict(frozen=True, **STRICT)


# The shapes that come by the thousand are slotted dataclasses: a third of the time and memory.
@dataclass(config=STRICT, frozen=True, slots=True, kw_only=True)
class IssSub:
    """An account at its platform (RFC 9493 §3.2.3)."""

    format: Literal["iss_sub"]
    iss: Uri
    sub: Text


@dataclass(config=STRICT, frozen=True, slots=True, kw_only=True)
class Opaque:
    """A blinded identifier (RFC 9493 §3.2.6)."""

    format: Literal["opaque"]
    id: Text


@dataclass(config=STRICT, frozen=True, slots=True, kw_only=True)
class Aliases:
    """One account and the identifiers that it uses (RFC 9493 §3.2.8)."""

    format: Literal["aliases"]
    identifiers: Annotated[
        list[Annotated[IssSub | Opaque, Field(discriminator="format")]],
        Field(min_length=1, max_length=IDENTIFIERS_MAX + 1),
    ]


@dataclass(config=STRICT, frozen=True, slots=True, kw_only=True)
class WireBinding:
    """How an identifier is bound to the account at the reporting platform."""

    binding: Binding
    verified_on: date | None = None
    accounts_here: Bucket


@dataclass(config=STRICT, frozen=True, slots=True, kw_only=True)
class WireAmount:
    """Money: a decimal string and an ISO 4217 code."""

    value: Decimal
    currency: Currency


Quality = Annotated[int, Field(ge=0, le=100)]
Label = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,16}$")]


class WireFrame(Wire):
    """The perceptual hash of one key frame of a video."""

    pdq: Perceptual
    quality: Quality


class WireAttributes(Wire):
    """What a file declares of itself. Words that aren't known are taken as they are."""

    mime: Annotated[str, StringConstraints(pattern=r"^(image|video)/[a-z0-9.+-]{1,40}$")] | None = (
        None
    )
    ai_declared: bool | None = None
    aigc_label: Label | None = None
    producer_class: Code | None = None
    digital_source_type: Code | None = None
    c2pa: Code | None = None
    software: Code | None = None


class WireEvidence(WireAttributes):
    """One evidence item: what it is, whose, its SHA-256, how pictures are recognised again."""

    kind: EvidenceKind
    source: EvidenceSource
    digest: Hash
    pdq: Perceptual | None = None
    quality: Quality | None = None
    frames: Annotated[list[WireFrame], Field(max_length=FRAMES_MAX)] = []


class WireProof(Wire):
    """By which standard and how the conduct was confirmed."""

    standard: Literal["bcl-proof-1"]
    level: ProofLevel
    evidence: Annotated[list[WireEvidence], Field(min_length=1, max_length=32)]
    human_decision: bool
    buyer_heard: bool
    merchant_heard: bool
    consequence: Consequence
    appeal_window_ended_at: Instant | None = None


class WireNotice(Wire):
    """That the buyer was told, and until when there was time to respond."""

    sent_at: Instant
    channel: NoticeChannel
    proof_digest: Hash
    response_until: Instant
    dispute_code_digest: Hash


class WireLegalBasis(Wire):
    """On what ground the report is shared."""

    kind: LegalBasisKind
    receipt_id: Text | None = None


class WireSeries(Wire):
    """Many small claims found to be one pattern."""

    claims: Annotated[int, Field(ge=2, le=10_000)]
    first_at: Instant
    last_at: Instant
    total: WireAmount


Localised = Annotated[
    dict[Code, Annotated[str, StringConstraints(max_length=500)]], Field(max_length=8)
]


class EventMembers(Wire):
    """Members that every event may have (CAEP 1.0 §2)."""

    event_timestamp: Seconds
    initiating_entity: Literal["admin", "user", "policy", "system"] = "admin"
    reason_admin: Localised | None = None
    reason_user: Localised | None = None


class Confirmed(EventMembers):
    """refund-incident-confirmed."""

    conduct: Conduct
    actor: Actor
    conduct_ended_at: Instant
    confirmed_at: Instant
    amount: WireAmount
    jurisdiction: Code
    legal_basis: WireLegalBasis
    proof: WireProof
    notice: WireNotice | None = None
    claim_code: Code | None = None
    series: WireSeries | None = None
    bindings: dict[Text, WireBinding]


class Retracted(EventMembers):
    """refund-incident-retracted."""

    incident_jti: Text


class Corrected(Confirmed):
    """refund-incident-corrected: the whole replacement, judged anew."""

    incident_jti: Text


class Restituted(EventMembers):
    """refund-incident-restituted: the buyer made it good."""

    incident_jti: Text
    restituted_at: Instant


class ForgedSeen(EventMembers):
    """forged-evidence-seen: pictures that were proven false, and nobody with them."""

    conduct: Conduct
    evidence: Annotated[list[WireEvidence], Field(min_length=1, max_length=32)]
    proof: WireProof
    source: bool = False


class ForgedWithdrawn(EventMembers):
    """forged-evidence-withdrawn: the reporter takes one of its own back."""

    evidence_jti: Text


class HolderProof(Wire):
    """What shows who holds one of two accounts: a verified national id, or a live check."""

    holder: Literal["subject", "other"]
    nid: Text | None = None
    live_check: Hash | None = None


class Unlinked(EventMembers):
    """accounts-unlinked: the subject's account and another aren't one person's."""

    account: IssSub
    proofs: Annotated[list[HolderProof], Field(min_length=2, max_length=2)]


class Acknowledged(EventMembers):
    """erasure-acknowledged: the submitter's own copy of an erased report is gone."""

    jti: Text


class Recycled(EventMembers):
    """identifier-recycled: by the carrier's date the identifier went to somebody else."""

    token: Text
    recycled_at: Instant


class Marked(EventMembers):
    """protective-marker-set."""

    kind: MarkerKind
    begins: Annotated[Instant, Field(alias="from")]
    until: Instant
    incident_jtis: Annotated[list[Text], Field(max_length=MARKED_INCIDENTS_MAX)] = []


class Envelope(Wire):
    """The claims around an event. Neither `sub` nor `exp` (SSF 1.0 §11)."""

    iss: Uri
    aud: Uri
    iat: Seconds
    jti: Text
    txn: Text


class Claims(Envelope, Generic[EventT]):
    """A token about one account and identifiers of its."""

    sub_id: Aliases
    events: Annotated[dict[str, EventT], Field(min_length=1, max_length=1)]


class IdentifierClaims(Envelope, Generic[EventT]):
    """A token about one identifier, one statement or one piece of evidence."""

    sub_id: Opaque
    events: Annotated[dict[str, EventT], Field(min_length=1, max_length=1)]
