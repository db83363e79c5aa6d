"""Cosignatures, policies and requests: against another implementation's bytes, and bad input."""

from __future__ import annotations

import base64
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT
from sandbox import run

from ledger.errors import InvalidInput, InvalidNote, InvalidReceipt, QuorumMissing
from ledger.log.checkpoint import (
    Checkpoint,
    open_checkpoint,
    parse_checkpoint,
    render_checkpoint,
    sign_checkpoint,
)
from ledger.log.leaf import EntryReason, Leaf, Op, commit, encode_leaf
from ledger.log.merkle import leaf_hash
from ledger.log.note import parse_vkey, signer_from_seed
from ledger.log.receipt import Receipt, render_receipt, verify_receipt
from ledger.log.witness import (
    AddCheckpoint,
    Witness,
    WitnessPolicy,
    cosign,
    open_witnessed,
    parse_request,
    parse_witness_key,
    parse_witness_policy,
    read_cosignature,
    render_request,
    witness_from_seed,
)
from ledger.publishing import Heard, require_answers

if TYPE_CHECKING:
    from pathlib import Path

ORIGIN = "ledger.example/sandbox"
LOG = signer_from_seed(ORIGIN, bytes(range(1, 33)))
TREE = Checkpoint(ORIGIN, 7, bytes(range(32)))
BODY = render_checkpoint(TREE)
# What aics-tlog 0.x (an independent implementation) makes of the seed 00 01 … 1f, at 1700000000.
OTHERS_VKEY = "witness.example/w1+e75f6532+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
OTHERS_LINE = (
    "\u2014 witness.example/w1 519lMgAAAABlU/EAl3Wfp3VTII0pNMAPc97N0bt5LrT2CgVW9b47yZD/egh5PR5GOi"
    "XgS79lPuilaMCTuNttQ2PaXJrU7FwIh1lEAg==\n"
)
AT = 1_700_000_000
WITNESSES = [witness_from_seed(f"w{n}.example/w", bytes([n]) * 32) for n in range(5)]
POLICY = WitnessPolicy(
    3,
    tuple(Witness(parse_witness_key(one.vkey), "https://w.example", one.name) for one in WITNESSES),
)
SIGNED = sign_checkpoint(TREE, LOG)
VERIFIERS = (parse_vkey(LOG.vkey),)


def cosigned(*numbers: int, body: str = BODY) -> str:
    return SIGNED + "".join(cosign(body, WITNESSES[n], AT + n) for n in numbers)


# --- Cosignatures -------------------------------------------------------------------------------


def test_cosignature_is_byte_for_byte_another_implementation_s() -> None:
    signer = witness_from_seed("witness.example/w1", bytes(range(32)))
    assert signer.vkey == OTHERS_VKEY
    assert cosign(BODY, signer, AT) == OTHERS_LINE


def test_key_of_one_type_is_refused_as_the_other() -> None:
    assert parse_witness_key(OTHERS_VKEY).kind == 4
    with pytest.raises(InvalidNote):
        parse_vkey(OTHERS_VKEY)
    with pytest.raises(InvalidNote):
        parse_witness_key(LOG.vkey)


def test_quorum_is_reached_by_groups_and_its_age_is_that_of_its_oldest_member() -> None:
    opened = open_witnessed(cosigned(4, 0, 2, 3), VERIFIERS, POLICY)
    assert opened.checkpoint == TREE
    assert opened.quorum_at == AT + 2
    with pytest.raises(QuorumMissing):
        open_witnessed(cosigned(0, 1), VERIFIERS, POLICY)


def test_several_witnesses_of_one_group_count_once() -> None:
    one_group = tuple(replace(one, group="same") for one in POLICY.witnesses[:3])
    policy = WitnessPolicy(3, one_group + POLICY.witnesses[3:])
    with pytest.raises(QuorumMissing):
        open_witnessed(cosigned(0, 1, 2, 3), VERIFIERS, policy)
    assert open_witnessed(cosigned(0, 1, 3, 4), VERIFIERS, policy).quorum_at == AT + 1


