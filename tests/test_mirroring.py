"""The exported log is the served one, file by file, whenever an export dies or another writes.

Exports are killed for real, in a process of their own, while they write.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT
from damage import allow_everything
from growing import grow_log
from sandbox import environment, run, told
from sqlalchemy import delete, update

from api.app import create_app
from cli.opening import open_own_ledger, prepare_sandbox
from ledger.errors import InvalidInput, LedgerCorrupt, ReceiptUnpublished
from ledger.log.checkpoint import open_checkpoint
from ledger.log.merkle import leaf_hash, root_hash
from ledger.log.tile import list_addresses, render_path
from ledger.mirroring import export_log
from ledger.store import tables
from ledger.store.engine import begin_write

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Update

    from ledger.ledger import Ledger


def export(ledger: Ledger, folder: Path) -> int:
    """Export, and give how many files were written."""
    seen: list[tuple[int, int]] = []
    files = export_log(ledger, folder, lambda done, of: seen.append((done, of))).files
    assert seen == [(done, len(seen)) for done in range(1, len(seen) + 1)]
    return files


def read_files(folder: Path) -> dict[str, bytes]:
    """Read every file of a folder, by its path there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def count_files(folder: Path) -> int:
    return sum(1 for _ in folder.rglob("[0-9]*"))


def check_whole(ledger: Ledger, folder: Path) -> int:
    """Check as a stranger would that a folder has all that its checkpoint promises; give its size.

    There may be more files: of an export that died, of earlier sizes.
    """
    files = read_files(folder)
    checkpoint = open_checkpoint(files["checkpoint"].decode(), (ledger.verifier,))
    entries: list[bytes] = []
    for address in list_addresses(checkpoint.size):
        tile = files[f"tile/{address.level}/{render_path(address.index, address.width)}"]
        assert len(tile) == 32 * address.width
        if address.level == 0:
            bundle = files[f"tile/entries/{render_path(address.index, address.width)}"]
            under = [bundle[at + 2 : at + 82] for at in range(0, len(bundle), 82)]
            assert b"".join(leaf_hash(one) for one in under) == tile
            entries += under
    assert root_hash([leaf_hash(one) for one in entries]) == checkpoint.root_hash
    return checkpoint.size


def test_files_are_the_very_bytes_that_are_served(
    ledger: Ledger, now: datetime, tmp_path: Path
) -> None:
    grow_log(ledger, 300, now)
    assert export(ledger, tmp_path / "log") == 1 + 2 * 2 + 1
    grow_log(ledger, 600, now)
    assert export(ledger, tmp_path / "log") == 1 + 2 * 2 + 1  # 001, 002.p/88 and 1/000.p/2
    assert export(ledger, tmp_path / "log") == 1
    app = create_app(ledger, public_url="https://api.example", body_max_bytes=9, now=lambda: now)
    files = read_files(tmp_path / "log")
    assert set(files) == {
        "checkpoint",
        *(f"tile/{kind}/{path}" for kind in ("0", "entries") for path in ("000", "001")),
        *(f"tile/{kind}/{path}" for kind in ("0", "entries") for path in ("001.p/44", "002.p/88")),
        *("tile/1/000.p/1", "tile/1/000.p/2"),
    }
    for path, content in files.items():
        assert app.test_client().get(f"/log/{path}").data == content, path
        assert (tmp_path / "log" / path).stat().st_mode & 0o777 == 0o644
    assert check_whole(ledger, tmp_path / "log") == 600


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_unpublished_entries_are_not_exported(
    ledger: Ledger, now: datetime, tmp_path: Path
) -> None:
    grow_log(ledger, 40, now)
    grow_log(ledger, 300, now, publish=False)
    export(ledger, tmp_path / "log")
    assert check_whole(ledger, tmp_path / "log") == 40
    assert set(read_files(tmp_path / "log")) == {
        *("checkpoint", "tile/0/000.p/40", "tile/entries/000.p/40")
    }


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_folder_of_something_else_is_left_alone(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    for text in ("", "another\n1\n", "\xff"):
        (tmp_path / "log" / "checkpoint").write_bytes(text.encode("latin-1"))
        with pytest.raises(InvalidInput):
            export(ledger, tmp_path / "log")
        assert set(read_files(tmp_path / "log")) == {"checkpoint"}
    (tmp_path / "log" / "checkpoint").unlink()
    with begin_write(ledger.database) as connection:
        connection.execute(delete(tables.log_checkpoint))
    with pytest.raises(ReceiptUnpublished):
        export(ledger, tmp_path / "log")


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_folder_that_is_ahead_of_a_restored_backup_is_an_alarm(
    ledger: Ledger, now: datetime, tmp_path: Path
) -> None:
    grow_log(ledger, 20, now)
    grow_log(ledger, 30, now)
    export(ledger, tmp_path / "log")
    with begin_write(ledger.database) as connection:
        connection.execute(delete(tables.log_checkpoint).where(tables.log_checkpoint.c.size == 30))
    with pytest.raises(LedgerCorrupt, match="more of this log"):
        export(ledger, tmp_path / "log")
    assert check_whole(ledger, tmp_path / "log") == 30


TILE, ENTRY = tables.log_tile, tables.log_entry


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "harm",
    [
        update(TILE).where(TILE.c.index == 0).values(hashes=bytes(16_352)),
        update(ENTRY).where(ENTRY.c.index == 9).values(entry=bytes(80)),
        update(ENTRY).where(ENTRY.c.index == 290).values(leaf_hash=bytes(32)),
    ],
    ids=["tile", "entry", "leaf hash"],
)
def test_what_was_changed_is_not_given_away(
    ledger: Ledger, now: datetime, tmp_path: Path, harm: Update
) -> None:
    grow_log(ledger, 300, now)
    with begin_write(ledger.database) as connection:
        allow_everything(connection)
        assert connection.execute(harm).rowcount == 1
    with pytest.raises(LedgerCorrupt):
        export(ledger, tmp_path / "log")
    assert "checkpoint" not in read_files(tmp_path / "log")


