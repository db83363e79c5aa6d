"""A member platform with real keys, for tests: it enrols, reports, retracts and asks.

It speaks to the use cases directly, or over HTTP where it is given a client. It can also lie
(sign with a wrong key, for another audience, as somebody else), replay, and go stale: every lie
is a real token, never a patched function.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from reports import claim, sample_report, sample_retraction

from ledger.assessing import AssessmentRequest, assess_risk
from ledger.authorizing import authenticate, grant_access
from ledger.enrolling import enrol_platform
from ledger.identity.identifier import (
    AccountRef,
    Identifier,
    IdentifierClaim,
    Kind,
    render_identifier,
)
from ledger.identity.key import Algorithm, generate_signing_jwk, parse_jwk, public_jwk
from ledger.identity.platform import SCOPES
from ledger.identity.token import ASSERTION_TYPE, EVENT_TYPE, sign_token
from ledger.incident.incident import IncidentReport
from ledger.incident.rendering import render_event
from ledger.incident.statement import (
    Acknowledgement,
    Correction,
    Marking,
    Recycling,
    Restitution,
    Unlinking,
)
from ledger.incident.taxonomy import MarkerKind
from ledger.ledger import LedgerKeys
from ledger.proving import prove_incident
from ledger.reporting import accept_event, describe_incident
from ledger.risk.advice import Purpose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from typing import Any

    import httpx

    from ledger.identity.platform import Caller
    from ledger.incident.statement import Retraction, Statement
    from ledger.ledger import Ledger
    from ledger.reporting import Accepted, IncidentView


def create_keys() -> LedgerKeys:
    """Create the secrets of a ledger, as `bcl key new` would."""
    return LedgerKeys(
        log_key=secrets.token_bytes(32),
        event_key=generate_signing_jwk(Algorithm.ED25519),
        access_key=generate_signing_jwk(Algorithm.ED25519),
        wrap_key=secrets.token_bytes(32),
        index_key=secrets.token_bytes(32),
        tag_key=secrets.token_bytes(32),
    )


def phone_and_device(person: str) -> tuple[IdentifierClaim, ...]:
    """Claim a verified phone and a device: what makes two accounts one person."""
    return claim(Kind.PHONE, f"phone of {person}"), claim(Kind.DEVICE, f"device of {person}")


@dataclass(frozen=True, slots=True)
class Sent:
    """A statement that was sent: what it said, its exact token, and what came back."""

    statement: Statement
    token: bytes
    accepted: Accepted

    @property
    def incident_id(self) -> str:
        """The id that the ledger gave the incident."""
        if self.accepted.incident_id is None:
            raise AssertionError
        return self.accepted.incident_id

    @property
    def report(self) -> IncidentReport:
        """The report that was sent."""
        if not isinstance(self.statement, IncidentReport):
            raise TypeError
        return self.statement


class Simulator:
    """One platform. Traits not given are those of an honest, independent one."""

    def __init__(
        self,
        ledger: Ledger,
        name: str,
        *,
        group: str | None = None,
        algorithm: Algorithm = Algorithm.ED25519,
    ) -> None:
        """Make its keys; nothing is enrolled yet."""
        self.ledger = ledger
        self.name = name
        self.uri = f"https://{name}.example"
        self.group = group or f"group of {name}"
        self.private_jwk = generate_signing_jwk(algorithm)
        self.tag_key = b""
        self._number = 0

    @property
    def key(self) -> tuple[str, Algorithm, dict[str, str]]:
        """The present public key, as enrolment takes it."""
        return parse_jwk(public_jwk(self.private_jwk))

    @property
    def kid(self) -> str:
        """The thumbprint of the present key."""
        return self.key[0]

    def enrol(self, at: datetime) -> None:
        """Become a member with every scope, in the ledger's jurisdiction."""
        self.tag_key = enrol_platform(
            self.ledger,
            uri=self.uri,
            name=self.name,
            group=self.group,
            jurisdictions=(self.ledger.jurisdiction.code,),
            scopes=sorted(SCOPES),
            keys=(self.key,),
            at=at,
        ).tag_key

    def next_id(self, prefix: str) -> str:
        """Give an id that this platform never gave before."""
        self._number += 1
        return f"{prefix}-{self.name}-{self._number}"

    # --- Statements -------------------------------------------------------------------------

    def incident(
        self, buyer: str, identifiers: Sequence[IdentifierClaim], at: datetime, **changes: Any
    ) -> IncidentReport:
        """State one confirmed incident that meets the standard of proof, signed at an instant.

        *Shape*: `changes` replaces members of the report. Where the buyer has days to respond,
        everything happened that much earlier.
        """
        stated = sample_report(
            at,
            issuer=self.uri,
            sub=f"acct-{buyer}",
            identifiers=identifiers,
            jti=self.next_id("evt"),
            txn=self.next_id("case"),
            jurisdiction=self.ledger.jurisdiction.code,
        )
        days = self.ledger.jurisdiction.response_window_days
        if days and stated.notice:
            sent_at = stated.notice.sent_at - timedelta(days=days + 2)
            stated = replace(
                stated,
                conduct_ended_at=stated.conduct_ended_at - timedelta(days=days + 2),
                notice=replace(
                    stated.notice, sent_at=sent_at, response_until=sent_at + timedelta(days=days)
                ),
            )
        return replace(stated, **changes)

    def held_incident(
        self, buyer: str, identifiers: Sequence[IdentifierClaim], at: datetime, until: datetime
    ) -> IncidentReport:
        """State an incident whose notice window is still open."""
        honest = self.incident(buyer, identifiers, at)
        assert honest.notice is not None
        return replace(honest, notice=replace(honest.notice, response_until=until))

    def retraction(self, report: IncidentReport, at: datetime, **changes: Any) -> Retraction:
        """State that a report is taken back."""
        honest = sample_retraction(report, at)
        return replace(honest, issuer=self.uri, jti=self.next_id("evt"), **changes)

    def correction(self, reported: IncidentReport, at: datetime, **changes: Any) -> Correction:
        """State that a report is replaced: by itself, but for the changes."""
        jti = self.next_id("evt")
        again = replace(reported, jti=jti, issued_at=at, event_at=at, **changes)
        said = (self.uri, jti, reported.txn, at, at)
        return Correction(*said, reported.account, reported.jti, again)

    def restitution(self, reported: IncidentReport, at: datetime) -> Restitution:
        """State that an incident was made good just now."""
        said = (self.uri, self.next_id("evt"), reported.txn, at, at)
        return Restitution(*said, reported.account, reported.jti, at)

    def acknowledgement(self, report: IncidentReport, at: datetime) -> Acknowledgement:
        """State that its own copy of an erased report is gone."""
        said = (self.uri, self.next_id("evt"), report.txn, at, at)
        return Acknowledgement(*said, report.jti)

    def unlinking(self, buyer: str, other: AccountRef, at: datetime) -> Unlinking:
        """State that a buyer's account and another aren't one person's: both were there."""
        said = (self.uri, self.next_id("evt"), self.next_id("case"), at, at)
        checks = tuple(
            hashlib.sha256(one.sub.encode()).digest() for one in (self.account(buyer), other)
        )
        return Unlinking(*said, self.account(buyer), other, (), checks)

    def recycling(self, identifier: Identifier, at: datetime) -> Recycling:
        """State that an identifier went to somebody else just now."""
        said = (self.uri, self.next_id("evt"), self.next_id("case"), at, at)
        return Recycling(*said, identifier, at)

    def marking(
        self,
        buyer: str,
        identifiers: tuple[Identifier, ...],
        at: datetime,
        incidents: tuple[str, ...] = (),
        kind: MarkerKind = MarkerKind.TAKEOVER_VICTIM,
    ) -> Marking:
        """State that a buyer is to be identified with care, from 30 days ago for a year."""
        said = (self.uri, self.next_id("evt"), self.next_id("case"), at, at)
        days = at - timedelta(days=30), at + timedelta(days=330)
        return Marking(*said, self.account(buyer), identifiers, kind, *days, incidents)

    def account(self, buyer: str) -> AccountRef:
        """Refer to a buyer's account here by its pseudonym."""
        return AccountRef(self.uri, f"acct-{buyer}")

    def sign(
        self,
        statement: Statement,
        *,
        key: Mapping[str, str] | None = None,
        audience: str | None = None,
    ) -> bytes:
        """Sign a statement; a liar signs with another key or for another audience."""
        claims = render_event(statement, audience or self.ledger.issuer)
        return sign_token(claims, key or self.private_jwk, typ=EVENT_TYPE).encode()

    def send(self, statement: Statement, at: datetime) -> Sent:
        """Sign a statement and have it accepted."""
        token = self.sign(statement)
        return Sent(statement, token, accept_event(self.ledger, token, at))

    def report(
        self, buyer: str, identifiers: Sequence[IdentifierClaim], at: datetime, **changes: Any
    ) -> Sent:
        """Report one confirmed incident."""
        return self.send(self.incident(buyer, identifiers, at, **changes), at)

    def retract(self, sent: Sent, at: datetime) -> Sent:
        """Take a report back."""
        return self.send(self.retraction(sent.report, at), at)

    # --- Questions --------------------------------------------------------------------------

    def assertion(self, at: datetime, **changes: object) -> str:
        """Sign a client assertion (RFC 7523)."""
        issued = int(at.timestamp())
        claims: dict[str, object] = {
            "iss": self.uri,
            "sub": self.uri,
            "aud": self.ledger.issuer,
            "iat": issued,
            "exp": issued + 300,
            "jti": self.next_id("assertion"),
        }
        return sign_token(claims | changes, self.private_jwk, typ=ASSERTION_TYPE)

    def caller(self, at: datetime) -> Caller:
        """Get an access token and be recognised by it."""
        grant = grant_access(self.ledger, self.assertion(at), None, None, at)
        return authenticate(self.ledger, grant.token, at)

    def request(
        self, buyer: str, identifiers: Sequence[IdentifierClaim], **changes: Any
    ) -> AssessmentRequest:
        """Put a question about a buyer at claim time, for an order of its own."""
        order = changes.pop("order", self.next_id("order"))
        commitment = f"hmac-sha-256:{hashlib.sha256(order.encode()).hexdigest()}"
        asked = AssessmentRequest(
            account=self.account(buyer),
            identifiers=tuple(identifiers),
            purpose=Purpose.REFUND_ONLY_CLAIM,
            order_commitment=commitment,
            claim_code=None,
            amount=None,
            client_reference=None,
            idempotency_key=None,
            digest=hashlib.sha256(repr((buyer, identifiers, order)).encode()).digest(),
        )
        return asked._replace(**changes)

    def ask(
        self, buyer: str, identifiers: Sequence[IdentifierClaim], at: datetime, **changes: Any
    ) -> dict[str, Any]:
        """Ask how risky a refund-only claim of a buyer is."""
        asked = self.request(buyer, identifiers, **changes)
        return dict(json.loads(assess_risk(self.ledger, self.caller(at), asked, at).text))

    def look_up(self, incident_id: str, at: datetime) -> IncidentView:
        """Look up one of its own incidents."""
        return describe_incident(self.ledger, self.caller(at), incident_id)

    def fetch_receipt(self, incident_id: str, at: datetime) -> str:
        """Fetch the receipt of one of its own incidents."""
        return prove_incident(self.ledger, self.caller(at), incident_id)


