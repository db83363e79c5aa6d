"""How the C2PA manifest inside a file stands, by the reference implementation, offline.

Both fetches of that library are off: by default it asks addresses that it takes from the file. It
tells whether the manifest and the bytes belong together, and never who signed: no list of trusted
signers is consulted, and names, serial numbers and times of certificates are dropped here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, BinaryIO

import c2pa

from ledger_client.evidence.attributes import C2paState

_SETTINGS = {
    "verify": {
        "remote_manifest_fetch": False,
        "ocsp_fetch": False,
        "verify_trust": False,
        "verify_timestamp_trust": False,
    }
}
_MISMATCHES = {
    "assertion.dataHash.mismatch",
    "assertion.bmffHash.mismatch",
    "assertion.boxesHash.mismatch",
    "assertion.collectionHash.mismatch",
    "assertion.hashedURI.mismatch",
    "claimSignature.mismatch",
}


@dataclass(frozen=True)
class Provenance:
    """A manifest's state, and what its active claim says of source and programs, as written."""

    state: C2paState
    source_types: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()


def read_provenance(file: BinaryIO, mime: str) -> Provenance:
    """Read and verify the manifest in a file that has one."""
    file.seek(0)
    try:
        with (
            c2pa.Context(c2pa.Settings.from_dict(_SETTINGS)) as context,
            c2pa.Reader(mime, file, context=context) as reader,
        ):
            told: dict[str, Any] = json.loads(reader.json())
    except (c2pa.C2paError, ValueError, RecursionError):
        return Provenance(C2paState.UNREADABLE)
    try:
        manifest = told["manifests"][told["active_manifest"]]
        return Provenance(_find_state(told), *_read_claim(manifest))
    except (LookupError, TypeError, AttributeError):
        return Provenance(C2paState.UNREADABLE)


def _find_state(told: dict[str, Any]) -> C2paState:
    if told["validation_state"] in {"Valid", "Trusted"}:
        return C2paState.INTACT
    failures = {one["code"] for one in told.get("validation_status", ())}
    return C2paState.TAMPERED if failures & _MISMATCHES else C2paState.INVALID


def _read_claim(manifest: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    generators = manifest.get("claim_generator_info") or ()
    programs = [str(manifest.get("claim_generator", ""))]
    programs += [str(one.get("name", "")) for one in generators]
    sources = []
    for assertion in manifest.get("assertions", ()):
        if not assertion["label"].startswith("c2pa.actions"):
            continue
        for action in assertion["data"].get("actions", ()):
            sources += [str(action["digitalSourceType"])] if "digitalSourceType" in action else []
            agent = action.get("softwareAgent", "")
            programs.append(str(agent.get("name", "") if isinstance(agent, dict) else agent))
    return tuple(sources), tuple(filter(None, programs))
