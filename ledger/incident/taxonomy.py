"""The published words for conduct, actors, proof and evidence.

Conduct, actor and proof are three separate axes. Filing a claim, a complaint, a chargeback or a
bad review is no conduct: only confirmed falsity has a word here, and suspicion has none.
"""

from __future__ import annotations

from enum import StrEnum


class ConductClass(StrEnum):
    """What a conduct weighs as."""

    FRAUD = "fraud"
    ORGANISED = "organised"
    POLICY = "policy"
    VICTIM = "victim"


class Conduct(StrEnum):
    """What was done. *Source*: Regulation implementing the Consumer Protection Law, Art. 49(2)."""

    EVIDENCE_FORGED_AI = "evidence_forged_ai"
    EVIDENCE_FORGED_EDIT = "evidence_forged_edit"
    EVIDENCE_STAGED = "evidence_staged"
    DATE_TAMPER = "date_tamper"
    NONRECEIPT_FALSE = "nonreceipt_false"
    MISSING_ITEM_FALSE = "missing_item_false"
    EMPTY_RETURN = "empty_return"
    ITEM_SWAP = "item_swap"
    RETURN_TRACKING_FAKE = "return_tracking_fake"
    NO_RETURN_SHIPPED = "no_return_shipped"
    DOUBLE_DIP = "double_dip"
    CHARGEBACK_FALSE = "chargeback_false"
    REFUND_SERVICE_OPERATOR = "refund_service_operator"
    REFUND_SERVICE_CLIENT = "refund_service_client"
    COMPETITOR_DIRECTED = "competitor_directed"
    EXTORTION_CLAIM = "extortion_claim"
    WARDROBING = "wardrobing"
    PRICE_ARBITRAGE = "price_arbitrage"
    PROMO_MULTI_ACCOUNT = "promo_multi_account"
    ACCOUNT_TAKEOVER_REFUND = "account_takeover_refund"

    @property
    def forges_evidence(self) -> bool:
        """Whether the picture that was filed is itself what was false."""
        return self in _FORGED

    @property
    def conduct_class(self) -> ConductClass:
        """The class that this conduct weighs as."""
        return _CLASSES.get(self, ConductClass.FRAUD)


_FORGED = frozenset(
    {
        Conduct.EVIDENCE_FORGED_AI,
        Conduct.EVIDENCE_FORGED_EDIT,
        Conduct.EVIDENCE_STAGED,
        Conduct.DATE_TAMPER,
    }
)
_CLASSES = {
    Conduct.REFUND_SERVICE_OPERATOR: ConductClass.ORGANISED,
    Conduct.REFUND_SERVICE_CLIENT: ConductClass.ORGANISED,
    Conduct.COMPETITOR_DIRECTED: ConductClass.ORGANISED,
    Conduct.WARDROBING: ConductClass.POLICY,
    Conduct.PRICE_ARBITRAGE: ConductClass.POLICY,
    Conduct.PROMO_MULTI_ACCOUNT: ConductClass.POLICY,
    Conduct.ACCOUNT_TAKEOVER_REFUND: ConductClass.VICTIM,
}


class Actor(StrEnum):
    """Who did it. Victims and coerced persons never weigh."""

    FIRST_PARTY = "first_party"
    ORGANISED = "organised"
    COERCED_OR_MULE = "coerced_or_mule"
    VICTIM = "victim"
    COMPETITOR = "competitor"


class ProofLevel(StrEnum):
    """How it was confirmed.

    In this order: court or arbitration, authority, admission or restitution, platform adjudication.
    """

    A = "A"
    B = "B"
    C = "C"
    D = "D"


class EvidenceKind(StrEnum):
    """What an evidence item is.

    A restitution shows that the buyer paid back, or returned, what the claim had brought.
    """

    CLAIM_PHOTO = "claim_photo"
    CLAIM_VIDEO = "claim_video"
    PACKING_VIDEO = "packing_video"
    LISTING_PHOTO = "listing_photo"
    CARRIER_PROOF = "carrier_proof"
    WEIGHT_RECORD = "weight_record"
    SERIAL_RECORD = "serial_record"
    CHAT = "chat"
    ADMISSION = "admission"
    RESTITUTION = "restitution"
    DECISION = "decision"
    DETECTOR = "detector"
    AI_LABEL = "ai_label"
    EVIDENCE_MATCH = "evidence_match"

    @property
    def is_mark(self) -> bool:
        """Whether it says where a picture comes from or was seen, not what happened."""
        return self in {EvidenceKind.AI_LABEL, EvidenceKind.EVIDENCE_MATCH}


class EvidenceSource(StrEnum):
    """Where an evidence item comes from: independence is judged by it."""

    BUYER = "buyer"
    MERCHANT = "merchant"
    CARRIER = "carrier"
    PLATFORM = "platform"
    AUTHORITY = "authority"
    PAYMENT_PROVIDER = "payment_provider"
    DETECTOR = "detector"


class Consequence(StrEnum):
    """What the reporter imposed, or that the benefit was fully obtained (pillar 4)."""

    REFUND_REFUSED = "refund_refused"
    REFUND_REVERSED = "refund_reversed"
    ACCOUNT_RESTRICTED = "account_restricted"
    ACCOUNT_CLOSED = "account_closed"
    BENEFIT_OBTAINED = "benefit_obtained"


class NoticeChannel(StrEnum):
    """How the buyer was told."""

    APP = "app"
    SMS = "sms"
    EMAIL = "email"
    LETTER = "letter"


class LegalBasisKind(StrEnum):
    """On what ground the report is shared."""

    CONSENT = "consent"
    LEGITIMATE_INTEREST = "legitimate_interest"
    PERMISSIBLE_PURPOSE = "permissible_purpose"


class MarkerKind(StrEnum):
    """Why a buyer is to be identified with care. A marker protects; it never counts against one."""

    TAKEOVER_VICTIM = "takeover_victim"
    IMPERSONATED = "impersonated"

    @property
    def code(self) -> int:
        """The stable number of this kind in the database."""
        return {MarkerKind.TAKEOVER_VICTIM: 1, MarkerKind.IMPERSONATED: 2}[self]
