"""`bcl incident …`, `bcl db scrub` and what `bcl log audit` says of it: on a real sandbox."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sandbox import run
from simulator import Simulator, phone_and_device

from cli.opening import open_own_ledger, prepare_sandbox
from ledger.store.engine import begin_write
from ledger.store.tables import event_content

if TYPE_CHECKING:
    from pathlib import Path


def test_operator_erases_lists_scrubs_and_audits(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    prepare_sandbox(folder)
    now = datetime.now(UTC).replace(microsecond=0)
    with open_own_ledger(folder, to_write=True) as ledger:
        shop = Simulator(ledger, "shop-a")
        shop.enrol(now)
        first, second = (shop.report(name, phone_and_device(name), now) for name in "pq")
        shop.retract(second, now)

    erase = ("incident", "erase", first.incident_id, "--person", "Kim")
    refused = run(folder, *erase, "--reason", "unfounded")
    assert (refused.exit_code, refused.stdout) == (2, "")
    done = run(folder, *erase, "--reason", "buyer-requested")
    assert json.loads(done.stdout)["done"] is True
    assert "bcl db scrub" in done.stderr
    again = run(folder, *erase, "--reason", "buyer-requested")
    assert (again.exit_code, again.stdout) == (2, "")
    expunge = ("incident", "expunge", second.incident_id, "--person", "Kim")
    assert "incident-closed" in run(folder, *expunge, "--reason", "unfounded").stderr
    assert run(folder, "incident", "matched", "em_nothing").stdout == ""

    rows = json.loads(run(folder, "incident", "list", "--unacknowledged", "--json").stdout)
    told = [(one["incident"], one["class"], one["reason"], one["age_days"]) for one in rows]
    assert told == [
        (second.incident_id, "retracted", "", 0),
        (first.incident_id, "erased", "buyer-requested", 0),
    ]
    with open_own_ledger(folder, to_write=True) as ledger:
        shop.ledger = ledger
        shop.send(shop.acknowledgement(first.report, now), now + timedelta(seconds=1))
    left = run(folder, "incident", "list", "--unacknowledged").stdout
    assert second.incident_id in left
    assert first.incident_id not in left
    assert "erased (buyer-requested), acknowledged" in run(folder, "incident", "list").stdout

    scrubbed = run(folder, "db", "scrub")
    assert (scrubbed.exit_code, "rewritten" in scrubbed.stdout) == (0, True)
    assert "Copies and backups" in scrubbed.stderr
    audited = json.loads(run(folder, "log", "audit", "--json").stdout)
    assert audited["findings"] == []
    assert {one["class"]: one["incidents"] for one in audited["erased"]} == {
        "retracted": 1,
        "erased": 1,
    }
    assert "1 erased: erased (buyer-requested)" in run(folder, "log", "audit").stdout

    with open_own_ledger(folder, to_write=True) as ledger, begin_write(ledger.database) as writing:
        back = {"event": 3, "token": b"x" * 60, "entry_key": b"x" * 60, "salt": b"x" * 32}
        writing.execute(event_content.insert(), back)
    alarm = run(folder, "log", "audit")
    assert (alarm.exit_code, "content-kept" in alarm.stdout) == (1, True)
    assert "Destroyed again: the content of 1" in run(folder, "db", "scrub").stdout
    assert run(folder, "log", "audit").exit_code == 0
