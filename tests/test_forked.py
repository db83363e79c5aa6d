"""A log that was really forked: two servers of one ledger's keys with two histories over HTTP.

The fork is a copy of the database that went its own way, as an operator would make who shows one
member another log. Servers, workers, witnesses and the monitor are the shipped ones.
"""

from __future__ import annotations

import json
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import crash_world
import pytest
import test_crash_witness
from crash_stage import Member, Stage, Told, render_environment, tell_time
from jury import policy_of, render_policy
from kept import read_notes
from sandbox import run
from test_crash_witness import back_up

from ledger.errors import QuorumMissing
from ledger.ledger import open_ledger
from ledger_client.receipt import verify_standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crash_world import World
    from jury import Juror

    from ledger.ledger import LedgerKeys
    from ledger.log.witness import WitnessPolicy
    from ledger.rights.jurisdiction import JurisdictionProfile

now, world, jurors = crash_world.now, crash_world.world, test_crash_witness.jurors


@pytest.fixture
def forked(
    world: World,
    jurors: list[Juror],
    keys: LedgerKeys,
    profiles: Mapping[str, JurisdictionProfile],
    tmp_path: Path,
) -> Iterator[World]:
    """Give the same ledger once more, from a copy that was made once something was published."""
    world.stage.start_server()
    assert world.reporter.report().status_code == 202
    assert world.stage.run("worker", "--once") == 0
    home = tmp_path / "forked"
    home.mkdir()
    path = home / "ledger.sqlite"
    back_up(Path(str(world.ledger.database.engine.url.database)), path)
    url = f"sqlite:///{path}"
    ledger = open_ledger(url, keys, profiles)
    stage = Stage(render_environment(url, keys), home, embedded=True)
    policy = home / "witnesses.toml"
    policy.write_text(render_policy(jurors), "utf-8")
    stage.set(BCL_WITNESS_POLICY=str(policy), BCL_WITNESS_TIMEOUT_SECONDS="2")
    stage.start_server()
    told = Told()
    members = [_follow(member, stage, told) for member in world.members]
    try:
        yield replace(world, ledger=ledger, stage=stage, told=told, members=members)
    finally:
        stage.clear()
        ledger.database.engine.dispose()


def _follow(member: Member, stage: Stage, told: Told) -> Member:
    """Give a member that is known to the fork by the same key, and keeps apart what it is told."""
    twin = copy(member)
    vars(twin).update(_stage=stage, _told=told, _access={})
    return twin


def check_receipt(shown: World, policy: WitnessPolicy | None) -> None:
    """Fetch the receipt of the newest statement and verify it. *Raises*: QuorumMissing."""
    token, location = list(shown.told.acknowledged.values())[-1]
    receipt = shown.reporter.fetch(f"{location}/receipt").text
    vkey, at = shown.ledger.vkey, tell_time()
    verify_standing(receipt, vkey, event=token, status=None, now=at, witnesses=policy)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_forked_log_is_refused_by_witnesses_clients_and_the_monitor(
    world: World, forked: World, jurors: list[Juror], tmp_path: Path
) -> None:
    policy, state = policy_of(jurors), tmp_path / "state"
    words = ("--vkey", world.ledger.vkey, "--state", str(state), "--json")

    def monitor(shown: World, *options: str) -> tuple[int, list[dict[str, object]]]:
        ran = run(tmp_path, "log", "monitor", shown.stage.url, *words, *options)
        return ran.exit_code, json.loads(ran.stdout)["alarms"]

    assert world.reporter.report().status_code == 202
    assert world.stage.run("worker", "--once") == 0
    assert monitor(world) == (0, [])
    kept = state.read_bytes()

    assert forked.reporter.report().status_code == 202  # at the same place, and another statement
    assert forked.stage.run("worker", "--once") == 1
    size = max(read_notes(world.ledger))
    assert f"cosigned {size} entries, which this ledger never signed" in forked.stage.read_log()
    assert max(read_notes(forked.ledger)) < size, "and it still hasn't"
    assert not forked.is_published()

    forked.stage.set(BCL_WITNESS_POLICY="")  # the operator goes on without them
    assert forked.stage.run("worker", "--once") == 0
    assert forked.is_published()
    offer = f"old {size}\n\n{read_notes(forked.ledger)[size]}".encode()
    answers = [juror.answer_honestly("/add-checkpoint", offer) for juror in jurors]
    assert [one and one[0] for one in answers] == [409] * len(jurors)
    code, (alarm,) = monitor(forked)
    assert (code, alarm["code"]) == (1, "log-forked")
    assert alarm["notes"] == [read_notes(world.ledger)[size], read_notes(forked.ledger)[size]]
    assert state.read_bytes() == kept
    file = tmp_path / "witnesses.toml"
    code, (alarm,) = monitor(forked, "--witness-policy", str(file))
    assert (code, alarm["code"]) == (1, "checkpoint-invalid")
    check_receipt(world, policy)
    check_receipt(forked, None)
    with pytest.raises(QuorumMissing):
        check_receipt(forked, policy)
    assert monitor(world) == (0, []), "the honest history goes on"
