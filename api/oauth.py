"""Access tokens: client_credentials with private_key_jwt (RFC 6749, RFC 7523)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from pydantic import BaseModel

from api.operation import Body, Reply, operation
from api.problems import render_oauth_error
from api.rendering import render_json
from ledger.authorizing import grant_access
from ledger.errors import (
    InsufficientScope,
    InvalidInput,
    InvalidToken,
    NotOffered,
    PlatformSuspended,
)

if TYPE_CHECKING:
    from api.operation import Call
    from api.rendering import Answer
    from ledger.ledger import Ledger

GRANT_TYPE = "client_credentials"
ASSERTION_KIND = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_FIELDS_MAX = 16


class TokenRequest(BaseModel):
    """A token request. Parameters that aren't named here are ignored (RFC 6749 §3.2)."""

    grant_type: str
    client_assertion_type: str
    client_assertion: str
    client_id: str | None = None
    scope: str | None = None


class AccessToken(BaseModel):
    """An access token for the Authorization header."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str


def parse_form(raw: bytes) -> TokenRequest:
    """Parse a form. *Raises*: InvalidInput, NotOffered for another grant."""
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_FIELDS_MAX,
        )
    except ValueError as error:
        raise InvalidInput("The body isn't a form.") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise InvalidInput("A parameter is sent twice.")
    form = {name: value for name, value in pairs if value}  # empty is omitted (RFC 6749 §3.2)
    if "grant_type" not in form:
        raise InvalidInput("There is no grant_type.")
    if form["grant_type"] != GRANT_TYPE:
        raise NotOffered("The only grant is client_credentials.")
    if form.get("client_assertion_type") != ASSERTION_KIND:
        raise InvalidInput("The client_assertion_type must be that of RFC 7523.")
    if "client_assertion" not in form:
        raise InvalidInput("There is no client_assertion.")
    return TokenRequest(
        grant_type=form["grant_type"],
        client_assertion_type=form["client_assertion_type"],
        client_assertion=form["client_assertion"],
        client_id=form.get("client_id"),
        scope=form.get("scope"),
    )


@operation(
    "POST",
    "/oauth2/token",
    tag="Access",
    scope=None,
    body=Body(
        "application/x-www-form-urlencoded",
        parse_form,
        TokenRequest,
        {
            "grant_type": GRANT_TYPE,
            "client_assertion_type": ASSERTION_KIND,
            "client_assertion": "eyJ0eXAiOiJjbGllbnQtYXV0aGVudGljYXRpb24rand0In0.e30.AA",
            "scope": "risk:read",
        },
    ),
    replies=(
        Reply(
            200,
            "An access token for 600 seconds.",
            model=AccessToken,
            example={
                "access_token": "eyJ0eXAiOiJhdCtqd3QifQ.e30.AA",
                "token_type": "Bearer",
                "expires_in": 600,
                "scope": "risk:read",
            },
        ),
    ),
    errors=(InvalidInput, InvalidToken, PlatformSuspended, InsufficientScope),
    refuse=render_oauth_error,
)
def create_token(ledger: Ledger, call: Call[TokenRequest]) -> Answer:
    """Get an access token for a signed, one-time assertion."""
    form = call.body
    grant = grant_access(ledger, form.client_assertion, form.client_id, form.scope, call.now)
    return render_json(
        {
            "access_token": grant.token,
            "token_type": "Bearer",
            "expires_in": grant.expires_in,
            "scope": grant.scope,
        },
        headers={"Pragma": "no-cache"},
    )
