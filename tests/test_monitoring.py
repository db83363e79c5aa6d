"""A monitor from outside: one history, fresh, and nothing in it that we didn't send.

The other party is a log of pure functions that can fork, shrink, replay and plant; the end-to-end
tests run the command over HTTP, and a real ledger with a real client's journal.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from exact import settle
from jury import policy_of, render_policy, sitting
from logs import ORIGIN, SIGNER, PublicLog, make_entry, serving_log
from reports import NOW
from sandbox import run
from simulator import Simulator, phone_and_device

from api.app import create_app
from ledger.errors import InvalidInput
from ledger.log.leaf import Op, parse_leaf
from ledger.log.merkle import consistency_proof, leaf_hash
from ledger.log.note import signer_from_seed
from ledger.log.witness import AddCheckpoint, render_request
from ledger.store import entries
from ledger.store.engine import begin_read
from ledger_client import clock
from ledger_client.client import Client
from ledger_client.errors import Refused
from ledger_client.journal import Journal, Statements, read_journal
from ledger_client.monitoring import (
    Membership,
    MonitorState,
    Watch,
    follow_log,
    parse_state,
    render_state,
)

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.ledger import Ledger

DAY = timedelta(days=1)
TAG_KEY, OTHERS = b"k" * 32, b"o" * 32
WATCH = Watch(SIGNER.vkey, DAY)
NEW = MonitorState(ORIGIN)


def codes(
    log: PublicLog, state: MonitorState = NEW, watch: Watch = WATCH, now: datetime = NOW
) -> tuple[MonitorState, list[str]]:
    reached, alarms = follow_log(log.fetch, watch, state, now=now)
    return reached, [one.code for one in alarms]


def log_of(number: int) -> PublicLog:
    log = PublicLog([make_entry() for _ in range(number)])
    log.publish()
    return log


# --- One history --------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(0, 1, 2), (3, 255, 256, 257), (200, 300, 300, 700)])
def test_growing_log_is_followed_and_every_entry_is_read_once(sizes: tuple[int, ...]) -> None:
    log, state = PublicLog([make_entry() for _ in range(max(sizes))]), NEW
    for size in sizes:
        log.publish(size)
        state, found = codes(log, state)
        assert (state.size, found) == (size, [])
        assert parse_state(render_state(state), SIGNER.vkey) == state
    log.fetched.clear()
    assert codes(log, state) == (state, [])
    assert log.fetched == ["/log/checkpoint"]


def test_full_tile_stands_in_for_a_partial_one_that_is_gone() -> None:
    log = PublicLog([make_entry() for _ in range(300)])
    log.publish(100)
    old = log.paths["/log/checkpoint"]
    log.publish(300)
    del log.paths["/log/tile/entries/000.p/100"]
    log.paths["/log/checkpoint"] = old
    assert codes(log)[0].size == 100


@pytest.mark.parametrize("changed", [0, 5, 9, 12])
def test_log_that_was_forked_gives_alarm_with_both_notes_and_is_followed_no_further(
    changed: int,
) -> None:
    log = log_of(10)
    state, _ = codes(log)
    first = state.note
    log.entries += [make_entry() for _ in range(5)]
    log.entries[changed] = make_entry()
    second = log.publish()
    reached, alarms = follow_log(log.fetch, WATCH, state, now=NOW)
    if changed >= 10:  # which nobody was shown before
        assert (reached.size, alarms) == (15, [])
        return
    assert reached == state
    assert [(one.code, one.notes) for one in alarms] == [("log-forked", (first, second))]


def test_other_root_of_the_same_size_is_a_fork() -> None:
    log = log_of(10)
    state, _ = codes(log)
    log.entries[9] = make_entry()
    log.publish()
    assert codes(log, state) == (state, ["log-forked"])


def test_old_checkpoint_that_is_shown_again_is_a_log_that_shrank() -> None:
    log = PublicLog([make_entry() for _ in range(10)])
    old = log.publish(6)
    log.publish(10)
    state, _ = codes(log)
    log.paths["/log/checkpoint"] = old.encode()
    assert codes(log, state) == (state, ["log-shrank"])


@pytest.mark.parametrize(
    "harm",
    [
        lambda raw: raw[:-1],
        lambda raw: raw[:-82],
        lambda _: b"",
        lambda raw: b"\x00\x50" + raw[2:40] + b"\xff" + raw[41:],
        lambda raw: b"\xff\xff" + raw[2:],
        lambda raw: raw.replace(b"BCL1", b"BCL9", 1),
        lambda _: None,
    ],
)
def test_tile_that_was_changed_cut_off_or_withheld_gives_alarm(harm: Any) -> None:
    log = log_of(7)
    whole = log.paths.pop("/log/tile/entries/000.p/7")
    harmed = harm(whole)
    if harmed is not None:
        log.paths["/log/tile/entries/000.p/7"] = harmed
    reached, found = codes(log)
    assert reached == NEW
    assert set(found) <= {"entries-invalid", "log-forked"}
    assert found


@pytest.mark.parametrize("note", ["", "what\n\n\u2014 x eA==\n", "other"])
def test_checkpoint_that_its_log_didn_t_sign_gives_alarm(note: str) -> None:
    log = log_of(3)
    if note == "other":
        log.signer = signer_from_seed(ORIGIN, bytes(32))
        log.publish()
    else:
        log.paths["/log/checkpoint"] = note.encode()
    assert codes(log) == (NEW, ["checkpoint-invalid"])
    del log.paths["/log/checkpoint"]
    assert codes(log) == (NEW, ["checkpoint-missing"])


def test_state_of_another_log_or_damaged_is_refused() -> None:
    text = render_state(codes(log_of(3))[0])
    other = signer_from_seed("other.example", bytes(32)).vkey
    for bad, vkey in (
        (text, other),
        (text.replace('"size": 3', '"size": 4'), SIGNER.vkey),
        ("", ""),
    ):
        with pytest.raises(InvalidInput):
            parse_state(bad, vkey or SIGNER.vkey)


# --- Witnesses ----------------------------------------------------------------------------------


def test_quorum_is_asked_for_and_an_old_or_future_one_gives_alarm(tmp_path: Path) -> None:
    with sitting(tmp_path, SIGNER.vkey) as jurors:
        watch = replace(WATCH, witnesses=policy_of(jurors))
        signers = tuple(one.signer for one in jurors)
    log, at = PublicLog([make_entry()]), int(NOW.timestamp())
    log.publish(cosigners=signers[:2], at=at)
    assert codes(log, watch=watch) == (NEW, ["checkpoint-invalid"])
    log.publish(cosigners=signers[:3], at=at)
    assert codes(log, watch=watch)[1] == []
    assert codes(log, watch=watch, now=NOW + DAY + timedelta(seconds=1))[1] == ["checkpoint-stale"]
    assert codes(log, watch=watch, now=NOW - DAY)[1] == ["checkpoint-invalid"]


def test_split_view_reaches_no_quorum_whichever_half_of_the_witnesses_is_shown_it(
    tmp_path: Path,
) -> None:
    """Two histories from the fifth entry on, and five honest witnesses asked for either."""
    honest, forked = log_of(8), PublicLog()
    forked.entries = [*honest.entries[:5], *(make_entry() for _ in range(3))]
    cosigned = {"honest": 0, "forked": 0}
    with sitting(tmp_path, SIGNER.vkey) as jurors:
        beginning = honest.publish(5)
        for juror in jurors:
            raw = render_request(AddCheckpoint(0, (), beginning))
            answer = juror.answer_honestly("/add-checkpoint", raw)
            assert answer is not None
            assert answer[0] == 200
        for number, juror in enumerate(jurors):
            order = ("honest", "forked") if number < 3 else ("forked", "honest")
            for name in order:
                log = honest if name == "honest" else forked
                proof = consistency_proof([leaf_hash(one) for one in log.entries], 5)
                raw = render_request(AddCheckpoint(5, proof, log.publish()))
                answer = juror.answer_honestly("/add-checkpoint", raw)
                assert answer is not None
                cosigned[name] += answer[0] == 200
        assert cosigned == {"honest": 3, "forked": 2}
        assert cosigned["forked"] < policy_of(jurors).quorum


# --- Entries of our own -------------------------------------------------------------------------


def member(*sent: str, accepted: tuple[str, ...] = (), at: datetime = NOW) -> Watch:
    signed_at = dict.fromkeys(sent, int(at.timestamp()))
    statements = Statements(sent=signed_at, accepted=set(accepted))
    return replace(WATCH, member=Membership(TAG_KEY, statements))


def test_entry_of_ours_that_we_never_sent_gives_alarm_until_it_is_explained() -> None:
    log = PublicLog([make_entry(OTHERS), make_entry(TAG_KEY), make_entry(OTHERS)])
    log.publish()
    state, found = codes(log, watch=member("one"))
    assert (found, list(state.own)) == ([], [1])
    log.entries.append(make_entry(TAG_KEY))
    log.publish()
    for _ in range(2):  # the state has it: the alarm is given again
        state, found = codes(log, state, member("one"))
        assert (found, list(state.own)) == (["entry-unsent"], [1, 3])
    assert codes(log, state, member("one", "two"))[1] == []


@pytest.mark.parametrize(
    "op",
    [Op.CORRECTED, Op.RETRACTED, Op.RESTITUTED, Op.EVIDENCE_WITHDRAWN, Op.ERASURE_ACKNOWLEDGED],
)
def test_entry_that_speaks_for_us_without_our_tag_gives_alarm_whatever_is_on_its_way(
    op: Op,
) -> None:
    """A retraction's content is gone with it: nobody can ask for its signature."""
    log = PublicLog([make_entry(TAG_KEY), make_entry(OTHERS)])
    log.entries += [make_entry(OTHERS, op, 1), make_entry(OTHERS, Op.EXPIRED, 0)]
    log.publish()
    waiting = member("one", "on its way", accepted=("one", "on its way"))
    state, found = codes(log, watch=waiting)
    assert (state.size, found) == (4, []), "others' affairs, and the ledger's own word"
    log.entries.append(make_entry(OTHERS, op, 0))
    log.publish()
    for _ in range(2):
        state, found = codes(log, parse_state(render_state(state), SIGNER.vkey), waiting)
        assert (state.size, found) == (5, ["entry-unsent"])


