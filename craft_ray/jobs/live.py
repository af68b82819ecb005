"""What is on the screen while somebody waits: what is waited for, for how long, how far it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column

BAR_WIDTH = 6


@contextmanager
def waiting(console: Console, what: str) -> Iterator[None]:
    """Around something that takes its time: a line, and in a terminal a clock."""
    console.print(f"{what} ...", highlight=False, markup=False, soft_wrap=True)
    clock = Progress(
        SpinnerColumn(spinner(console)),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with clock:
        clock.add_task(what)
        yield


def spinner(console: Console) -> str:
    """Of characters that the terminal can show."""
    return "dots" if console.encoding.startswith("utf") else "line"


def outlook_bars(console: Console) -> Progress:
    """Bars, each with a line that is cut where the window ends; none without a terminal."""
    words = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    return Progress(
        SpinnerColumn(spinner(console)),
        BarColumn(bar_width=BAR_WIDTH),
        TextColumn("{task.description}", markup=False, table_column=words),
        console=console,
        transient=True,
        expand=True,
        disable=not console.is_terminal,
    )


def width_of_words(console: Console) -> int:
    """Columns that a bar leaves."""
    return console.width - BAR_WIDTH - 3
