"""The member's commands against a sandbox that `bcl serve` made and serves as a process.

Data goes to standard output, talk to standard error; nothing that a file holds is echoed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import stat
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from conftest import ROOT
from reports import sample_report
from sandbox import PRIVATE, SECRETS, enrol, environment, log_jwk, run, serving, told

from cli.opening import prepare_sandbox
from ledger.identity.key import Algorithm, generate_signing_jwk
from ledger.identity.token import STATUS_TYPE, sign_token
from ledger.incident.rendering import render_event
from ledger_client.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

SHOP = "https://shop-a.example"
CLOSED = "http://127.0.0.1:1"  # nobody listens there: who sends anything ends with 1


@dataclass(frozen=True)
class Sandbox:
    """A served sandbox with one member, and what the member kept of one report."""

    folder: Path
    url: str
    key: Path
    claims: dict[str, Any]

    def member(self, *arguments: str, url: str | None = None, given: bytes = b"") -> Result:
        """Run a command as the member."""
        who = ("--id", SHOP, "--key", str(self.key), "--url", url or self.url)
        return run(self.folder, *arguments, *who, given=given)

    def verify(self, *options: str, receipt: str = "receipt") -> Result:
        """Verify the receipt, or another file, by the sandbox's verifier key."""
        vkey = (self.folder / "vkey").read_text().strip()
        place = str(self.folder / receipt)
        return run("nowhere", "receipt", "verify", place, "--vkey", vkey, *options)

    def path(self, name: str) -> str:
        """Give the path of one of its files."""
        return str(self.folder / name)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Serve a sandbox that `bcl serve` makes in an empty folder, enrol a shop and report."""
    folder = tmp_path_factory.mktemp("served") / "the folder"
    (folder.parent / "key").mkdir()
    key = folder.parent / "key" / "shop.jwk"
    with serving(folder) as url:
        described = told(run("nowhere", "key", "new", str(key), "--algorithm", "ES256"))
        (folder.parent / "key" / "shop.jwks").write_text(json.dumps(described))
        told(enrol(folder, SHOP, folder.parent / "key" / "shop.jwks"))
        report = sample_report(datetime.now(UTC), issuer=SHOP)
        claims = render_event(report, "https://localhost/sandbox")
        (folder / "claims.json").write_text(json.dumps(claims))
        made = Sandbox(folder, url, key, claims)
        kept = ("--token-out", made.path("token"))
        sent = told(made.member("event", "send", made.path("claims.json"), *kept))
        vkey = (folder / "vkey").read_text().strip()
        private = json.loads(key.read_text())
        with Client(url, vkey=vkey, platform=SHOP, key=private) as client:
            (folder / "receipt").write_text(client.fetch_receipt(sent["incident"]))
            (folder / "status").write_text(client.fetch_status(sent["incident"]))
        yield made


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start each test in an empty folder and without any setting."""
    for name in [one for one in os.environ if one.startswith("BCL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Read the secrets and the verifier key of a sandbox."""
    files = [*(folder / "keys").iterdir(), folder / "vkey"]
    return {one.name: one.read_bytes() for one in files}


def test_serve_makes_a_sandbox_in_an_empty_folder_and_talks_on_stderr_alone(
    sandbox: Sandbox,
) -> None:
    vkey = (sandbox.folder / "vkey").read_text().strip()
    port = sandbox.url.rpartition(":")[2]
    assert httpx.get(f"{sandbox.url}/log/checkpoint").text.startswith("localhost/sandbox\n")
    assert (sandbox.folder.parent / f"{port}.out").read_bytes() == b""
    talk = (sandbox.folder.parent / f"{port}.err").read_text()
    assert f"log key    {vkey}\n" in talk, "the key can be copied in one piece"
    secrets = list((sandbox.folder / "keys").iterdir())
    assert {one.name.upper() for one in secrets} == set(SECRETS)
    assert {stat.S_IMODE(one.stat().st_mode) for one in secrets} == {0o600}
    assert stat.S_IMODE((sandbox.folder / "keys").stat().st_mode) == 0o700
    assert not any(one.read_text().strip() in talk for one in secrets)


def test_lines_to_try_work_as_they_stand(sandbox: Sandbox) -> None:
    if not (ROOT / ".venv" / "bin" / "python").exists():
        pytest.skip("the printed lines use the checkout's environment, and there is none")
    if shutil.which("curl") is None:
        pytest.skip("the printed lines need curl")
    port = sandbox.url.rpartition(":")[2]
    talk = (sandbox.folder.parent / f"{port}.err").read_text()
    lines = talk.partition("To try, in another terminal:\n")[2].splitlines()
    assert lines[-1].split("#")[0].endswith(" worker   "), "the last one runs on"
    tried = subprocess.run(
        ["sh", "-euc", "\n".join(lines[:-1])],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (tried.returncode, tried.stderr) == (0, "")
    answer = json.loads(tried.stdout.rpartition("\n}\n")[2])
    assert (answer["score"], answer["basis"]) == (0, "no_record")
    assert answer["log"]["origin"] == "localhost/sandbox"


def test_server_that_gives_no_answer_is_named(sandbox: Sandbox) -> None:
    question = json.dumps({"subject": {}}).encode()
    for command in (("token", "issue"), ("risk", "assess", "-")):
        result = sandbox.member(*command, url=CLOSED, given=question)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"bcl: The ledger gave no answer. It was tried at {CLOSED}.\n"


def test_second_start_changes_nothing(sandbox: Sandbox) -> None:
    before, note = snapshot(sandbox.folder), httpx.get(f"{sandbox.url}/log/checkpoint").text
    with serving(sandbox.folder) as url:
        assert httpx.get(f"{url}/log/checkpoint").text == note
    assert snapshot(sandbox.folder) == before


def test_suspended_platform_gets_no_token(sandbox: Sandbox) -> None:
    key, uri = Path("b.jwk"), "https://shop-b.example"
    Path("b.jwks").write_text(run("x", "key", "new", str(key)).stdout)
    told(enrol(sandbox.folder, uri, Path("b.jwks")))
    issue = ("token", "issue", "--id", uri, "--key", str(key), "--url", sandbox.url)
    assert run(sandbox.folder, *issue).exit_code == 0
    told(run(sandbox.folder, "platform", "suspend", uri))
    refused = run(sandbox.folder, *issue)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "Traceback" not in refused.stderr


def test_issued_token_opens_what_its_scope_says(sandbox: Sandbox) -> None:
    path = f"{sandbox.url}/v1/incidents/inc_{'0' * 32}"
    for scope, status in ((), 404), (("--scope", "risk:read"), 403):
        issued = sandbox.member("token", "issue", *scope)
        assert issued.exit_code == 0
        access = {"Authorization": f"Bearer {issued.stdout.strip()}"}
        assert httpx.get(path, headers=access).status_code == status
    assert sandbox.member("token", "issue", "--scope", "no:such").exit_code == 1


def test_statement_is_sent_as_claims_or_as_token_with_one_answer(sandbox: Sandbox) -> None:
    token = Path(sandbox.path("token")).read_bytes()
    first = told(sandbox.member("event", "send", sandbox.path("token")))
    assert first["token"].encode() == token
    assert told(sandbox.member("event", "send", "-", given=token + b"\n")) == first
    claims = Path(sandbox.path("claims.json")).read_bytes()
    assert (
        told(sandbox.member("event", "send", "-", given=claims))["incident"] == (first["incident"])
    )
    changed = json.dumps(sandbox.claims | {"txn": "another case"}).encode()
    refused = sandbox.member("event", "send", "-", given=changed)
    assert (refused.exit_code, refused.stdout) == (1, "")
    other = json.dumps(sandbox.claims | {"iss": "https://shop-b.example"}).encode()
    unsent = sandbox.member("event", "send", "-", given=other, url=CLOSED)
    assert (unsent.exit_code, unsent.stdout) == (2, "")


def test_bad_claims_are_refused_unsent_and_not_echoed(sandbox: Sandbox) -> None:
    changes: tuple[dict[str, object], ...] = (
        {"jti": ""},
        {"sub_id": {"phone": PRIVATE}},
        {PRIVATE: 1},
        {"events": {}},
    )
    for change in changes:
        claims = json.dumps(sandbox.claims | change).encode()
        result = sandbox.member("event", "send", "-", given=claims, url=CLOSED)
        assert (result.exit_code, result.stdout) == (2, "")
        assert PRIVATE not in result.stderr
    lost = sandbox.member("event", "send", sandbox.path("token"), "--token-out", "no/such/file")
    assert (lost.exit_code, lost.stdout) == (2, ""), "it isn't sent where it can't be kept"


def test_question_is_answered_in_json_or_for_a_person(sandbox: Sandbox, tmp_path: Path) -> None:
    aliases = sandbox.claims["sub_id"]
    bindings = next(iter(sandbox.claims["events"].values()))["bindings"]
    commitment = f"hmac-sha-256:{hashlib.sha256(b'order').hexdigest()}"
    context = {"purpose": "refund_only_claim", "order_commitment": commitment}
    question = tmp_path / "question.json"
    question.write_text(
        json.dumps({"subject": aliases, "context": context | {"bindings": bindings}})
    )
    answer = told(sandbox.member("risk", "assess", str(question), "--json"))
    assert (answer["basis"], answer["log"]["origin"]) == ("own_account", "localhost/sandbox")
    printed = sandbox.member("risk", "assess", str(question))
    assert all(one["code"] in printed.stdout for one in answer["reasons"])
    question.write_text(json.dumps({"subject": PRIVATE}))
    refused = sandbox.member("risk", "assess", str(question))
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert PRIVATE not in refused.stderr
    assert "     /subject" in refused.stderr, "which member is wrong"
    question.write_text("{")
    broken = sandbox.member("risk", "assess", str(question), url=CLOSED)
    assert (broken.exit_code, str(question) in broken.stderr) == (2, True)
    unreached = sandbox.member("token", "issue", url="http://127.0.0.1:x")
    assert unreached.exit_code == 2


def test_checkpoint_is_printed_as_it_is_served(sandbox: Sandbox) -> None:
    printed = run(sandbox.folder, "log", "checkpoint")
    assert printed.stdout == httpx.get(f"{sandbox.url}/log/checkpoint").text


def test_receipt_is_verified_offline_with_and_without_statement_and_status(
    sandbox: Sandbox,
) -> None:
    event, status = ("--event", sandbox.path("token")), ("--status", sandbox.path("status"))
    full = told(sandbox.verify("--json", *event, *status))
    assert (full["opened"], full["standing"], full["op"]) == (True, "active", "incident_confirmed")
    bare = told(sandbox.verify("--json"))
    assert (bare["opened"], bare["standing"], bare["as_of"]) == (False, "historic", None)
    assert told(sandbox.verify("--json", *event))["standing"] == "historic"
    assert told(sandbox.verify("--json", *status))["standing"] == "active"
    assert "standing: active" in sandbox.verify(*event, *status).stdout


def test_stale_status_says_historic_and_anothers_is_refused(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    seed = (sandbox.folder / "keys" / "log_key").read_text().strip()
    vkey = (sandbox.folder / "vkey").read_text().strip()
    log_key = log_jwk(vkey, base64.urlsafe_b64decode(seed + "="))
    index = told(sandbox.verify("--json"))["index"]
    now = datetime.now(UTC)
    claims = {
        "iss": "https://localhost/sandbox",
        "jti": sandbox.claims["jti"],
        "index": index,
        "state": "retracted",
        "as_of": (now - timedelta(hours=23)).isoformat(),
    }
    stale = {"as_of": (now - timedelta(hours=25)).isoformat()}
    forger = generate_signing_jwk(Algorithm.ED25519)
    for changes, key, status, standing in (
        ({}, log_key, 0, "retracted"),
        (stale, log_key, 0, "historic"),
        ({"index": index + 1}, log_key, 1, ""),
        ({"jti": "another"}, log_key, 1, ""),
        ({"as_of": (now + timedelta(hours=1)).isoformat()}, log_key, 1, ""),
        ({"as_of": "yesterday"}, log_key, 1, ""),
        ({}, forger, 1, ""),
    ):
        file = tmp_path / "status"
        file.write_text(sign_token(claims | changes, key, typ=STATUS_TYPE))
        result = sandbox.verify("--event", sandbox.path("token"), "--status", str(file), "--json")
        assert result.exit_code == status
        assert (json.loads(result.stdout)["standing"] if not status else "") == standing


def test_tampered_receipt_other_statement_and_other_key_are_refused(sandbox: Sandbox) -> None:
    text = Path(sandbox.path("receipt")).read_text()
    places = [text.index("extra ") + 20, text.index("extra ") + 140, len(text) - 20]
    for place in (*places, text.index("\n\n") + 20):
        other = "A" if text[place] != "A" else "B"
        Path("tampered").write_text(text[:place] + other + text[place + 1 :])
        result = sandbox.verify(
            "--event", sandbox.path("token"), receipt=str(Path.cwd() / "tampered")
        )
        assert (result.exit_code, result.stdout) == (1, "")
    assert sandbox.verify("--event", sandbox.path("status")).exit_code == 1
    for no_key in ("ledger.example+0+é", "x" * 300, sandbox.path("vkey")):
        refused = sandbox.verify("--vkey", no_key)
        assert (refused.exit_code, refused.stdout) == (2, "")
        is_file = no_key == sandbox.path("vkey")
        assert ("It takes the key itself, not a file" in refused.stderr) == is_file
    prepare_sandbox(Path("other"))
    foreign = sandbox.verify("--vkey", Path("other/vkey").read_text().strip())
    assert (foreign.exit_code, foreign.stdout) == (1, "")


# --- files that aren't what was asked for -------------------------------------------------------

BAD_FILES = {
    "binary": bytes(range(256)) * 8,
    "empty": b"",
    "huge": b"[" * 3_000_000,
    "half": b'{"keys": [{"kty": "' + PRIVATE.encode(),
    "array": b'["' + PRIVATE.encode() + b'"]',
    "deep": b'{"a":' * 30 + b"1" + b"}" * 30,
}


@pytest.mark.parametrize("kind", [*BAD_FILES, "folder", "missing"])
def test_file_that_is_none_of_ours_ends_every_command_with_a_sentence(
    sandbox: Sandbox, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "file"
    if kind in BAD_FILES:
        file.write_bytes(BAD_FILES[kind])
    elif kind == "folder":
        file.mkdir()
    place = str(file)
    who = ("--id", SHOP, "--url", CLOSED)
    asked_wrongly = (
        sandbox.member("event", "send", place, url=CLOSED),
        sandbox.member("risk", "assess", place, url=CLOSED) if kind != "deep" else None,
        run(sandbox.folder, "token", "issue", *who, "--key", place),
        enrol(sandbox.folder, "https://shop-d.example", file),
    )
    for result in filter(None, asked_wrongly):
        assert (result.exit_code, result.stdout) == (2, "")
        assert PRIVATE not in result.stderr
    for result in (
        sandbox.verify(receipt=place),
        sandbox.verify("--event", place),
        sandbox.verify("--status", place),
    ):
        assert (result.exit_code, result.stdout) == (1 if kind in BAD_FILES else 2, "")
        assert PRIVATE not in result.stderr
