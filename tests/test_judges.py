"""Programs of others verify a log of ours: aics-tlog over HTTP, and sigstore's internals.

They live in an environment of their own, which `make .judges` sets up; without it this skips.
They also judge what witnesses add to a checkpoint.
"""

from __future__ import annotations

import base64
import json
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT
from growing import grow_log
from sandbox import environment, run, serving, told

from cli.opening import open_own_ledger, prepare_sandbox
from ledger.log.witness import cosign, witness_from_seed
from ledger.store import tiles
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = ROOT / ".judges" / "bin" / "python"
INDEXES = [0, 255, 256, 511, 512, 599]
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def judge(by: str, asked: dict[str, Any]) -> Any:
    """Let another interpreter judge, which has nothing of this project but the script."""
    script = ROOT / "tests" / "judge_of_log.py"
    kept = {name: text for name, text in environment().items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(PYTHON), str(script), by],
        input=json.dumps(asked),
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a sandbox with 600 entries, of which 300 were published before."""
    if not PYTHON.exists():
        pytest.skip("The judges' environment isn't set up: make .judges (Python 3.12 or later).")
    folder = tmp_path_factory.mktemp("judged") / "var"
    prepare_sandbox(folder)
    with open_own_ledger(folder, to_write=True) as ledger:
        for size in (300, 600):
            grow_log(ledger, size, NOW)
    return folder


def test_stranger_s_tool_verifies_the_served_log_and_makes_the_same_proofs(sandbox: Path) -> None:
    (growth,) = told(run(sandbox, "log", "prove", "300-600", "--json"))
    asked = {
        "vkey": (sandbox / "vkey").read_text().strip(),
        "indexes": INDEXES,
        "size1": 300,
        "root1": growth["root1_hash"],
    }
    with serving(sandbox) as url:
        verdict = judge("tiles", {**asked, "url": f"{url}/log/"})
    assert verdict["size"] == 600
    assert verdict["growth"] == growth["proof"]
    assert verdict["entries"] == [base64.b64encode(one).decode() for one in read_entries(sandbox)]


def test_stranger_s_tool_takes_the_cosignatures_of_a_quorum_and_no_fewer(sandbox: Path) -> None:
    note = run(sandbox, "log", "checkpoint").stdout
    body = note.partition("\n\n")[0] + "\n"
    signers = [witness_from_seed(f"witness.example/{n}", bytes([n]) * 32) for n in range(1, 6)]
    at = int(NOW.timestamp())
    lines = [cosign(body, signer, at) for signer in signers]
    forged = cosign(body.replace("600", "601"), signers[2], at)
    asked = {
        "vkey": (sandbox / "vkey").read_text().strip(),
        "witnesses": [signer.vkey for signer in signers],
        "quorum": 3,
        "now": at + 60,
        "notes": [
            note + "".join(lines[:3]),
            note + "".join(lines),
            note + "".join(lines[:2]),
            note + "".join(lines[:2]) + forged,
        ],
    }
    assert judge("cosignatures", asked) == {"verdicts": [True, True, False, False]}


def test_sigstore_verifies_checkpoint_and_inclusion(sandbox: Path) -> None:
    indexes = [str(one) for one in INDEXES]
    proofs = told(run(sandbox, "log", "prove", *indexes, "--json"))
    for proof, entry in zip(proofs, read_entries(sandbox), strict=True):
        proof["entry"] = base64.b64encode(entry).decode()
    asked = {
        "vkey": (sandbox / "vkey").read_text().strip(),
        "note": run(sandbox, "log", "checkpoint").stdout,
        "proofs": proofs,
    }
    assert judge("sigstore", asked) == {"verified": len(INDEXES)}


def read_entries(folder: Path) -> list[bytes]:
    """Read the entries that are asked about straight from the table."""
    with (
        open_own_ledger(folder, to_write=False) as ledger,
        begin_read(ledger.database) as connection,
    ):
        entries = tiles.select_entries(connection, 0, 600)
    return [entries[index] for index in INDEXES]
