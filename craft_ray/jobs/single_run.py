"""A single fine-tuning: set up, train in a slot, examine, write what was found."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import ray
from rich.console import Console

from craft_ray.config.documents import flatten
from craft_ray.config.run import RunConfig
from craft_ray.errors import RunFailedError, UserError
from craft_ray.files.remote import Place
from craft_ray.jobs.experiment import Experiment, open_experiment
from craft_ray.jobs.fine_tuning import FineTuning
from craft_ray.jobs.job import JobEnd
from craft_ray.jobs.result import Scores
from craft_ray.jobs.run_watcher import RunWatcher
from craft_ray.jobs.tuning import read_selected, read_tuned
from craft_ray.task.preparation import FewShotData
from craft_ray.tracking import tracked

WORKER_FOLDER = "worker"


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
    """Have the job done, and show how far it is."""
    watcher = RunWatcher(experiment, job.config)
    with watcher:
        experiment.slots.run([job], watcher)
    assert watcher.end is not None
    return watcher.end
