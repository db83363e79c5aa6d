"""Checkpoints on their way to the public: what a quorum takes, and what no witness can do to it.

The witnesses are real ones over HTTP, of which some hang, lie, or answer as known deviating
implementations do. Everything runs on both databases.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from jury import QUORUM, Answer, Juror, policy_of, sitting
from kept import audit
from simulator import Simulator, phone_and_device

from ledger.checking import check_ready
from ledger.errors import LedgerCorrupt, QuorumMissing, ReceiptUnpublished
from ledger.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledger.log.note import parse_vkey
from ledger.log.witness import cosign, open_witnessed, parse_request
from ledger.proving import latest_checkpoint, prove_incident
from ledger.publishing import publish_cosigned
from ledger.sequencing import sequence
from ledger.store import entries, tables, witnesses
from ledger.store.engine import begin_read, begin_write
from ledger_client.receipt import verify_standing
from ledger_client.witnesses import WitnessConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ledger.ledger import Ledger
    from ledger.publishing import Heard

TIMEOUT_SECONDS = 1.5


@pytest.fixture
def now() -> datetime:
    """Cosignatures are dated by the witnesses' own clocks."""
    return datetime.now(UTC)


@pytest.fixture
def jurors(ledger: Ledger, tmp_path: Path) -> Iterator[list[Juror]]:
    """Give five witnesses of the ledger's log."""
    with sitting(tmp_path, ledger.vkey) as jurors:
        yield jurors


@pytest.fixture
def connection() -> Iterator[WitnessConnection]:
    """Give connections that don't wait for long."""
    connection = WitnessConnection(TIMEOUT_SECONDS)
    yield connection
    connection.close()


@pytest.fixture
def witnessed(ledger: Ledger, jurors: list[Juror]) -> Ledger:
    """Give the ledger with a policy that three of the five must cosign."""
    return replace(ledger, witnesses=policy_of(jurors))


@pytest.fixture
def publish(
    witnessed: Ledger, connection: WitnessConnection, now: datetime
) -> Callable[..., list[Heard] | None]:
    """Give a function that publishes as the worker does."""

    def run(at: datetime = now, **options: Any) -> list[Heard] | None:
        return publish_cosigned(witnessed, at, connection.ask, connection.hear, **options)

    return run


def report(ledger: Ledger, name: str, now: datetime) -> tuple[Simulator, Any]:
    """Let a new member report; give it, and what was answered."""
    shop = Simulator(ledger, name)
    shop.enrol(now)
    stated = shop.incident("p", phone_and_device("p"), now)
    accepted = shop.send(stated, now)
    sequence(ledger, now)
    return shop, accepted


def published_size(ledger: Ledger) -> int:
    with begin_read(ledger.database) as connection:
        found = entries.find_checkpoint(connection)
    return found[0] if found else 0


def log_size(ledger: Ledger) -> int:
    with begin_read(ledger.database) as connection:
        return entries.read_state(connection).size


def test_checkpoint_and_receipt_are_shown_only_once_a_quorum_cosigned(
    witnessed: Ledger, jurors: list[Juror], publish: Callable[..., Any], now: datetime
) -> None:
    shop, accepted = report(witnessed, "shop-a", now)
    assert published_size(witnessed) == 1, "the ledger was founded without witnesses"
    with pytest.raises(ReceiptUnpublished):
        prove_incident(witnessed, shop.caller(now), accepted.incident_id)
    assert publish() is not None
    policy = policy_of(jurors)
    opened = open_witnessed(latest_checkpoint(witnessed), (witnessed.verifier,), policy)
    assert opened.checkpoint.size == log_size(witnessed)
    receipt = prove_incident(witnessed, shop.caller(now), accepted.incident_id)
    proved = verify_standing(
        receipt, witnessed.vkey, event=None, status=None, now=now, witnesses=policy
    )
    assert (proved.state, proved.receipt.checkpoint) == ("historic", opened.checkpoint)
    assert publish() is None, "there is nothing left to do"
    assert audit(witnessed) == ()


def test_without_a_policy_signing_is_publishing(ledger: Ledger, now: datetime) -> None:
    report(ledger, "shop-a", now)
    assert published_size(ledger) == log_size(ledger)
    assert open_checkpoint(latest_checkpoint(ledger), (parse_vkey(ledger.vkey),))


def test_checkpoint_that_was_signed_for_witnesses_is_published_without_them_once_none_is_named(
    witnessed: Ledger, jurors: list[Juror], publish: Callable[..., Any], now: datetime
) -> None:
    for juror in jurors:
        juror.behave = answer_500
    report(witnessed, "shop-a", now)
    with pytest.raises(QuorumMissing):
        publish()
    alone = replace(witnessed, witnesses=None)
    sequence(alone, now)
    assert published_size(alone) == log_size(alone)


