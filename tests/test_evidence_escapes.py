"""Whoever takes over the process that reads a file harms nothing outside it.

Each way out is tried after the confinement and, as its twin, without it, where it works.
"""

from __future__ import annotations

import json
import os
import platform
import select
import shlex
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from test_evidence_confined import run_confined

from ledger_client.evidence.calls import MACHINES, REFUSED
from ledger_client.evidence.inspection import LIMITS, run_child

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHUT_IN = "from ledger_client.evidence.confinement import shut_in\nprint(shut_in([0]))\n"

CHANGES = {
    "a new file": "open('{folder}/planted.pth', 'w')",
    "a file opened and emptied": "os.open('{folder}/kept', os.O_RDONLY | os.O_TRUNC)",
    "a file opened to append": "open('{folder}/kept', 'a').write('more')",
    "a file opened for both": "os.write(os.open('{folder}/kept', os.O_RDWR), b'x')",
    "a nameless file": "os.open('{folder}', os.O_TMPFILE | os.O_WRONLY)",
    "a truncated file": "os.truncate('{folder}/kept', 1)",
    "a deleted file": "os.unlink('{folder}/kept')",
    "a renamed file": "os.rename('{folder}/kept', '{folder}/other')",
    "a file put in another's place": "os.replace('{folder}/kept', '{folder}/second')",
    "a second name": "os.link('{folder}/kept', '{folder}/other')",
    "a pointer": "os.symlink('/etc', '{folder}/other')",
    "a pipe with a name": "os.mkfifo('{folder}/other')",
    "a folder": "os.mkdir('{folder}/other')",
    "a folder's end": "os.rmdir('{folder}/empty')",
    "other rights": "os.chmod('{folder}/kept', 0o777)",
    "other rights by a descriptor": "os.fchmod(os.open('{folder}/kept', os.O_RDONLY), 0o777)",
    "another owner": "os.chown('{folder}/kept', os.getuid(), os.getgid())",
    "another time": "os.utime('{folder}/kept', (0, 0))",
    "a lock": "import fcntl; fcntl.flock(os.open('{folder}/kept', os.O_RDONLY), fcntl.LOCK_SH)",
    "a record's lock": (
        "import fcntl; fcntl.lockf(os.open('{folder}/kept', os.O_RDONLY), fcntl.LOCK_SH)"
    ),
}  # fmt: skip
LIBC = "import ctypes; libc = ctypes.CDLL(None)\n"
TOUCHES = {
    "a child": "os.fork() or os._exit(0)",
    "a child by vfork and exec": "import subprocess; subprocess.run(['/bin/true'], check=True)",
    "a namespace": f"{LIBC}assert libc.unshare(0) == 0",
    "a signal": "os.kill({victim}, 9)",
    "a signal to a group": "os.killpg({victim}, 9)",
    "a signal by descriptor": "import signal as s; s.pidfd_send_signal(os.pidfd_open({victim}), 9)",
    "a signal to a thread": f"{LIBC}assert libc.tgkill({{victim}}, {{victim}}, 9) == 0",
    "a signal by a pipe": (
        "import fcntl; one, other = os.pipe(); fcntl.fcntl(one, fcntl.F_SETOWN, {victim})\n"
        "fcntl.fcntl(one, 10, 9)\n"
        "fcntl.fcntl(one, fcntl.F_SETFL, os.O_ASYNC); os.write(other, b'x')"
    ),
    "another's limits": "import resource as r; r.prlimit({victim}, r.RLIMIT_CORE, (0, 0))",
    "another's turn": "os.setpriority(os.PRIO_PROCESS, {victim}, 19)",
    "another's processors": "os.sched_setaffinity({victim}, {{0}})",
    "another's memory": "os.open('/proc/{victim}/mem', os.O_RDWR)",
    "another's steps": f"{LIBC}assert libc.ptrace(16, {{victim}}, 0, 0) == 0",
    "shared memory": f"{LIBC}one = libc.shmget(0, 4096, 0o600); assert one >= 0\n"
    "libc.shmctl(one, 0, None)",
    "a ring": f"{LIBC}assert libc.syscall(425, 1, ctypes.create_string_buffer(120)) >= 0",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder of the caller's own."""
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "second").write_text("second")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """Give another process of the same user, in a group of its own."""
    with subprocess.Popen(["/bin/sleep", "60"], start_new_session=True) as running:
        yield running
        running.kill()


def look(folder: Path) -> list[tuple[object, ...]]:
    """Give what a folder holds, with rights, times of change and bytes."""
    return [
        (one.name, one.lstat().st_mode, one.lstat().st_ctime_ns, one.is_file() and one.read_bytes())
        for one in sorted(folder.iterdir())
    ]


