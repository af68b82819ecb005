"""What a search shows while its trials go on: a bar of all and one of each in a terminal; without
one a line about all of it, a minute after the last line."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.progress import TaskID

from craft_ray.jobs.live import outlook_bars, width_of_words
from craft_ray.jobs.outlook import JobProgress, Outlook
from craft_ray.metering.ledger import Spending

LOOK_EVERY_S = 1.0
LINE_EVERY_S = 60.0


class SearchDisplay:
    """Knows where the trials stand.

    Args:
        console: where to print.
        num_trials: that there may be.
        num_known: of them that had ended before this process.
        most_queries: that all of them may spend.
        progress: asks the jobs how far they are, by trial number; may raise.
        cost_of: what all costs when the trials of this process have asked for so many image
            predictions; None: no price.
        clock: seconds from any start.
    """

    def __init__(
        self,
        console: Console,
        num_trials: int,
        num_known: int,
        most_queries: int,
        progress: Callable[[], Mapping[str, JobProgress]],
        cost_of: Callable[[int], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._num_trials = num_trials
        self._most_queries = most_queries
        self._ask_progress = progress
        self._cost_of = cost_of
        self._clock = clock
        self._started_s = self._said_s = clock()
        self._share_before = num_known / num_trials
        self._bars = outlook_bars(console)
        self._all = self._bars.add_task("starting the first trial", total=1.0)
        self._trials: dict[int, _Trial] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._keep_looking, name="search-display", daemon=True
        )

    def __enter__(self) -> Self:
        self._bars.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Before Ray ends: whoever asks it afterwards ends the process.
        self._stop.set()
        self._thread.join()
        self._bars.stop()

    def say(self, line: str) -> None:
        """Print a line above the bars, as it is."""
        self._said_s = self._clock()
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def begin(self, number: int, most: Spending, *, is_shown: bool = True) -> None:
        """A trial runs, which may spend so much; one that is not shown had ended before."""
        with self._lock:
            if number not in self._trials:
                row = self._bars.add_task("", total=1.0) if is_shown else None
                self._trials[number] = _Trial(number, most, row)
        self._show()

    def move(
        self,
        number: int,
        queries: int,
        predictions: int,
        accuracy: float,
        *,
        on: str = "validation",
        is_replayed: bool = False,
    ) -> None:
        """A trial was validated, or judged on images held out: its best accuracy so far. What is
        replayed was done before this process, and says nothing of its pace."""
        with self._lock:
            if (trial := self._trials.get(number)) is not None:
                share = trial.share
                trial.move(queries, predictions)
                trial.accuracy, trial.on = accuracy, on
                if is_replayed and trial.row is not None:
                    self._share_before += (trial.share - share) / self._num_trials
        self._show()

    def end(self, number: int) -> None:
        """A trial has ended."""
        with self._lock:
            if (trial := self._trials.get(number)) is not None:
                trial.has_ended = True
                if trial.row is not None:
                    self._bars.remove_task(trial.row)
                    trial.row = None
        self._show()

    @property
    def outlook(self) -> Outlook:
        """Where all of it stands."""
        with self._lock:
            trials = list(self._trials.values())
            predictions = sum(trial.predictions for trial in trials)
            accuracies = [trial.accuracy for trial in trials if trial.accuracy is not None]
            return Outlook(
                queries=sum(trial.queries for trial in trials),
                most_queries=self._most_queries,
                best=max(accuracies, default=None),
                cost=None if self._cost_of is None else self._cost_of(predictions),
                share=min(sum(trial.share for trial in trials) / self._num_trials, 1.0),
                share_before=self._share_before,
                seconds=self._clock() - self._started_s,
                trials=sum(trial.has_ended for trial in trials),
                num_trials=self._num_trials,
            )

    def _show(self) -> None:
        outlook = self.outlook
        if self._trials:
            words = outlook.within(width_of_words(self._console))
            self._bars.update(self._all, completed=outlook.share, description=words)
        with self._lock:
            for trial in self._trials.values():
                if trial.row is not None:
                    self._bars.update(trial.row, completed=trial.share, description=str(trial))

    def look(self) -> None:
        """Ask the jobs how far they are, and show it."""
        try:
            found = self._ask_progress()
        except Exception:  # what is shown is no reason to end a search
            found = {}
        with self._lock:
            for name, progress in found.items():
                if (trial := self._trials.get(int(name))) is not None and not trial.has_ended:
                    trial.move(progress["candidate_queries"], progress["image_predictions"])
        self._show()
        is_due = self._clock() - self._said_s >= LINE_EVERY_S
        if is_due and not self._console.is_terminal and self._trials:
            self.say(f"  {self.outlook}")

    def _keep_looking(self) -> None:
        """In a thread of its own: what is shown moves between two reports, too."""
        while not self._stop.wait(LOOK_EVERY_S):
            self.look()


@dataclass
class _Trial:
    """One of them, as it is shown."""

    number: int
    most: Spending
    row: TaskID | None
    queries: int = 0
    predictions: int = 0
    accuracy: float | None = None
    on: str = "validation"
    has_ended: bool = False

    def move(self, queries: int, predictions: int) -> None:
        """What it has spent; what is told late does not take it back."""
        self.queries = max(queries, self.queries)
        self.predictions = max(predictions, self.predictions)

    @property
    def share(self) -> float:
        """Of its work that is done: by queries, or by predictions where none is asked."""
        done, most, _ = self._progress
        return 1.0 if self.has_ended else min(done / most, 1.0)

    @property
    def _progress(self) -> tuple[int, int, str]:
        if queries := self.most.candidate_queries:
            return self.queries, queries, "queries"
        return self.predictions, max(self.most.image_predictions, 1), "predictions"

    def __str__(self) -> str:
        done, most, unit = self._progress
        if self.accuracy is None and not done:
            return f"trial {self.number}: starting"
        validation = "" if self.accuracy is None else f", {self.on} {self.accuracy:.1%}"
        return f"trial {self.number}: {done:,}/{most:,} {unit}{validation}"