def test_unknown_witness_is_passed_over_and_a_known_bad_one_refuses_the_note() -> None:
    stranger = cosign(BODY, witness_from_seed("x.example/w", bytes(32)), AT)
    forged = cosign(BODY, witness_from_seed("x.example/w", bytes([9]) * 32), AT)
    assert open_witnessed(cosigned(0, 1, 2) + stranger + forged, VERIFIERS, POLICY)
    other = cosign(render_checkpoint(replace(TREE, size=8)), WITNESSES[3], AT)
    with pytest.raises(InvalidNote):
        open_witnessed(cosigned(0, 1, 2) + other, VERIFIERS, POLICY)


def test_every_changed_bit_of_a_cosignature_refuses_the_note() -> None:
    head, line = cosigned(0, 1), cosign(BODY, WITNESSES[2], AT)
    name, encoded = line.rstrip("\n").rsplit(" ", 1)
    raw = base64.b64decode(encoded)
    for bit in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        note = f"{head}{name} {base64.b64encode(changed).decode()}\n"
        with pytest.raises(InvalidNote):  # in the key's id: an unknown key, so no quorum
            open_witnessed(note, VERIFIERS, POLICY)


def test_cosignatures_without_the_log_s_own_signature_are_no_checkpoint() -> None:
    note = cosigned(0, 1, 2).replace(SIGNED, BODY + "\n")
    with pytest.raises(InvalidNote):
        open_witnessed(note, VERIFIERS, POLICY)
    impostor = witness_from_seed(ORIGIN, bytes([7]) * 32)
    known = (parse_witness_key(impostor.vkey),)
    with pytest.raises(InvalidNote):  # a witness that calls itself as the log isn't the log
        open_checkpoint(f"{BODY}\n{cosign(BODY, impostor, AT)}", known)


def test_only_a_good_line_of_the_witness_itself_is_taken_from_its_answer() -> None:
    asked = POLICY.witnesses[1]
    good = cosign(BODY, WITNESSES[1], AT)
    noise = cosign(BODY, WITNESSES[2], AT) + "what\n"
    assert read_cosignature(noise + good, BODY, asked) == (good, AT)
    for answer in ("", noise, cosign(BODY + "x\n", WITNESSES[1], AT), good[:-10] + "\n"):
        with pytest.raises(InvalidNote):
            read_cosignature(answer, BODY, asked)


# --- Receipts -----------------------------------------------------------------------------------


def test_receipt_is_refused_without_the_quorum_and_taken_with_it() -> None:
    token, salt = b"a.b.c", bytes(32)
    leaf = Leaf(Op.INCIDENT_CONFIRMED, EntryReason.NONE, 1, 0, bytes(32), commit(salt, token))
    entry = encode_leaf(leaf)
    tree = Checkpoint(ORIGIN, 1, leaf_hash(entry))
    signed, body = sign_checkpoint(tree, LOG), render_checkpoint(tree)

    def receipt(*numbers: int) -> str:
        note = signed + "".join(cosign(body, WITNESSES[n], AT) for n in numbers)
        return render_receipt(Receipt(entry, salt, 0, (), note))

    proved = verify_receipt(receipt(0, 1, 4), VERIFIERS, token=token, witnesses=POLICY)
    assert proved.opened
    assert verify_receipt(receipt(), VERIFIERS, token=token).checkpoint == tree
    with pytest.raises(QuorumMissing):
        verify_receipt(receipt(0, 1), VERIFIERS, token=token, witnesses=POLICY)
    with pytest.raises(InvalidReceipt):
        verify_receipt(receipt(0, 1, 2), VERIFIERS, token=b"other", witnesses=POLICY)


