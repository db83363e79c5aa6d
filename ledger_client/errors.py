"""What can go wrong in an exchange with a ledger, apart from what its pure modules refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledger.errors import Fault


class ExchangeError(Exception):
    """An exchange with the ledger didn't give what was asked for."""


class Unreachable(ExchangeError):
    """The ledger gave no answer, or said that it can't serve now; the same call may succeed."""


class InvalidAnswer(ExchangeError):
    """The ledger answered what its published interface never answers; nothing of it is used."""


class Refused(ExchangeError):
    """The ledger refused. `code` is the contract (docs/errors.md), `detail` a sentence.

    *Shape*: `faults` name the members of a body that broke a rule.
    """

    def __init__(self, status: int, code: str, detail: str, faults: tuple[Fault, ...] = ()) -> None:
        """Keep what the answer said."""
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.faults = faults


class MissingExtra(Exception):
    """What was asked for stands on an extra of the distribution that isn't installed."""


class Uninspectable(Exception):
    """A file can't be inspected. `code` is a word of docs/errors.md; the sentence quotes nothing.

    It says nothing of whether the file is forged: broken files come from honest people too.
    """

    def __init__(self, code: str, detail: str) -> None:
        """Keep which limit or expectation the file broke."""
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