# --- Deaths, and others at the same time --------------------------------------------------------


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a sandbox that was made on the disk."""
    folder = tmp_path_factory.mktemp("mirrored") / "var"
    prepare_sandbox(folder)
    return folder


def start_export(sandbox: Path, target: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cli", "--folder", str(sandbox), "log", "export", str(target)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_export_that_is_killed_anywhere_leaves_the_earlier_log_whole(
    sandbox: Path, now: datetime, tmp_path: Path
) -> None:
    target = tmp_path / "log"
    with open_own_ledger(sandbox, to_write=True) as ledger:
        grow_log(ledger, 300, now)
        export(ledger, target)
        killed = 0
        for round_, size in enumerate((2_500, 5_000, 7_500)):
            grow_log(ledger, size, now)
            before, held = check_whole(ledger, target), count_files(target)
            process = start_export(sandbox, target)
            while process.poll() is None and count_files(target) < held + 1 + 6 * round_:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += process.returncode == -signal.SIGKILL
            assert check_whole(ledger, target) in {before, size}
        assert killed >= 2
        assert told(run(sandbox, "log", "export", str(target)))["size"] == 7_500
        assert check_whole(ledger, target) == 7_500
        assert not (target / ".half").exists()


def test_two_exports_at_once_take_turns_and_never_step_back(
    sandbox: Path, now: datetime, tmp_path: Path
) -> None:
    target = tmp_path / "log"
    with open_own_ledger(sandbox, to_write=True) as ledger:
        grow_log(ledger, 9_600, now)
        both = [start_export(sandbox, target), start_export(sandbox, target)]
        ended = [one.communicate() for one in both]
        assert [one.returncode for one in both] == [0, 0], ended
        assert check_whole(ledger, target) == 9_600
    files = sorted(int(out.split(b'"files": ')[1].rstrip(b"}\n")) for out, _ in ended)
    assert files[0] == 1  # the other found everything there
    assert not (target / ".half").exists()


def test_export_and_proofs_by_command(sandbox: Path, now: datetime, tmp_path: Path) -> None:
    with open_own_ledger(sandbox, to_write=True) as ledger:
        grow_log(ledger, 9_700, now)
    assert told(run(sandbox, "log", "export", str(tmp_path / "log")))["size"] == 9_700
    shown = run(sandbox, "log", "prove", "5", "300-9700", "--size", "300")
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[:2] == ["index 5", "size 300"]
    assert "size1 300" in lines
    assert "size2 9700" in lines
    included, grown = told(run(sandbox, "log", "prove", "5", "300-9700", "--size", "300", "--json"))
    assert lines.count(f"root_hash {included['root_hash']}") == 1
    assert included["root_hash"] == grown["root1_hash"]
    assert [f"proof {one}" for one in included["proof"]] == lines[4:13]
    for wrong in (["x"], ["-1"], ["5-"], ["05"], ["9700"], ["5-4"], ["0-4"], ["5", "--size", "5"]):
        assert run(sandbox, "log", "prove", "--", *wrong).exit_code == 2, wrong