def test_command_verifies_a_receipt_under_a_policy_of_witnesses(tmp_path: Path) -> None:
    token, salt = b"a.b.c", bytes(32)
    leaf = Leaf(Op.INCIDENT_CONFIRMED, EntryReason.NONE, 1, 0, bytes(32), commit(salt, token))
    tree = Checkpoint(ORIGIN, 1, leaf_hash(encode_leaf(leaf)))
    note, body = sign_checkpoint(tree, LOG), render_checkpoint(tree)
    policy, file = tmp_path / "witnesses.toml", tmp_path / "receipt"
    policy.write_text(policy_text(3, "abcde"), "utf-8")
    words = ("receipt", "verify", str(file), "--vkey", LOG.vkey)
    for number, witness in enumerate(WITNESSES[:3], 1):
        note += cosign(body, witness, AT)
        file.write_text(render_receipt(Receipt(encode_leaf(leaf), salt, 0, (), note)), "utf-8")
        told = run(tmp_path, *words, "--witness-policy", str(policy), "--json")
        assert told.exit_code == (0 if number == 3 else 1)
        assert ("quorum-missing" in told.stderr) == (number < 3)
    assert '"witnessed": true' in told.stdout
    policy.write_text(policy_text(2, "abcde"), "utf-8")
    assert run(tmp_path, *words, "--witness-policy", str(policy)).exit_code == 2


# --- Policies -----------------------------------------------------------------------------------


def policy_text(quorum: int, groups: str) -> str:
    rows = [
        f'[[witness]]\nvkey = "{WITNESSES[n].vkey}"\nurl = "https://w{n}.example/x/"\n'
        f'group = "{group}"\n'
        for n, group in enumerate(groups)
    ]
    return f"quorum = {quorum}\n" + "".join(rows)


def test_policy_is_read_and_its_urls_lose_a_last_slash() -> None:
    policy = parse_witness_policy(policy_text(3, "abcde"))
    assert (policy.quorum, [one.group for one in policy.witnesses]) == (3, list("abcde"))
    assert policy.witnesses[2].url == "https://w2.example/x"
    assert policy.verifiers == POLICY.verifiers


@pytest.mark.parametrize(
    "text",
    [
        policy_text(3, "abcd"),  # fewer than k + 2
        policy_text(3, "abcdd"),  # a group counts once
        policy_text(2, "abcd"),  # two quorums that share no witness
        policy_text(0, "ab"),
        policy_text(3, "abcde").replace("3", "true", 1),
        policy_text(3, "abcde").replace("https", "ftp"),
        policy_text(3, "abcde").replace('group = "a"', 'group = ""'),
        policy_text(3, "abcde").replace('group = "a"', "group = 1"),
        policy_text(3, "abcde").replace("group", "crowd", 1),
        policy_text(3, "abcde").replace(WITNESSES[1].vkey, WITNESSES[0].vkey),
        policy_text(3, "abcde").replace(WITNESSES[1].vkey, LOG.vkey),
        policy_text(3, "abcde") + "more = 1\n",
        "quorum = 3\nwitness = 3\n",
        "quorum = 3\nwitness = [3]\n",
        "quorum = ",
        "",
    ],
)
def test_policy_that_would_prove_nothing_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_witness_policy(text)


def test_shipped_example_of_a_policy_is_one() -> None:
    text = (ROOT / "config" / "witnesses.example.toml").read_text("utf-8")
    policy = parse_witness_policy(text)
    assert (policy.quorum, len(policy.witnesses)) == (3, 5)


# --- Requests -----------------------------------------------------------------------------------

REQUEST = AddCheckpoint(3, (bytes(32), bytes([1]) * 32), SIGNED)
RAW = render_request(REQUEST)


