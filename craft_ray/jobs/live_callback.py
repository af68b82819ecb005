"""What the monitors of trials and of cells have in common."""

from __future__ import annotations

from typing import Self

from ray.tune import Callback
from rich.console import Console
from rich.progress import Progress, ProgressColumn


class LiveCallback(Callback):
    """Tune's callback with a progress bar in a terminal, and none elsewhere.

    Args:
        console: where to print.
        columns: of the bar.
    """

    def __init__(self, console: Console, *columns: ProgressColumn) -> None:
        self._console = console
        self._progress = Progress(*columns, console=console, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        """Print a line above the bar, as it is."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    # Tune stores its callbacks with the experiment, and what is live here (a terminal, a database
    # connection) cannot be stored: a placeholder is.
    def __reduce__(self) -> tuple[type[Callback], tuple[()]]:
        return (Callback, ())
