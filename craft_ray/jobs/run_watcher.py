"""Watches a single fine-tuning from the driver: a bar in a terminal, or lines without one, and the
tracker."""

from __future__ import annotations

import time
from typing import Self

from craft_ray.config.run import RunConfig
from craft_ray.jobs.bill import cost_of
from craft_ray.jobs.experiment import Experiment
from craft_ray.jobs.fine_tuning import FineTuning
from craft_ray.jobs.job import REPLAYED, JobEnd, Report
from craft_ray.jobs.live import outlook_bars, width_of_words
from craft_ray.jobs.outlook import JobProgress, Outlook
from craft_ray.jobs.pace import Pace
from craft_ray.metering.ledger import Spending
from craft_ray.metering.planned_spending import plan_run
from craft_ray.tracking.vocabulary import points_of

LOG_LINES, LOG_SECONDS = 20, 10.0
"""Without a terminal: at most so many lines of evaluations, and seconds between two of them."""
LINE_EVERY_S = 60.0
"""Of a line about how far it is, where there was no other."""


class RunWatcher:
    """A `Watcher` of one job.

    Args:
        experiment: what is running.
        config: of the run.
    """

    def __init__(self, experiment: Experiment, config: RunConfig) -> None:
        self._experiment = experiment
        self._config = config
        self._most_queries = plan_run(config, experiment.data.size).candidate_queries
        self._pace = Pace(LOG_LINES, LOG_SECONDS)
        self._bars = outlook_bars(experiment.console)
        self._bar = self._bars.add_task("starting the worker", total=config.num_generations)
        self._share_before: float | None = None
        self._started_s = self._said_s = time.monotonic()
        self._best: float | None = None
        self._has_result = False
        self.end: JobEnd | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def on_start(self, job: FineTuning) -> None:
        if not self._experiment.console.is_terminal:
            self._say(f"Tuning, at most {self._config.num_generations:,} generation(s) ...")

    def on_progress(self, job: FineTuning, progress: JobProgress) -> None:
        generation, queries = progress["generation"], progress["candidate_queries"]
        self._stop_if_overdue(job)
        outlook = self._show(generation, queries, progress["image_predictions"])
        is_due = time.monotonic() - self._said_s >= LINE_EVERY_S
        if is_due and not self._experiment.console.is_terminal:
            self._say(f"  {outlook}")

    def on_report(self, job: FineTuning, report: Report) -> None:
        points = points_of(report, self._config.num_generations)
        self._experiment.tracker.log(self._experiment.folder.name, points)
        self._best, self._has_result = known_accuracy(report), True
        self._stop_if_overdue(job)
        predictions = report.get("image_predictions", 0)  # earlier versions did not say it
        if report.get(REPLAYED):  # done before this process: it says nothing of its pace
            self._share_before = None
        self._show(report["generation"], report["candidate_queries"], predictions)
        if report["points"]:
            self._print(report)

    def on_end(self, job: FineTuning, end: JobEnd) -> None:
        self.end = end

    def _stop_if_overdue(self, job: FineTuning) -> None:
        """After the time limit what has been found so far is the result, if there is any."""
        left_s = self._experiment.seconds_left
        if left_s is not None and left_s <= 0 and self._has_result:
            self._experiment.slots.board.cancel.remote(job.id)

    def _show(self, generation: int, queries: int, predictions: int) -> Outlook:
        share = min(generation / self._config.num_generations, 1.0)
        if self._share_before is None:  # also what an earlier part has done, which comes first
            self._share_before, self._started_s = share, time.monotonic()
        experiment = self._experiment
        spent = experiment.examiner.spent + Spending(evaluation_predictions=predictions)
        outlook = Outlook(
            queries=queries,
            most_queries=self._most_queries,
            best=self._best,
            cost=cost_of(self._config, experiment.folder, spent),
            share=share,
            share_before=self._share_before,
            seconds=time.monotonic() - self._started_s,
        )
        width = width_of_words(self._experiment.console)
        self._bars.update(self._bar, completed=generation, description=outlook.within(width))
        return outlook

    def _print(self, report: Report) -> None:
        """A line, where there is no bar and one is due."""
        generation, total = report["generation"], self._config.num_generations
        is_last = report["outcome"] != "running"
        is_due = self._pace.is_due(generation / total) or is_last
        if is_due and not self._experiment.console.is_terminal:
            seconds = self._experiment.clock.total_s
            words = describe(report, self._most_queries)
            self._say(f"  generation {generation:,}/{total:,}, {words}, {seconds:.0f} s")

    def _say(self, line: str) -> None:
        self._said_s = time.monotonic()
        self._experiment.say(line)


def describe(report: Report, most_queries: int) -> str:
    """Queries, loss and what is known of the accuracy of a report, in words."""
    last = report["points"][-1]
    queries = loss = ""
    if most_queries:  # some methods ask none
        queries = f"{report['candidate_queries']:,}/{most_queries:,} queries, "
    if "fitness_best" in last:  # the paper's fitness is a loss
        loss = f"loss of the best candidate {last['fitness_best']:.3f}, "
    best = known_accuracy(report)
    if best is None:
        return f"{queries}{loss}not validated"
    if "val_accuracy" not in last:
        return f"{queries}{loss}held out {best:.1%}"
    return f"{queries}{loss}validation {last['val_accuracy']:.1%} (best {best:.1%})"


def known_accuracy(report: Report) -> float | None:
    """Of the state that would be returned: on validation, or without such images on training images
    that are held out; None where neither is known."""
    if report["val_accuracy"] is not None:
        return float(report["val_accuracy"])
    held_out = report.get("held_out")
    return None if held_out is None else float(held_out["accuracy"])
