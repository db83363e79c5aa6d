"""A judge who never saw this code: run by an interpreter that has aics-tlog and sigstore.

It is told where a log is served, its verifier key, a smaller size with its root, and entries with
the proofs that the ledger made. It prints what it verified, as JSON, or fails.
"""

from __future__ import annotations

import base64
import json
import sys
from types import SimpleNamespace
from typing import Any


def judge_by_tiles(asked: dict[str, Any]) -> dict[str, Any]:
    """Verify checkpoint, entries, growth and every tile over HTTP by aics-tlog."""
    import aics_tlog as judge  # noqa: PLC0415
    from aics_tlog.checkpoint import checkpoint_from_note  # noqa: PLC0415

    reader = judge.HttpTileReader([asked["url"]])
    note = judge.parse_note(reader.read_checkpoint())
    verdict = judge.verify_checkpoint(note, judge.parse_vkey(asked["vkey"]))
    if not verdict.ok:
        raise SystemExit(f"checkpoint refused: {verdict.error}")
    checkpoint, _ = checkpoint_from_note(note)
    size, root = checkpoint.size, checkpoint.root
    verified = judge.VerifiedTileReader(reader, size, root)
    entries = []
    for index in asked["indexes"]:
        entry = verified.entry(index)
        proof = judge.inclusion_proof_from_tiles(verified, index, size)
        if not judge.verify_leaf_inclusion(entry, index, size, proof, root):
            raise SystemExit(f"entry {index} refused")
        entries.append(base64.b64encode(entry).decode())
    size1, root1 = asked["size1"], base64.b64decode(asked["root1"])
    growth = judge.consistency_proof_from_tiles(verified, size1, size)
    if not judge.verify_consistency(size1, size, root1, root, growth):
        raise SystemExit("growth refused")
    wrong = bytes([root1[0] ^ 1]) + root1[1:]
    if judge.verify_consistency(size1, size, wrong, root, growth):
        raise SystemExit("the judge accepts anything")
    told = [base64.b64encode(one).decode() for one in growth]
    return {"size": size, "entries": entries, "growth": told}


def judge_cosignatures(asked: dict[str, Any]) -> dict[str, Any]:
    """Verify a cosigned checkpoint under a quorum of witnesses by aics-tlog."""
    import aics_tlog as judge  # noqa: PLC0415
    from aics_tlog.checkpoint import WitnessPolicy  # noqa: PLC0415

    witnesses = tuple(judge.parse_vkey(one) for one in asked["witnesses"])
    policy = WitnessPolicy(asked["quorum"], witnesses)
    log_key = judge.parse_vkey(asked["vkey"])
    verdicts = [
        judge.verify_checkpoint(judge.parse_note(note), log_key, policy=policy, now=asked["now"]).ok
        for note in asked["notes"]
    ]
    return {"verdicts": verdicts}


def judge_by_sigstore(asked: dict[str, Any]) -> dict[str, Any]:
    """Verify the checkpoint and proofs of inclusion by sigstore's internals."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PublicKey,
    )
    from sigstore._internal.merkle import verify_merkle_inclusion  # noqa: PLC0415
    from sigstore._internal.rekor.checkpoint import verify_checkpoint  # noqa: PLC0415
    from sigstore.errors import VerificationError  # noqa: PLC0415

    _, key_id, typed = asked["vkey"].split("+", 2)
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(typed)[1:])

    class Keyring:
        """The log's one key; their keyring takes keys of their trust root alone."""

        def verify(self, *, key_id: bytes, signature: bytes, data: bytes) -> None:
            """Verify under the log's key."""
            del key_id
            public.verify(signature, data)

    verified = 0
    for proof in asked["proofs"]:
        hashes = [base64.b64decode(one) for one in proof["proof"]]
        inclusion = SimpleNamespace(
            log_index=proof["index"],
            tree_size=proof["size"],
            hashes=hashes,
            root_hash=base64.b64decode(proof["root_hash"]),
            checkpoint=SimpleNamespace(envelope=asked["note"]),
        )
        body = base64.b64decode(proof["entry"])
        inner = SimpleNamespace(
            inclusion_proof=inclusion,
            canonicalized_body=body,
            log_id=SimpleNamespace(key_id=bytes.fromhex(key_id)),
        )
        entry: Any = SimpleNamespace(_inner=inner)
        keyring: Any = Keyring()
        verify_merkle_inclusion(entry)
        verify_checkpoint(keyring, entry)
        inner.canonicalized_body = body + b"x"
        try:
            verify_merkle_inclusion(entry)
        except VerificationError:
            verified += 1
    return {"verified": verified}


def main() -> None:
    """Judge by what the first argument names what standard input tells."""
    judges = {
        "tiles": judge_by_tiles,
        "cosignatures": judge_cosignatures,
        "sigstore": judge_by_sigstore,
    }
    print(json.dumps(judges[sys.argv[1]](json.load(sys.stdin))))  # noqa: T201


if __name__ == "__main__":
    main()
