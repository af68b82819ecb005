"""A single fine-tuning, watched from the driver."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ray.exceptions import RayError
from ray.train import TrainingFailedError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from craft_ray.config.documents import flatten
from craft_ray.config.run import RunConfig
from craft_ray.errors import RunFailedError, RunInterruptedError, last_words
from craft_ray.files.remote import Place
from craft_ray.jobs.experiment import Experiment, open_experiment
from craft_ray.jobs.fine_tuning import FineTuned, fine_tune
from craft_ray.jobs.job import TrainJob
from craft_ray.task.preparation import FewShotData

WORKER_FOLDER = "worker"


def run_training(
    config: RunConfig, data: FewShotData, folder: Place, console: Console
) -> dict[str, Any]:
    """Run or continue the fine-tuning of `folder`; returns its summary.

    Raises:
        UserError: see `open_experiment`.
        RunInterruptedError: the user stopped it; `--resume` continues.
        RunFailedError: the worker failed more often than it is replaced; `--resume` continues.
    """
    with open_experiment(config, data, folder, console) as experiment:
        return _train(experiment)


def _train(experiment: Experiment) -> dict[str, Any]:
    config, tracker, examiner = experiment.config, experiment.tracker, experiment.examiner
    key = experiment.folder.name
    zero_shot = examiner.validate(examiner.zero_shot)
    experiment.say(f"Zero-shot: {zero_shot.accuracy:.1%} on validation.")
    settings = config.model_dump(mode="json")
    tracker.open(key, key, flatten(settings))
    try:
        tuned = _fit(experiment)
    except KeyboardInterrupt as error:
        tracker.close(key, "KILLED")
        raise RunInterruptedError("stopped") from error
    except (TrainingFailedError, RayError) as error:
        tracker.close(key, "FAILED")
        message = f"the worker did not come to its end: {last_words(error)}"
        raise RunFailedError(message) from error
    selected = tuned.selected
    experiment.deliver(selected.classifier, key)
    zero_shot_test, test = examiner.test([examiner.zero_shot, selected.classifier])
    tracker.log(key, [{"generation": selected.generation, "test_accuracy": test.accuracy}])
    pool = experiment.report_pool(key)
    tracker.close(key, "FINISHED")
    results = {
        "zero_shot": {"validation": asdict(zero_shot), "test": asdict(zero_shot_test)},
        "tuned": {
            **asdict(selected.evidence),
            "test": asdict(test),
            "generation": selected.generation,
        },
        "pool": pool,
        "retried_chunks": tuned.retried_chunks,
    }
    return experiment.write_summary(results, tuned.spent + examiner.spent, settings)


def _fit(experiment: Experiment) -> FineTuned:
    """Run the worker and show its reports."""
    folder, console = experiment.folder, experiment.console
    job = TrainJob(experiment.config, experiment.prepared, experiment.pool)
    with Progress(
        TextColumn("generation {task.completed:.0f}/{task.total:.0f}"),
        BarColumn(bar_width=24),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        bar = progress.add_task("starting the worker", total=job.config.num_generations)

        def show(report: dict[str, Any]) -> None:
            experiment.tracker.log(folder.name, report["points"])
            progress.update(
                bar, completed=report["generation"], description=_describe(report, job.config)
            )

        return fine_tune(job, WORKER_FOLDER, folder, show)


def _describe(report: dict[str, Any], config: RunConfig) -> str:
    """Queries, fitness and validation of a report, in words."""
    last = report["points"][-1]
    fitness = f"fitness {last['fitness_best']:.3f}, " if "fitness_best" in last else ""
    return (
        f"{report['candidate_queries']:,}/{config.max_queries:,} queries, {fitness}"
        f"validation {last['val_accuracy']:.1%} (best {report['val_accuracy']:.1%})"
    )