def test_planted_entry_is_found_among_those_with_receipts() -> None:
    """Another was sent, refused or not logged: the receipts tell which is which."""
    log = PublicLog([make_entry(TAG_KEY), make_entry(TAG_KEY)])
    log.publish()
    watch = member("one", "two")
    assert watch.member is not None
    commitments = [parse_leaf(one).commitment for one in log.entries]
    watch.member.statements.proved["one"] = (0, commitments[0])
    assert codes(log, watch=watch)[1] == []
    watch.member.statements.proved["two"] = (1, commitments[0])
    assert codes(log, watch=watch)[1] == ["entry-changed"]
    watch.member.statements.proved["two"] = (7, commitments[0])
    assert codes(log, watch=watch)[1] == ["entry-unsent"]


def test_accepted_statement_that_never_comes_gives_alarm_after_its_time() -> None:
    log = log_of(3)
    watch = member("one", accepted=("one",), at=NOW)
    assert codes(log, watch=watch)[1] == []
    assert codes(log, watch=watch, now=NOW + DAY * 2)[1] == ["statement-missing"]
    assert codes(log, watch=member("one"), now=NOW + DAY * 2)[1] == [], "it wasn't acknowledged"


# --- The command, and a real ledger ---------------------------------------------------------------


def test_command_follows_over_http_and_ends_by_what_it_found(tmp_path: Path) -> None:
    log, state = log_of(300), tmp_path / "state.json"
    key, sent = tmp_path / "tag_key", tmp_path / "sent.jsonl"
    key.write_text(base64.urlsafe_b64encode(TAG_KEY).decode().rstrip("=") + "\n", "utf-8")
    sent.write_text("", "utf-8")
    with serving_log(log) as url:
        words = ("log", "monitor", url, "--vkey", SIGNER.vkey, "--state", str(state))
        own = ("--tag-key-file", str(key), "--sent", str(sent))
        fine = run(tmp_path, *words, *own)
        assert (fine.exit_code, "300 entries" in fine.stdout) == (0, True), fine.stderr
        kept = state.read_text("utf-8")
        log.entries[7] = make_entry(TAG_KEY)
        log.publish()
        forked = run(tmp_path, *words, *own, "--json")
        told = json.loads(forked.stdout)
        assert (forked.exit_code, [one["code"] for one in told["alarms"]]) == (1, ["log-forked"])
        assert len(told["alarms"][0]["notes"]) == 2
        assert state.read_text("utf-8") == kept
        state.unlink()
        sent.write_text('{"sent": "a"\n', "utf-8")  # cut off by a crash: warned of, and passed over
        planted = run(tmp_path, *words, *own)
        assert (planted.exit_code, "entry-unsent" in planted.stdout) == (1, True)
        assert "line 1 of the journal was cut off" in planted.stderr
        assert run(tmp_path, *words, *own[:2]).exit_code == 2
        state.write_text("{}", "utf-8")
        assert run(tmp_path, *words).exit_code == 2
        assert sorted(one.name for one in tmp_path.iterdir()) == [
            "sent.jsonl",
            "state.json",
            "state.json.lock",
            "tag_key",
        ]
    gone = run(tmp_path, "log", "monitor", url, "--vkey", SIGNER.vkey, "--state", f"{state}.new")
    assert (gone.exit_code, "no answer" in gone.stderr) == (1, True)