def render_question(asked: AssessmentRequest) -> dict[str, object]:
    """Render a question as the JSON body of POST /v1/risk-assessments."""
    opaque = [render_identifier(one.identifier) for one in asked.identifiers]
    subjects = [{"format": "iss_sub", "iss": asked.account.iss, "sub": asked.account.sub}]
    subjects += [{"format": "opaque", "id": one} for one in opaque]
    return {
        "subject": {"format": "aliases", "identifiers": subjects},
        "context": {
            "purpose": asked.purpose.value,
            "order_commitment": asked.order_commitment,
            "bindings": {
                name: {"binding": one.binding.value, "accounts_here": one.accounts_here.value}
                for name, one in zip(opaque, asked.identifiers, strict=True)
            },
        },
    }


def render_portfolio(asked: AssessmentRequest, number: int) -> dict[str, object]:
    """Render a question about a portfolio: so many accounts without identifiers."""
    body: Any = render_question(asked)
    account = body["subject"]["identifiers"][0]
    subjects = [
        {
            "subject": {
                "format": "aliases",
                "identifiers": [account | {"sub": f"{account['sub']}-{place}"}],
            },
            "context": {"bindings": {}},
        }
        for place in range(number)
    ]
    return {"purpose": "portfolio_statistics", "subjects": subjects}


class RemoteSimulator:
    """The same platform over HTTP: every answer is the server's own response."""

    def __init__(self, platform: Simulator, http: httpx.Client) -> None:
        """Speak through a client whose base address is the server's."""
        self.platform = platform
        self.http = http

    def send(self, token: bytes) -> httpx.Response:
        """Push one event token (RFC 8935)."""
        headers = {"Content-Type": "application/secevent+jwt", "Accept": "application/json"}
        return self.http.post("/v1/events", content=token, headers=headers)

    def get_access(self, at: datetime) -> dict[str, str]:
        """Get an access token and give it as a header."""
        answer = self.http.post(
            "/oauth2/token",
            data={
                "grant_type": "client_credentials",
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": self.platform.assertion(at),
            },
        )
        answer.raise_for_status()
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def ask(self, asked: AssessmentRequest, access: Mapping[str, str]) -> httpx.Response:
        """Ask for a risk assessment."""
        return self.http.post(
            "/v1/risk-assessments", json=render_question(asked), headers=dict(access)
        )

    def get(self, path: str, access: Mapping[str, str]) -> httpx.Response:
        """Get something of its own."""
        return self.http.get(path, headers=dict(access))
