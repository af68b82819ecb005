"""A single fine-tuning: set up, train in a slot, examine, write what was found."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import ray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from craft_ray.config.documents import flatten
from craft_ray.config.run import RunConfig
from craft_ray.errors import RunFailedError, UserError
from craft_ray.files.remote import Place
from craft_ray.jobs.experiment import Experiment, open_experiment
from craft_ray.jobs.fine_tuning import FineTuning
from craft_ray.jobs.job import JobEnd, Report
from craft_ray.jobs.pace import Pace
from craft_ray.jobs.result import Scores
from craft_ray.jobs.tuning import read_selected, read_tuned
from craft_ray.task.preparation import FewShotData
from craft_ray.tracking import tracked

WORKER_FOLDER = "worker"
LOG_LINES, LOG_SECONDS = 20, 10.0
"""Without a terminal: at most so many lines of progress, and seconds between two of them."""


def run_training(
    config: RunConfig, data: FewShotData, folder: Place, console: Console
) -> dict[str, Any]:
    """Run or continue the fine-tuning of `folder`; returns its summary.

    Raises:
        UserError: see `open_experiment`.
        KeyboardInterrupt: the user stopped it; `--resume` continues.
        RunFailedError: the worker failed more often than it is replaced; `--resume` continues.
    """
    first = None if (folder / WORKER_FOLDER).exists() else config
    with open_experiment(config, data, folder, console, first=first) as experiment:
        experiment.say(f"Zero-shot: {experiment.zero_shot.accuracy:.1%} on validation.")
        settings = config.model_dump(mode="json")
        with tracked(experiment.tracker, folder.name, folder.name, flatten(settings)):
            return _train(experiment, settings)


def _train(experiment: Experiment, settings: dict[str, Any]) -> dict[str, Any]:
    config, key = experiment.config, experiment.folder.name
    job = FineTuning(
        name=WORKER_FOLDER,
        config=config,
        prepared=ray.put(experiment.prepared),
        pool=experiment.pool,
        place=experiment.folder / WORKER_FOLDER,
    )
    end = _fit(experiment, job)
    if end.error is not None:
        if end.is_users:
            raise UserError(end.error)
        raise RunFailedError(f"the worker did not come to its end: {end.error}")
    tuned, selected = read_tuned(job.folder), read_selected(job.folder)
    experiment.keep(selected.classifier)
    zero_shot_test, test = experiment.test(selected.classifier)
    spent = tuned.spent + experiment.examiner.spent
    scores = Scores(experiment.zero_shot, selected.validation, zero_shot_test, test)
    experiment.deliver(selected.classifier, key, config, scores, spent)
    accuracy = {"generation": selected.generation, "test_accuracy": test.accuracy}
    experiment.tracker.log(key, [accuracy])
    pool = experiment.report_pool(key)
    results = {
        "zero_shot": {
            "validation": asdict(experiment.zero_shot),
            "test": asdict(zero_shot_test),
        },
        "tuned": {
            **asdict(selected.evidence),
            "test": asdict(test),
            "generation": selected.generation,
            "predictions_per_image": len(selected.classifier.asked_contexts()),
        },
        "pool": pool,
        "retried_chunks": tuned.retried_chunks,
    }
    return experiment.write_summary(results, spent, settings, {1: tuned.curve})


def _fit(experiment: Experiment, job: FineTuning) -> JobEnd:
    """Have the job done, and show its reports."""
    columns = (
        TextColumn("generation {task.completed:.0f}/{task.total:.0f}"),
        BarColumn(bar_width=16),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    console = experiment.console
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        watcher = _Watcher(experiment, progress)
        experiment.slots.run([job], watcher)
    assert watcher.end is not None
    return watcher.end


class _Watcher:
    """Passes reports on to the tracker, and to the bar or, without a terminal, to lines."""

    def __init__(self, experiment: Experiment, progress: Progress) -> None:
        self._experiment = experiment
        self._progress = progress
        self._pace = Pace(LOG_LINES, LOG_SECONDS)
        self.end: JobEnd | None = None

    def on_start(self, job: FineTuning) -> None:
        total = job.config.num_generations
        if not self._experiment.console.is_terminal:
            self._experiment.say(f"Tuning, at most {total:,} generation(s) ...")
        self._bar = self._progress.add_task("starting the worker", total=total)

    def on_report(self, job: FineTuning, report: Report) -> None:
        self._experiment.tracker.log(self._experiment.folder.name, report["points"])
        left_s = self._experiment.seconds_left
        if left_s is not None and left_s <= 0:  # what has been found so far is the result
            self._experiment.slots.board.cancel.remote(job.id)
        if report["points"]:
            words = _describe(report, job.config)
            self._progress.update(self._bar, completed=report["generation"], description=words)
            total, is_last = job.config.num_generations, report["outcome"] != "running"
            is_due = self._pace.is_due(report["generation"] / total) or is_last
            if is_due and not self._experiment.console.is_terminal:
                seconds = time.monotonic() - self._experiment.started_s
                self._experiment.say(
                    f"  generation {report['generation']:,}/{total:,}, {words}, {seconds:.0f} s"
                )

    def on_end(self, job: FineTuning, end: JobEnd) -> None:
        self.end = end


def _describe(report: Report, config: RunConfig) -> str:
    """Queries, fitness and validation of a report, in words."""
    last = report["points"][-1]
    fitness = f"fitness {last['fitness_best']:.3f}, " if "fitness_best" in last else ""
    return (
        f"{report['candidate_queries']:,}/{config.max_queries:,} queries, {fitness}"
        f"validation {last['val_accuracy']:.1%} (best {report['val_accuracy']:.1%})"
    )
