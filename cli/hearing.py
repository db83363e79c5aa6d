"""How the worker hears witnesses: once before anything is signed, then beside its other work.

Sequencing never waits for a witness: publishing has a thread of its own, whose alarms end the
worker. Without witnesses nothing here does anything.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from cli import clock
from ledger.errors import LedgerUnavailable, QuorumMissing
from ledger.publishing import check_witnesses, publish_cosigned
from ledger_client.witnesses import WitnessConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.ledger import Ledger

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
        self._stopping = threading.Event()
        self._faults: list[Exception] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def publish(self) -> None:
        """Publish what is due. *Raises*: QuorumMissing, LedgerUnavailable, LedgerCorrupt."""
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

    *Raises*: LedgerCorrupt where one is ahead of the log.
    """
    witnesses = WitnessConnection(timeout_seconds)
    publisher = Publisher(ledger, witnesses, disregarded)
    try:
        heard = check_witnesses(
            ledger, clock.now(), witnesses.ask, witnesses.hear, without=disregarded
        )
        for one in heard:
            if one.fault:
                click.echo(f"bcl: the witness {one.witness.name}: {one.fault}", err=True)
        yield publisher
    finally:
        publisher.stop()
        witnesses.close()
