"""The demonstration as a newcomer runs it: what it tells, what it leaves, and when it fails.

It runs as a process, in a folder whose name has a space, and its printed commands are executed as
they stand.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from conftest import ROOT
from sandbox import environment, run

if TYPE_CHECKING:
    from pathlib import Path

URL = "http://127.0.0.1:8080"  # where the printed commands expect the server
STEPS = (
    r"score 0 +LOW +no_record +→ +grant ",
    r"inc_[0-9a-f]{32} is active, entry 3 of the log",
    r"score 370 +MEDIUM +same_person +→ +require_live_evidence ",
    r" 370 +CONFIRMED_INCIDENTS ",
    r"score 4[67]\d +MEDIUM +same_person +→ +require_return ",
    r"score [1-5]\d? +LOW +association +→ +grant ",
    r"verified offline: this report is entry 3 under the signed root of \d+ entries",
    r"entry 3: leaf-hash: ",
    r"the bit is put back: \d+ entries",
    r"Everything above happened\.",
)


def demonstrate(folder: Path, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the demonstration of a tree."""
    return subprocess.run(
        [sys.executable, "-m", "cli", "--folder", str(folder), "demo"],
        cwd=root,
        env=environment() | {"PYTHONPATH": str(root), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def assert_nobody_serves(output: str) -> None:
    """Check that the server of a demonstration has ended."""
    (url,) = re.findall(r"the real server answers at (http://127\.0\.0\.1:\d+)", output)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder in which the demonstration already ran once."""
    folder = tmp_path_factory.mktemp("demo") / "the folder"
    first = demonstrate(folder)
    assert first.returncode == 0, first.stdout + first.stderr
    return folder


@pytest.fixture(scope="module")
def output(folder: Path) -> str:
    """Give what the demonstration tells when it is run again."""
    again = demonstrate(folder)
    assert (again.returncode, again.stderr) == (0, "")
    return again.stdout


def test_demonstration_run_again_tells_every_step_in_order(output: str) -> None:
    place = 0
    for step in STEPS:
        found = re.compile(step).search(output, place)
        assert found, f"{step} isn't told after:\n{output[:place]}"
        place = found.end()
    assert_nobody_serves(output)


def test_printed_commands_work_as_they_stand(folder: Path, output: str) -> None:
    if not (ROOT / ".venv" / "bin" / "python").exists():
        pytest.skip("the printed commands use the checkout's environment, and there is none")
    if shutil.which("curl") is None:
        pytest.skip("the printed command needs curl")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8080)) == 0:
            pytest.skip("port 8080 is in use")
    lines = output[output.index("Keep a server running:") :].splitlines()
    (serve,) = [line for line in lines if line.endswith(" serve")]
    curl = "\n".join(lines[lines.index("and ask it, in another terminal:") + 1 :])
    server = subprocess.Popen(
        ["sh", "-c", f"exec {serve}"], cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL
    )
    try:
        wait_until_ready(server)
        refused = run(folder, "demo")
        assert (refused.exit_code, "A server is at work" in refused.stderr) == (2, True)
        asked = subprocess.run(
            ["sh", "-c", curl],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        server.terminate()
        server.wait(10)
    answer = json.loads(asked.stdout)
    readme = (ROOT / "README.md").read_text("utf-8")
    assert shape_of(answer) == shape_of(json.loads(readme.split("```json\n")[1].split("```")[0]))
    assert (answer["basis"], answer["advice"]["action"]) == ("same_person", "require_return")
    assert answer["log"]["origin"] == "localhost/sandbox"
    assert asked.stderr == ""
    assert (folder / "demo" / "question.json").exists()


def shape_of(value: object) -> object:
    """Give a JSON value with everything but its members' names taken away."""
    if isinstance(value, dict):
        return {name: shape_of(member) for name, member in value.items()}
    return [shape_of(one) for one in value] if isinstance(value, list) else None


def wait_until_ready(server: subprocess.Popen[bytes]) -> None:
    """Wait until the printed server answers."""
    for _ in range(400):
        assert server.poll() is None, "the server ended"
        try:
            if httpx.get(f"{URL}/readyz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)


def test_demonstration_fails_where_a_part_of_its_story_isn_t_true(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("api", "cli", "config", "ledger", "ledger_client", "migrations"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    shutil.copyfile(ROOT / "wsgi.py", tree / "wsgi.py")
    policy = tree / "config" / "policy.toml"
    honest = policy.read_text("utf-8")
    assert "\nfraud = 1000\n" in honest
    policy.write_text(honest.replace("\nfraud = 1000\n", "\nfraud = 500\n"), "utf-8")
    ended = demonstrate(tmp_path / "var", tree)
    assert ended.returncode == 1
    assert "The story isn't true: it was expected that the score lies in 360…380." in ended.stderr
    assert "Everything above happened" not in ended.stdout
    assert_nobody_serves(ended.stdout)


def test_demonstration_touches_no_ledger_or_folder_that_isn_t_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo" / "keys").mkdir(parents=True)
    (tmp_path / "demo" / "thesis.txt").write_text("mine")
    refused = run(tmp_path, "demo")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert (tmp_path / "demo" / "thesis.txt").read_text() == "mine"
    monkeypatch.setenv("BCL_DATABASE_URL", f"sqlite:///{tmp_path}/ledger.sqlite")
    refused = run(tmp_path / "other", "demo")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert not (tmp_path / "ledger.sqlite").exists()
