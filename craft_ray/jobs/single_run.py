"""A single fine-tuning: set up, train in a slot, examine, write what was found."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import ray
from rich.console import Console

from craft_ray.classifiers.evidence import Evidence
from craft_ray.classifiers.score import Score
from craft_ray.classifiers.verdict import judged_by
from craft_ray.config.run import RunConfig
from craft_ray.errors import RunFailedError, UserError
from craft_ray.files.remote import Place
from craft_ray.jobs.experiment import Experiment, open_experiment
from craft_ray.jobs.fine_tuning import FineTuning
from craft_ray.jobs.job import JobEnd
from craft_ray.jobs.record import (
    all_inputs,
    describe_result,
    harmless,
    record_end,
    record_model,
    run_params,
    run_tags,
)
from craft_ray.jobs.result import Scores, verdict_on
from craft_ray.jobs.run_watcher import RunWatcher
from craft_ray.jobs.tuned import Tuned, read_selected, read_tuned
from craft_ray.task.preparation import FewShotData
from craft_ray.tracking import tracked
from craft_ray.tracking.base import STEP
from craft_ray.tracking.vocabulary import score_metrics, step_of

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
        if experiment.zero_shot is not None:
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
    findings = tell_findings(experiment, tuned)
    experiment.keep(selected.classifier)
    zero_shot_test, test = experiment.test(selected.classifier)
    spent = tuned.spent + experiment.examiner.spent
    evidence = selected.evidence
    words = verdict_on(config, experiment.data, evidence, selected.generation, tuned.findings)
    scores = Scores(experiment.zero_shot, evidence, zero_shot_test, test)
    experiment.deliver(selected.classifier, key, config, scores, spent, words, findings)
    pool = experiment.report_pool(key)
    results = {
        "zero_shot": {
            **zero_shot_scores(experiment.zero_shot, evidence),
            "test": zero_shot_test and asdict(zero_shot_test),
        },
        "tuned": {
            "validation": evidence.validation and asdict(evidence.validation),
            "held_out": evidence.held_out and asdict(evidence.held_out),
            "right": evidence.right,
            "judged_by": judged_by(evidence),
            "verdict": words,
            "test": test and asdict(test),
            "generation": selected.generation,
            "predictions_per_image": selected.classifier.predictions_per_image,
            "template": selected.classifier.template,
            "head": findings,
        },
        "pool": pool,
        "retried_chunks": tuned.retried_chunks,
    }
    summary = experiment.write_summary(results, spent, settings, {1: tuned.curve})
    if config.mlflow.enabled:  # images are read for it
        with harmless():
            _record(experiment, summary, tuned)
    return summary


def zero_shot_scores(validation: Score | None, evidence: Evidence | None) -> dict[str, Any]:
    """Of the untouched model for a summary: on validation, and on the training images by which the
    result was compared with it."""
    held_out = None if evidence is None else evidence.zero_shot_held_out
    return {
        "validation": validation and asdict(validation),
        "held_out": held_out and asdict(held_out),
    }


def tell_findings(experiment: Experiment, tuned: Tuned) -> dict[str, Any] | None:
    """Say what fitting the head found out, and give it for the summary."""
    if tuned.findings is None:
        return None
    sentences = tuned.findings.sentences(experiment.prepared.class_names)
    for sentence in sentences:
        experiment.say(sentence)
    return {**tuned.findings.as_dict(), "sentences": sentences}


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
        **score_metrics("zero_shot_held_out", before["held_out"]),
        **score_metrics("zero_shot_test", before["test"]),
    }
    tracker.log(folder.name, [{STEP: step, **scores}])
    tracker.log_inputs(folder.name, all_inputs(config, experiment.data))
    note = describe_result(summary, found, "", config)
    tracker.tag(folder.name, {"mlflow.note.content": note})
    record_end(tracker, folder.name, folder, summary, config, step)
    names = experiment.prepared.class_names
    record_model(tracker, folder.name, folder, names, scores, config)


def _fit(experiment: Experiment, job: FineTuning) -> JobEnd:
    """Have the job done, and show how far it is."""
    watcher = RunWatcher(experiment, job.config)
    with watcher:
        experiment.slots.run([job], watcher)
    assert watcher.end is not None
    return watcher.end
