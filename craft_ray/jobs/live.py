"""What is on the screen while somebody waits: what is waited for, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextmanager
def waiting(console: Console, what: str) -> Iterator[None]:
    """Around something that takes its time: a line, and in a terminal a clock."""
    console.print(f"{what} ...", highlight=False, markup=False, soft_wrap=True)
    clock = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with clock:
        clock.add_task(what)
        yield