def test_request_has_the_form_of_the_specification_and_is_read_again() -> None:
    zeros, ones = (base64.b64encode(bytes([n]) * 32).decode() for n in (0, 1))
    assert RAW.decode() == f"old 3\n{zeros}\n{ones}\n\n{SIGNED}"
    assert parse_request(RAW) == REQUEST
    first = AddCheckpoint(0, (), SIGNED)
    assert render_request(first).decode() == f"old 0\n\n{SIGNED}"
    assert parse_request(render_request(first)) == first


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        RAW.replace(b"old 3", b"old 03"),
        RAW.replace(b"old 3", b"old -3"),
        RAW.replace(b"old 3", b"new 3"),
        RAW.replace(b"old 3", b"old 9223372036854775808"),
        RAW.replace(b"old 3\n", b"old 3\n\n", 1).replace(b"\n\n", b"\n", 2),
        RAW.replace(b"AAA=\n", b"AAA= \n"),
        RAW.replace(b"AQEB", b"AQ==", 1),
        RAW.replace(b"old 3\n", b"old 3\n" + 64 * base64.b64encode(bytes(32)) + b"\n"),
        b"old 3\n" + 64 * (base64.b64encode(bytes(32)) + b"\n") + b"\n" + SIGNED.encode(),
        RAW + b"\xff",
        RAW + bytes(70_000),
    ],
)
def test_malformed_request_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_request(raw)


def test_sizes_end_with_what_a_database_holds() -> None:
    largest = 2**63 - 1
    assert parse_request(RAW.replace(b"old 3", b"old %d" % largest)).old_size == largest
    assert parse_checkpoint(render_checkpoint(replace(TREE, size=largest))).size == largest
    with pytest.raises(InvalidNote):
        parse_checkpoint(render_checkpoint(replace(TREE, size=largest + 1)))


# --- What a member can vendor -------------------------------------------------------------------

ALONE = """
import importlib, pkgutil, sys
allowed = set(sys.stdlib_module_names) | {"ledger", "cryptography", "cffi", "_cffi_backend"}
class Gate:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ImportError(f"{name} isn't allowed")
        if name.startswith("ledger.") and name.split(".")[1] not in {"log", "errors"}:
            raise ImportError(f"{name} isn't the log's")
sys.meta_path.insert(0, Gate())
import ledger.log
names = [one.name for one in pkgutil.iter_modules(ledger.log.__path__)]
for name in names:
    importlib.import_module(f"ledger.log.{name}")
print(len(names))
"""


def test_log_package_works_with_the_standard_library_and_cryptography_alone() -> None:
    alone = subprocess.run(
        [sys.executable, "-c", ALONE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert alone.returncode == 0, alone.stderr
    assert int(alone.stdout) >= 6
    planted = ALONE.replace("import ledger.log\n", "import ledger.log, ledger.strict_json\n")
    assert planted != ALONE
    refused = subprocess.run(
        [sys.executable, "-c", planted], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "isn't the log's" in refused.stderr


# --- Who must have answered -----------------------------------------------------------------------


def test_group_has_answered_once_each_of_its_witnesses_has() -> None:
    """Five witnesses of four groups, three of which must cosign: two must tell how far they are."""
    seeds = [(f"w{number}.example", bytes([number]) * 32) for number in range(5)]
    keys = [parse_witness_key(witness_from_seed(*seed).vkey) for seed in seeds]
    groups = [
        Witness(key, "http://w.example", group) for key, group in zip(keys, "aabcd", strict=True)
    ]
    policy = WitnessPolicy(3, tuple(groups))

    def answer(*numbers: int) -> list[Heard]:
        return [Heard(groups[number], None, 0) for number in numbers]

    silent = [Heard(one, None, None, "it gave no answer.") for one in groups]
    for heard in ([], silent, answer(2), answer(0, 2), [*answer(0, 2), silent[1]]):
        with pytest.raises(QuorumMissing, match="until 2 of 4 groups"):
            require_answers(policy, heard)
    for heard in (answer(0, 1, 2), answer(3, 4), [*answer(2, 3), *silent[:2]]):
        require_answers(policy, heard)
    gone = [groups[1].name]
    require_answers(policy, answer(0, 2), without=gone)
    for heard in (answer(0), answer(1, 2)):
        with pytest.raises(QuorumMissing):
            require_answers(policy, heard, without=gone)
