"""How far witnesses are: asked before anything is signed, and what counts as an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import test_publishing
from jury import Answer, Juror, policy_of
from test_publishing import forge, log_size, report

from ledger.checking import check_ready
from ledger.errors import LedgerCorrupt, QuorumMissing
from ledger.log.checkpoint import Checkpoint, render_checkpoint, sign_checkpoint
from ledger.log.merkle import EMPTY_ROOT
from ledger.log.witness import parse_request
from ledger.publishing import check_witnesses, publish_cosigned, require_answers
from ledger.store import witnesses
from ledger.store.engine import begin_read

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ledger.ledger import Ledger
    from ledger_client.witnesses import WitnessConnection

now, jurors, connection = test_publishing.now, test_publishing.jurors, test_publishing.connection
witnessed = test_publishing.witnessed


def stand_in(juror: Juror, raw: bytes) -> Answer:
    """Answer as what stands before a witness that is down."""
    del juror, raw
    return 200, "text/html", "Back in a minute.\n"


def cosign_lost(ledger: Ledger, juror: Juror, size: int) -> None:
    """Have a witness cosign a checkpoint that the ledger's database knows nothing of."""
    lost = Checkpoint(ledger.origin, size, bytes(32))
    raw = b"old 0\n\n" + sign_checkpoint(lost, ledger.signer).encode()
    answer = juror.answer_honestly("/add-checkpoint", raw)
    assert answer is not None
    assert answer[0] == 200


def test_restored_backup_is_refused_before_anything_is_signed(
    witnessed: Ledger,
    jurors: list[Juror],
    connection: WitnessConnection,
    now: datetime,
) -> None:
    """A witness cosigned more than the log has: the ledger isn't ready, and nothing is signed."""
    report(witnessed, "shop-a", now)
    cosign_lost(witnessed, jurors[2], 1000)
    with pytest.raises(LedgerCorrupt, match="old backup"):
        check_witnesses(witnessed, now, connection.ask, connection.hear)
    with pytest.raises(LedgerCorrupt):
        check_ready(witnessed)
    with begin_read(witnessed.database) as rows:
        assert witnesses.find_signed(rows, log_size(witnessed)) is None
    name = jurors[2].signer.name
    check_witnesses(witnessed, now, connection.ask, connection.hear, without=[name])
    check_ready(witnessed)
    publish_cosigned(witnessed, now, connection.ask, connection.hear, without=[name])


def test_restored_backup_is_refused_though_it_grew_beyond_what_was_lost(
    witnessed: Ledger,
    jurors: list[Juror],
    connection: WitnessConnection,
    now: datetime,
) -> None:
    """While all witnesses were silent: its size tells nothing any more, but its own notes do."""
    report(witnessed, "shop-a", now)
    lost = log_size(witnessed) + 1
    cosign_lost(witnessed, jurors[2], lost)
    report(witnessed, "shop-b", now)
    assert log_size(witnessed) > lost
    with pytest.raises(LedgerCorrupt, match="old backup"):
        check_witnesses(witnessed, now, connection.ask, connection.hear)
    with pytest.raises(LedgerCorrupt):
        check_ready(witnessed)
    with begin_read(witnessed.database) as rows:
        assert witnesses.find_signed(rows, log_size(witnessed)) is None


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("failure", [forge, stand_in])
def test_witness_that_says_yes_and_cosigns_nothing_has_not_told_how_far_it_is(
    witnessed: Ledger,
    jurors: list[Juror],
    connection: WitnessConnection,
    now: datetime,
    failure: Callable[[Juror, bytes], Answer],
) -> None:
    """So answers whatever stands in for a witness that is down, which may know more."""
    for juror in jurors[:3]:
        juror.behave = failure
    heard = check_witnesses(witnessed, now, connection.ask, connection.hear)
    told = {one.witness.name: one.size for one in heard}
    expected = [None] * 3 + [0] * 2
    assert [told[one.signer.name] for one in jurors] == expected
    with pytest.raises(QuorumMissing):
        require_answers(policy_of(jurors), heard)


def test_asking_how_far_a_witness_is_signs_the_empty_log_alone(
    witnessed: Ledger, jurors: list[Juror], connection: WitnessConnection, now: datetime
) -> None:
    report(witnessed, "shop-a", now)
    heard = check_witnesses(witnessed, now, connection.ask, connection.hear)
    assert {one.size for one in heard} == {0}
    empty = render_checkpoint(Checkpoint(witnessed.origin, 0, EMPTY_ROOT))
    for juror in jurors:
        assert [parse_request(raw).note.startswith(empty) for raw in juror.asked] == [True]
