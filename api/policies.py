"""Scoring policies as they were published: every number of the formula, as data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from api.operation import Reply, operation
from api.rendering import render_instant, render_json
from ledger.errors import UnknownPolicy
from ledger.governing import describe_policy

if TYPE_CHECKING:
    from api.operation import Call
    from api.rendering import Answer
    from ledger.ledger import Ledger


class Policy(BaseModel):
    """One published policy. `members` are those of the policy file (docs/scoring.md)."""

    version: int
    published_at: str
    in_force: bool
    members: dict[str, Any]


@operation(
    "GET",
    "/v1/policies/{version}",
    tag="Risk",
    scope=None,
    patterns={"version": "[1-9][0-9]{0,4}"},
    replies=(
        Reply(
            200,
            "The policy.",
            model=Policy,
            example={
                "version": 1,
                "published_at": "2026-11-22T12:00:00Z",
                "in_force": True,
                "members": {"version": 1, "multiplicity_k": 4},
            },
            headers=("ETag",),
        ),
    ),
    errors=(UnknownPolicy,),
    cache="public, max-age=300",
)
def read_policy(ledger: Ledger, call: Call[None]) -> Answer:
    """Read a scoring policy by the version that an answer names."""
    found = describe_policy(ledger, int(call.path["version"]))
    return render_json(
        {
            "version": found.version,
            "published_at": render_instant(found.published_at),
            "in_force": found.in_force,
            "members": json.loads(json.dumps(found.members, default=str)),
        }
    )
