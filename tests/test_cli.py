"""The operator's commands: what they print where, how they end, and what they never do.

They run in this process, without a server. Data goes to standard output, talk to standard error.
"""

from __future__ import annotations

import io
import json
import os
import socket
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from rich.console import Console
from sandbox import PRIVATE, SECRETS, enrol, run, told

from cli.asking import print_answer
from cli.membership import read_vkey
from cli.opening import migrate, prepare_sandbox, write_ledger_keys
from ledger.errors import InvalidInput
from ledger.identity.key import Algorithm, generate_signing_jwk, parse_jwks
from ledger_client.errors import InvalidAnswer

SHOP = "https://shop-a.example"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start each test in an empty folder and without any setting."""
    for name in [one for one in os.environ if one.startswith("BCL_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    """Make a sandbox with one platform."""
    prepare_sandbox(tmp_path / "var")
    (tmp_path / "shop.jwks").write_text(run("x", "key", "new", "shop.jwk").stdout)
    told(enrol(tmp_path / "var", SHOP, tmp_path / "shop.jwks"))
    return tmp_path / "var"


def snapshot(folder: Path) -> dict[str, bytes]:
    """Read the secrets and the verifier key of a sandbox."""
    files = [*(folder / "keys").iterdir(), folder / "vkey"]
    return {one.name: one.read_bytes() for one in files}


def configure(monkeypatch: pytest.MonkeyPatch, keys: Path, database_url: str) -> None:
    """Set the environment of an operator's own ledger, its secrets as files."""
    monkeypatch.setenv("BCL_DATABASE_URL", database_url)
    for name in SECRETS:
        monkeypatch.setenv(f"BCL_{name}_FILE", str(keys / name.lower()))


def test_half_made_sandboxes_are_completed(tmp_path: Path) -> None:
    for name in ("keys alone", "schema too"):
        folder = tmp_path / name
        folder.mkdir()
        write_ledger_keys(folder / "keys.a1b2c3d4")
        write_ledger_keys(folder / "keys")
        before = {one.name: one.read_bytes() for one in (folder / "keys").iterdir()}
        if name == "schema too":
            migrate(f"sqlite:///{folder}/ledger.sqlite")
        assert prepare_sandbox(folder)
        (folder / "vkey").unlink()
        assert not prepare_sandbox(folder)
        assert snapshot(folder).items() >= before.items()
        assert run(folder, "log", "audit").exit_code == 0


def test_serve_and_worker_refuse_a_production_ledger_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BCL_ENV", "production")
    for command in (("serve",), ("worker", "--once")):
        result = run(tmp_path / "var", *command)
        assert result.exit_code == 2
        assert all(f"BCL_{name} " in result.stderr for name in SECRETS)
    assert not (tmp_path / "var").exists()


def test_folder_without_a_sandbox_is_named_where_no_secret_is_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands = (("log", "audit"), ("platform", "list"), ("worker", "--once"))
    for command in commands:
        result = run("elsewhere", *command)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == (
            f"bcl: There is no sandbox in {tmp_path / 'elsewhere'}, and the settings name no "
            "ledger. `bcl --folder DIR` names another folder, and `bcl serve` makes a sandbox.\n"
        )
    with pytest.raises(InvalidInput, match=rf"in {tmp_path / 'elsewhere'}:.*`bcl --folder DIR`"):
        read_vkey(Path("elsewhere"))
    monkeypatch.setenv("BCL_TAG_KEY", "secret text")
    for command in commands:
        result = run("elsewhere", *command)
        assert (result.exit_code, result.stdout) == (2, "")
        assert all(f"BCL_{name} " in result.stderr for name in SECRETS if name != "TAG_KEY")
    assert list(tmp_path.iterdir()) == []


def test_misspelt_command_is_answered_with_the_one_that_was_meant() -> None:
    for misspelt, meant in (("recipt", "receipt"), ("platfrom", "platform")):
        result = run("x", misspelt)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"'{meant}'" in result.stderr


