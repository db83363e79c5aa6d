"""What a ledger's answer says: good, refused and why, or no answer of a ledger at all.

It reads what came and sends nothing. Whatever came, the caller gets a value or one of the client's
errors.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx

from ledger.errors import Fault, InvalidInput
from ledger_client.errors import InvalidAnswer, Refused, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RETRIED = frozenset({429, 502, 503, 504})
_GOOD, _REFUSED_FROM = range(200, 300), 400


def check_answer(answer: httpx.Response) -> httpx.Response:
    """Give a good answer back.

    *Raises*: Refused, Unreachable for 502, 503 and the like, InvalidAnswer for a redirect.
    """
    if answer.status_code in _GOOD:
        return answer
    if answer.status_code in RETRIED:
        raise Unreachable("The ledger can't serve now.")
    if answer.status_code < _REFUSED_FROM:
        raise InvalidAnswer("The ledger answered with a redirect; it is never followed.")
    try:
        told = object_of(answer)
    except InvalidAnswer:
        told = {}
    code = str(told.get("type") or told.get("err") or told.get("error") or "no-code")
    if code == "about:blank":  # RFC 9457 §4.2.1: no more than the status says
        code = f"{answer.status_code} {told.get('title')}"
        told.setdefault("detail", f"no reason given; report {told.get('instance')}")
    detail = told.get("detail") or told.get("description") or told.get("error_description")
    code = code.removeprefix("urn:bcl:problem:")
    raise Refused(
        answer.status_code, code, str(detail or "no reason given"), tuple(_faults_of(told))
    )


def _faults_of(told: Mapping[str, object]) -> Iterator[Fault]:
    listed = told.get("errors")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict):
            yield Fault(*(str(one.get(name)) for name in ("pointer", "code", "detail")))


def object_of(answer: httpx.Response) -> dict[str, Any]:
    """Read an answer's JSON object. *Raises*: InvalidAnswer."""
    try:
        told = json.loads(answer.content)
    except (ValueError, RecursionError) as error:
        raise InvalidAnswer("The ledger's answer isn't JSON.") from error
    if not isinstance(told, dict):
        raise InvalidAnswer("The ledger's answer isn't a JSON object.")
    return told


def text_of(told: Mapping[str, object], name: str) -> str:
    """Read a member that is text. *Raises*: InvalidAnswer."""
    value = told.get(name)
    if not isinstance(value, str):
        raise InvalidAnswer(f"The ledger's answer has no {name}.")
    return value


def parse_url(text: str) -> httpx.URL:
    """Read a ledger's address. *Raises*: InvalidInput."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise InvalidInput("The ledger's address isn't a URL.") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise InvalidInput("The ledger's address isn't an http or https URL.")
    return url
