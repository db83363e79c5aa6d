"""The OpenAPI 3.1 document, made from the operations alone.

It knows how a declaration is described: bodies, answers, refusals by status, parameters. It adds
nothing that the operations don't declare, and it never sees a ledger.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter

from api.operation import IDEMPOTENCY_KEY, NO_STORE, WAIT_SECONDS_MAX
from api.problems import (
    PROBLEM,
    find_status,
    render_oauth_error,
    render_problem,
    render_set_error,
)
from api.rendering import JSON
from ledger.errors import (
    DuplicateMember,
    InsufficientScope,
    InvalidInput,
    InvalidToken,
    LedgerError,
    MalformedJson,
    NestingTooDeep,
    NotFound,
    ReceiptUnpublished,
    SchemaViolation,
)
from ledger.identity.platform import SCOPES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from api.operation import Operation

VERSION = "0.1.0"
_REFERENCE = "#/components/schemas/{model}"
_ABOUT = (
    "Platforms report confirmed malicious refunds as signed events and ask about a buyer at claim "
    "or checkout time. Errors are RFC 9457 problem details, except where a standard of its own "
    "says otherwise. Unknown query parameters are ignored."
)
_SCOPES = {
    "evidence:read": "Whether evidence was seen as forged before.",
    "incidents:read": "How one's own incidents stand, and their receipts.",
    "risk:read": "Risk assessments and their outcomes.",
}
_HEADERS = {
    "Link": "Where the next part of the list is read (RFC 8288).",
    "Location": "Where the thing is read.",
    "ETag": "The entity tag of the answer.",
    "Retry-After": "Seconds after which to try again.",
    "WWW-Authenticate": "How to authenticate (RFC 6750).",
    "Content-Language": "The language of the description.",
}


class ProblemFault(BaseModel):
    """One broken rule: a JSON pointer into the body, a stable code, a sentence."""

    pointer: str
    code: str
    detail: str


class Problem(BaseModel):
    """Problem details (RFC 9457). `type` is the contract; nothing of the input is repeated."""

    type: str
    title: str
    status: int
    instance: str
    detail: str | None = None
    errors: list[ProblemFault] | None = None


class SetError(BaseModel):
    """Why a Security Event Token was refused (RFC 8935 §2.3)."""

    err: str
    description: str


class OAuthError(BaseModel):
    """Why a token request was refused (RFC 6749 §5.2)."""

    error: str
    error_description: str


_REFUSALS: dict[object, tuple[str, type[BaseModel]]] = {
    render_problem: (PROBLEM, Problem),
    render_set_error: (JSON, SetError),
    render_oauth_error: (JSON, OAuthError),
}


def render_document(operations: Iterable[Operation[Any]]) -> dict[str, Any]:
    """Render the OpenAPI document of these operations.

    *Raises*: ValueError where two operations have one name, or a scope has no description.
    """
    listed = tuple(operations)
    if len({one.name for one in listed}) != len(listed) or set(_SCOPES) != SCOPES:
        message = "An operation's name is taken, or a scope isn't described."
        raise ValueError(message)
    paths: dict[str, dict[str, Any]] = {}
    for one in listed:
        path = one.path.replace("{+", "{")  # templates of OpenAPI know no such difference
        paths.setdefault(path, {})[one.method.lower()] = _render_operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Buyer Credit Ledger",
            "version": VERSION,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": _render_schemas(listed),
            "securitySchemes": {
                "platform": {
                    "type": "oauth2",
                    "description": "private_key_jwt at the token endpoint (RFC 7523).",
                    "flows": {
                        "clientCredentials": {"tokenUrl": "/oauth2/token", "scopes": _SCOPES}
                    },
                }
            },
        },
    }


def _render_schemas(operations: tuple[Operation[Any], ...]) -> dict[str, Any]:
    models: list[type] = [one.body.model for one in operations if one.body and one.body.model]
    models += [reply.model for one in operations for reply in one.replies if reply.model]
    models += [model for _, model in _REFUSALS.values()]
    _, schemas = TypeAdapter.json_schemas(
        [(model, "validation", TypeAdapter(model)) for model in dict.fromkeys(models)],
        ref_template=_REFERENCE,
    )
    return dict(sorted(schemas["$defs"].items()))


def _render_operation(operation: Operation[Any]) -> dict[str, Any]:
    summary, description = operation.prose
    rendered: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": summary,
        "security": [{"platform": [scope]} for scope in operation.scopes],
        "parameters": _render_parameters(operation),
        "responses": _render_responses(operation),
    }
    if description:
        rendered["description"] = description
    if operation.body is not None:
        content = _render_content(operation.body.model, operation.body.example)
        rendered["requestBody"] = {
            "required": True,
            "content": {operation.body.media_type: content},
        }
    return rendered


def _render_parameters(operation: Operation[Any]) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^{pattern}$"},
        }
        for name, pattern in operation.patterns.items()
    ]
    if operation.query is not None:
        members = operation.query.model_json_schema()["properties"]
        for name, schema in members.items():
            kind = next((one for one in schema.get("anyOf", ()) if "pattern" in one), schema)
            parameters.append(
                {
                    "name": name,
                    "in": "query",
                    "required": False,
                    "schema": {"type": "string", "pattern": kind["pattern"]},
                }
            )
    if operation.creates:
        parameters.append(
            _render_header(
                "Idempotency-Key",
                "A repeat under the same key gets the same answer and changes nothing.",
                {"type": "string", "pattern": f"^{IDEMPOTENCY_KEY}$"},
            )
        )
    if operation.waits:
        told = f"`wait=n`: wait up to n seconds, {WAIT_SECONDS_MAX} at most, before a 404."
        parameters.append(_render_header("Prefer", f"RFC 7240. {told}"))
    if operation.cache != NO_STORE:
        parameters.append(_render_header("If-None-Match", "Entity tags that are held already."))
    parameters.append(_render_header("traceparent", "W3C Trace Context; one is always returned."))
    return parameters


def _render_header(
    name: str, description: str, schema: dict[str, str] | None = None
) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": schema or {"type": "string"},
    }


def _render_responses(operation: Operation[Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for reply in operation.replies:
        headers = reply.headers if operation.cache == NO_STORE else (*reply.headers, "ETag")
        described = responses.setdefault(
            str(reply.status), _with_headers({"description": reply.description}, headers)
        )
        if reply.media_type is not None:
            content = _render_content(reply.model, reply.example, reply.media_type)
            described.setdefault("content", {})[reply.media_type] = content
    if operation.cache != NO_STORE:
        responses["304"] = _with_headers({"description": "What is held is current."}, ("ETag",))
    for status, errors in sorted(_group_errors(operation).items()):
        responses[str(status)] = _render_refusal(operation, status, errors)
    return responses


def _group_errors(operation: Operation[Any]) -> dict[int, list[type[LedgerError]]]:
    """Group the refusals of an operation by status: its own and those of every gate before it."""
    errors = [*operation.errors]
    if operation.scopes:
        errors += [InvalidToken, InsufficientScope]
    if operation.patterns:
        errors.append(NotFound)
    if operation.query is not None:
        errors.append(SchemaViolation)
    if operation.body is not None:
        errors.append(InvalidInput)
    if operation.body is not None and operation.body.media_type == JSON:
        errors += [MalformedJson, DuplicateMember, NestingTooDeep, SchemaViolation]
    grouped: dict[int, list[type[LedgerError]]] = {413: [], 415: []} if operation.body else {}
    for error in dict.fromkeys(errors):
        status = find_status(error(""))
        told_as_400 = operation.refuse is not render_problem and status < HTTPStatus(500)
        grouped.setdefault(400 if told_as_400 else status, []).append(error)
    return grouped


def _render_refusal(
    operation: Operation[Any], status: int, errors: list[type[LedgerError]]
) -> dict[str, Any]:
    media_type, model = _REFUSALS[operation.refuse] if status == 400 else (PROBLEM, Problem)  # noqa: PLR2004
    codes = ", ".join(sorted(error.code for error in errors))
    phrase = HTTPStatus(status).phrase
    headers = {401: ("WWW-Authenticate",), 503: ("Retry-After",)}.get(status, ())
    if ReceiptUnpublished in errors:
        headers = ("Retry-After",)
    if operation.refuse is render_set_error and status == 400:  # noqa: PLR2004
        headers = ("Content-Language",)
    described = {
        "description": f"{phrase}: {codes}." if codes else f"{phrase}.",
        "content": {media_type: {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}},
    }
    return _with_headers(described, headers)


def _with_headers(described: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    if names:
        described["headers"] = {
            name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in names
        }
    return described


def _render_content(model: type | None, example: object, media_type: str = "") -> dict[str, Any]:
    if model is not None:
        schema: dict[str, Any] = {"$ref": _REFERENCE.format(model=model.__name__)}
    else:
        schema = {"type": "object" if media_type == JSON else "string"}
    return {"schema": schema} if example is None else {"schema": schema, "example": example}


def render_bytes(document: dict[str, Any]) -> bytes:
    """Render the document as it is served and committed: UTF-8, indented, one final newline."""
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()
