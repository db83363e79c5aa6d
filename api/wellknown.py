"""What anybody may read: keys, metadata, health, the description of this API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from api.documentation import PAGE_POLICY
from api.operation import Reply, operation
from api.problems import render_status
from api.rendering import HTML, JSON, Answer, render_json
from ledger.checking import check_ready
from ledger.errors import LedgerCorrupt
from ledger.identity.platform import SCOPES

if TYPE_CHECKING:
    from api.operation import Call
    from ledger.ledger import Ledger

_HOURLY = "public, max-age=3600"
_OFTEN = "public, max-age=300"


class PublicKey(BaseModel):
    """A public JWK (RFC 7517)."""

    kty: str
    crv: str
    x: str
    y: str | None = None
    kid: str
    alg: str
    use: str


class PublicKeys(BaseModel):
    """A JWK set."""

    keys: list[PublicKey]


class AuthorizationServer(BaseModel):
    """Authorization server metadata (RFC 8414 §2)."""

    issuer: str
    token_endpoint: str
    jwks_uri: str
    service_documentation: str
    scopes_supported: list[str]
    response_types_supported: list[str]
    grant_types_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    token_endpoint_auth_signing_alg_values_supported: list[str]


class Health(BaseModel):
    """One word."""

    status: str


@operation(
    "GET",
    "/.well-known/jwks.json",
    tag="About",
    scope=None,
    replies=(
        Reply(200, "The ledger's keys.", media_type="application/jwk-set+json", model=PublicKeys),
    ),
    cache=_OFTEN,
)
def read_keys(ledger: Ledger, call: Call[None]) -> Answer:
    """Fetch the public keys of what the ledger signs as a JWS."""
    del call
    return render_json(ledger.public_jwks, media_type="application/jwk-set+json")


@operation(
    "GET",
    "/.well-known/oauth-authorization-server",
    tag="About",
    scope=None,
    replies=(Reply(200, "Where and how to get access tokens.", model=AuthorizationServer),),
    cache=_HOURLY,
)
def read_authorization_server(ledger: Ledger, call: Call[None]) -> Answer:
    """Fetch the metadata of the authorization server.

    `issuer` names the ledger for ever; the endpoints are where this server is reached.
    """
    public_url = call.site.public_url
    return render_json(
        {
            "issuer": ledger.issuer,
            "token_endpoint": f"{public_url}/oauth2/token",
            "jwks_uri": f"{public_url}/.well-known/jwks.json",
            "service_documentation": f"{public_url}/docs",
            "scopes_supported": sorted(SCOPES),
            "response_types_supported": [],
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["ES256", "EdDSA", "Ed25519"],
        }
    )


@operation(
    "GET",
    "/healthz",
    tag="About",
    scope=None,
    replies=(Reply(200, "The process answers.", model=Health, example={"status": "ok"}),),
)
def read_health(ledger: Ledger, call: Call[None]) -> Answer:
    """Ask whether the process is alive. Touches nothing else."""
    del ledger, call
    return render_json({"status": "ok"})


@operation(
    "GET",
    "/readyz",
    tag="About",
    scope=None,
    replies=(Reply(200, "The ledger can serve.", model=Health, example={"status": "ready"}),),
)
def read_readiness(ledger: Ledger, call: Call[None]) -> Answer:
    """Ask whether the ledger can serve. A 503 says why it can't."""
    try:
        check_ready(ledger)
    except LedgerCorrupt as alarm:
        return render_status(503, call.instance, detail=str(alarm))
    return render_json({"status": "ready"})


@operation(
    "GET",
    "/openapi.json",
    tag="About",
    scope=None,
    replies=(Reply(200, "An OpenAPI 3.1 document."),),
    cache=_OFTEN,
)
def read_openapi(ledger: Ledger, call: Call[None]) -> Answer:
    """Fetch the description of this API."""
    del ledger
    return Answer(200, call.site.document, JSON)


@operation(
    "GET",
    "/docs",
    tag="About",
    scope=None,
    replies=(Reply(200, "A page without scripts.", media_type=HTML),),
    cache=_OFTEN,
)
def read_docs(ledger: Ledger, call: Call[None]) -> Answer:
    """Read the description of this API as a page."""
    del ledger
    return Answer(200, call.site.page, HTML, {"Content-Security-Policy": PAGE_POLICY})
