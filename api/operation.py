"""What an operation is: its door, its shapes, its refusals, declared once beside its view.

The same declaration routes the request, checks the raw bytes and documents the API. It knows no
web framework, so a view is a plain function of a ledger and a call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from api.problems import render_problem
from api.rendering import JSON, Answer
from ledger.errors import Fault, LedgerError, LedgerUnavailable, SchemaViolation
from ledger.incident.schema import STRICT
from ledger.strict_json import check_json, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from ledger.identity.platform import Caller
    from ledger.ledger import Ledger

NO_STORE = "no-store"
IDEMPOTENCY_KEY = "[!-~]{1,255}"
WAIT_SECONDS_MAX = 30

BodyT = TypeVar("BodyT")
ModelT = TypeVar("ModelT", bound="RequestModel")
ShapeT = TypeVar("ShapeT")


class RequestModel(BaseModel):
    """A request body: no coercion, no member that the schema doesn't name."""

    model_config = ConfigDict(frozen=True, **STRICT)


@dataclass(frozen=True, slots=True)
class Site:
    """What is the same for every request: where the server is reached, and what it publishes."""

    public_url: str
    document: bytes
    page: bytes


@dataclass(frozen=True, slots=True)
class Call(Generic[BodyT]):
    """One request as a view sees it.

    *Shape*: `digest` is the SHA-256 of the raw body; `path` holds the path's parameters;
    `instance` names this one exchange; for `wait_seconds` the caller would rather wait.
    """

    site: Site
    body: BodyT
    now: datetime
    path: Mapping[str, str]
    accepts_jwt: bool
    wait_seconds: int
    idempotency_key: str | None
    digest: bytes
    instance: str
    known_caller: Caller | None
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def parse_query(self, model: type[ModelT]) -> ModelT:
        """Read the query's parameters. *Raises*: SchemaViolation."""
        return _validate_query(model, self.query)

    @property
    def caller(self) -> Caller:
        """The authenticated platform. Only operations with a scope may ask."""
        if self.known_caller is None:
            message = "A public operation asked who is calling."
            raise RuntimeError(message)
        return self.known_caller


@dataclass(frozen=True, slots=True)
class Body(Generic[BodyT]):
    """What an operation takes: a media type, how it is read, how it is documented."""

    media_type: str
    parse: Callable[[bytes], BodyT]
    model: type[BodyT] | None
    example: object


@dataclass(frozen=True, slots=True)
class Reply:
    """One documented answer. `model` is None for text; without a media type there is no body."""

    status: int
    description: str
    media_type: str | None = JSON
    model: type[BaseModel] | None = None
    example: object = None
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation(Generic[BodyT]):
    """One method of one path. Any of `scopes` opens it.

    *Shape*: without `scopes` anybody may call, or the body is signed. `{name}` in a path is one
    segment of it, `{+name}` any number of them (RFC 6570).
    """

    method: str
    path: str
    view: Callable[[Ledger, Call[BodyT]], Answer]
    tag: str
    body: Body[BodyT] | None
    scopes: tuple[str, ...]
    replies: tuple[Reply, ...]
    errors: tuple[type[LedgerError], ...] = ()
    patterns: Mapping[str, str] = field(default_factory=dict)
    creates: bool = False
    waits: bool = False
    cache: str = NO_STORE
    refuse: Callable[[LedgerError, str], Answer] = render_problem
    query: type[RequestModel] | None = None
    body_max_bytes: int | None = None  # where it isn't the setting's

    @property
    def name(self) -> str:
        """The operation's name: that of its view."""
        return self.view.__name__

    @property
    def prose(self) -> tuple[str, str]:
        """The summary and the description, from the view's docstring."""
        summary, _, rest = (self.view.__doc__ or "").strip().partition("\n")
        return summary, " ".join(rest.split())


