"""Forged evidence over HTTP: whether files were seen before, and what is recalled of answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field, StringConstraints

from api.operation import Reply, RequestModel, json_body, operation
from api.questions import EVIDENCE, SoughtEvidence, read_evidence
from api.rendering import render_instant, render_json
from ledger.errors import UnknownRecall
from ledger.matching import RECALL_SCOPES, acknowledge, list_recalls, match_evidence

if TYPE_CHECKING:
    from api.operation import Call
    from api.rendering import Answer
    from ledger.ledger import Ledger
    from ledger.store.evidence import Recall

FILES_MAX = 8
RECALLS_MAX = 200
_RECALL_ID = "rcl_[0-9a-f]{32}"
_EXAMPLE_RECALL = {
    "id": "rcl_019aab2d1c00b1946ac92492d2347c62",
    "kind": "evidence",
    "answer": "em_019aab2d1c007c3f9e0a1b2c3d4e5f60",
    "recalled_at": "2026-11-22T12:00:00Z",
    "acknowledged_at": None,
}


class EvidenceMatchRequest(RequestModel):
    """Up to eight files, by their hashes alone. None of the hashes is kept."""

    evidence: Annotated[list[SoughtEvidence], Field(min_length=1, max_length=FILES_MAX)]


class SeenBefore(BaseModel):
    """That evidence was reported as forged before. It says nothing of any person.

    `distance` is same_file, 0-15 or 16-31; `source` where the picture is an original that was
    used falsely, such as a listing's.
    """

    distance: str
    platforms: str
    first_seen: str
    source: bool


class EvidenceMatch(BaseModel):
    """What was seen of one file; null where no other platform reported it."""

    seen_before: SeenBefore | None


class EvidenceMatches(BaseModel):
    """The answers, in the order of the files."""

    id: str
    matches: list[EvidenceMatch]
    log_size: int


class RecalledAnswer(BaseModel):
    """An answer of yours that rests on what was taken back since.

    `kind` says what of the answer no longer holds: its evidence. Unknown kinds must be tolerated.
    """

    id: str
    kind: str
    answer: str
    recalled_at: str
    acknowledged_at: str | None


class RecallList(BaseModel):
    """A part of your recalls, oldest first, and where the next part begins."""

    data: list[RecalledAnswer]
    has_more: bool
    next_cursor: str | None


class RecallQuery(RequestModel):
    """Which part of a list."""

    limit: Annotated[str, StringConstraints(pattern=r"^([1-9]|[1-9][0-9]|1[0-9][0-9]|200)$")] = "50"
    cursor: Annotated[str, StringConstraints(pattern=f"^{_RECALL_ID}$")] | None = None


def _render(one: Recall) -> dict[str, object]:
    acknowledged = one.acknowledged_at
    return {
        "id": one.id,
        "kind": one.kind,
        "answer": one.answer,
        "recalled_at": render_instant(one.recalled_at),
        "acknowledged_at": None if acknowledged is None else render_instant(acknowledged),
    }


@operation(
    "POST",
    "/v1/evidence-matches",
    tag="Evidence",
    scope="evidence:read",
    body=json_body(EvidenceMatchRequest, example={"evidence": EVIDENCE}),
    replies=(
        Reply(
            200,
            "What was seen of each file.",
            model=EvidenceMatches,
            example={
                "id": "em_019aab2d1c007c3f9e0a1b2c3d4e5f60",
                "matches": [
                    {
                        "seen_before": {
                            "distance": "0-15",
                            "platforms": "1",
                            "first_seen": "2026-11",
                            "source": False,
                        }
                    }
                ],
                "log_size": 42,
            },
        ),
    ),
)
def create_evidence_matches(ledger: Ledger, call: Call[EvidenceMatchRequest]) -> Answer:
    """Ask whether files were reported as forged by another platform.

    Hashes alone, and nobody's name. A match is a reason to look closely, never a proof.
    """
    sought = read_evidence(call.body.evidence, "/evidence")
    told = match_evidence(ledger, call.caller, sought, call.now)
    matches = [{"seen_before": one} for one in told.seen]
    return render_json({"id": told.id, "matches": matches, "log_size": told.log_size})


@operation(
    "GET",
    "/v1/recalls",
    tag="Recalls",
    scope=RECALL_SCOPES,
    query=RecallQuery,
    replies=(
        Reply(
            200,
            "A part of the list.",
            model=RecallList,
            example={"data": [_EXAMPLE_RECALL], "has_more": False, "next_cursor": None},
            headers=("Link",),
        ),
    ),
)
def read_recalls(ledger: Ledger, call: Call[None]) -> Answer:
    """List the answers of yours that rest on what was taken back since.

    Either scope lists all of them, of both kinds of questions.
    """
    asked = call.parse_query(RecallQuery)
    found, has_more = list_recalls(ledger, call.caller, asked.cursor or "", int(asked.limit))
    cursor = found[-1].id if has_more else None
    link = f'</v1/recalls?limit={asked.limit}&cursor={cursor}>; rel="next"'
    return render_json(
        {"data": [_render(one) for one in found], "has_more": has_more, "next_cursor": cursor},
        headers={"Link": link} if has_more else {},
    )


@operation(
    "POST",
    "/v1/recalls/{recall_id}/acknowledgement",
    tag="Recalls",
    scope=RECALL_SCOPES,
    patterns={"recall_id": _RECALL_ID},
    replies=(
        Reply(
            200,
            "The recall, acknowledged.",
            model=RecalledAnswer,
            example=_EXAMPLE_RECALL | {"acknowledged_at": "2026-11-22T13:00:00Z"},
        ),
    ),
    errors=(UnknownRecall,),
)
def acknowledge_recall(ledger: Ledger, call: Call[None]) -> Answer:
    """Tell that you know of a recall and looked at the case again. Repeats change nothing."""
    return render_json(_render(acknowledge(ledger, call.caller, call.path["recall_id"], call.now)))
