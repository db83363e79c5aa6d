"""Why a score is what it is: codes with their texts in two languages.

A reason's code is the contract, its text isn't. docs/scoring.md explains every code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ledger.identity.identifier import Kind

if TYPE_CHECKING:
    from ledger.risk.score import RiskScore

TEXTS: dict[str, dict[str, str]] = {
    "CONFIRMED_INCIDENTS": {
        "en": "Confirmed incidents at one platform",
        "zh-CN": "一家平台已确认的违规退款事件",
    },
    "CONFIRMED_INCIDENTS_AT_SEVERAL_PLATFORMS": {
        "en": "Confirmed incidents at two or more platforms",
        "zh-CN": "两家或以上平台已确认的违规退款事件",
    },
    "LINKED_NID": {
        "en": "Shares a national id with an account that bears confirmed incidents",
        "zh-CN": "与有已确认事件的账户使用同一证件",
    },
    "LINKED_PAYMENT": {
        "en": "Shares a payment means with an account that bears confirmed incidents",
        "zh-CN": "与有已确认事件的账户使用同一支付方式",
    },
    "LINKED_DEVICE": {
        "en": "Shares a device with an account that bears confirmed incidents",
        "zh-CN": "与有已确认事件的账户使用同一设备",
    },
    "LINKED_EMAIL": {
        "en": "Shares an email address with an account that bears confirmed incidents",
        "zh-CN": "与有已确认事件的账户使用同一邮箱",
    },
    "LINKED_PHONE": {
        "en": "Shares a phone number with an account that bears confirmed incidents",
        "zh-CN": "与有已确认事件的账户使用同一手机号",
    },
    "LINKED_ADDRESS": {
        "en": "Shares an address with an account that bears confirmed incidents",
        "zh-CN": "与有已确认事件的账户使用同一地址",
    },
}
_LINKED = {
    Kind.NID: "LINKED_NID",
    Kind.PAY: "LINKED_PAYMENT",
    Kind.DEVICE: "LINKED_DEVICE",
    Kind.EMAIL: "LINKED_EMAIL",
    Kind.PHONE: "LINKED_PHONE",
    Kind.ADDR: "LINKED_ADDRESS",
}
_STRENGTHS = {
    Kind.NID: "strong",
    Kind.PAY: "strong",
    Kind.DEVICE: "strong",
    Kind.EMAIL: "medium",
    Kind.PHONE: "medium",
    Kind.ADDR: "weak",
}


class Reason(NamedTuple):
    """One reason with its exact points. `kind` and `accounts` are set for links."""

    code: str
    points: int
    kind: Kind | None = None
    accounts: int = 0

    @property
    def strength(self) -> str | None:
        """How much a link of this kind says: strong, medium or weak."""
        return _STRENGTHS[self.kind] if self.kind else None


def explain_score(score: RiskScore) -> tuple[Reason, ...]:
    """Explain a score; the points add up to it.

    Groups make one reason, since platforms are never named; links make one a kind.
    """
    reasons = []
    if score.groups:
        several = len(score.groups) > 1
        code = "CONFIRMED_INCIDENTS_AT_SEVERAL_PLATFORMS" if several else "CONFIRMED_INCIDENTS"
        reasons.append(Reason(code, sum(part.points for part in score.groups)))
    by_kind: dict[Kind, tuple[int, int]] = {}
    for part in score.links:
        points, accounts = by_kind.get(part.kind, (0, 0))
        by_kind[part.kind] = (points + part.points, max(accounts, part.accounts))
    for kind in sorted(by_kind, key=_code_of):
        points, accounts = by_kind[kind]
        reasons.append(Reason(_LINKED[kind], points, kind, accounts))
    return tuple(reasons)


def _code_of(kind: Kind) -> int:
    return kind.code
