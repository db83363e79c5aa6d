"""The process that reads strangers' files: confined first, then it reads what was opened for it.

It does one task, answers with one line of JSON, what was found or why not, and ends. It is started
by inspection.py and by nothing else.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ledger_client.errors import Uninspectable
from ledger_client.evidence.confinement import limit, shut_in, shut_off

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> None:
    """Confine this process, do the task on the files of these numbers, print the answer."""
    task = arguments[0]
    seconds, memory_bytes, answer_bytes, *files = map(int, arguments[1:])
    try:
        limit(seconds, memory_bytes, answer_bytes)
        shut_in(files)
        shut_off()
        answer = _do(task, [f"/dev/fd/{number}" for number in files])
    except Uninspectable as error:
        answer = {"refusal": {"code": error.code, "detail": error.detail}}
    except MemoryError:
        answer = {
            "refusal": {"code": "too-much-memory", "detail": "The file needs too much memory."}
        }
    sys.stdout.write(json.dumps(answer, default=bytes.hex))


def _do(task: str, names: Sequence[str]) -> dict[str, object]:
    """Do a task. What it needs is imported after the confinement: no library is loaded free."""
    if task == "inspect":
        from ledger_client.evidence.examination import examine  # noqa: PLC0415

        with Path(names[0]).open("rb") as file:
            return {"inspection": asdict(examine(file, names[0]))}
    from ledger_client.evidence.collation import collate, compare_pair  # noqa: PLC0415

    if task == "compare":
        return {"comparison": asdict(compare_pair(*names))}
    return {"collation": asdict(collate(names))}


if __name__ == "__main__":
    main(sys.argv[1:])
