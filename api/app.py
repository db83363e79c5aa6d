"""The WSGI application: every request passes the same gates in the same order.

Body limit, content coding, media type, caller, path, idempotency key, body; then the view, once.
It is the only module that knows the web framework, and it knows no operation in particular.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from flask import Flask, Request, Response, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from api import (
    answers,
    clock,
    events,
    evidence,
    incidents,
    log,
    oauth,
    policies,
    risk,
    wellknown,
)
from api.authentication import Gate, render_challenge
from api.documentation import render_page
from api.openapi import render_bytes, render_document
from api.operation import IDEMPOTENCY_KEY, NO_STORE, WAIT_SECONDS_MAX, Call, Site
from api.problems import render_failure, render_problem, render_status
from api.rendering import JSON, JWT, Answer
from ledger.errors import (
    InsufficientScope,
    InvalidInput,
    InvalidToken,
    LedgerError,
    NotFound,
    SchemaViolation,
)
from ledger.identity.platform import require_scope

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from wsgiref.types import WSGIEnvironment

    from werkzeug.datastructures import Headers
    from werkzeug.local import LocalProxy

    from api.operation import Operation
    from ledger.ledger import Ledger

_LOG = logging.getLogger(__name__)
_TRACEPARENT = re.compile(
    r"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?",
    re.ASCII,
)
_WAIT = re.compile(
    r"(?:^|,)[ \t]*wait[ \t]*=[ \t]*([0-9]{1,9})[ \t]*(?:;|,|$)", re.ASCII | re.IGNORECASE
)
_NOTHING_LOADED = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": _NOTHING_LOADED,
    "Strict-Transport-Security": "max-age=31536000",
}

OPERATIONS: tuple[Operation[Any], ...] = (
    oauth.create_token,
    events.create_event,
    incidents.read_incident,
    incidents.read_receipt,
    incidents.read_neighbourhood,
    risk.create_risk_assessment,
    risk.create_risk_assessments,
    risk.create_portfolio_statistics,
    answers.read_risk_assessment,
    answers.read_replay,
    answers.read_merchant_view,
    answers.create_outcome,
    evidence.create_evidence_matches,
    evidence.read_recalls,
    evidence.acknowledge_recall,
    policies.read_policy,
    log.read_checkpoint,
    log.read_log_tile,
    log.read_log_entries,
    wellknown.read_keys,
    wellknown.read_authorization_server,
    wellknown.read_health,
    wellknown.read_readiness,
    wellknown.read_openapi,
    wellknown.read_docs,
)


def create_app(
    ledger: Ledger,
    *,
    public_url: str,
    body_max_bytes: int,
    now: Callable[[], datetime] = clock.now,
    operations: tuple[Operation[Any], ...] = OPERATIONS,
) -> Flask:
    """Build the WSGI application of one ledger.

    *Shape*: `public_url` is where the server is reached, without a trailing slash.
    """
    document = render_document(operations)
    site = Site(public_url, render_bytes(document), render_page(document).encode())
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = body_max_bytes
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False  # one path, one spelling: never a redirect
    gate = Gate(ledger)
    for one in operations:
        app.add_url_rule(
            one.path.replace("{+", "<path:").replace("{", "<").replace("}", ">"),
            endpoint=one.name,
            view_func=_serve(one, ledger, gate, site, now),
            methods=[one.method],
            provide_automatic_options=False,
        )
    app.before_request(_join_trace)
    app.after_request(_complete)
    app.register_error_handler(HTTPException, _refuse_http)
    app.register_error_handler(Exception, _fail)
    return app


def _serve(
    operation: Operation[Any],
    ledger: Ledger,
    gate: Gate,
    site: Site,
    now: Callable[[], datetime],
) -> Callable[..., Response]:
    """Wrap a view in what is the same for all of them."""

    def serve(**path: str) -> Response:
        try:
            call = _admit(operation, gate, site, now(), path)
            answer = call if isinstance(call, Answer) else operation.view(ledger, call)
            return _respond(_conditional(answer, operation))
        except LedgerError as error:
            return _respond(operation.refuse(error, g.instance))

    return serve


def _admit(
    operation: Operation[Any], gate: Gate, site: Site, now: datetime, path: dict[str, str]
) -> Call[Any] | Answer:
    """Lead a request through the gates: what the view is called with, or the refusal."""
    # What the framework's documentation names for asking the proxy once and not at every use.
    asked = cast("LocalProxy[Request]", request)._get_current_object()  # noqa: SLF001
    if operation.body_max_bytes is not None:
        asked.max_content_length = operation.body_max_bytes
    refused = _refuse_content(operation, asked)
    if refused is not None:
        return refused
    caller = None
    if operation.scopes:
        authorization = asked.headers.get("Authorization")
        try:
            caller = gate.identify(authorization, now)
            require_scope(caller, *operation.scopes)
        except (InvalidToken, InsufficientScope) as error:
            return _challenge(error, authorization, operation.scopes[0])
    for name, pattern in operation.patterns.items():
        if re.fullmatch(pattern, path[name], re.ASCII) is None:
            raise NotFound("There is no such thing.")
    key = asked.environ.get("HTTP_IDEMPOTENCY_KEY") if operation.creates else None
    if key is not None and re.fullmatch(IDEMPOTENCY_KEY, key, re.ASCII) is None:
        raise SchemaViolation("The Idempotency-Key isn't 1 to 255 printable ASCII characters.")
    raw = _read_body(asked) if operation.body else b""
    return Call(
        site=site,
        body=operation.body.parse(raw) if operation.body else None,
        now=now,
        path=path,
        accepts_jwt=asked.accept_mimetypes.best_match([JSON, JWT], JSON) == JWT,
        wait_seconds=_read_wait() if operation.waits else 0,
        idempotency_key=key,
        digest=hashlib.sha256(raw).digest(),
        instance=g.instance,
        known_caller=caller,
        query=dict(asked.args.lists()) if operation.query else {},
    )


def _read_wait() -> int:
    """Read for how long the caller would rather wait than be told to come again (RFC 7240 §4.3).

    A preference that can't be read is none.
    """
    found = _WAIT.search(",".join(request.headers.getlist("Prefer")))
    return min(int(found[1]), WAIT_SECONDS_MAX) if found else 0


def _read_body(asked: Request) -> bytes:
    """Read a body, whose length may not be announced, to one byte past the limit at most.

    *Raises*: RequestEntityTooLarge, InvalidInput where it is shorter than announced.
    """
    limit, announced = asked.max_content_length or 0, asked.content_length or 0
    if 0 < announced <= limit:  # as nearly always: what is announced is read, and nothing guarded
        try:
            raw: bytes = asked.environ["wsgi.input"].read(announced)
        except OSError:  # some servers say so where the sender is gone
            raw = b""
    else:
        asked.max_content_length = limit + 1  # the framework cuts there, and says nothing
        raw = asked.get_data(cache=False)
    if len(raw) > limit:
        raise RequestEntityTooLarge
    if len(raw) < announced:
        raise InvalidInput("The body ends before its announced length.")
    return raw


def _refuse_content(operation: Operation[Any], asked: Request) -> Answer | None:
    """Refuse a body by its headers, before a byte of it is read."""
    if operation.body is None:
        return None
    limit, environ = asked.max_content_length, asked.environ
    if limit is not None and (asked.content_length or 0) > limit:
        return render_status(413, g.instance, detail="The body is longer than the limit.")
    if environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() != "identity":
        return render_status(
            415,
            g.instance,
            detail="Bodies are taken without a content coding.",
            headers={"Accept-Encoding": "identity"},
        )
    if environ.get("CONTENT_TYPE") == operation.body.media_type:
        return None  # as nearly always: nothing to be parsed
    charset = asked.mimetype_params.get("charset", "utf-8").lower()
    if asked.mimetype != operation.body.media_type or charset != "utf-8":
        return render_status(
            415, g.instance, detail=f"The body's media type must be {operation.body.media_type}."
        )
    return None


def _challenge(
    error: InvalidToken | InsufficientScope, authorization: str | None, scope: str
) -> Answer:
    """Refuse a caller: 401 whatever is wrong with the token, 403 where it opens too little."""
    is_known = isinstance(error, InsufficientScope)
    plain = error if is_known else InvalidToken(error.detail)
    code = "insufficient_scope" if is_known else "invalid_token"
    answer = render_problem(plain, g.instance)
    challenge = render_challenge(authorization, scope=scope, code=code)
    return replace(answer, headers={"WWW-Authenticate": challenge})


def _conditional(answer: Answer, operation: Operation[Any]) -> Answer:
    """Give what may be kept an entity tag, and answer 304 to who has it already."""
    if operation.cache == NO_STORE or answer.status != 200:  # noqa: PLR2004
        return answer
    tag = hashlib.sha256(answer.body).hexdigest()[:32]
    headers = {**answer.headers, "ETag": f'"{tag}"', "Cache-Control": operation.cache}
    if request.if_none_match.contains_weak(tag):
        return replace(answer, status=304, body=b"", media_type=None, headers=headers)
    return replace(answer, headers=headers)


class _Exact(Response):
    """A response whose Location is a path of ours: the framework has nothing to correct in it."""

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        """Complete the headers, and leave the Location as it is."""
        location = self.headers.pop("Location", None)
        headers = super().get_wsgi_headers(environ)
        if location is not None:
            self.headers["Location"] = headers["Location"] = location
        return headers


def _respond(answer: Answer) -> Response:
    response = _Exact(answer.body, answer.status, headers=dict(answer.headers))
    if answer.media_type is None:
        response.headers.pop("Content-Type", None)
    else:
        response.headers["Content-Type"] = answer.media_type
    return response


def _join_trace() -> None:
    """Continue the caller's trace (W3C Trace Context) under a new span, or begin one."""
    sent = _TRACEPARENT.fullmatch(request.headers.get("traceparent", ""))
    trace, flags = (sent[1], sent[2]) if sent else (secrets.token_hex(16), "00")
    span = secrets.token_hex(8)
    g.instance = f"urn:bcl:answer:{span}"
    g.traceparent = f"00-{trace}-{span}-{int(flags, 16) & 1:02x}"


def _complete(response: Response) -> Response:
    """Add to an answer what every answer has."""
    for name, value in {**_SECURITY, "Cache-Control": NO_STORE}.items():
        response.headers.setdefault(name, value)
    response.headers["traceparent"] = g.traceparent
    return response


def _refuse_http(error: HTTPException) -> Response:
    """Answer what routing or reading refused: 404, 405, 413 and the like."""
    allowed = getattr(error, "valid_methods", None)
    headers = {"Allow": ", ".join(sorted(allowed))} if allowed else {}
    return _respond(render_status(error.code or 500, g.instance, headers=headers))


def _fail(error: Exception) -> Response:
    """Write a fault of ours down under the answer's id, and say only the id."""
    _LOG.error("%s: no answer", g.instance, exc_info=error)
    return _respond(render_failure(g.instance))
