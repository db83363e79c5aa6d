"""Checkpoints that were deleted, planted, taken back or stripped, and lawful states beside them."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import test_auditing_mutations
from damage import damaged, named
from kept import audit, read_notes
from reports import NOW
from sqlalchemy import delete, insert, select, update
from test_auditing_mutations import WITNESSES

from ledger.log.checkpoint import Checkpoint, sign_checkpoint
from ledger.log.merkle import root_hash
from ledger.log.witness import cosign, parse_witness_key, witness_from_seed
from ledger.store import entries, tables
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from damage import History

    from ledger.ledger import Ledger
    from ledger.log.witness import WitnessPolicy

history = test_auditing_mutations.history
SIGNED = tables.log_checkpoint
NEWEST, BEFORE, UNSIGNED = 28, 27, 5


def find(history: History, *harm: Any, ledger: Ledger | None = None) -> set[tuple[str, int | None]]:
    """Audit, by another policy perhaps, with some damage, and give what is found."""
    with damaged(history.ledger, lambda connection: [connection.execute(one) for one in harm]):
        return named(audit(ledger or history.ledger))


def at(size: int) -> Any:
    return SIGNED.c.size == size


def cosigned_by(history: History, size: int, count: int) -> Any:
    """Leave the first cosignatures of a checkpoint."""
    with begin_read(history.ledger.database) as connection:
        lines = connection.execute(select(SIGNED.c.cosignatures).where(at(size))).scalar_one()
    left = "".join(lines.splitlines(keepends=True)[:count])
    return update(SIGNED).where(at(size)).values(cosignatures=left)


def test_every_deleted_checkpoint_is_named_by_its_last_entry(history: History) -> None:
    for size in read_notes(history.ledger):
        found = find(history, delete(SIGNED).where(at(size)))
        assert found == {("checkpoint-missing", size - 1)}
    tail = find(history, delete(SIGNED).where(SIGNED.c.size >= BEFORE))
    assert tail == {("checkpoint-missing", NEWEST - 1)}, "the newest is what the state knows"


def test_checkpoint_that_only_a_witness_tells_of_is_missing(history: History) -> None:
    told = insert(tables.witness_size).values(name="w", size=UNSIGNED, told_at=NOW)
    assert find(history, told) == {("checkpoint-missing", UNSIGNED - 1)}
    known = insert(tables.witness_size).values(name="w", size=UNSIGNED - 1, told_at=NOW)
    assert find(history, known) == set()


def test_checkpoint_that_was_planted_with_the_log_s_own_key_is_unknown(history: History) -> None:
    ledger = history.ledger
    assert UNSIGNED not in read_notes(ledger)
    with begin_read(ledger.database) as connection:
        hashes = [hashed for _, _, hashed in entries.stream_entries(connection)]
    root = root_hash(hashes[:UNSIGNED])
    note = sign_checkpoint(Checkpoint(ledger.origin, UNSIGNED, root), ledger.signer)
    row = {"size": UNSIGNED, "note": note, "previous_size": UNSIGNED - 1}
    planted = insert(SIGNED).values(row)
    assert find(history, planted) == {("checkpoint-unknown", UNSIGNED - 1)}


def test_checkpoint_that_was_taken_back_is_named_where_it_must_have_been_published(
    history: History,
) -> None:
    def hide(size: int) -> Any:
        return update(SIGNED).where(at(size)).values(published_at=None)

    assert find(history, hide(NEWEST)) == {("checkpoint-unpublished", NEWEST - 1)}
    assert find(history, hide(1)) == set(), "under witnesses a size may stay unpublished"
    alone = replace(history.ledger, witnesses=None)
    stripped = update(SIGNED).values(cosignatures=None)
    found = find(history, hide(1), stripped, delete(tables.witness_size), ledger=alone)
    assert found == {("checkpoint-unpublished", 0)}


@pytest.mark.parametrize("count", [0, 1, 2])
def test_published_checkpoint_that_lost_cosignatures_is_named(history: History, count: int) -> None:
    for size in (BEFORE, NEWEST):
        expected = {("checkpoint-unwitnessed", size - 1)}
        # The first that was witnessed, stripped of all, looks like one from before the policy.
        is_first = (size, count) == (BEFORE, 0)
        assert find(history, cosigned_by(history, size, count)) == (set() if is_first else expected)


def test_line_with_a_known_name_or_a_known_key_id_alone_is_forged(history: History) -> None:
    other = witness_from_seed(WITNESSES[0].name, bytes([9]) * 32)
    assert other.key_id != WITNESSES[0].key_id
    note = read_notes(history.ledger)[NEWEST]
    lines = note.partition("\n\n")[2].splitlines(keepends=True)
    renamed = lines[1].replace(WITNESSES[0].name, "w7.example/w")
    assert renamed != lines[1]
    policy = _with(history.ledger.witnesses, 0, other.vkey)
    rekeyed = replace(history.ledger, witnesses=policy)
    changed = update(SIGNED).where(at(NEWEST)).values(cosignatures=renamed + "".join(lines[2:]))
    assert ("checkpoint-forged", NEWEST - 1) in find(history, changed)
    assert ("checkpoint-forged", NEWEST - 1) in find(history, ledger=rekeyed)


@pytest.mark.parametrize("name", ["note", "cosignatures"])
def test_line_that_nobody_verifies_is_forged(history: History, name: str) -> None:
    """Only the first line of a key is ever verified, and another's is passed over."""
    ledger = history.ledger
    note = read_notes(ledger)[NEWEST]
    body, _, lines = note.partition("\n\n")
    own, first, *_ = lines.splitlines(keepends=True)
    stranger = cosign(f"{body}\n", witness_from_seed("w9.example/w", bytes([9]) * 32), 1)
    spoiled = _spoil(own if name == "note" else first)
    for added in {"note": (own, spoiled, stranger), "cosignatures": (first, spoiled)}[name]:
        column = SIGNED.c[name]
        longer = update(SIGNED).where(at(NEWEST)).values({name: column + added})
        assert find(history, longer) == {("checkpoint-forged", NEWEST - 1)}


def _spoil(line: str) -> str:
    """Give a line of the same key whose signature is another."""
    name, _, encoded = line.rstrip("\n").rpartition(" ")
    raw = base64.b64decode(encoded)
    return f"{name} {base64.b64encode(raw[:-1] + bytes([raw[-1] ^ 1])).decode()}\n"


def _with(policy: WitnessPolicy | None, number: int, vkey: str) -> WitnessPolicy:
    """Give a policy with another key in one place."""
    assert policy is not None
    rows = list(policy.witnesses)
    rows[number] = replace(rows[number], verifier=parse_witness_key(vkey))
    return replace(policy, witnesses=tuple(rows))


def test_log_is_clean_under_no_policy_and_under_one_that_follows_another(history: History) -> None:
    """A witness was exchanged: until the next publication no checkpoint has the new quorum."""
    ledger = history.ledger
    assert find(history, ledger=replace(ledger, witnesses=None)) == set()
    new = _with(ledger.witnesses, 0, witness_from_seed("w9.example/w", bytes([9]) * 32).vkey)
    assert find(history, ledger=replace(ledger, witnesses=new)) == set()
    unpublished = update(SIGNED).where(at(NEWEST)).values(published_at=None, cosignatures=None)
    assert find(history, unpublished) == set(), "it died before a quorum came (C26, C27)"
