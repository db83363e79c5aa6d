"""Jurisdiction profiles: what the law where a ledger works asks of it, as data with sources."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from ledger.errors import InvalidInput
from ledger.incident.taxonomy import LegalBasisKind

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class JurisdictionProfile:
    """One jurisdiction. `answer` says whether scores may be served or banded facts alone.

    *Units*: windows in whole days that end at local midnight, retention in years: of incidents
    from the end of the conduct, of the rest from the day that `retention.py` names.
    """

    code: str
    name: str
    time_zone: ZoneInfo
    answer: Literal["score", "facts"]
    sandbox: bool
    notice_before_effect: bool
    response_window_days: int
    dispute_answer_days: int
    retention_years: int
    evidence_retention_years: int
    link_retention_years: int
    marker_retention_years: int
    legal_bases: tuple[str, ...]
    consent_receipt_required: bool
    currency: str
    sources: Mapping[str, str]


_FIELDS: dict[str, type] = {
    "name": str,
    "time_zone": str,
    "answer": str,
    "sandbox": bool,
    "notice_before_effect": bool,
    "response_window_days": int,
    "dispute_answer_days": int,
    "retention_years": int,
    "evidence_retention_years": int,
    "link_retention_years": int,
    "marker_retention_years": int,
    "legal_bases": list,
    "consent_receipt_required": bool,
    "currency": str,
}


def parse_profiles(toml_text: str) -> dict[str, JurisdictionProfile]:
    """Read every profile of `jurisdictions.toml`.

    *Shape*: each field is a table {value, source}. *Raises*: InvalidInput naming the field.
    """
    try:
        raw = tomllib.loads(toml_text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput("The jurisdiction profiles aren't TOML.") from error
    return {code: _parse_profile(code, fields) for code, fields in raw.items()}


def _parse_profile(code: str, fields: object) -> JurisdictionProfile:
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    if not isinstance(fields, dict):
        raise InvalidInput(f"{code} isn't a table of fields.")
    for name, kind in _FIELDS.items():
        field = fields.get(name)
        if not isinstance(field, dict) or type(field.get("value")) is not kind:
            raise InvalidInput(f"{code}.{name} needs a value of the right type.")
        if not isinstance(field.get("source"), str) or not field["source"]:
            raise InvalidInput(f"{code}.{name} needs its source.")
        values[name], sources[name] = field["value"], field["source"]
    unknown = set(fields) - set(_FIELDS)
    if unknown:
        raise InvalidInput(f"{code} has unknown fields: {', '.join(sorted(unknown))}.")
    return JurisdictionProfile(code=code, sources=sources, **_read_values(code, values))


def _read_values(code: str, values: dict[str, Any]) -> dict[str, Any]:
    if values["answer"] not in {"score", "facts"}:
        raise InvalidInput(f"{code}.answer is score or facts.")
    if min(values["response_window_days"], values["dispute_answer_days"]) < 0:
        raise InvalidInput(f"{code} has a window of fewer than no days.")
    for name in ("retention_years", "evidence_retention_years"):
        if values[name] < 1:
            raise InvalidInput(f"{code}.{name} is one or more.")
    for name in ("link_retention_years", "marker_retention_years"):
        # Else an incident that it took out of the score would come back into it.
        if values[name] < values["retention_years"]:
            raise InvalidInput(f"{code}.{name} is at least retention_years.")
    bases = tuple(values["legal_bases"])
    if not all(isinstance(one, str) and one in list(LegalBasisKind) for one in bases):
        raise InvalidInput(f"{code}.legal_bases has one that isn't published.")
    try:
        time_zone = ZoneInfo(values["time_zone"])
    except (ValueError, KeyError, OSError) as error:
        raise InvalidInput(f"{code}.time_zone isn't known.") from error
    return values | {"legal_bases": bases, "time_zone": time_zone}
