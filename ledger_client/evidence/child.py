"""The process that reads one stranger's file: confined first, then it reads standard input.

It answers with one line of JSON, what was found or why not, and ends. It is started by
inspection.py and by nothing else.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from ledger_client.errors import Uninspectable
from ledger_client.evidence.confinement import limit, shut_off

if TYPE_CHECKING:
    from collections.abc import Sequence

_INPUT = "/dev/stdin"


def main(arguments: Sequence[str]) -> None:
    """Confine this process, inspect its standard input, print the answer."""
    seconds, memory_bytes, answer_bytes = map(int, arguments)
    try:
        limit(seconds, memory_bytes, answer_bytes)
        shut_off()
        # After the confinement, so that no library is loaded free.
        from ledger_client.evidence.examination import examine  # noqa: PLC0415

        with open(0, "rb", closefd=False) as file:
            answer = {"inspection": asdict(examine(file, _INPUT))}
    except Uninspectable as error:
        answer = {"refusal": {"code": error.code, "detail": error.detail}}
    except MemoryError:
        answer = {
            "refusal": {"code": "too-much-memory", "detail": "The file needs too much memory."}
        }
    sys.stdout.write(json.dumps(answer, default=bytes.hex))


if __name__ == "__main__":
    main(sys.argv[1:])
