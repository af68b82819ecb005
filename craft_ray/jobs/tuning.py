"""A fine-tuning from its first generation, or its last state, to its end.

Runs in a slot's worker. After each evaluation a state is saved, and then reported: a successor of
this worker repeats what was reported, as whoever waited for it may have died as well. On an object
store states are saved less often, and a successor goes through what was reported since again.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, fields

from craft_ray.classifiers.score import Score
from craft_ray.config.run import RunConfig
from craft_ray.errors import MoneySpentError
from craft_ray.files.remote import Place, RemotePath
from craft_ray.jobs.job import (
    POINTS,
    REPORTS,
    STATES_FOLDER,
    JobStoppedError,
    Outcome,
    Report,
    Reporter,
    repeated,
)
from craft_ray.jobs.tuned import Tuned
from craft_ray.metering.answer_cache import open_answer_cache
from craft_ray.metering.journal import Journal
from craft_ray.metering.journal_sqlite import digest_of_question
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.arithmetic import last_bits
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.client import PoolOracle
from craft_ray.task.prepared import PreparedTask
from craft_ray.tuners.base import GenerationReport, Trainer
from craft_ray.tuners.registry import make_trainer
from craft_ray.tuners.state import TrainerState, keep_state, load_newest_state

SUBJECT, LAST_BITS = "subject", "last_bits"
"""Of a state: what was asked about, and `last_bits` of the machine that asked."""
SEVERAL = "several"
"""In place of `last_bits`: what is on record after the state may be of any machine. Said of all
states from the first change of machine on, as nobody knows how far the record of each one goes."""

STATE_EVERY_S = 300.0
"""On an object store, where a state is ten requests. What was asked since the last one is on
record, and a successor goes through it again without asking."""


def tune(
    config: RunConfig,
    prepared: PreparedTask,
    pool: PoolAddress,
    folder: Place,
    journal: Journal,
    reporter: Reporter,
) -> Tuned:
    """Tune to the end of the budget, or until the reporter says to stop.

    Args:
        config: settings of the run.
        prepared: what is tuned.
        pool: whom to ask.
        folder: of the job.
        journal: of the job, open.
        reporter: hears of it.
    """
    with ExitStack() as stack:
        cache = open_answer_cache(config.answer_cache)
        if cache is not None:
            stack.callback(cache.close)
        asked = PoolOracle(pool, config.pool)
        ledger, scale = QueryLedger(config.max_queries), prepared.logit_scale
        oracle = MeteredOracle(asked, ledger, journal, cache, logit_scale=scale)
        trainer = make_trainer(oracle, prepared, config)
        subject = digest_of_question(
            prepared.task.digest,
            prepared.fitness.handle.content,
            "" if prepared.validation is None else prepared.validation.handle.content,
        ).hex()
        return _Course(asked, oracle, trainer, subject, journal, folder, reporter).run()


class _Course:
    """One attempt at a fine-tuning.

    Args:
        pool: counts the chunks.
        oracle: of the trainer.
        trainer: new; it is taken to the last state that was saved.
        subject: what is asked about.
        journal: of the queries.
        folder: of the job.
        reporter: hears of each evaluation.
    """

    def __init__(
        self,
        pool: PoolOracle,
        oracle: MeteredOracle,
        trainer: Trainer,
        subject: str,
        journal: Journal,
        folder: Place,
        reporter: Reporter,
    ) -> None:
        self._pool = pool
        self._oracle = oracle
        self._trainer = trainer
        self._here = {SUBJECT: subject, LAST_BITS: last_bits()}
        self._journal = journal
        self._states = folder / STATES_FOLDER
        self._reporter = reporter
        self._reports: list[Report] = []
        self._points: list[dict[str, float]] = []
        """Of the generations that no report has told of."""
        self._last_points: list[dict[str, float]] = []
        """Of the last report."""
        self._unkept: TrainerState | None = None
        """Of the last report, while an earlier one is the newest that is kept."""
        self._kept_s = float("-inf")
        self._started_s = time.monotonic()
        """Of the time that no report has counted yet; the retries alike."""
        self._retries = 0

    def run(self) -> Tuned:
        """To its end.

        Raises:
            JobStoppedError: it was told to stop before anything was evaluated.
            MoneySpentError: there was no money for that.
        """
        try:
            self._take_up()
            kept_generation = self._trainer.generation
            while not self._trainer.finished:
                self._reporter.check()
                if self._run_generation():
                    # Two states are kept: the older may be needed, what lies before it is not,
                    # unless a state leaves it to the record.
                    self._journal.forget_answers(
                        kept_generation, self._trainer.recalled_generations
                    )
                    kept_generation = self._trainer.generation
        except (JobStoppedError, MoneySpentError):
            # What was evaluated with the money that there was is a result.
            if not self._reports:
                raise
        if self._unkept is not None:
            self._keep(self._unkept)
        outcome = outcome_of(self._trainer)
        if outcome == "running":
            outcome = "stopped early"
        spent = self._journal.total()
        right = self._trainer.selected.evidence.right if self._reports else ""
        curve = self._trainer.curve
        findings = self._trainer.findings
        return Tuned(outcome, self._reports, spent, curve, self._last_points, right, findings)

    def _take_up(self) -> None:
        """Go to the last state, and repeat what was reported until then."""
        state = load_newest_state(self._states)
        if state is None:
            return
        self._trainer.load_state_dict(state)
        there = {name: state.values.get(name) for name in self._here}  # earlier versions: None
        if there[SUBJECT] == self._here[SUBJECT] and there[LAST_BITS] != self._here[LAST_BITS]:
            self._oracle.take_by_place()
            self._here[LAST_BITS] = state.values[LAST_BITS] = SEVERAL
            keep_state(state, self._states)
        self._reports, self._last_points = state.values[REPORTS], state.values[POINTS]
        for index, report in enumerate(repeated(self._reports, self._last_points)):
            self._reporter.send(index, report)

    def _run_generation(self) -> bool:
        """One generation, which is reported if it was evaluated; returns whether its state is
        kept."""
        totals_before, began_s = self._pool.totals, time.monotonic()
        report = self._trainer.run_generation()
        rates = self._pool.totals.since(totals_before, time.monotonic() - began_s)
        self._points.append(point_of(report) | rates | {"time_ms": time.time_ns() // 10**6})
        # Not a part of what is stored: it depends on who else has asked.
        asked = {"image_predictions": self._oracle.ledger.spent.image_predictions}
        if not report.is_evaluated:
            place = {
                "generation": report.generation,
                "candidate_queries": report.candidate_queries,
            }
            self._reporter.note({**place, **asked})
            return False
        self._reports.append(self._metrics(report))
        self._last_points, self._points = self._points, []
        state = self._trainer.state_dict()
        state.values.update({REPORTS: self._reports, POINTS: self._last_points, **self._here})
        self._unkept = state
        is_due = time.monotonic() - self._kept_s >= STATE_EVERY_S
        if is_kept := is_due or not isinstance(self._states, RemotePath):
            self._keep(state)
        last = {**self._reports[-1], **asked, POINTS: self._last_points}
        self._reporter.send(len(self._reports) - 1, last)
        return is_kept

    def _keep(self, state: TrainerState) -> None:
        """A state counts answers, and may leave them to the record: those are durable first."""
        self._journal.flush()
        keep_state(state, self._states)
        self._unkept, self._kept_s = None, time.monotonic()

    def _metrics(self, report: GenerationReport) -> Report:
        selected = self._trainer.selected
        validation, held_out = selected.validation, selected.evidence.held_out
        zero_shot = selected.evidence.zero_shot_held_out
        before = self._reports[-1] if self._reports else {"train_seconds": 0.0, "retried_chunks": 0}
        now_s, now_retries = time.monotonic(), self._pool.totals.retries
        seconds, retries = now_s - self._started_s, now_retries - self._retries
        self._started_s, self._retries = now_s, now_retries
        return {
            "generation": report.generation,
            "candidate_queries": report.candidate_queries,
            **{f"val_{f.name}": validation and getattr(validation, f.name) for f in fields(Score)},
            "held_out": held_out and asdict(held_out),
            "zero_shot_held_out": zero_shot and asdict(zero_shot),
            "selected_generation": selected.generation,
            "predictions_per_image": selected.classifier.predictions_per_image,
            "retried_chunks": before["retried_chunks"] + retries,
            "train_seconds": before["train_seconds"] + seconds,
            "outcome": outcome_of(self._trainer),
        }


def outcome_of(trainer: Trainer) -> Outcome:
    """`running`, `finished` or `diverged`."""
    if trainer.diverged:
        return "diverged"
    return "finished" if trainer.finished else "running"


def point_of(report: GenerationReport) -> dict[str, float]:
    """One generation as tracked metrics; what did not happen is left out."""
    candidates = {
        "generation": report.generation,
        "candidate_queries": report.candidate_queries,
        "fitness_best": report.fitness_best,
        "fitness_median": report.fitness_median,
        "head_loss": report.head_loss,
        "val_accuracy": report.validation.accuracy if report.validation else None,
        "val_loss": report.validation.loss if report.validation else None,
    }
    return {name: float(value) for name, value in candidates.items() if value is not None}