def test_every_option_and_command_tells_what_it_is(tmp_path: Path) -> None:
    for words, said in (
        (("platform", "enrol"), "Whose law its incidents may fall under"),
        (("key", "new"), "By which algorithm the key signs."),
        (("platform", "suspend"), "nothing undoes it"),
    ):
        told_help = run(tmp_path, *words, "--help")
        assert told_help.exit_code == 0
        assert said in " ".join(told_help.stdout.split())


def test_worker_does_what_is_due_and_ends(sandbox: Path) -> None:
    result = run(sandbox, "worker", "--once")
    assert (result.exit_code, result.output) == (0, "")


def test_checkout_without_its_environment_says_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "bcl").write_bytes((ROOT / "bcl").read_bytes())
    ended = subprocess.run(["sh", "bcl"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "make demo" in ended.stderr


def test_upgrade_creates_a_ledger_once_and_refuses_to_make_it_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty_database_url: str
) -> None:
    write_ledger_keys(tmp_path / "keys")
    configure(monkeypatch, tmp_path / "keys", empty_database_url)
    assert run("x", "db", "upgrade").exit_code == 1, "there is nothing to upgrade yet"
    create = ("db", "upgrade", "--origin", "ledger.example/cn", "--jurisdiction", "CN")
    created = told(run("x", *create))
    assert created["vkey"].startswith("ledger.example/cn+")
    assert told(run("x", *create)) == told(run("x", "db", "upgrade")) == created
    for other in (("ledger.example/x", "CN"), ("ledger.example/cn", "EU")):
        result = run("x", "db", "upgrade", "--origin", other[0], "--jurisdiction", other[1])
        assert (result.exit_code, result.stdout) == (2, "")
    assert run("x", *create[:-2]).exit_code == 2, "an origin needs its jurisdiction"
    assert run("x", *create[:-1], "ATLANTIS").exit_code == 2, "a jurisdiction needs its profile"
    (tmp_path / "other").mkdir()
    write_ledger_keys(tmp_path / "other" / "keys")
    configure(monkeypatch, tmp_path / "other" / "keys", empty_database_url)
    foreign = run("x", "db", "upgrade")
    assert (foreign.exit_code, foreign.stdout) == (1, ""), "these secrets are another ledger's"


def test_upgrade_refuses_a_sandbox_in_production_and_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_ledger_keys(tmp_path / "keys")
    configure(monkeypatch, tmp_path / "keys", f"sqlite:///{tmp_path}/new/ledger.sqlite")
    monkeypatch.setenv("BCL_ENV", "production")
    result = run("x", "db", "upgrade", "--origin", "ledger.example", "--jurisdiction", "SANDBOX")
    assert (result.exit_code, result.stdout) == (2, "")
    assert not (tmp_path / "new").exists()


def test_missing_secrets_are_all_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCL_TAG_KEY", "secret text")
    result = run("x", "db", "upgrade")
    assert (result.exit_code, result.stdout) == (2, "")
    assert all(f"BCL_{name} " in result.stderr for name in SECRETS if name != "TAG_KEY")
    assert "secret text" not in result.stderr


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("BCL_TYPO", PRIVATE, 2),
        ("BCL_PORT", PRIVATE + "x", 2),
        ("BCL_DATABASE_URL", f"postgresql+psycopg://user:{PRIVATE}@127.0.0.1:x/y", 2),
        ("BCL_DATABASE_URL", f"postgresql+psycopg://user:{PRIVATE}@127.0.0.1:1/y", 1),
        ("BCL_DATABASE_URL", f"sqlite:///{__file__}", 1),
        ("BCL_EVENT_KEY", f'["{PRIVATE}"]', 2),
        ("BCL_EVENT_KEY", f'{{"kty": "OKP", "crv": "Ed25519", "x": "{PRIVATE}"}}', 2),
        ("BCL_LOG_KEY", PRIVATE + "é", 2),
        ("BCL_WRAP_KEY_FILE", sys.executable, 2),
    ],
)
def test_wrong_setting_ends_with_a_sentence_that_names_no_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, status: int
) -> None:
    write_ledger_keys(tmp_path / "keys")
    configure(monkeypatch, tmp_path / "keys", f"sqlite:///{tmp_path}/ledger.sqlite")
    monkeypatch.delenv(f"{name}_FILE", raising=False)
    monkeypatch.setenv(name, value)
    for command in (("db", "upgrade"), ("platform", "list")):
        result = run("x", *command)
        assert (result.exit_code, result.stdout) == (status, "")
        assert result.stderr.startswith("bcl: ")
        assert PRIVATE not in result.stderr


