"""A member's journal outlives crashes: a line that was cut off costs itself and no other."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

import pytest

from ledger.errors import InvalidInput
from ledger_client.journal import Journal, read_journal

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = '{"sent": "a", "iat": 7}\n{"accepted": "a"}\n{"sent": "b", "iat": 8}\n{"refused": "b"}\n'


def test_journal_that_was_cut_off_is_read_and_a_broken_one_refused() -> None:
    read = read_journal(WHOLE + '{"refused": "a')
    assert (read.sent, read.accepted, read.torn) == ({"a": 7}, {"a"}, [5])
    assert read_journal(WHOLE + '{"refused": "a"}\n').sent == {"a": 7}
    for bad in (
        "what\n",
        '{"sent": "a"}\n',
        "3\n",
        '{"proved": "a", "index": 1, "commitment": "*"}\n',
    ):
        with pytest.raises(InvalidInput):
            read_journal(WHOLE + bad)


def token_of(jti: str) -> str:
    claims = json.dumps({"jti": jti, "iat": 9}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.e30"


@pytest.mark.parametrize("cut", range(1, 25))
def test_statement_after_a_line_that_was_cut_off_is_noted_wherever_it_was_cut(
    tmp_path: Path, cut: int
) -> None:
    path, line = tmp_path / "sent.jsonl", '{"sent": "c", "iat": 9}\n'
    path.write_text(WHOLE + line[:cut], "utf-8")
    Journal(path).note_sent(token_of("d"))
    read = read_journal(path.read_text("utf-8"))
    whole = cut >= len(line) - 1
    assert set(read.sent) == {"a", "d", *("c" * whole)}
    assert read.torn == ([] if whole else [5])


def test_line_that_is_written_piecemeal_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "sent.jsonl", os.write
    monkeypatch.setattr(os, "write", lambda descriptor, raw: write(descriptor, bytes(raw[:7])))
    Journal(path).note_sent(token_of("d"))
    Journal(path).note_accepted(token_of("d"))
    read = read_journal(path.read_text("utf-8"))
    assert (read.sent, read.accepted, read.torn) == ({"d": 9}, {"d"}, [])
