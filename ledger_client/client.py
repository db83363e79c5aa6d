"""One platform's connection to one ledger: sign, report, ask, fetch and verify.

Every call may be repeated: events by their jti, questions by an Idempotency-Key, so that after
a lost answer the same call is sent again instead of being given up. Nobody but the log's verifier
key is trusted: it names the ledger that assertions and events are addressed to.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import httpx

from ledger.errors import InvalidInput, LedgerError
from ledger.identity.token import ASSERTION_TYPE, EVENT_TYPE, payload_of, sign_token
from ledger.incident.lifecycle import CLOSED
from ledger.incident.rendering import render_event
from ledger.incident.statement import (
    Forgery,
    Marking,
    Recycling,
    Unlinking,
    Withdrawal,
    parse_event,
)
from ledger_client import clock
from ledger_client.answer import RETRIED, check_answer, object_of, parse_url, text_of
from ledger_client.errors import InvalidAnswer, Refused, Unreachable
from ledger_client.question import render_question, select_hashes
from ledger_client.receipt import Standing, issuer_of, verify_acknowledgement, verify_standing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from ledger.incident.statement import Statement
    from ledger.log.witness import WitnessPolicy
    from ledger_client.journal import Journal
    from ledger_client.question import Question

_ASSERTION_KIND = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_SECONDS = 60
_RENEWED_BEFORE = timedelta(seconds=30)
_PATIENCE = "wait=5"
_TRIES = 4
_WAIT_SECONDS_MAX = 5.0
_DAY = 86_400
_UNAUTHORIZED, _NOT_FOUND = 401, 404
_ANSWER_BYTES_MAX = 4_194_304
_ACCESS = re.compile("[A-Za-z0-9._~+/-]+=*", re.ASCII)
_RECALL = re.compile("rcl_[0-9a-f]{32}", re.ASCII)
_LOCATION = re.compile("/v1/incidents/(inc_[0-9a-f]{32})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Sent:
    """An accepted statement. Keep `token`: it alone opens the receipt.

    *Shape*: `incident_id` is empty where the statement is about no incident.
    """

    token: str
    incident_id: str


class Client:
    """A member's client. Use it as a context manager, or call `close`.

    *Shape*: `url` is where the ledger is reached, `vkey` its log's verifier key, `platform` the
    member's name as it was enrolled, `key` its private JWK. `transport` is httpx's. With
    `witnesses` a receipt is refused unless a quorum of them cosigned its checkpoint. What is sent
    and proved is noted in the `journal`, for `bcl log monitor`.
    *Raises*: InvalidInput where the url isn't one, InvalidNote for a bad vkey.
    """

    def __init__(  # noqa: PLR0913 - what a connection is made of
        self,
        url: str,
        *,
        vkey: str,
        platform: str,
        key: Mapping[str, str],
        transport: httpx.BaseTransport | None = None,
        witnesses: WitnessPolicy | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._journal = journal
        self._vkey = vkey
        self._witnesses = witnesses
        self._issuer = issuer_of(vkey)
        self._platform = platform
        self._key = key
        self._access: tuple[str, datetime] | None = None
        self._http = httpx.Client(
            base_url=parse_url(url),
            transport=transport,
            timeout=10.0,
            follow_redirects=False,
            headers={"Accept-Encoding": "identity"},
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

    def sign_event(self, statement: Statement) -> str:
        """Sign a statement as an event token addressed to this ledger."""
        return sign_token(render_event(statement, self._issuer), self._key, typ=EVENT_TYPE)

    def report(self, statement: Statement) -> Sent:
        """Sign a statement and send it. *Raises*: Refused, Unreachable, InvalidAnswer."""
        return self.send_event(self.sign_event(statement))

    def send_event(self, token: str) -> Sent:
        """Send an event token (RFC 8935), again where no answer came. *Raises*: as `report`."""
        headers = {"Content-Type": "application/secevent+jwt", "Accept": "application/json"}
        if self._journal is not None:
            self._journal.note_sent(token)
        try:
            answer = check_answer(
                self._repeat(
                    lambda: self._send("POST", "/v1/events", content=token, headers=headers)
                )
            )
        except Refused:
            if self._journal is not None:
                self._journal.note_refused(token)
            raise
        if self._journal is not None:
            self._journal.note_accepted(token)
        named = _LOCATION.fullmatch(answer.headers.get("Location", ""))
        if named is None and ("Location" in answer.headers or not _is_about_links(token)):
            raise InvalidAnswer("The ledger accepted the statement, but named no incident.")
        return Sent(token, named[1] if named else "")

    # --- Questions --------------------------------------------------------------------------

    def assess(self, asked: Question) -> dict[str, Any]:
        """Ask about a buyer and give the answer as it came.

        *Raises*: Refused, Unreachable, InvalidAnswer.

        Members and values that this client doesn't know are to be tolerated.
        """
        return self.assess_raw(render_question(asked))

    def assess_raw(self, body: Mapping[str, object]) -> dict[str, Any]:
        """Ask with a body of one's own making. *Raises*: as `assess`."""
        return self._create("/v1/risk-assessments", body)

    def assess_batch(self, asked: Sequence[Question]) -> list[dict[str, Any]]:
        """Ask about up to 1,000 buyers at once; give an item each, in the order of the questions.

        *Shape*: `answer`, or `refused` with a code and a detail. *Raises*: as `assess`.
        """
        body = {"questions": [render_question(one) for one in asked]}
        told = self._create("/v1/risk-assessments/batch", body)
        answers = told.get("answers")
        if not isinstance(answers, list) or len(answers) != len(asked):
            raise InvalidAnswer("The answers aren't those of the questions.")
        return answers

    def record_outcome(self, assessment_id: str, outcome: Mapping[str, object]) -> str:
        """Tell what was done after an answer; give the record's id. *Raises*: as `assess`."""
        created = self._create(f"/v1/risk-assessments/{assessment_id}/outcomes", outcome)
        return text_of(created, "id")

    # --- Evidence ---------------------------------------------------------------------------

    def match_evidence(self, files: Sequence[Mapping[str, object]]) -> list[dict[str, Any] | None]:
        """Ask whether files were reported as forged; give what was seen of each, or None.

        *Shape*: of each file `sha256` and `pdq`, as an inspection renders them; all else stays
        here. *Raises*: as `assess`.
        """
        asked = {"evidence": [select_hashes(one) for one in files]}
        told = object_of(self._authorized("POST", "/v1/evidence-matches", json=asked))
        matches = told.get("matches")
        if not isinstance(matches, list) or len(matches) != len(files):
            raise InvalidAnswer("The matches aren't those of the files.")
        if not all(isinstance(one, dict) for one in matches):
            raise InvalidAnswer("A match isn't one.")
        return [one.get("seen_before") for one in matches]

    def report_evidence(self, seen: Forgery) -> Sent:
        """Report forged evidence, without anybody's name. *Raises*: as `report`."""
        return self.report(seen)

    def recalls(self) -> list[dict[str, Any]]:
        """Give every answer of one's own that was recalled, oldest first. *Raises*: as `assess`."""
        found: list[dict[str, Any]] = []
        path = "/v1/recalls?limit=200"
        while path:
            part = object_of(self._authorized("GET", path))
            data, cursor = part.get("data"), part.get("next_cursor")
            if not isinstance(data, list):
                raise InvalidAnswer("The ledger's answer isn't a list of recalls.")
            found += data
            is_next = isinstance(cursor, str) and _RECALL.fullmatch(cursor) is not None
            path = f"/v1/recalls?limit=200&cursor={cursor}" if is_next and data else ""
        return found

    def acknowledge_recall(self, recall_id: str) -> None:
        """Tell that a recall is known. *Raises*: as `assess`, InvalidInput for no recall's id."""
        if _RECALL.fullmatch(recall_id) is None:
            raise InvalidInput("That isn't a recall's id.")
        self._authorized("POST", f"/v1/recalls/{recall_id}/acknowledgement")

    def _create(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        headers = {"Idempotency-Key": secrets.token_urlsafe(24)}
        return object_of(self._authorized("POST", path, json=body, headers=headers))

    # --- What stands in the log -------------------------------------------------------------

    def fetch_incident(self, incident_id: str) -> dict[str, Any]:
        """Fetch how an incident of one's own stands, its acknowledgement verified if it has one.

        *Raises*: as `assess`, and InvalidToken where the ledger's signature fails.
        """
        found = object_of(self._authorized("GET", f"/v1/incidents/{incident_id}"))
        jti = text_of(found, "jti")
        if found.get("state") not in CLOSED:  # there is none of what was erased
            verify_acknowledgement(text_of(found, "acknowledgement"), self._vkey, jti=jti)
        return found

    def fetch_status(self, incident_id: str) -> str:
        """Fetch the signed status that goes with a receipt. *Raises*: as `assess`."""
        path = f"/v1/incidents/{incident_id}"
        return self._authorized("GET", path, headers={"Accept": "application/jwt"}).text

    def fetch_receipt(self, incident_id: str) -> str:
        """Fetch the receipt of a report, waiting a little until it is published.

        *Raises*: as `assess`.
        """
        path = f"/v1/incidents/{incident_id}/receipt"
        return self._authorized("GET", path, headers={"Prefer": _PATIENCE}).text

    def verify_receipt(self, receipt: str, sent: Sent, *, status: str | None = None) -> Standing:
        """Verify offline that a receipt is for a sent statement.

        *Raises*: as `receipt.verify_standing`.
        """
        standing = verify_standing(
            receipt,
            self._vkey,
            event=sent.token.encode(),
            status=status,
            now=clock.now(),
            witnesses=self._witnesses,
        )
        if self._journal is not None:
            self._journal.note_receipt(sent.token, standing.receipt)
        return standing

    # --- The exchange -----------------------------------------------------------------------

    def get_access(self, *, scope: str | None = None) -> str:
        """Get an access token for a signed assertion (RFC 7523). *Raises*: as `assess`.

        One with all that the platform may do is kept and used for the calls that follow.
        """
        answer = self._repeat(
            lambda: self._send("POST", "/oauth2/token", data=self._render_grant(scope))
        )
        granted = object_of(check_answer(answer))
        token, seconds = text_of(granted, "access_token"), granted.get("expires_in")
        if _ACCESS.fullmatch(token) is None:
            raise InvalidAnswer("The ledger's access token isn't one (RFC 6750 §2.1).")
        if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 < seconds < _DAY:
            raise InvalidAnswer("The ledger didn't say how long its access token lives.")
        if scope is None:
            self._access = (token, clock.now() + timedelta(seconds=seconds))
        return token

    def _render_grant(self, scope: str | None) -> dict[str, str]:
        """Render a token request; its assertion is new, since each may be used once."""
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
        return form | ({"scope": scope} if scope else {})

    def _authorized(self, method: str, path: str, **parts: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own parameters
        answer = self._try_authorized(method, path, parts)
        if answer.status_code == _UNAUTHORIZED:
            self._access = None  # it was revoked, or the ledger's key changed: ask once more
            answer = self._try_authorized(method, path, parts)
        return check_answer(answer)

    def _try_authorized(self, method: str, path: str, parts: dict[str, Any]) -> httpx.Response:
        held = self._access
        is_fresh = held is not None and clock.now() < held[1] - _RENEWED_BEFORE
        token = held[0] if held is not None and is_fresh else self.get_access()
        headers = {**parts.get("headers", {}), "Authorization": f"Bearer {token}"}
        return self._repeat(lambda: self._send(method, path, **{**parts, "headers": headers}))

    def _repeat(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        """Send until there is an answer that isn't "later", a few times at most."""
        for attempt in range(_TRIES):
            pause = min(0.1 * 4**attempt, _WAIT_SECONDS_MAX)
            try:
                answer = send()
            except Unreachable:
                if attempt == _TRIES - 1:
                    raise
            else:
                later = answer.headers.get("Retry-After", "")
                waits = answer.status_code in RETRIED or (
                    answer.status_code == _NOT_FOUND and bool(later)
                )
                if not waits or attempt == _TRIES - 1:
                    return answer
                if re.fullmatch("[0-9]{1,9}", later, re.ASCII):
                    pause = min(float(later), _WAIT_SECONDS_MAX)
            clock.wait(pause)
        raise Unreachable("The ledger gave no answer.")

    def _send(self, method: str, path: str, **parts: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own parameters
        """Send once and read the answer, up to the limit of what any answer may be."""
        try:
            with self._http.stream(method, path, **parts) as answer:
                if answer.headers.get("Content-Encoding", "identity") != "identity":
                    raise InvalidAnswer("The ledger answered in a coding that wasn't asked for.")
                body = b""
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > _ANSWER_BYTES_MAX:
                        raise InvalidAnswer("The ledger's answer is longer than any may be.")
        except httpx.HTTPError as error:
            raise Unreachable("The ledger gave no answer.") from error
        return httpx.Response(answer.status_code, headers=answer.headers, content=body)


def _is_about_links(token: str) -> bool:
    """Tell whether a statement is about accounts and identifiers, and so about no incident."""
    try:
        statement = parse_event(payload_of(token))
    except LedgerError:
        return False
    return isinstance(statement, Unlinking | Recycling | Marking | Forgery | Withdrawal)