def test_new_key_is_kept_from_others_and_never_overwritten(tmp_path: Path) -> None:
    for algorithm in Algorithm:
        file = tmp_path / algorithm.value
        made = run("x", "key", "new", str(file), "--algorithm", algorithm.value)
        private = file.read_text()
        ((kid, found, _),) = parse_jwks(made.stdout.encode())
        assert (found, told(made)["keys"][0]["kid"]) == (algorithm, kid)
        assert json.loads(private)["d"] not in made.output
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        for asked in ((), ("--algorithm", algorithm.value)):
            again = run("x", "key", "new", str(file), *asked)
            assert (again.exit_code, again.stdout) == (0, made.stdout), "its public half follows"
            assert again.stderr == f"bcl: the key in {file} exists; its public half follows.\n"
        (other,) = set(Algorithm) - {algorithm}
        for refused in (
            run("x", "key", "new", str(file), "--algorithm", other.value),
            run("x", "key", "new", str(file), "--ledger"),
        ):
            assert (refused.exit_code, refused.stdout) == (2, "")
        assert file.read_text() == private
    (tmp_path / "public").write_text(json.dumps(told(made)["keys"][0]))
    for place in ("public", __file__):
        refused = run("x", "key", "new", place)
        assert (refused.exit_code, refused.stdout) == (2, ""), "no private key is there"
    for place in ("no/such/key", "."):
        assert run("x", "key", "new", place).exit_code == 2


def test_new_secrets_of_a_ledger_are_printed_as_settings_that_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = run("x", "key", "new", str(tmp_path / "keys"), "--ledger")
    settings = dict(line.split("=", 1) for line in made.stdout.splitlines())
    assert set(settings) == {f"BCL_{name}_FILE" for name in SECRETS}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BCL_DATABASE_URL", f"sqlite:///{tmp_path}/ledger.sqlite")
    create = ("db", "upgrade", "--origin", "ledger.example", "--jurisdiction", "CN")
    assert told(run("x", *create))["origin"] == "ledger.example"
    for place in ("keys", "no/such/keys"):
        assert run("x", "key", "new", str(tmp_path / place), "--ledger").exit_code == 2
    assert told(run("x", *create))["origin"] == "ledger.example"


def test_platform_is_enrolled_listed_and_suspended(sandbox: Path, tmp_path: Path) -> None:
    key, jwks, uri = tmp_path / "b.jwk", tmp_path / "b.jwks", "https://shop-b.example"
    jwks.write_text(run("x", "key", "new", str(key)).stdout)
    enrolled = told(enrol(sandbox, uri, jwks))
    assert enrolled["kids"] == [json.loads(jwks.read_text())["keys"][0]["kid"]]
    assert enrolled["vkey"] == (sandbox / "vkey").read_text().strip()
    assert (enrolled["audience"], len(enrolled["tag_key"])) == ("https://localhost/sandbox", 43)
    again = enrol(sandbox, uri, jwks)
    assert (again.exit_code, again.stdout) == (1, "")
    for wrong in (("http://shop-c.example", jwks), ("https://shop-c.example", key)):
        result = enrol(sandbox, *wrong)
        assert (result.exit_code, result.stdout) == (2, "")
        assert json.loads(key.read_text())["d"] not in result.stderr

    assert told(run(sandbox, "platform", "suspend", uri)) == {"id": uri, "state": "suspended"}
    unknown = run(sandbox, "platform", "suspend", "https://no.example")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    listed = {one["id"]: one for one in told(run(sandbox, "platform", "list", "--json"))}
    assert (listed[uri]["state"], listed[SHOP]["state"]) == ("suspended", "active")
    assert listed[uri]["keys"] == [{"kid": enrolled["kids"][0], "state": "active"}]
    table = run(sandbox, "platform", "list")
    (line,) = [one for one in table.stdout.splitlines() if uri in one]
    assert "suspended" in line
    assert table.stderr == ""