def test_second_publication_proves_its_history_to_each_witness_in_one_request(
    witnessed: Ledger, jurors: list[Juror], publish: Callable[..., Any], now: datetime
) -> None:
    report(witnessed, "shop-a", now)
    publish()
    first = log_size(witnessed)
    with begin_read(witnessed.database) as connection:
        heard = witnesses.select_sizes(connection)
    assert len(heard) >= QUORUM, "the last of the five may still be answering"
    assert set(heard.values()) == {first}
    for juror in jurors:
        juror.asked.clear()
    report(witnessed, "shop-b", now)
    publish()
    for juror in jurors:
        offers = [parse_request(raw) for raw in juror.asked]
        offered = [one.old_size for one in offers if one.note.split("\n")[1] != str(first)]
        assert juror.signer.name not in heard or offered in ([first], []), "in one request"
    assert published_size(witnessed) == log_size(witnessed) > first


# --- Witnesses that fail ------------------------------------------------------------------------


def hang(juror: Juror, raw: bytes) -> Answer:
    del raw
    juror.stopping.wait(10)
    return None


def answer_500(juror: Juror, raw: bytes) -> Answer:
    del juror, raw
    return 500, None, "internal error"


def vanish(juror: Juror, raw: bytes) -> Answer:
    del juror, raw
    return None


def redirect(juror: Juror, raw: bytes) -> Answer:
    del juror, raw
    return 307, "text/plain", ""


def forge(juror: Juror, raw: bytes) -> Answer:
    """Answer with a cosignature of another text."""
    note = parse_request(raw).note
    return 200, "text/plain", cosign(note.partition("\n\n")[0] + "x\n", juror.signer, 1)


def antedate(juror: Juror, raw: bytes) -> Answer:
    note = parse_request(raw).note
    year_2100 = 4_102_444_800
    return 200, "text/plain", cosign(note.partition("\n\n")[0] + "\n", juror.signer, year_2100)


def babble(juror: Juror, raw: bytes) -> Answer:
    del juror, raw
    return 200, "text/html", "\u2014 " * 100_000


def conflict_for_ever(juror: Juror, raw: bytes) -> Answer:
    """Answer another size than it was asked about, each time, within what the log has."""
    del juror
    return 409, "text/x.tlog.size", "1\n" if parse_request(raw).old_size != 1 else "0\n"


def conflict_without_size(juror: Juror, raw: bytes) -> Answer:
    del juror, raw
    return 409, "text/x.tlog.size", "many\n"


def conflict_beyond_all_sizes(juror: Juror, raw: bytes) -> Answer:
    """Answer a size that no database holds."""
    del juror, raw
    return 409, "text/x.tlog.size", "9223372036854775808\n"


FAILURES = [
    hang,
    answer_500,
    vanish,
    redirect,
    forge,
    antedate,
    babble,
    conflict_for_ever,
    conflict_without_size,
    conflict_beyond_all_sizes,
]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("failure", FAILURES)
def test_two_witnesses_that_fail_delay_nothing_and_three_prevent_publication(
    witnessed: Ledger,
    jurors: list[Juror],
    publish: Callable[..., Any],
    now: datetime,
    failure: Callable[[Juror, bytes], Answer],
) -> None:
    shop, accepted = report(witnessed, "shop-a", now)
    for juror in jurors[:3]:
        juror.behave = failure
    before = published_size(witnessed)
    with pytest.raises(QuorumMissing):
        publish()
    assert published_size(witnessed) == before
    with pytest.raises(ReceiptUnpublished):
        prove_incident(witnessed, shop.caller(now), accepted.incident_id)
    jurors[0].behave = None
    publish()
    assert published_size(witnessed) == log_size(witnessed)
    note = latest_checkpoint(witnessed)
    assert jurors[1].signer.name not in note, "nothing of it was taken"
    open_witnessed(note, (witnessed.verifier,), policy_of(jurors))


def test_conflict_without_media_type_is_read_and_answered_from_the_witness_s_size(
    witnessed: Ledger, jurors: list[Juror], publish: Callable[..., Any], now: datetime
) -> None:
    report(witnessed, "shop-a", now)
    publish()
    with begin_write(witnessed.database) as connection:
        witnesses.forget_sizes(connection, [one.signer.name for one in jurors])

    def bare(juror: Juror, raw: bytes) -> Answer:
        answer = juror.answer_honestly("/add-checkpoint", raw)
        return None if answer is None else (answer[0], None, answer[2].rstrip("\n") + "\n")

    for juror in jurors:
        juror.behave, juror.asked = bare, []
    report(witnessed, "shop-b", now)
    publish()
    assert published_size(witnessed) == log_size(witnessed)
    assert max(len(one.asked) for one in jurors) >= 2