@pytest.mark.parametrize("what", CHANGES)
def test_confined_process_leaves_files_without(what: str, folder: Path) -> None:
    before = look(folder)
    program = "import os\n" + CHANGES[what].format(folder=folder)
    refused = run_confined(program)
    assert "escaped" not in refused.stdout
    assert "Operation not permitted" in refused.stderr
    assert look(folder) == before
    assert "escaped" in run_confined(program, confined=False).stdout


@pytest.mark.parametrize("what", TOUCHES)
def test_confined_process_gets_at_no_process_by(what: str, victim: subprocess.Popen[bytes]) -> None:
    program = "import os\n" + TOUCHES[what].format(victim=victim.pid)
    refused = run_confined(program)
    assert refused.returncode == 1
    assert "escaped" not in refused.stdout
    assert victim.poll() is None
    assert "escaped" in run_confined(program, confined=False).stdout


def test_every_listed_call_is_refused_and_a_newer_one_unknown() -> None:
    column = MACHINES[platform.machine()][1]
    numbers = [both[column] for name, both in REFUSED.items() if name not in {"fork", "vfork"}]
    listed = [number for number in numbers if number is not None]
    program = (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "def call(number):\n"
        "    assert libc.syscall(number, -1, -1, -1, -1, -1, -1) == -1\n"
        "    return ctypes.get_errno()\n"
        f"assert {{call(one) for one in {listed}}} == {{1}}\n"
        "assert {call(one) for one in (435, 437, 452, 463, 600, 0x40000039)} == {38}"
    )
    told = run_confined(program)
    assert told.stdout == "escaped\n", told.stderr


def test_confined_process_still_has_threads_and_reads(folder: Path) -> None:
    program = (
        "import threading\nseen = []\n"
        f"one = threading.Thread(target=lambda: seen.append(open('{folder}/kept').read()))\n"
        "one.start(); one.join(); assert seen == ['kept']"
    )
    assert run_confined(program).stdout == "escaped\n"


@pytest.mark.parametrize("read", ["{folder}/kept", "/proc/{victim}/environ", "/proc/{victim}/mem"])
def test_shut_in_process_reads_neither_files_nor_memory_of_others(
    read: str, folder: Path, victim: subprocess.Popen[bytes]
) -> None:
    program = f"open({read.format(folder=folder, victim=victim.pid)!r}, 'rb')"
    refused = run_confined(SHUT_IN + program, confined=False)
    if refused.stdout.startswith("False"):
        pytest.skip("This kernel has no Landlock.")
    assert "escaped" not in refused.stdout
    assert "Permission denied" in refused.stderr
    assert run_confined(program, confined=False).stdout == "escaped\n"


def take_over(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Have another program run in the child's place, with the child's arguments."""
    (folder / "instead").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "instead").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "instead"))


def test_whoever_takes_the_child_over_reads_its_file_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = {
        "own": "open(names[0]).read()",
        "other": f"open('{folder}/second').read()",
        "above": "open(f'/proc/{os.getppid()}/environ').read()",
        "written": f"open('{folder}/planted.pth', 'w')",
        "forked": "os.fork() or os._exit(0)",
    }
    program = (
        "import os, sys\nfrom ledger_client.evidence import child, confinement\n"
        "def told(what, names):\n"
        "    try: return eval(what, {'os': os, 'names': names})\n"
        "    except PermissionError: return 'refused'\n"
        f"child._do = lambda _, names: {{n: told(w, names) for n, w in {tried!r}.items()}}\n"
        "child.main(sys.argv[4:])"
    )
    python = sys.executable
    take_over(monkeypatch, folder, f'exec {python} -P -c {shlex.quote(program)} "$@"')
    with (folder / "kept").open("rb") as file:
        told = json.loads(run_child("inspect", (file,), LIMITS))
    if told["other"] == "second":
        pytest.skip("This kernel has no Landlock.")
    assert told == {"own": "kept"} | dict.fromkeys(list(tried)[1:], "refused")
    assert not (folder / "planted.pth").exists()


def test_nobody_of_the_child_s_group_outlives_the_inspection(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_over(monkeypatch, folder, "/bin/sleep 60 &\necho $!")
    with (folder / "kept").open("rb") as file:
        left = int(run_child("inspect", (file,), LIMITS))
    with suppress(ProcessLookupError):
        ended = os.pidfd_open(left)
        assert select.select([ended], [], [], 20)[0]
        os.close(ended)
