"""What anybody may do with a log: `log monitor`; in a checkout the operator's commands too."""

from __future__ import annotations

import base64
import binascii
import fcntl
import json
import os
import signal
import sys
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
import httpx

from cli import clock
from cli.checkout import is_checkout, load_operator
from cli.errors import AskedWrongly
from cli.membership import FILE, check_vkey, read_witness_policy
from ledger.errors import InvalidInput
from ledger.log.note import parse_vkey
from ledger_client.errors import Unreachable
from ledger_client.journal import read_journal
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
    from collections.abc import Callable, Iterator
    from types import FrameType

    from ledger_client.journal import Statements
    from ledger_client.monitoring import Alarm

_TAG_KEY_BYTES = 32
_ANSWER_BYTES_MAX = 32 * 1024 * 1024
_TIMEOUT_SECONDS = 30.0
_KEEP_SECONDS = 5.0
_RING_AGAIN_SECONDS = 1.0
_LAST_TILE = 0.9  # of a run's time: then it ends after a tile, and is interrupted in none
_AGE_HOURS_MAX = 24 * 3660
_GOOD, _MISSING = 200, 404


class _OutOfTime(Exception):
    """The time that a run has is over."""


class _Log(click.Group):
    """The monitor, and in a checkout what the operator does with the log."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        named = super().list_commands(ctx)
        if is_checkout():
            named += self._operator("bcl log").list_commands(ctx)
        return sorted(named)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        return found or self._operator(f"bcl log {cmd_name}").get_command(ctx, cmd_name)

    @staticmethod
    def _operator(command: str) -> click.Group:
        group: click.Group = load_operator("cli.auditing", command).log
        return group


@click.group(cls=_Log)
def log() -> None:
    """Follow a log; in a checkout also audit and show one's own."""


@log.command("monitor")
@click.argument("url")
@click.option(
    "--vkey", required=True, metavar="V", callback=check_vkey, help="The log's verifier key."
)
@click.option(
    "--state",
    "state_file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where it is kept how far the log was followed.",
)
@click.option("--tag-key-file", type=FILE, help="The member's tag key, as enrolment printed it.")
@click.option("--sent", type=FILE, help="The member's journal of what it sent.")
@click.option("--witness-policy", type=FILE, help="The policy of witnesses.")
@click.option(
    "--age-hours",
    type=click.IntRange(1, _AGE_HOURS_MAX),
    default=24,
    show_default=True,
    help="How old the quorum of a checkpoint may be.",
)
@click.option(
    "--seconds",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="How long a run may last; the next goes on from there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the notes that show it.")
def monitor(
    url: str,
    vkey: str,
    state_file: Path,
    tag_key_file: Path | None,
    sent: Path | None,
    witness_policy: Path | None,
    age_hours: int,
    seconds: int,
    as_json: bool,
) -> None:
    """Follow a log from where it was followed to; exit 1 with alarms.

    URL is its address above /log/, as in https://ledger.example.
    """
    if (tag_key_file is None) != (sent is None):
        raise AskedWrongly("Entries of one's own are told by --tag-key-file and --sent together.")
    member = None
    if tag_key_file is not None and sent is not None:
        member = Membership(_read_tag_key(tag_key_file), _read_statements(sent))
    age_max = timedelta(hours=age_hours)
    watch = Watch(vkey, age_max, read_witness_policy(witness_policy), member)
    with _locking(state_file):
        reached, alarms = _follow(url.rstrip("/"), watch, state_file, timedelta(seconds=seconds))
    if as_json:
        told = [{"code": one.code, "detail": one.detail, "notes": one.notes} for one in alarms]
        described = {"origin": reached.origin, "size": reached.size, "own": len(reached.own)}
        click.echo(json.dumps({**described, "alarms": told}, indent=2))
    else:
        for one in alarms:
            click.echo(f"{one.code}: {one.detail}")
        if not alarms:
            click.echo(f"{reached.size} entries of {reached.origin}, one history")
    sys.exit(1 if alarms else 0)


def _follow(
    url: str, watch: Watch, state_file: Path, time_max: timedelta
) -> tuple[MonitorState, list[Alarm]]:
    """Follow a log from the state in a file, and keep there how far it came, however it ends."""
    state = MonitorState(parse_vkey(watch.vkey).name)
    if state_file.exists():
        state = parse_state(_read_text(state_file), watch.vkey)
    reached, written, written_at = state, state, clock.monotonic()
    last_at = written_at + time_max.total_seconds() * _LAST_TILE

    def keep(on_the_way: MonitorState) -> None:
        nonlocal reached, written, written_at
        reached = on_the_way
        if clock.monotonic() - written_at >= _KEEP_SECONDS:
            _write_whole(state_file, render_state(reached))
            written, written_at = reached, clock.monotonic()
        if clock.monotonic() >= last_at:
            raise _OutOfTime

    alarms: list[Alarm]
    try:
        with (
            httpx.Client(timeout=_TIMEOUT_SECONDS, follow_redirects=False) as http,
            _ending(time_max),
        ):
            reached, alarms = follow_log(
                _fetch_from(http, url), watch, state, now=clock.now(), keep=keep
            )
    except _OutOfTime:
        alarms = [judge_withheld(reached, watch.vkey, time_max)]
    finally:
        if reached != written:
            _write_whole(state_file, render_state(reached))
    return reached, alarms


@contextmanager
def _ending(time_max: timedelta) -> Iterator[None]:
    """Raise _OutOfTime in a block that lasts too long, whatever it waits for.

    A log may give a byte before each timeout of a socket, in headers and bodies alike. The alarm
    rings again, as code that mustn't raise swallows what a signal raises in it.
    """

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise _OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, time_max.total_seconds(), _RING_AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _locking(state_file: Path) -> Iterator[None]:
    """Hold a state for one run. *Raises*: AskedWrongly where another has it."""
    with state_file.with_name(f"{state_file.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AskedWrongly(f"{state_file} is in use by another run.") from error
        yield


def _fetch_from(http: httpx.Client, url: str) -> Callable[[str], bytes | None]:
    """Give the function that fetches a path of a log. *Raises*: Unreachable."""

    def fetch(path: str) -> bytes | None:
        body = bytearray()
        try:
            with http.stream("GET", f"{url}{path}") as answer:
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > _ANSWER_BYTES_MAX:
                        raise Unreachable("The log answered with more than any tile has.")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"The log gave no answer at {url}.") from error
        if answer.status_code == _MISSING:
            return None
        if answer.status_code != _GOOD:
            raise Unreachable(f"The log answered {answer.status_code} at {url}.")
        return bytes(body)

    return fetch


def _read_text(path: Path) -> str:
    """Read a file of text. *Raises*: InvalidInput where it isn't UTF-8."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} isn't UTF-8 text.") from error


def _read_statements(path: Path) -> Statements:
    """Read a journal, and warn of its torn lines. *Raises*: InvalidInput."""
    statements = read_journal(_read_text(path))
    for number in statements.torn:
        click.echo(f"bcl: line {number} of the journal was cut off and is passed over", err=True)
    return statements


def _read_tag_key(path: Path) -> bytes:
    """Read a tag key: base64url of 32 bytes. *Raises*: InvalidInput."""
    text = _read_text(path).strip()
    try:
        key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error) as error:
        raise InvalidInput("The tag key isn't base64url.") from error
    if len(key) != _TAG_KEY_BYTES:
        raise InvalidInput("A tag key has 32 bytes.")
    return key


def _write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all, whatever happens meanwhile."""
    half = path.with_name(f"{path.name}.half")
    with half.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