def test_policy_that_was_changed_is_satisfied_before_clients_need_it(
    ledger: Ledger, jurors: list[Juror], connection: WitnessConnection, now: datetime
) -> None:
    """The size is published already, under too few for the new policy."""
    report(ledger, "shop-a", now)
    changed = replace(ledger, witnesses=policy_of(jurors))
    assert publish_cosigned(changed, now, connection.ask, connection.hear) is not None
    assert open_witnessed(latest_checkpoint(changed), (ledger.verifier,), policy_of(jurors))


def test_quiet_log_is_cosigned_again_when_its_quorum_grows_old(
    witnessed: Ledger, publish: Callable[..., Any], now: datetime
) -> None:
    publish()
    assert publish(now + timedelta(minutes=50)) is None
    with pytest.raises(QuorumMissing, match="clock"):  # the witnesses go by their own
        publish(now + timedelta(hours=2))
    assert published_size(witnessed) == log_size(witnessed), "it stays published"


# --- Histories that aren't this log's -----------------------------------------------------------


def test_running_worker_that_meets_a_witness_ahead_stops(
    witnessed: Ledger, jurors: list[Juror], publish: Callable[..., Any], now: datetime
) -> None:
    report(witnessed, "shop-a", now)
    jurors[4].behave = lambda *_: (409, "text/x.tlog.size", "99999\n")
    jurors[3].behave = hang  # so that no grace runs out before the fifth answered
    jurors[2].behave = hang
    with pytest.raises(LedgerCorrupt, match="99999"):
        publish()
    with pytest.raises(LedgerCorrupt):
        check_ready(witnessed)


@pytest.mark.parametrize("is_witnessed", [False, True])
def test_process_that_signed_more_than_its_database_knows_signs_no_more(
    ledger: Ledger,
    witnessed: Ledger,
    publish: Callable[..., Any],
    now: datetime,
    is_witnessed: bool,
) -> None:
    """A backup was restored under it, or a standby took over that lacked what was signed last."""

    def go_on(name: str) -> int:
        report(witnessed if is_witnessed else ledger, name, now)
        publish() if is_witnessed else sequence(ledger, now)
        return published_size(ledger)

    earlier, lost = go_on("shop-a"), go_on("shop-b")
    with begin_write(ledger.database) as rows:
        rows.execute(tables.log_checkpoint.delete().where(tables.log_checkpoint.c.size > earlier))
        rows.execute(tables.log_state.update().values(signed_size=earlier))
    with pytest.raises(LedgerCorrupt, match=f"signed {lost} entries"):
        go_on("shop-c")
    assert published_size(ledger) == earlier


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("answer", [(409, "text/x.tlog.size"), (422, "text/plain")])
def test_witness_that_holds_another_root_of_this_size_stops_the_ledger(
    witnessed: Ledger,
    jurors: list[Juror],
    publish: Callable[..., Any],
    now: datetime,
    answer: tuple[int, str],
) -> None:
    """Some say so by a conflict, as the specification has it, others by a bad proof."""
    publish()
    size = log_size(witnessed)

    def contradict(juror: Juror, raw: bytes) -> Answer:
        del juror
        status, media_type = answer if parse_request(raw).old_size == size else (409, None)
        return status, media_type, f"{size}\n"

    jurors[0].behave = contradict
    with pytest.raises(LedgerCorrupt, match="another root"):
        publish(now + timedelta(hours=2))


def test_other_root_of_one_size_is_never_signed_and_a_witness_s_stops_the_ledger(
    witnessed: Ledger,
    jurors: list[Juror],
    publish: Callable[..., Any],
) -> None:
    publish()
    size = log_size(witnessed)
    forked = sign_checkpoint(Checkpoint(witnessed.origin, size, bytes(32)), witnessed.signer)
    for juror in jurors[:QUORUM]:  # who cosigned the size, and refuse its other root
        answer = juror.answer_honestly("/add-checkpoint", f"old {size}\n\n{forked}".encode())
        assert answer is None or answer[0] in {409, 404}
    with begin_write(witnessed.database) as rows:
        changed = tables.log_checkpoint.update().where(tables.log_checkpoint.c.size == size)
        rows.execute(changed.values(note=forked, published_at=None))
    with pytest.raises(LedgerCorrupt, match="Another root was signed"):
        publish()
