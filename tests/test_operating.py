"""The operating manual against the code: its crash rows are driven, its findings complete."""

from __future__ import annotations

import re

from conftest import ROOT

MANUAL = (ROOT / "docs" / "operating.md").read_text("utf-8")
DRIVERS = (
    *("test_crash.py", "test_crash_worker.py", "test_crash_commands.py"),
    *("test_crash_erasure.py", "test_crash_exchange.py", "test_crash_witness.py"),
    "test_witness_server.py",
)


def test_every_row_of_the_crash_table_is_driven_and_no_other() -> None:
    rows = re.findall(r"(?m)^\| (C[0-9]+) \|", MANUAL)
    assert rows == [f"C{number}" for number in range(1, len(rows) + 1)]
    driven: set[str] = set()
    for name in DRIVERS:
        text = (ROOT / "tests" / name).read_text("utf-8")
        driven |= set(re.findall(r'"(C[0-9]+)"', text))
    assert driven == set(rows)


def test_every_finding_of_an_audit_has_its_meaning_in_the_manual() -> None:
    code = "".join(
        (ROOT / "ledger" / f"{name}.py").read_text("utf-8")
        for name in ("auditing", "examining", "attesting", "retiling")
    )
    found = set(re.findall(r'Finding\([^"]*?"([a-z-]+)"', code))
    section = MANUAL.partition("## Audit\n")[2].partition("\n## ")[0]
    assert found == set(re.findall(r"(?m)^\| `([a-z-]+)` \|", section))
    assert len(found) > 15


def test_every_alarm_of_the_monitor_has_its_meaning_in_the_manual() -> None:
    code = (ROOT / "ledger_client" / "monitoring.py").read_text("utf-8")
    found = set(re.findall(r'Alarm\("([a-z-]+)"', code))
    section = MANUAL.partition("## Witnesses\n")[2].partition("\n## ")[0]
    assert found == set(re.findall(r"(?m)^\| `([a-z-]+)` \|", section))
    assert len(found) > 5
