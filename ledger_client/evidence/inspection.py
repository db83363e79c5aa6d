"""Inspect a file that somebody else made, in a process of its own that can do nothing else.

Whatever the file does to that process, the caller gets an inspection or one Uninspectable. The
answer is checked like any input, since a file may have taken the process over. This module imports
nothing of the extra, and says plainly when it is missing.
"""

from __future__ import annotations

import math
import os
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

from ledger_client.errors import MissingExtra, Uninspectable
from ledger_client.evidence.aigc import RAW_MAX
from ledger_client.evidence.attributes import UNREADABLE, Evidence, Inspection
from ledger_client.evidence.box import MP4, QUICKTIME
from ledger_client.evidence.container import JPEG, PNG, WEBP
from ledger_client.evidence.vocabulary import is_source_type

if TYPE_CHECKING:
    from collections.abc import Sequence

_PARTS = ("PIL", "numpy", "cv2", "c2pa")
_ROOT = Path(__file__).parents[2]
ANSWER_BYTES_MAX = 65_536
_HASH_BYTES, _FORMS = 32, 8
_MIMES = {JPEG, PNG, WEBP, MP4, QUICKTIME}
_BYTES_MAX = 200_000_000
# What the libraries in the child take from the environment; it gets nothing of the caller's own.
_ENVIRONMENT = {
    "PYTHONPATH": str(_ROOT),
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "avdiscard;nonkey|protocol_whitelist;file",
    "OPENCV_LOG_LEVEL": "SILENT",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
}


@dataclass(frozen=True)
class Limits:
    """What one inspection may take. The memory is address space, libraries included."""

    seconds: float = 20
    memory_bytes: int = 1_500_000_000


LIMITS = Limits()


@dataclass(frozen=True)
class Refusal:
    """Why the child gave nothing: the code and sentence of an Uninspectable."""

    code: str
    detail: str


class _Answer(BaseModel):
    model_config = ConfigDict(val_json_bytes="hex", extra="forbid")

    inspection: Inspection | None = None
    refusal: Refusal | None = None


def inspect(path: Path, limits: Limits = LIMITS) -> Inspection:
    """Inspect a JPEG, PNG, WebP, MP4 or MOV file.

    *Raises*: Uninspectable, MissingExtra, OSError.
    """
    require_extra()
    with open_regular(path) as file:
        return parse_answer(run_child("inspect", (file,), limits))


def parse_answer(raw: bytes) -> Inspection:
    """Read what the child printed, which may be what the file made it print.

    *Raises*: Uninspectable, also where the child refused.
    """
    try:
        answer = _Answer.model_validate_json(raw)
    except ValidationError as error:
        raise break_down() from error
    if answer.refusal:
        raise Uninspectable(answer.refusal.code, answer.refusal.detail)
    if not answer.inspection or not _is_sound(answer.inspection.evidence):
        raise break_down()
    return answer.inspection


def break_down() -> Uninspectable:
    """Give the refusal for a child that ended badly or answered what it never should."""
    return Uninspectable("crashed", "The process that read the file broke down.")


def _is_sound(evidence: Evidence) -> bool:
    """Tell whether hashes have their lengths and words are of closed lists, whatever printed them.

    Else a file that took the child over could have its own text reported to a ledger.
    """
    hashes = [form for one in evidence.perceptual for form in one.forms]
    sources = {evidence.digital_source_type, evidence.c2pa_source_type} - {None}
    return (
        all(len(one.forms) == _FORMS for one in evidence.perceptual)
        and {len(one) for one in (evidence.sha256, *hashes)} == {_HASH_BYTES}
        and evidence.mime in _MIMES
        and all(map(is_source_type, sources))
        and all(len(one.raw) <= RAW_MAX for one in evidence.aigc)
        and {*evidence.unreadable} <= UNREADABLE
    )


def require_extra() -> None:
    """Check that the libraries of the extra are there, without importing them.

    *Raises*: MissingExtra.
    """
    if any(find_spec(name) is None for name in _PARTS):
        raise MissingExtra("This needs the extra `evidence`: buyer-credit-ledger[evidence].")


def open_regular(path: Path) -> BinaryIO:
    """Open a file that is one, so that no pipe or device is waited for.

    *Raises*: Uninspectable, OSError.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise Uninspectable("not-supported", "This is no regular file.")
    file = path.open("rb")
    if file.seek(0, 2) > _BYTES_MAX:
        file.close()
        raise Uninspectable("too-large", f"A file has at most {_BYTES_MAX} bytes.")
    file.seek(0)
    return file


def run_child(
    task: str, files: Sequence[BinaryIO], limits: Limits, answer_bytes_max: int = ANSWER_BYTES_MAX
) -> bytes:
    """Run the child on open files, the first as its input, and give what it printed.

    It prints to a file, which its limits keep small, so that it can't fill this process.
    *Raises*: Uninspectable.
    """
    more = [one.fileno() for one in files[1:]]
    numbers = map(str, (math.ceil(limits.seconds), limits.memory_bytes, answer_bytes_max, 0, *more))
    with TemporaryFile() as answer:
        child = subprocess.Popen(  # noqa: S603 - this very package, by numbers
            [sys.executable, "-P", "-m", "ledger_client.evidence.child", task, *numbers],
            stdin=files[0],
            pass_fds=more,
            stdout=answer,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,
        )
        try:
            status = child.wait(limits.seconds)
        except subprocess.TimeoutExpired:
            status = -signal.SIGXCPU
        finally:
            with suppress(ProcessLookupError):  # nobody is left, which is how it should be
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        if status == -signal.SIGXCPU:
            raise Uninspectable(
                "too-slow", f"An inspection takes at most {limits.seconds} seconds."
            )
        if status != 0:
            raise break_down()
        answer.seek(0)
        return answer.read()