def test_command_refuses_a_checkpoint_without_the_quorum(tmp_path: Path) -> None:
    log = log_of(3)
    with sitting(tmp_path, SIGNER.vkey) as jurors, serving_log(log) as url:
        policy = tmp_path / "witnesses.toml"
        policy.write_text(render_policy(jurors), "utf-8")
        words = ("log", "monitor", url, "--vkey", SIGNER.vkey, "--state", str(tmp_path / "state"))
        refused = run(tmp_path, *words, "--witness-policy", str(policy))
        assert (refused.exit_code, "checkpoint-invalid" in refused.stdout) == (1, True)
        at = int(datetime.now(UTC).timestamp())
        log.publish(cosigners=tuple(one.signer for one in jurors[2:]), at=at)
        assert run(tmp_path, *words, "--witness-policy", str(policy)).exit_code == 0


def test_member_s_own_journal_explains_its_entries_of_a_real_ledger_and_no_planted_one(
    ledger: Ledger, tmp_path: Path
) -> None:
    at = clock.now()
    shop, path = Simulator(ledger, "shop-a"), tmp_path / "sent.jsonl"
    shop.enrol(at)
    app = create_app(ledger, public_url=ledger.issuer, body_max_bytes=65_536)
    transport = httpx.WSGITransport(app=app)
    with Client(
        "http://ledger.test",
        vkey=ledger.vkey,
        platform=shop.uri,
        key=shop.private_jwk,
        transport=transport,
        journal=Journal(path),
    ) as client:
        stated = shop.incident("p", phone_and_device("p"), at)
        sent = client.report(stated)
        client.report(shop.correction(stated, at))
        with pytest.raises(Refused):
            client.report(replace(shop.incident("q", phone_and_device("q"), at), jurisdiction="CN"))
        settle(ledger, at)
        before = follow(ledger, shop, path)
        assert before == ([], 2), "by their number"
        receipt = client.fetch_receipt(sent.incident_id)
        client.verify_receipt(receipt, sent)
    assert follow(ledger, shop, path) == ([], 2), "one by its receipt, one by number"
    assert len(read_journal(path.read_text("utf-8")).sent) == 2
    assert sent.token not in path.read_text("utf-8")
    shop.report("r", phone_and_device("r"), at)  # by somebody who holds the member's key
    settle(ledger, at)
    assert follow(ledger, shop, path) == (["entry-unsent"], 3)


def follow(ledger: Ledger, shop: Simulator, path: Path) -> tuple[list[str], int]:
    """Follow a ledger's log as the member, from its beginning."""
    with begin_read(ledger.database) as connection:
        log = PublicLog(
            [entry for _, entry, _ in entries.stream_entries(connection)], signer=ledger.signer
        )
    log.publish()
    statements = read_journal(path.read_text("utf-8"))
    watch = Watch(ledger.vkey, DAY, member=Membership(shop.tag_key, statements))
    state, found = codes(log, MonitorState(ledger.origin), watch, clock.now())
    return found, len(state.own)
