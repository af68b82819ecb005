"""A single fine-tuning, watched from the driver."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray.train import Checkpoint, Result
from ray.train.v2.api.callback import UserCallback
from ray.util.queue import Empty, Queue
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from craft_ray.config.documents import flatten
from craft_ray.config.run import RunConfig
from craft_ray.errors import RunInterruptedError
from craft_ray.files import write_json
from craft_ray.pool.lifecycle import decide_size
from craft_ray.ray_session import ray_session
from craft_ray.run_folder import SUMMARY_FILE
from craft_ray.tracking import Tracker, make_tracker
from craft_ray.training.experiment import (
    Examiner,
    Experiment,
    artifact_of,
    data_summary,
    open_experiment,
    versions,
)
from craft_ray.training.job import TrainJob, make_trainer
from craft_ray.training.ledger import Spending
from craft_ray.training.loop import Selected
from craft_ray.training.preparation import FewShotData
from craft_ray.training.state import load_state

WORKER_FOLDER = "worker"
RESULT_FOLDER = "best"


class ReportsToQueue(UserCallback):
    """Sends each report of the worker to the driver; runs in Ray Train's controller."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None
    ) -> None:
        """See `UserCallback`."""
        self._queue.put(metrics[0])


def run_training(
    config: RunConfig, data: FewShotData, folder: Path, console: Console
) -> dict[str, Any]:
    """Run or continue the fine-tuning of `folder`; returns its summary.

    Raises:
        UserError: tracking or the cluster does not answer, or the model cannot be loaded.
        RunInterruptedError: the user stopped it; `--resume` continues.
    """
    started = time.monotonic()
    tracker = make_tracker(config.mlflow, folder.parent)
    try:
        with ray_session(config.ray) as session:
            size = decide_size(config.pool, session.resources)
            console.print(
                f"Starting {size.replicas} oracle replica(s) of {config.oracle.model} on "
                f"{size.device} ...",
                highlight=False,
            )
            with open_experiment(config, data, size, folder.name) as experiment:
                summary = _train(config, data, folder, console, tracker, experiment)
        summary["seconds"] = round(time.monotonic() - started, 3)
        write_json(folder / SUMMARY_FILE, summary)
        return summary
    finally:
        tracker.shutdown()


def _train(
    config: RunConfig,
    data: FewShotData,
    folder: Path,
    console: Console,
    tracker: Tracker,
    experiment: Experiment,
) -> dict[str, Any]:
    examiner = Examiner(experiment, data)
    zero_shot = examiner.validate(examiner.zero_shot)
    console.print(f"Zero-shot: {zero_shot.accuracy:.1%} on validation.", highlight=False)
    tracker.open(folder.name, folder.name, flatten(config.model_dump(mode="json")))
    job = TrainJob(config, experiment.prepared, experiment.pool)
    try:
        result = _fit(job, folder, console, tracker)
    except KeyboardInterrupt as error:
        tracker.close(folder.name, "KILLED")
        raise RunInterruptedError("stopped") from error
    assert result.checkpoint is not None  # the last generation always reports one
    state = load_state(Path(result.checkpoint.path))
    selected = Selected.from_state(state)
    artifact = artifact_of(selected.classifier, config, data, experiment.prepared.oracle_id)
    artifact.save(folder / RESULT_FOLDER)
    tests = {
        "zero_shot": examiner.test(examiner.zero_shot),
        "tuned": examiner.test(selected.classifier),
    }
    tracker.log_folder(folder.name, folder / RESULT_FOLDER)
    tracker.log(
        folder.name,
        [{"generation": selected.generation, "test_accuracy": tests["tuned"].accuracy}],
    )
    tracker.close(folder.name, "FINISHED")
    return {
        "name": folder.name,
        "zero_shot": {"validation": asdict(zero_shot), "test": asdict(tests["zero_shot"])},
        "tuned": {
            "validation": asdict(selected.validation),
            "test": asdict(tests["tuned"]),
            "generation": selected.generation,
        },
        "ledger": (Spending.from_dict(state.values["spent"]) + examiner.spent).as_dict(),
        "data": data_summary(data),
        "oracle_id": experiment.prepared.oracle_id,
        "versions": versions(),
        "settings": config.model_dump(mode="json"),
    }


def _fit(job: TrainJob, folder: Path, console: Console, tracker: Tracker) -> Result:
    """Run the worker in a thread, so that this one can show reports and hear Ctrl-C."""
    queue = Queue(actor_options={"num_cpus": 0})
    trainer = make_trainer(job, WORKER_FOLDER, folder, [ReportsToQueue(queue)])
    future: Future[Result] = Future()

    def fit() -> None:
        try:
            future.set_result(trainer.fit())
        except BaseException as error:  # whatever it is, the other thread raises it
            future.set_exception(error)

    threading.Thread(target=fit, daemon=True).start()
    with Progress(
        TextColumn("generation {task.completed:.0f}/{task.total:.0f}"),
        BarColumn(bar_width=24),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        bar = progress.add_task("starting the worker", total=job.config.num_generations)
        done = False
        while not done:
            done = future.done()  # looked at before the queue, so that no last report is missed
            for report in _reports(queue, wait_s=0.0 if done else 0.2):
                tracker.log(folder.name, report["points"])
                progress.update(
                    bar, completed=report["generation"], description=_describe(report, job.config)
                )
    queue.shutdown()
    return future.result()


def _reports(queue: Queue, wait_s: float) -> Iterator[dict[str, Any]]:
    try:
        yield queue.get(timeout=wait_s)
        while True:
            yield queue.get_nowait()
    except Empty:
        return


def _describe(report: dict[str, Any], config: RunConfig) -> str:
    """Queries, fitness and validation of a report, in words."""
    last = report["points"][-1]
    fitness = f"fitness {last['fitness_best']:.3f}, " if "fitness_best" in last else ""
    return (
        f"{report['candidate_queries']:,}/{config.max_queries:,} queries, {fitness}"
        f"validation {last['val_accuracy']:.1%} (best {report['val_accuracy']:.1%})"
    )
