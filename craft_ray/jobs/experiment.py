"""What a single run and a search have in common: tracker, slots, pool, prepared task, and the
end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from craft_ray.classifiers.about import About
from craft_ray.classifiers.artifact import RESULT_FOLDER, Artifact
from craft_ray.classifiers.classifier import TunedClassifier
from craft_ray.classifiers.earlier_prompt import earlier_prompt
from craft_ray.classifiers.examiner import Examiner
from craft_ray.classifiers.predictions import PREDICTIONS_FILE, PredictionLog
from craft_ray.classifiers.score import Score
from craft_ray.config.run import RunConfig
from craft_ray.files.folders import on_this_disk
from craft_ray.files.remote import Place
from craft_ray.files.whole_files import write_json
from craft_ray.jobs.bill import bill_of, cost_of
from craft_ray.jobs.cluster import slots_on_cluster
from craft_ray.jobs.driver_oracle import driver_oracle
from craft_ray.jobs.hosting import hosted_by
from craft_ray.jobs.live import waiting
from craft_ray.jobs.result import Scores, about_result
from craft_ray.jobs.run_clock import RunClock
from craft_ray.jobs.run_folder import SUMMARY_FILE
from craft_ray.jobs.run_model import check_model, keep_model
from craft_ray.jobs.run_report import REPORT_FILE, Curve, dispensable, write_run_report
from craft_ray.jobs.slots import Slots
from craft_ray.metering.ledger import Spending
from craft_ray.oracle.contract import OracleDescription
from craft_ray.oracle.remote.listening import nobody_listens
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.cluster import cluster_nodes
from craft_ray.pool.lifecycle import Keeper, starting_pool
from craft_ray.task.indistinct import indistinct_classes
from craft_ray.task.preparation import (
    FewShotData,
    classification_task,
    expect_training,
    prepare,
)
from craft_ray.task.prepared import PreparedTask
from craft_ray.task.provenance import data_summary, versions
from craft_ray.task.trained_on import TRAINING_IMAGES_FILE, write_training_images
from craft_ray.tracking import NullTracker, Tracker, make_tracker, tracking_folder
from craft_ray.tracking.base import STEP
from craft_ray.tracking.vocabulary import pool_metrics

STATS_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Experiment:
    """Everything that is running, and where its results go."""

    config: RunConfig
    data: FewShotData
    folder: Place
    console: Console
    tracker: Tracker
    slots: Slots
    pool: PoolAddress
    keeper: Keeper
    prepared: PreparedTask
    zero_shot: Score | None
    """On validation; None: there are no validation images."""
    examiner: Examiner
    clock: RunClock
    startup_s: float
    """Until tuning could begin."""

    @property
    def seconds_left(self) -> float | None:
        """Until no more is to be tuned; may be below zero. None: no limit."""
        limit = self.config.time_limit_s
        return None if limit is None else limit - self.clock.here_s

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def keep(self, classifier: TunedClassifier, about: About | None = None) -> Place:
        """Store the result as an artefact, whose folder is returned. Before the test images are
        asked about: who stops there has it."""
        task = classification_task(self.config, self.data)
        folder = self.folder / RESULT_FOLDER
        prepared = self.prepared
        ids = prepared.oracle_id, prepared.weights_id
        artifact = Artifact(
            classifier,
            task,
            *ids,
            self.config.oracle,
            about,
            prepared.logit_scale,
            self.data.dataset.decoding,
        )
        artifact.save(folder)
        return folder

    def deliver(
        self,
        classifier: TunedClassifier,
        key: str,
        config: RunConfig,
        scores: Scores,
        spent: Spending,
        verdict: str | None,
        findings: Mapping[str, Any] | None,
        method: str | None = None,
    ) -> None:
        """Store the result as an artefact with its card, also in the tracker's run `key`.

        Args:
            classifier: the result.
            key: of the tracker's run.
            config: of the fine-tuning that made it.
            scores: of it and of zero-shot.
            spent: by the whole run.
            verdict: what decided for it, if validation images did not.
            findings: of fitting the head, as a summary has them.
            method: what the run calls it, where it has a name of its own for it.
        """
        oracle = self.examiner.describe_oracle()
        cost = cost_of(self.config, self.folder, spent)
        if classifier.template is not None:
            self.say(f"The prompt that was found: {classifier.template}")
        name, data = self.folder.name, self.data
        about = about_result(name, config, data, oracle, scores, spent, cost, verdict)
        sentences = tuple((findings or {}).get("sentences", ()))
        about = about.model_copy(update={"findings": sentences, "method": method or about.method})
        with on_this_disk(self.keep(classifier, about)) as local:
            self.tracker.log_folder(key, local)

    def test(self, *classifiers: TunedClassifier) -> list[Score | None]:
        """Scores of zero-shot and of these on the test images; None of each where there are no test
        images. What is said of each image is stored in the run's folder."""
        dataset, num_images = self.data.dataset, self.data.size.num_test
        if not num_images:
            return [None] * (1 + len(classifiers))
        log = PredictionLog(dataset.scored_classes)
        with waiting(self.console, f"Testing on {num_images:,} images"):
            scores = self.examiner.test([self.examiner.zero_shot, *classifiers], log=log)
        with dispensable(self.folder / PREDICTIONS_FILE, self.say):
            log.predictions().save(self.folder / PREDICTIONS_FILE, dataset.class_names)
        return list(scores)

    def report_pool(self, key: str) -> dict[str, dict[str, float]]:
        """What each replica has done, also in the tracker's run `key`. A replica that was restarted
        tells of its time since then."""
        stats = self.keeper.stats(STATS_TIMEOUT_S)
        report = {seat: {**asdict(s), "utilisation": s.utilisation} for seat, s in stats.items()}
        if stats:
            entries = stats.values()
            totals = {
                "pool_utilisation": sum(entry.utilisation for entry in entries) / len(stats),
                "pool_candidates": float(sum(entry.candidates for entry in entries)),
                "pool_images_encoded": float(sum(entry.images_encoded for entry in entries)),
            }
            self.tracker.log(key, [{STEP: 0, **pool_metrics(totals)}])
        return report

    def write_summary(
        self,
        results: dict[str, Any],
        spent: Spending,
        settings: dict[str, Any],
        curves: Mapping[int, Curve],
    ) -> dict[str, Any]:
        """Complete the results with what made them, and store them: the run is then finished. The
        page about it is written from the same, and from the curve of each trial."""
        bill = bill_of(self.config, self.folder)
        summary = {
            "name": self.folder.name,
            **results,
            "ledger": spent.as_dict(),
            "cost": cost_of(self.config, self.folder, spent),
            "bill": None if bill is None else bill.as_dict(),
            "seconds": round(self.clock.total_s, 3),
            "startup_seconds": round(self.startup_s, 3),
            "data": data_summary(self.data),
            "oracle_id": self.prepared.oracle_id,
            "temperature": self.prepared.temperature and asdict(self.prepared.temperature),
            "versions": versions(),
            "settings": settings,
        }
        with dispensable(self.folder / TRAINING_IMAGES_FILE, self.say):
            write_training_images(self.folder, self.data.train)
        write_json(self.folder / SUMMARY_FILE, summary)
        with dispensable(self.folder / REPORT_FILE, self.say):
            write_run_report(self.folder, summary, curves, self.data.dataset)
        return summary