def test_key_id_that_begins_with_a_hyphen_is_no_option(sandbox: Path) -> None:
    refused = run(sandbox, "platform", "revoke-key", SHOP, f"-{'K' * 42}")
    assert refused.exit_code == 1
    assert "No such option" not in refused.stderr


def test_platform_changes_its_key(sandbox: Path, tmp_path: Path) -> None:
    jwks = tmp_path / "new.jwks"
    jwks.write_text(run("x", "key", "new", str(tmp_path / "new.jwk")).stdout)
    kid = json.loads(jwks.read_text())["keys"][0]["kid"]

    def states() -> dict[str, str]:
        (shop,) = told(run(sandbox, "platform", "list", "--json"))
        return {one["kid"]: one["state"] for one in shop["keys"]}

    (old,) = states()
    added = run(sandbox, "platform", "add-key", SHOP, "--jwks", str(jwks))
    assert told(added) == {"id": SHOP, "kid": kid, "state": "active"}
    assert run(sandbox, "platform", "add-key", SHOP, "--jwks", str(jwks)).exit_code == 1
    revoked = run(sandbox, "platform", "revoke-key", SHOP, old)
    assert told(revoked) == {"id": SHOP, "kid": old, "state": "revoked"}
    assert states() == {old: "revoked", kid: "active"}
    assert run(sandbox, "platform", "revoke-key", SHOP, "no-such-key").exit_code == 1
    assert run(sandbox, "log", "audit").exit_code == 0


def test_commands_that_write_refuse_keys_that_are_not_the_ledger_s(sandbox: Path) -> None:
    other = generate_signing_jwk(Algorithm.ED25519)
    (sandbox / "keys" / "event_key").write_text(json.dumps(other))
    for command in (("platform", "suspend", SHOP), ("worker", "--once"), ("serve",)):
        refused = run(sandbox, *command)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "The event key isn't this ledger's." in refused.stderr
    assert run(sandbox, "platform", "list").exit_code == 0


def test_audit_is_clean_until_an_entry_is_changed(sandbox: Path) -> None:
    audited = told(run(sandbox, "log", "audit", "--json"))
    assert (audited["findings"], audited["entries"]) == ([], 2)
    database = sqlite3.connect(sandbox / "ledger.sqlite")
    for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
        database.execute(f'DROP TRIGGER "{name}"')
    database.execute('UPDATE log_entry SET entry = zeroblob(80) WHERE "index" = 1')
    database.commit()
    database.close()
    damaged = run(sandbox, "log", "audit", "--json")
    assert damaged.exit_code == 1
    assert 1 in {one["index"] for one in json.loads(damaged.stdout)["findings"]}
    assert "entry 1: " in run(sandbox, "log", "audit").stdout


def test_what_a_server_sent_is_printed_as_plain_text_or_refused() -> None:
    console = Console(force_terminal=True, record=True, file=io.StringIO(), width=200)
    answer: dict[str, Any] = {
        "level": "LOW",
        "score": 10,
        "basis": "\x1b[2Jbasis",
        "advice": {"action": "[link=https://evil.example]grant[/link]", "rule": "[/nope]"},
        "reasons": [{"code": "X", "points": 10, "message": {"en": "\x1b]0;title\x07text"}}],
        "ignored_links": [],
    }
    print_answer(console, answer)
    shown = console.export_text()
    assert "[link=https://evil.example]grant[/link] [/nope]" in shown
    assert "[2Jbasis" in shown
    assert "]0;titletext" in shown
    for broken in ({}, answer | {"level": []}, answer | {"reasons": [1]}):
        with pytest.raises(InvalidAnswer):
            print_answer(console, broken)


def test_serve_refuses_a_port_that_somebody_listens_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = run(tmp_path / "x", "serve", "--port", str(taken.getsockname()[1]))
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "choose another --port" in refused.stderr
