"""A progress bar on standard error, where there is somebody to see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

if TYPE_CHECKING:
    from collections.abc import Callable

ResultT = TypeVar("ResultT")


def show_progress(
    verb: str, run: Callable[[Callable[[int, int], None]], ResultT], talk: Console | None = None
) -> ResultT:
    """Run something that tells how many of how many it has done, and give its result."""
    talk = talk or Console(stderr=True)
    columns = (TextColumn(verb), BarColumn(), MofNCompleteColumn())
    unseen = not talk.is_terminal
    with Progress(*columns, console=talk, transient=True, disable=unseen) as progress:
        bar = progress.add_task(verb, total=None)
        return run(lambda done, of: progress.update(bar, completed=done, total=of))