@contextmanager
def open_experiment(
    config: RunConfig,
    data: FewShotData,
    folder: Place,
    console: Console,
    *,
    max_jobs: int = 1,
    cpus_beside: float = 0.0,
    may_go_on: bool = False,
    first: RunConfig | None = None,
) -> Iterator[Experiment]:
    """Start pool, tracker and slots on the Ray that is connected, register the task and validate
    zero-shot, where there are validation images; end what was started.

    Args:
        config: of the run, or the base of a search.
        data: its images.
        folder: of the run.
        console: where to print.
        max_jobs: fine-tunings at a time, if so many fit.
        cpus_beside: what each of them takes beside its slot.
        may_go_on: the run may be given more to do when it is finished.
        first: of the fine-tuning that comes first, for its images to be encoded meanwhile; None:
            its answers may be on record already.

    Raises:
        UserError: tracking or the cluster does not answer, not one job fits into it, the model
            cannot be loaded or is not the one that the run began with, or a node that can run a job
            does not see `folder`.
    """
    clock = RunClock(folder)
    tracker: Tracker = NullTracker()
    try:
        with ExitStack() as stack:
            slots = slots_on_cluster(config, folder, max_jobs, cpus_beside)
            nodes = cluster_nodes()
            factory, size, words = hosted_by(config, folder, nodes)

            def say(text: str) -> None:
                console.print(text, highlight=False, markup=False, soft_wrap=True)

            def start_tracker() -> Tracker:
                return make_tracker(config.mlflow, tracking_folder(folder.parent), say)

            with waiting(console, f"Starting {words}"):
                if (warning := nobody_listens(config.oracle)) is not None:
                    say(warning)
                if size.max_replicas is not None:  # before nodes are asked for, which cost money
                    tracker = start_tracker()
                pool = stack.enter_context(starting_pool(folder.name, factory, config.pool, size))
                if size.max_replicas is None:  # while replicas load the model
                    tracker = start_tracker()
                stack.enter_context(slots)
                pool.keeper.wait_until_ready()
            oracle = stack.enter_context(
                driver_oracle(config, pool.address, folder, may_go_on=may_go_on)
            )
            check_model(folder, oracle.describe())
            for note in oracle.describe().notes:
                console.print(note, highlight=False, markup=False, soft_wrap=True)
            with waiting(console, "Asking zero-shot" if data.validation else "Sending the images"):
                task = classification_task(config, data)
                start = earlier_prompt(config, task, oracle.describe())
                prepared = prepare(config, data, oracle, start)
                examiner = Examiner(oracle, prepared, data)
                prepared, zero_shot = examiner.validate_zero_shot()
                keep_model(folder, oracle.describe())
                if first is not None:
                    expect_training(first, prepared, oracle)
            if (warning := _indistinct(prepared, oracle.describe())) is not None:
                console.print(warning, highlight=False, markup=False, soft_wrap=True)
            if prepared.temperature is not None:
                words = prepared.temperature.describe()
                console.print(words, highlight=False, markup=False, soft_wrap=True)
            try:
                yield Experiment(
                    config=config,
                    data=data,
                    folder=folder,
                    console=console,
                    tracker=tracker,
                    slots=slots,
                    pool=pool.address,
                    keeper=pool.keeper,
                    prepared=prepared,
                    zero_shot=zero_shot,
                    examiner=examiner,
                    clock=clock,
                    startup_s=clock.here_s,
                )
            finally:  # not of a run that never began, whose folder is to go
                clock.store_if_possible()
    finally:
        tracker.shutdown()


def _indistinct(prepared: PreparedTask, description: OracleDescription) -> str | None:
    zero_shot_NC = prepared.zero_shot_NC
    if zero_shot_NC is None:
        return None
    return indistinct_classes(zero_shot_NC, prepared.class_names, description)
