"""A fine-tuning from its first generation, or its last state, to its end; and its result.

Runs in a slot's worker. After each evaluation a state is saved, and then reported: a successor of
this worker repeats what was reported, as whoever waited for it may have died as well.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from craft_ray.classifiers.evidence import Evidence
from craft_ray.classifiers.score import Score
from craft_ray.classifiers.selection import Selected
from craft_ray.config.run import RunConfig
from craft_ray.errors import ArtifactError, MoneySpentError
from craft_ray.files.remote import Place
from craft_ray.jobs.job import (
    POINTS,
    REPORTS,
    STATES_FOLDER,
    JobStoppedError,
    Outcome,
    Report,
    Reporter,
    read_result,
    repeated,
)
from craft_ray.metering.answer_cache import open_answer_cache
from craft_ray.metering.journal import Journal, open_journal, spent_on_record
from craft_ray.metering.journal_sqlite import digest_of_question
from craft_ray.metering.ledger import QueryLedger, Spending
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.arithmetic import last_bits
from craft_ray.pool.address import PoolAddress
from craft_ray.pool.client import PoolOracle
from craft_ray.task.prepared import PreparedTask
from craft_ray.tuners.base import GenerationReport, Trainer
from craft_ray.tuners.findings import HeadFindings
from craft_ray.tuners.registry import make_trainer
from craft_ray.tuners.state import keep_state, load_newest_state, selected_in

SUBJECT, LAST_BITS = "subject", "last_bits"
"""Of a state: what was asked about, and `last_bits` of the machine that asked."""
SEVERAL = "several"


@dataclass(frozen=True)
class Tuned:
    """What a fine-tuning has come to.

    Attributes:
        outcome: how it ended; `running` if it has not, and was cut off.
        reports: all of them, without their points; the last one speaks of the selected state.
        spent: what it has paid for, reported or not.
        curve: candidate queries and validation accuracy of the working state, from the start,
            however often it was taken up.
        points: the generations that belong to the last report.
        right: the validation images that the selected state predicts rightly, see `Evidence`.
        findings: of the last head that was fitted to answers.
    """

    outcome: Outcome
    reports: list[Report]
    spent: Spending
    curve: list[tuple[int, float]]
    points: list[dict[str, float]] = field(default_factory=list)
    right: str = ""
    findings: HeadFindings | None = None

    @property
    def last(self) -> Report | None:
        """The last report; None before the first evaluation."""
        return self.reports[-1] if self.reports else None

    @property
    def evidence(self) -> Evidence | None:
        """Of the selected state."""
        if self.last is None:
            return None
        known = {f.name: self.last[f"val_{f.name}"] for f in fields(Score)}
        validation = None if known["accuracy"] is None else Score(**known)
        held_out, before = self.last["held_out"], self.last.get("zero_shot_held_out")
        return Evidence(
            validation, held_out and Score(**held_out), self.right, before and Score(**before)
        )

    @property
    def retried_chunks(self) -> int:
        """Chunks that were sent again after they were lost; they are paid for once."""
        return 0 if self.last is None else int(self.last["retried_chunks"])

    @property
    def seconds(self) -> float:
        """In its workers, from the start, however often it was taken up."""
        return 0.0 if self.last is None else float(self.last["train_seconds"])

    def as_dict(self) -> dict[str, Any]:
        """For `result.json`."""
        return {
            "outcome": self.outcome,
            REPORTS: self.reports,
            "ledger": self.spent.as_dict(),
            "curve": self.curve,
            POINTS: self.points,
            "right": self.right,
            "findings": self.findings and self.findings.as_dict(),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Tuned:
        """Inverse of `as_dict`.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        return cls(
            document["outcome"],
            list(document[REPORTS]),
            Spending.from_dict(document["ledger"]),
            [(int(queries), float(accuracy)) for queries, accuracy in document["curve"]],
            list(document[POINTS]),
            str(document.get("right", "")),  # results of earlier versions have neither
            HeadFindings.restore(found) if (found := document.get("findings")) else None,
        )


def read_tuned(folder: Place) -> Tuned:
    """What the fine-tuning in `folder` has come to, also one that was cut off.

    Raises:
        ArtifactError: a file is damaged.
        RunFailedError: the store does not answer.
    """
    if (document := read_result(folder)) is not None:
        try:
            return Tuned.from_dict(document)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{folder}: must hold a result, but: {error!r}") from error
    state = load_newest_state(folder / STATES_FOLDER)
    nothing: dict[str, Any] = {REPORTS: [], POINTS: [], "curve": []}
    known = nothing
    if state is not None:
        known = {**state.values, "right": state.values.get("selected", {}).get("right", "")}
    ledger = spent_on_record(folder).as_dict()
    return Tuned.from_dict({"outcome": "running", **known, "ledger": ledger})


def read_selected(folder: Place) -> Selected:
    """What the fine-tuning in `folder` would return: each state that is kept has it.

    Raises:
        ArtifactError: no state can be read.
    """
    state = load_newest_state(folder / STATES_FOLDER)
    if state is None:
        raise ArtifactError(f"{folder}: must have a state, but has none")
    return selected_in(state)


def tune(
    config: RunConfig,
    prepared: PreparedTask,
    pool: PoolAddress,
    folder: Place,
    reporter: Reporter,
) -> Tuned:
    """Tune to the end of the budget, or until the reporter says to stop."""
    with ExitStack() as stack:
        journal = stack.enter_context(open_journal(folder))
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
                    # Two states are kept: the older may be needed, what lies before it is not.
                    self._journal.forget_answers(before_generation=kept_generation)
                    kept_generation = self._trainer.generation
        except (JobStoppedError, MoneySpentError):
            # What was evaluated with the money that there was is a result.
            if not self._reports:
                raise
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
            # What comes after this state is then on record from more than one machine.
            state.values[LAST_BITS] = SEVERAL
            keep_state(state, self._states)
        self._reports, self._last_points = state.values[REPORTS], state.values[POINTS]
        for index, report in enumerate(repeated(self._reports, self._last_points)):
            self._reporter.send(index, report)

    def _run_generation(self) -> bool:
        """One generation; returns whether it was evaluated, saved and reported."""
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
        keep_state(state, self._states)
        last = {**self._reports[-1], **asked, POINTS: self._last_points}
        self._reporter.send(len(self._reports) - 1, last)
        return True

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
