"""Answers before they are HTTP responses: a status, exact bytes, headers.

It knows JSON, text and instants. It knows neither the web framework nor the ledger.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
JWT = "application/jwt"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a view answers. `media_type` is None where there is no body."""

    status: int
    body: bytes = b""
    media_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def render_text_of(value: object) -> str:
    """Render a JSON text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def render_json(
    value: object,
    *,
    status: int = 200,
    media_type: str = JSON,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Render a JSON answer in UTF-8."""
    body = render_text_of(value).encode()
    return Answer(status, body, media_type, headers or {})


def render_text(
    text: str, *, media_type: str = TEXT, headers: Mapping[str, str] | None = None
) -> Answer:
    """Render a text answer, byte for byte."""
    return Answer(200, text.encode(), media_type, headers or {})


def render_instant(instant: datetime) -> str:
    """Render an aware UTC instant as RFC 3339 with a Z."""
    return instant.isoformat().replace("+00:00", "Z")
