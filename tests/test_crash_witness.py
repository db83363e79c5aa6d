"""The rows of the crash table in docs/operating.md that are about witnesses.

The worker is killed between signing, cosigning and publishing, and must make good what it left; a
witness that hangs or knows more than the log must hinder what it should, and nothing else.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import crash_world
import pytest
from crash_launcher import Moment, Plan
from crash_stage import tell_time
from crash_world import AFTER, BEFORE, CHECKPOINT, KILLED, LOAD_SECONDS, World, hold_to_account
from jury import Answer, Juror, policy_of, render_policy, sitting
from kept import read_notes

from ledger.log.witness import open_witnessed, parse_request
from ledger.store import entries, witnesses
from ledger.store.engine import begin_read
from ledger_client.receipt import verify_standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PUBLICATION = "UPDATE log_checkpoint"

now, world = crash_world.now, crash_world.world


@pytest.fixture
def jurors(world: World, tmp_path: Path) -> Iterator[list[Juror]]:
    """Give five witnesses that the ledger's processes are told of."""
    with sitting(tmp_path, world.ledger.vkey) as jurors:
        policy = tmp_path / "witnesses.toml"
        policy.write_text(render_policy(jurors), "utf-8")
        world.stage.set(BCL_WITNESS_POLICY=str(policy), BCL_WITNESS_TIMEOUT_SECONDS="2")
        yield jurors


def count_cosigning(jurors: list[Juror], size: int) -> int:
    """Count the witnesses that were shown a size."""
    shown = [{parse_request(raw).note.split("\n")[1] for raw in one.asked} for one in jurors]
    return sum(str(size) in sizes for sizes in shown)


@pytest.mark.parametrize(
    ("moment", "about", "reached"),
    [
        pytest.param(BEFORE, CHECKPOINT, 0, id="C25"),
        pytest.param(AFTER, CHECKPOINT, 1, id="C26"),
        pytest.param(BEFORE, PUBLICATION, 2, id="C27"),
        pytest.param(AFTER, PUBLICATION, 3, id="C28"),
    ],
)
def test_death_between_signing_and_publishing_never_makes_two_roots_of_one_size(
    world: World,
    jurors: list[Juror],
    moment: Moment,
    about: str,
    reached: int,
) -> None:
    """Reached is: nothing, signed, cosigned, published."""
    is_signed, is_shown, is_published = reached > 0, reached > 1, reached > 2
    world.stage.start_server()
    assert world.reporter.report().status_code == 202
    known = read_notes(world.ledger).keys()
    world.stage.plan(Plan(moment, about))
    assert world.stage.run("worker", "--once") == KILLED
    assert not world.stage.cancel(), "the moment came"
    with begin_read(world.ledger.database) as connection:
        size = entries.read_state(connection).size
        signed = witnesses.find_signed(connection, size)
    assert (signed is not None, world.is_published()) == (is_signed, is_published)
    assert read_notes(world.ledger).keys() - known == ({size} if is_signed else set())
    assert (count_cosigning(jurors, size) >= 3) == is_shown
    assert world.stage.run("worker", "--once") == 0
    assert world.is_published()
    if signed is not None:
        assert read_notes(world.ledger)[size].startswith(signed.note)
    verify_all(world, jurors)


def verify_all(world: World, jurors: list[Juror]) -> None:
    """Hold the ledger to account, and its newest receipt and checkpoint to the quorum."""
    assert world.reporter.report().status_code == 202
    hold_to_account(world)
    policy = policy_of(jurors)
    notes = read_notes(world.ledger)
    open_witnessed(notes[max(notes)], (world.ledger.verifier,), policy)
    token, location = list(world.told.acknowledged.values())[-1]
    receipt = world.reporter.fetch(f"{location}/receipt")
    verify_standing(
        receipt.text,
        world.ledger.vkey,
        event=token,
        status=None,
        now=tell_time(),
        witnesses=policy,
    )


def test_worker_sequences_and_members_are_answered_while_witnesses_hang(
    world: World, jurors: list[Juror]
) -> None:
    world.stage.set(BCL_WITNESS_TIMEOUT_SECONDS="60")
    hanging = []

    def hang(juror: Juror, raw: bytes) -> Answer:
        if parse_request(raw).note.split("\n")[1] == "0":
            return juror.answer_honestly("/add-checkpoint", raw)
        hanging.append(raw)
        juror.stopping.wait(60)
        return None

    for juror in jurors:
        juror.behave = hang
    world.stage.start_server()
    world.stage.start("worker")
    await_that(lambda: len(hanging) == len(jurors))
    assert world.reporter.report().status_code == 202
    stated = world.read_events()[-1].id
    # While it gets its place it may be seen neither among those that wait nor among the others.
    await_that(lambda: any(one.id == stated and one.entry_index for one in world.read_events()))
    size = len(world.read_events())
    answer = world.asker.ask()
    assert answer.status_code == 200
    assert int(answer.json()["log"]["size"]) == size
    assert len(hanging) == len(jurors), "they still hang"
    assert not world.is_published()


