"""A bar for commands that go through all images of a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def image_progress(console: Console, verb: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar over `total` images on a terminal, nothing elsewhere; the yielded function moves it."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        bar = progress.add_task(verb, total=total)
        yield lambda count: progress.advance(bar, count)
