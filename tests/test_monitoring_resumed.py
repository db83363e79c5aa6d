"""A monitor that is stopped half-way, or given the tag key later, finds what it would have."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from logs import ORIGIN, SIGNER, PublicLog, make_entry
from reports import NOW
from sandbox import run
from test_monitoring import DAY, NEW, TAG_KEY, WATCH, codes, log_of, member

from ledger.errors import InvalidInput
from ledger.log.leaf import parse_leaf
from ledger_client.errors import Unreachable
from ledger_client.monitoring import (
    Membership,
    MonitorState,
    Watch,
    follow_log,
    judge_withheld,
    parse_state,
    render_state,
)

if TYPE_CHECKING:
    from pathlib import Path

# --- The tag key came later ---------------------------------------------------------------------


def own_log() -> tuple[PublicLog, Watch]:
    """Give a log with a proved entry of ours at 1 and a planted one at 2."""
    log = PublicLog([make_entry(), make_entry(TAG_KEY), make_entry(TAG_KEY)])
    log.publish()
    watch = member("one")
    assert watch.member is not None
    watch.member.statements.proved["one"] = (1, parse_leaf(log.entries[1]).commitment)
    return log, watch


@pytest.mark.parametrize("grown", [0, 400])
def test_tag_key_that_comes_later_finds_the_entries_from_the_first_on(grown: int) -> None:
    log, watch = own_log()
    state, found = codes(log)
    assert (state.size, found) == (3, [])
    log.entries += [make_entry() for _ in range(grown)]
    log.paths.clear()  # also of the partial tile
    log.publish()
    state, found = codes(log, parse_state(render_state(state), SIGNER.vkey), watch)
    assert (list(state.own), found) == ([1, 2], ["entry-unsent"])


def test_entries_that_were_followed_without_the_tag_key_are_read_again_with_it() -> None:
    log, watch = own_log()
    log.publish(2)
    state, found = codes(log, NEW, watch)
    assert (list(state.own), found) == ([1], [])
    log.publish(3)
    state, _ = codes(log, state)
    assert codes(log, state, watch)[1] == ["entry-unsent"]


def test_another_tag_key_finds_its_own_entries_and_no_key_is_in_the_state() -> None:
    log, watch = own_log()
    assert watch.member is not None
    others = replace(watch, member=Membership(b"o" * 32, watch.member.statements))
    state, found = codes(log, NEW, others)
    assert (dict(state.own), found) == ({}, ["entry-changed"])
    state, found = codes(log, state, watch)
    assert found == ["entry-unsent"]
    assert TAG_KEY.hex() not in render_state(state)
    log.fetched.clear()
    assert codes(log, state, watch) == (state, ["entry-unsent"])
    assert log.fetched == ["/log/checkpoint"], "the same key reads nothing again"


def test_log_that_forked_before_the_tag_key_came_is_found_while_it_is_read_again() -> None:
    log, watch = own_log()
    state, _ = codes(log)
    first = state.note
    log.entries[0] = make_entry()
    log.entries.append(make_entry())
    second = log.publish()
    reached, alarms = follow_log(log.fetch, watch, state, now=NOW)
    assert reached == state
    assert [(one.code, one.notes) for one in alarms] == [("log-forked", (first, second))]


# --- Stopped half-way ---------------------------------------------------------------------------


def stop_after(
    log: PublicLog, tiles: int, state: MonitorState = NEW, watch: Watch = WATCH
) -> MonitorState:
    """Follow a log that gives no more than so many tiles; give what is kept then."""
    kept, log.fetched[:] = [state], []

    def fetch(path: str) -> bytes | None:
        if len(log.fetched) > tiles:
            raise Unreachable
        return log.fetch(path)

    with pytest.raises(Unreachable):
        follow_log(fetch, watch, state, now=NOW, keep=kept.append)
    return parse_state(render_state(kept[-1]), SIGNER.vkey)


def test_first_follow_goes_on_where_it_was_stopped_and_nothing_is_claimed_before() -> None:
    log = log_of(1000)
    log.entries[7] = make_entry(TAG_KEY)
    log.publish()
    watch = member("one")
    kept = stop_after(log, 1, watch=watch)
    assert (kept.size, kept.own) == (0, {}), "no signed root stands above it yet"
    kept = stop_after(log, 1, kept, watch)
    log.fetched.clear()
    state, found = codes(log, kept, watch)
    assert len(log.fetched) == 1 + 2
    assert (state, found) == codes(log, NEW, watch)
    assert (state.size, list(state.own)) == (1000, [7])


def test_key_that_came_half_way_is_held_against_all_entries() -> None:
    log = log_of(1000)
    log.entries[7] = make_entry(TAG_KEY)
    log.publish()
    kept = stop_after(log, 2)
    assert codes(log, kept, member())[1] == ["entry-unsent"]


def test_false_tiles_before_a_stop_spoil_no_later_run() -> None:
    log = log_of(1000)
    true = log.paths["/log/tile/entries/000"]
    log.paths["/log/tile/entries/000"] = true[:-1] + bytes([true[-1] ^ 1])
    kept = stop_after(log, 2)
    log.paths["/log/tile/entries/000"] = true
    state, found = codes(log, kept)
    assert (state.size, state.reading, found) == (0, None, ["log-forked"])
    state, found = codes(log, state)
    assert (state.size, found) == (1000, [])


def test_size_that_was_signed_and_not_reached_is_remembered() -> None:
    log = log_of(1000)
    kept = stop_after(log, 2)
    high = log.paths["/log/checkpoint"].decode()
    low = log.publish(900)
    reached, alarms = follow_log(log.fetch, WATCH, kept, now=NOW)
    assert reached == kept
    assert [(one.code, one.notes) for one in alarms] == [("log-shrank", (high, low))]
    log.entries[950] = make_entry()
    log.entries += [make_entry() for _ in range(100)]
    second = log.publish()
    reached, alarms = follow_log(log.fetch, WATCH, kept, now=NOW)
    assert [(one.code, one.notes) for one in alarms] == [("log-forked", (high, second))]
    assert reached == replace(NEW, signed=(high,))


def test_fork_of_what_was_signed_and_not_reached_gives_alarm_each_time() -> None:
    """Neither another signed size nor an alarm makes a monitor forget what it was shown."""
    log = log_of(1000)
    first = log.paths["/log/checkpoint"].decode()
    kept = stop_after(log, 1)
    log.entries[950:] = [make_entry() for _ in range(150)]
    for size in (1050, 1100):
        second = log.publish(size)
        kept = stop_after(log, 1, kept)
    for _ in range(2):
        kept, alarms = follow_log(log.fetch, WATCH, kept, now=NOW)
        assert [(one.code, one.notes) for one in alarms] == [("log-forked", (first, second))]
        kept = parse_state(render_state(kept), SIGNER.vkey)
    log.publish(1050)
    assert codes(log, kept)[1] == ["log-shrank"]


def test_size_that_was_signed_is_remembered_where_not_one_tile_is_shown() -> None:
    log = log_of(1000)
    kept = stop_after(log, 0)
    assert kept.reading is not None
    assert (kept.reading.size, kept.reading.note) == (0, log.paths["/log/checkpoint"].decode())
    log.publish(900)
    assert codes(log, kept)[1] == ["log-shrank"]


def test_alarm_of_a_log_that_is_withheld_tells_how_far_it_came() -> None:
    log = log_of(1000)
    kept = stop_after(log, 2)
    alarm = judge_withheld(kept, SIGNER.vkey, DAY)
    assert alarm.code == "log-withheld"
    assert "512 of 1000" in alarm.detail
    assert alarm.notes == (log.paths["/log/checkpoint"].decode(),)
    assert judge_withheld(NEW, SIGNER.vkey, DAY).notes == ()


def test_damaged_progress_is_refused() -> None:
    text = render_state(stop_after(log_of(1000), 2))
    for old, new in (('"size": 512', '"size": 511'), ("ledger.example/sandbox\\n", "other\\n")):
        assert old in text
        with pytest.raises(InvalidInput):
            parse_state(text.replace(old, new), SIGNER.vkey)


# --- Files and options that are none -------------------------------------------------------------

LATIN = "Stände".encode("latin-1")
STATE = '{"origin": "%s", "size": %s, "frontier": "", "note": "", "own": {}}'


@pytest.mark.parametrize(
    ("state", "key", "journal", "told"),
    [
        (LATIN, b"A" * 43, b"", "state isn't UTF-8"),
        (b"{}", LATIN, b"", "key isn't UTF-8"),
        (b"{}", b"A" * 43, LATIN, "journal isn't UTF-8"),
        (b"{}", b"A" * 43, b"", "isn't one of a monitor's"),
        (b"[" * 100_000, b"A" * 43, b"", "isn't one of a monitor's"),
        (b"{}", b"A" * 43, b"[" * 100_000, "Line 1 of the journal"),
        *(
            ((STATE % (ORIGIN, size)).encode(), b"A" * 43, b"", "isn't one of a monitor's")
            for size in ("-1", "1e999", "NaN", "1" * 5000, '"many"', "null")
        ),
    ],
    ids=range(12),
)
def test_files_that_are_none_of_a_monitor_s_are_refused_by_name(
    tmp_path: Path, state: bytes, key: bytes, journal: bytes, told: str
) -> None:
    files = {"state": state, "key": key, "journal": journal}
    for name, raw in files.items():
        (tmp_path / name).write_bytes(raw)
    words = ("--state", str(tmp_path / "state"), "--vkey", SIGNER.vkey)
    own = ("--tag-key-file", str(tmp_path / "key"), "--sent", str(tmp_path / "journal"))
    refused = run(tmp_path, "log", "monitor", "http://127.0.0.1:1", *words, *own)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert told in refused.stderr
    assert (tmp_path / "state").read_bytes() == state


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf", "1e3", "87841", "9" * 400])
def test_age_that_is_none_is_refused(tmp_path: Path, hours: str) -> None:
    words = ("--state", str(tmp_path / "state"), "--vkey", SIGNER.vkey, "--age-hours", hours)
    refused = run(tmp_path, "log", "monitor", "http://127.0.0.1:1", *words)
    assert (refused.exit_code, "--age-hours" in refused.stderr) == (2, True)
