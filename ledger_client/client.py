"""One platform's connection to one ledger: sign, report, ask, fetch and verify.

Every call may be repeated: events by their jti, questions by an Idempotency-Key, so that after
a lost answer the same call is sent again instead of being given up. Nobody but the log's verifier
key is trusted: it names the ledger that assertions and events are addressed to.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import httpx

from ledger.identity.token import ASSERTION_TYPE, EVENT_TYPE, sign_token
from ledger.incident.rendering import render_event
from ledger_client import clock
from ledger_client.errors import Refused, Unreachable
from ledger_client.question import render_question
from ledger_client.receipt import Standing, issuer_of, verify_acknowledgement, verify_standing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from ledger.incident.incident import IncidentReport, Retraction
    from ledger_client.question import Question

_ASSERTION_KIND = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_SECONDS = 60
_RENEWED_BEFORE = timedelta(seconds=30)
_TRIES = 4
_WAIT_SECONDS_MAX = 5.0
_RETRIED = frozenset({429, 502, 503, 504})
_UNAUTHORIZED, _NOT_FOUND, _REFUSED_FROM = 401, 404, 400


@dataclass(frozen=True, slots=True)
class Sent:
    """An accepted statement. Keep `token`: it alone opens the receipt."""

    token: str
    incident_id: str


class Client:
    """A member's client. Use it as a context manager, or call `close`.

    *Shape*: `url` is where the ledger is reached, `vkey` its log's verifier key, `platform` the
    member's name as it was enrolled, `key` its private JWK. `transport` is httpx's.
    """

    def __init__(
        self,
        url: str,
        *,
        vkey: str,
        platform: str,
        key: Mapping[str, str],
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._vkey = vkey
        self._issuer = issuer_of(vkey)
        self._platform = platform
        self._key = key
        self._access: tuple[str, datetime] | None = None
        self._http = httpx.Client(
            base_url=url, transport=transport, timeout=10.0, follow_redirects=False
        )

    def __enter__(self) -> Self:
        """Give the client itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # --- Statements -------------------------------------------------------------------------

    def sign_event(self, statement: IncidentReport | Retraction) -> str:
        """Sign a statement as an event token addressed to this ledger."""
        return sign_token(render_event(statement, self._issuer), self._key, typ=EVENT_TYPE)

    def report(self, statement: IncidentReport | Retraction) -> Sent:
        """Sign a statement and send it. *Raises*: Refused, Unreachable."""
        return self.send_event(self.sign_event(statement))

    def send_event(self, token: str) -> Sent:
        """Send an event token (RFC 8935), again where no answer came. *Raises*: as `report`."""
        headers = {"Content-Type": "application/secevent+jwt", "Accept": "application/json"}
        answer = self._exchange("POST", "/v1/events", content=token, headers=headers)
        return Sent(token, answer.headers["Location"].removeprefix("/v1/incidents/"))

    # --- Questions --------------------------------------------------------------------------

    def assess(self, asked: Question) -> dict[str, Any]:
        """Ask about a buyer and give the answer as it came. *Raises*: Refused, Unreachable.

        Members and values that this client doesn't know are to be tolerated.
        """
        return self.assess_raw(render_question(asked))

    def assess_raw(self, body: Mapping[str, object]) -> dict[str, Any]:
        """Ask with a body of one's own making. *Raises*: as `assess`."""
        return self._create("/v1/risk-assessments", body)

    def record_outcome(self, assessment_id: str, outcome: Mapping[str, object]) -> str:
        """Tell what was done after an answer; give the record's id. *Raises*: as `assess`."""
        created = self._create(f"/v1/risk-assessments/{assessment_id}/outcomes", outcome)
        return str(created["id"])

    def _create(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        headers = {"Idempotency-Key": secrets.token_urlsafe(24)}
        return dict(self._authorized("POST", path, json=body, headers=headers).json())

    # --- What stands in the log -------------------------------------------------------------

    def fetch_incident(self, incident_id: str) -> dict[str, Any]:
        """Fetch how an incident of one's own stands, its acknowledgement verified.

        *Raises*: Refused, Unreachable, InvalidToken where the ledger's signature fails.
        """
        found = dict(self._authorized("GET", f"/v1/incidents/{incident_id}").json())
        verify_acknowledgement(found["acknowledgement"], self._vkey, jti=found["jti"])
        return found

    def fetch_status(self, incident_id: str) -> str:
        """Fetch the signed status that goes with a receipt. *Raises*: Refused, Unreachable."""
        path = f"/v1/incidents/{incident_id}"
        return self._authorized("GET", path, headers={"Accept": "application/jwt"}).text

    def fetch_receipt(self, incident_id: str) -> str:
        """Fetch the receipt of a report, waiting a little until it is published.

        *Raises*: Refused, Unreachable.
        """
        return self._authorized("GET", f"/v1/incidents/{incident_id}/receipt").text

    def verify_receipt(self, receipt: str, sent: Sent, *, status: str | None = None) -> Standing:
        """Verify offline that a receipt is for a sent statement.

        *Raises*: as `receipt.verify_standing`.
        """
        return verify_standing(
            receipt, self._vkey, event=sent.token.encode(), status=status, now=clock.now()
        )

    # --- The exchange -----------------------------------------------------------------------

    def get_access(self, *, scope: str | None = None) -> str:
        """Get an access token for a signed assertion (RFC 7523). *Raises*: as `assess`."""
        issued = int(clock.now().timestamp())
        claims = {
            "iss": self._platform,
            "sub": self._platform,
            "aud": self._issuer,
            "iat": issued,
            "exp": issued + _ASSERTION_SECONDS,
            "jti": secrets.token_urlsafe(16),
        }
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": _ASSERTION_KIND,
            "client_assertion": sign_token(claims, self._key, typ=ASSERTION_TYPE),
        }
        answer = self._send(
            "POST", "/oauth2/token", data=form | ({"scope": scope} if scope else {})
        )
        _check(answer)
        granted = answer.json()
        expires_at = clock.now() + timedelta(seconds=granted["expires_in"])
        self._access = (str(granted["access_token"]), expires_at)
        return self._access[0]

    def _authorized(self, method: str, path: str, **parts: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own parameters
        answer = self._try_authorized(method, path, parts)
        if answer.status_code == _UNAUTHORIZED:
            self._access = None  # it was revoked, or the ledger's key changed: ask once more
            answer = self._try_authorized(method, path, parts)
        return _check(answer)

    def _try_authorized(self, method: str, path: str, parts: dict[str, Any]) -> httpx.Response:
        held = self._access
        is_fresh = held is not None and clock.now() < held[1] - _RENEWED_BEFORE
        token = held[0] if held is not None and is_fresh else self.get_access()
        headers = {**parts.get("headers", {}), "Authorization": f"Bearer {token}"}
        return self._repeat(method, path, {**parts, "headers": headers})

    def _exchange(self, method: str, path: str, **parts: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own parameters
        return _check(self._repeat(method, path, parts))

    def _repeat(self, method: str, path: str, parts: dict[str, Any]) -> httpx.Response:
        """Send until there is an answer that isn't "later", a few times at most."""
        for attempt in range(_TRIES):
            pause = min(0.1 * 4**attempt, _WAIT_SECONDS_MAX)
            try:
                answer = self._send(method, path, **parts)
            except Unreachable:
                if attempt == _TRIES - 1:
                    raise
            else:
                later = answer.headers.get("Retry-After", "")
                waits = answer.status_code in _RETRIED or (
                    answer.status_code == _NOT_FOUND and bool(later)
                )
                if not waits or attempt == _TRIES - 1:
                    return answer
                pause = min(float(later), _WAIT_SECONDS_MAX) if later.isdigit() else pause
            clock.wait(pause)
        raise Unreachable("The ledger gave no answer.")

    def _send(self, method: str, path: str, **parts: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own parameters
        try:
            return self._http.request(method, path, **parts)
        except httpx.HTTPError as error:
            raise Unreachable("The ledger gave no answer.") from error


def _check(answer: httpx.Response) -> httpx.Response:
    """Give a good answer back. *Raises*: Refused, Unreachable for 502, 503 and the like."""
    if answer.status_code < _REFUSED_FROM:
        return answer
    if answer.status_code in _RETRIED:
        raise Unreachable("The ledger can't serve now.")
    try:
        told = answer.json()
    except ValueError:
        told = {}
    told = told if isinstance(told, dict) else {}
    code = str(told.get("type") or told.get("err") or told.get("error") or "no-code")
    detail = told.get("detail") or told.get("description") or told.get("error_description")
    raise Refused(
        answer.status_code, code.removeprefix("urn:bcl:problem:"), str(detail or "no reason given")
    )
