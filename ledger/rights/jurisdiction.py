"""Jurisdiction profiles: what the law where a ledger works asks of it, as data with sources."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from ledger.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class JurisdictionProfile:
    """One jurisdiction. `answer` says whether scores may be served or banded facts alone.

    *Units*: windows in whole days that end at local midnight, retention in years from the end
    of the conduct.
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


def _parse_profile(code: str, fields: Mapping[str, object]) -> JurisdictionProfile:
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
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
    if values["answer"] not in {"score", "facts"}:
        raise InvalidInput(f"{code}.answer is score or facts.")
    values["time_zone"] = ZoneInfo(str(values["time_zone"]))
    values["legal_bases"] = tuple(str(one) for one in values["legal_bases"])  # type: ignore[attr-defined]
    return JurisdictionProfile(code=code, sources=sources, **values)  # type: ignore[arg-type]