def await_that(happens: Callable[[], object]) -> None:
    deadline = time.monotonic() + LOAD_SECONDS
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_restored_backup_is_neither_served_nor_signed_until_the_log_is_whole_again(
    world: World, jurors: list[Juror]
) -> None:
    path = Path(str(world.ledger.database.engine.url.database))
    old, whole = path.with_suffix(".old"), path.with_suffix(".whole")
    back_up(path, old)
    world.stage.start_server()
    assert world.reporter.report().status_code == 202
    assert world.stage.run("worker", "--once") == 0
    assert world.stage.server is not None
    world.stage.kill(world.stage.server)
    world.stage.server = None
    back_up(path, whole)
    put_back(world, path, old)
    before = read_notes(world.ledger)
    for command in (("worker", "--once"), ("serve", "--port", "1")):
        assert world.stage.run(*command) == 1
    assert world.stage.read_log().count("old backup") == 2
    assert read_notes(world.ledger) == before, "nothing was signed"
    put_back(world, path, whole)
    assert world.stage.run("worker", "--once") == 0
    world.stage.start_server()
    verify_all(world, jurors)


def fall_silent(juror: Juror, raw: bytes) -> Answer:
    """Hang up without an answer."""
    del juror, raw
    return None


def read_size(world: World) -> int:
    with begin_read(world.ledger.database) as connection:
        return entries.read_state(connection).size


def report_and_ask(world: World) -> int:
    """Report and ask while nothing is signed; give the log's size once the report is in it."""
    size = read_size(world)
    assert world.reporter.report().status_code == 202
    await_that(lambda: read_size(world) > size)
    answer = world.asker.ask()
    assert (answer.status_code, answer.json()["log"]["size"]) == (200, read_size(world))
    return read_size(world)


def test_nothing_is_signed_until_every_quorum_shares_a_witness_with_those_who_answered(
    world: World, jurors: list[Juror]
) -> None:
    for juror in jurors:
        juror.behave = fall_silent
    world.stage.start_server()
    before = read_notes(world.ledger)
    world.stage.start("worker")
    for juror in jurors[:3]:
        size = report_and_ask(world)
        await_that(lambda: "Nothing is signed until 3 of 5 groups" in world.stage.read_log())
        time.sleep(1.5)  # it has asked once more
        assert read_notes(world.ledger) == before
        juror.behave = None
    await_that(lambda: size in read_notes(world.ledger))
    await_that(world.is_published)
    verify_all(world, jurors)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_restored_backup_signs_nothing_while_those_who_know_more_are_silent(
    world: World, jurors: list[Juror]
) -> None:
    """Three cosigned what is lost, two didn't: one of the three must speak before anything is."""
    path = Path(str(world.ledger.database.engine.url.database))
    old = path.with_suffix(".old")
    back_up(path, old)
    for juror in jurors[3:]:
        juror.behave = fall_silent
    world.stage.start_server()
    for _ in range(3):
        assert world.reporter.report().status_code == 202
    assert world.stage.run("worker", "--once") == 0
    lost = max(read_notes(world.ledger))
    assert world.stage.server is not None
    world.stage.kill(world.stage.server)
    put_back(world, path, old)
    for juror in jurors:
        juror.behave = fall_silent if juror in jurors[:3] else None
    world.stage.start_server()
    before = read_notes(world.ledger)
    worker = world.stage.start("worker")
    size = report_and_ask(world)
    await_that(lambda: "Nothing is signed until 3 of 5" in world.stage.read_log())
    assert world.stage.run("worker", "--once", "--disregard", jurors[0].signer.name) == 1
    assert size < lost
    jurors[2].behave = None
    assert world.stage.wait(worker) == 1
    assert f"cosigned {lost} entries" in world.stage.read_log()
    assert read_notes(world.ledger) == before, "nothing was signed"


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_witness_that_no_policy_names_cannot_be_disregarded(
    world: World, jurors: list[Juror]
) -> None:
    words = ("worker", "--once", "--disregard")
    assert world.stage.run(*words, "w9.example/witness") == 2
    assert "names no w9.example/witness: w0.example/witness, w1" in world.stage.read_log()
    assert world.stage.run(*words, jurors[0].signer.name) == 0
    world.stage.set(BCL_WITNESS_POLICY="")
    assert world.stage.run(*words, jurors[0].signer.name) == 2


def back_up(path: Path, copy: Path) -> None:
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def put_back(world: World, path: Path, copy: Path) -> None:
    world.ledger.database.engine.dispose()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copyfile(copy, path)
