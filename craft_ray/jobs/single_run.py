"""A single fine-tuning: set up, train in a slot, examine, write what was found."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import ray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from craft_ray.config.run import RunConfig
from craft_ray.errors import RunFailedError, UserError
from craft_ray.files.remote import Place
from craft_ray.jobs.experiment import Experiment, open_experiment
from craft_ray.jobs.fine_tuning import FineTuning
from craft_ray.jobs.job import JobEnd, Report
from craft_ray.jobs.pace import Pace
from craft_ray.jobs.record import (
    data_inputs,
    describe_result,
    harmless,
    record_end,
    record_model,
    run_params,
    run_tags,
)
from craft_ray.jobs.tuning import Tuned, read_selected, read_tuned
from craft_ray.task.preparation import FewShotData
from craft_ray.tracking import tracked
from craft_ray.tracking.base import STEP
from craft_ray.tracking.vocabulary import points_of, score_metrics, step_of

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
        tags, name = run_tags("train", config, data.dataset.name), folder.name
        with tracked(experiment.tracker, name, name, run_params(config), tags):
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
    experiment.deliver(selected.classifier, key)
    zero_shot_test, test = experiment.test(selected.classifier)
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
        },
        "pool": pool,
        "retried_chunks": tuned.retried_chunks,
    }
    spent = tuned.spent + experiment.examiner.spent
    summary = experiment.write_summary(results, spent, settings)
    with harmless():
        _record(experiment, summary, tuned)
    return summary


def _record(experiment: Experiment, summary: dict[str, Any], tuned: Tuned) -> None:
    """Tell MLflow what was found, after the summary is written."""
    tracker, config, folder = experiment.tracker, experiment.config, experiment.folder
    found, before, last = summary["tuned"], summary["zero_shot"], tuned.last
    step = 0 if last is None else step_of(last["candidate_queries"], last["generation"])
    scores = {
        **score_metrics("val", found["validation"]),
        **score_metrics("held_out", found["held_out"]),
        **score_metrics("test", found["test"]),
        **score_metrics("zero_shot", before["validation"]),
        **score_metrics("zero_shot_test", before["test"]),
    }
    tracker.log(folder.name, [{STEP: step, **scores}])
    contexts = ("training", "validation", "test")
    tracker.log_inputs(folder.name, [data_inputs(config, experiment.data, c) for c in contexts])
    note = describe_result(summary, found["test"], "", config)
    tracker.tag(folder.name, {"mlflow.note.content": note})
    record_end(tracker, folder.name, folder, summary, config, step)
    names = experiment.prepared.class_names
    record_model(tracker, folder.name, folder, names, scores, config)


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
        self._experiment.tracker.log(self._experiment.folder.name, points_of(report))
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