def operation(  # noqa: PLR0913 - the parts of a declaration
    method: str,
    path: str,
    *,
    tag: str,
    scope: str | tuple[str, ...] | None,
    replies: tuple[Reply, ...],
    body: Body[BodyT] | None = None,
    errors: tuple[type[LedgerError], ...] = (),
    patterns: Mapping[str, str] | None = None,
    creates: bool = False,
    waits: bool = False,
    cache: str = NO_STORE,
    refuse: Callable[[LedgerError, str], Answer] = render_problem,
    query: type[RequestModel] | None = None,
    body_max_bytes: int | None = None,
) -> Callable[[Callable[[Ledger, Call[BodyT]], Answer]], Operation[BodyT]]:
    """Declare that the function below is the view of an operation."""

    def declare(view: Callable[[Ledger, Call[BodyT]], Answer]) -> Operation[BodyT]:
        return Operation(
            method=method,
            path=path,
            view=view,
            tag=tag,
            body=body,
            scopes=(scope,) if isinstance(scope, str) else scope or (),
            replies=replies,
            errors=(*errors, LedgerUnavailable),
            patterns=patterns or {},
            creates=creates,
            waits=waits,
            cache=cache,
            refuse=refuse,
            query=query,
            body_max_bytes=body_max_bytes,
        )

    return declare


def _validate_query(model: type[ModelT], query: Mapping[str, Sequence[str]]) -> ModelT:
    """Read the parameters that a model names, each a text given once; others are refused."""
    try:
        return model.model_validate(
            {name: given[0] if len(given) == 1 else list(given) for name, given in query.items()}
        )
    except ValidationError as error:
        names = (str(one["loc"][0]) for one in error.errors(include_url=False))
        faults = tuple(
            Fault(f"/{name}", "wrong-form", "The parameter isn't of its form.") for name in names
        )
        raise SchemaViolation("The query doesn't fit its schema.", faults=faults) from None


def json_body(model: type[ShapeT], *, example: object) -> Body[ShapeT]:
    """Take a JSON body of this model, or strict dataclass, read strictly."""
    shape = TypeAdapter(model)
    return Body(JSON, lambda raw: parse_body(shape, raw), model, example)


# --- Raw bytes to a model -----------------------------------------------------------------

_UNKNOWN = ("unknown-member", "There is a member that the schema doesn't name.")
_SENTENCES = {
    "missing": ("missing", "A member is missing."),
    "extra_forbidden": _UNKNOWN,
    "unexpected_keyword_argument": _UNKNOWN,
    "enum": ("not-listed", "The value isn't one of those listed."),
    "literal_error": ("not-listed", "The value isn't one of those listed."),
    "union_tag_invalid": ("not-listed", "The value isn't one of those listed."),
    "string_pattern_mismatch": ("wrong-form", "The text isn't of the documented form."),
    "string_too_long": ("too-long", "The text is longer than the limit."),
    "string_too_short": ("too-short", "The text is shorter than the limit."),
    "too_long": ("too-many", "There are more items than the limit."),
    "too_short": ("too-few", "There are fewer items than needed."),
}
_OTHERWISE = ("wrong-type", "The value is of another type or out of range.")


def parse_body(shape: TypeAdapter[ShapeT], raw: bytes) -> ShapeT:
    """Parse a JSON body: one pass for what JSON leaves open, one for the schema.

    The second pass reads the bytes again because the validator is strict only on JSON, and the
    first is needed because it takes duplicate members. *Raises*: MalformedJson, DuplicateMember,
    NestingTooDeep, SchemaViolation with all faults.
    """
    check_json(raw, bytes_max=len(raw))
    try:
        return shape.validate_json(raw)
    except ValidationError as error:
        known, value = _member_names(shape), parse_json(raw, bytes_max=len(raw))
        faults = tuple(
            Fault(
                _render_pointer(one["loc"], value, known), *_SENTENCES.get(one["type"], _OTHERWISE)
            )
            for one in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise SchemaViolation("The body doesn't fit its schema.", faults=faults) from None


@cache
def _member_names(shape: TypeAdapter[Any]) -> frozenset[str]:
    """Name every member that the schema knows: the only words of a pointer that may be told."""
    schema = shape.json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return frozenset(name for part in parts for name in part.get("properties", {}))


def _render_pointer(place: tuple[int | str, ...], value: object, known: frozenset[str]) -> str:
    """Render where a fault is without telling any member name that was sent.

    The validator's places hold more than members (the branch of a union, "[key]"): they are
    followed through the value, and what isn't there is left out. A member that the schema
    doesn't name ends the pointer at its object.
    """
    pointer = ""
    for step in place:
        if isinstance(value, list) and isinstance(step, int) and step < len(value):
            pointer, value = f"{pointer}/{step}", value[step]
        elif isinstance(value, dict) and isinstance(step, str) and step in known:
            pointer, value = f"{pointer}/{step}", value.get(step)
        elif isinstance(value, dict) and step in value:
            break
    return pointer
