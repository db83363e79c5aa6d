"""Why a score is what it is: one small function a reason, whose first line is its English text.

A reason's code is the contract, its text isn't. Platforms are never named, so that groups make
one reason; links make one a kind. docs/scoring.md explains every code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ledger.identity.identifier import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ledger.risk.score import RiskScore

STRENGTHS = {
    Kind.NID: "strong",
    Kind.PAY: "strong",
    Kind.DEVICE: "strong",
    Kind.EMAIL: "medium",
    Kind.PHONE: "medium",
    Kind.ADDR: "weak",
}
# Points and accounts of the associated accounts by the strongest kind that is shared.
Links: TypeAlias = "Mapping[Kind, tuple[int, int]]"


class Reason(NamedTuple):
    """One reason with its exact points. `kind` and `accounts` are set for links."""

    code: str
    points: int
    kind: Kind | None = None
    accounts: int = 0

    @property
    def strength(self) -> str | None:
        """How much a link of this kind says: strong, medium or weak."""
        return STRENGTHS[self.kind] if self.kind else None


Explain: TypeAlias = "Callable[[RiskScore, Links], Reason | None]"
TEXTS: dict[str, dict[str, str]] = {}
_REASONS: list[Explain] = []


def _reason(chinese: str) -> Callable[[Explain], Explain]:
    """Publish a reason under its function's name, with its text in two languages."""

    def publish(explain: Explain) -> Explain:
        english = (explain.__doc__ or "").partition("\n")[0].rstrip(".")
        TEXTS[explain.__name__.upper()] = {"en": english, "zh-CN": chinese}
        _REASONS.append(explain)
        return explain

    return publish


@_reason("一家平台已确认的违规退款事件")
def confirmed_incidents(score: RiskScore, links: Links) -> Reason | None:
    """Confirmed incidents at one platform.

    Of the own account or of the same person's, at platforms of one group.
    """  # noqa: D401 - the reason's own words
    del links
    if len(score.groups) != 1:
        return None
    return Reason("CONFIRMED_INCIDENTS", score.groups[0].points)


@_reason("两家或以上平台已确认的违规退款事件")
def confirmed_incidents_at_several_platforms(score: RiskScore, links: Links) -> Reason | None:
    """Confirmed incidents at two or more platforms.

    Of the own account or of the same person's, at platforms of independent groups.
    """  # noqa: D401 - the reason's own words
    del links
    if len(score.groups) < 2:  # noqa: PLR2004 - several
        return None
    points = sum([part.points for part in score.groups])
    return Reason("CONFIRMED_INCIDENTS_AT_SEVERAL_PLATFORMS", points)


@_reason("与有已确认事件的账户使用同一证件")
def linked_nid(score: RiskScore, links: Links) -> Reason | None:
    """Shares a national id with an account that bears confirmed incidents.

    The id isn't verified on both sides; otherwise it would be the same person.
    """
    return _linked("LINKED_NID", Kind.NID, score, links)


@_reason("与有已确认事件的账户使用同一支付方式")
def linked_payment(score: RiskScore, links: Links) -> Reason | None:
    """Shares a payment means with an account that bears confirmed incidents."""
    return _linked("LINKED_PAYMENT", Kind.PAY, score, links)


@_reason("与有已确认事件的账户使用同一设备")
def linked_device(score: RiskScore, links: Links) -> Reason | None:
    """Shares a device with an account that bears confirmed incidents."""
    return _linked("LINKED_DEVICE", Kind.DEVICE, score, links)


@_reason("与有已确认事件的账户使用同一邮箱")
def linked_email(score: RiskScore, links: Links) -> Reason | None:
    """Shares an email address with an account that bears confirmed incidents."""
    return _linked("LINKED_EMAIL", Kind.EMAIL, score, links)


@_reason("与有已确认事件的账户使用同一手机号")
def linked_phone(score: RiskScore, links: Links) -> Reason | None:
    """Shares a phone number with an account that bears confirmed incidents."""
    return _linked("LINKED_PHONE", Kind.PHONE, score, links)


@_reason("与有已确认事件的账户使用同一地址")
def linked_address(score: RiskScore, links: Links) -> Reason | None:
    """Shares an address with an account that bears confirmed incidents.

    An address alone never brings any advice.
    """
    return _linked("LINKED_ADDRESS", Kind.ADDR, score, links)


def _linked(code: str, kind: Kind, score: RiskScore, links: Links) -> Reason | None:
    del score
    return Reason(code, links[kind][0], kind, links[kind][1]) if kind in links else None


def explain_score(score: RiskScore) -> tuple[Reason, ...]:
    """Explain a score; the points add up to it."""
    if not score.groups and not score.links:
        return ()
    links: dict[Kind, tuple[int, int]] = {}
    for part in score.links:
        points, accounts = links.get(part.kind, (0, 0))
        links[part.kind] = (points + part.points, max(accounts, part.accounts))
    return tuple([one for explain in _REASONS if (one := explain(score, links)) is not None])
