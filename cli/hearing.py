"""How the worker hears witnesses: before anything is signed, then beside its other work.

Sequencing never waits for a witness: publishing has a thread of its own, whose alarms end the
worker. It signs nothing before enough witnesses told how far they are. Without witnesses nothing
here does anything.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from cli import clock
from cli.errors import AskedWrongly
from ledger.errors import LedgerUnavailable, QuorumMissing
from ledger.publishing import check_witnesses, publish_cosigned, require_answers
from ledger_client.witnesses import WitnessConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.ledger import Ledger
    from ledger.publishing import Heard

PUBLISH_INTERVAL_SECONDS = 1.0


class Publisher:
    """Publishes what was sequenced, over and over, once it was started."""

    def __init__(
        self, ledger: Ledger, witnesses: WitnessConnection, disregarded: tuple[str, ...]
    ) -> None:
        """Publish nothing yet."""
        self._ledger = ledger
        self._witnesses = witnesses
        self._disregarded = disregarded
        self._may_sign = False
        self._stopping = threading.Event()
        self._faults: list[Exception] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def ask_first(self) -> list[Heard]:
        """Ask the witnesses how far they are: nothing is signed before enough of them told.

        *Raises*: QuorumMissing where too few did, LedgerCorrupt where one is ahead of the log.
        """
        ask, hear, without = self._witnesses.ask, self._witnesses.hear, self._disregarded
        heard = check_witnesses(self._ledger, clock.now(), ask, hear, without=without)
        if self._ledger.witnesses is not None:
            require_answers(self._ledger.witnesses, heard, without=without)
        self._may_sign = True
        return heard

    def publish(self) -> None:
        """Publish what is due. *Raises*: QuorumMissing, LedgerUnavailable, LedgerCorrupt."""
        if not self._may_sign:
            self.ask_first()
        ask, hear = self._witnesses.ask, self._witnesses.hear
        publish_cosigned(self._ledger, clock.now(), ask, hear, without=self._disregarded)

    def start(self) -> None:
        """Start publishing, where there are witnesses."""
        if self._ledger.witnesses is not None:
            self._thread.start()

    def check(self) -> None:
        """Raise what ended the publishing, if anything did."""
        if self._faults:
            raise self._faults[0]

    def stop(self) -> None:
        """Let the publishing end; what it was about to do is done or not done, as in a crash."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(PUBLISH_INTERVAL_SECONDS)

    def _run(self) -> None:
        told = ""
        while not self._stopping.is_set():
            try:
                self.publish()
                told = ""
            except (QuorumMissing, LedgerUnavailable) as error:
                if str(error) != told and not self._stopping.is_set():
                    told = str(error)
                    click.echo(f"bcl worker: {told}", err=True)
            except Exception as fault:  # noqa: BLE001 - the worker itself ends with it
                self._faults.append(fault)
                return
            self._stopping.wait(PUBLISH_INTERVAL_SECONDS)


@contextmanager
def hearing(
    ledger: Ledger, timeout_seconds: float, disregarded: tuple[str, ...] = ()
) -> Iterator[Publisher]:
    """Ask the witnesses how far they are, and give what publishes after that.

    Where too few answer they are asked again before anything is signed. *Raises*: LedgerCorrupt
    where one is ahead of the log, AskedWrongly where one is disregarded that isn't there.
    """
    named = {one.name for one in ledger.witnesses.witnesses} if ledger.witnesses else set()
    for name in sorted(set(disregarded) - named):
        raise AskedWrongly(f"The policy of witnesses names no {name}: {', '.join(sorted(named))}.")
    witnesses = WitnessConnection(timeout_seconds)
    publisher = Publisher(ledger, witnesses, disregarded)
    try:
        try:
            for one in publisher.ask_first():
                if one.fault:
                    click.echo(f"bcl: the witness {one.witness.name}: {one.fault}", err=True)
        except QuorumMissing as error:
            click.echo(f"bcl: {error}", err=True)
        yield publisher
    finally:
        publisher.stop()
        witnesses.close()
