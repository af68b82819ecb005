"""Which trial is the best, and what the table says."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from rich.console import Console

from craft_ray.classifiers.score import Score
from craft_ray.classifiers.selection import Evidence
from craft_ray.jobs.job import STATES_FOLDER, write_result
from craft_ray.metering.journal import open_journal
from craft_ray.metering.journal_sqlite import QueryId
from craft_ray.metering.ledger import Spending
from craft_ray.search.report import print_front, print_importances, print_table
from craft_ray.search.results import TrialResult, best_of, front_of, read_results
from craft_ray.search.trials_on_disk import trial_folder, write_trial
from craft_ray.tuners.state import POINTS, REPORTS, TrainerState, keep_state
from tests.support.tuned import report, tuned

SIZES = (200, 160)
"""Of validation and training images."""


def trial(
    number: int,
    validation: Score | None,
    status: str = "finished",
    held_out: Score | None = None,
    queries: int = 2000,
) -> TrialResult:
    return TrialResult(
        number=number,
        status=status,
        params={"head.learning_rate": 0.00123456, "optimizer.population": 40},
        tuned=tuned(validation, held_out, queries),
    )


def test_a_trial_that_died_before_its_first_report_is_a_failed_one(tmp_path: Path) -> None:
    write_trial(tmp_path, 1, {"head.names": 300})
    (result,) = read_results(tmp_path, {1: "failed"}, {1: "lost"})
    assert (result.number, result.status, result.validation) == (1, "failed", None)
    assert (result.error, result.tuned.spent) == ("lost", Spending())
    assert result.params == {"head.names": 300}
    assert result.objectives is None


def test_a_trial_that_was_cut_off_spent_what_is_on_record(tmp_path: Path) -> None:
    paid = Spending(candidate_queries=410)
    write_trial(tmp_path, 1, {})
    folder = trial_folder(tmp_path, 1)
    with open_journal(folder) as journal:
        journal.record(QueryId(0, "search", 0), b"question", 0, paid, np.zeros(410))
    reports = [report(Score(0.5, 1.0, 0.2), queries=400)]
    values = {"generation": 10, REPORTS: reports, POINTS: [], "curve": []}
    keep_state(TrainerState({}, values), folder / STATES_FOLDER)
    (result,) = read_results(tmp_path, {1: "stopped early"}, {})
    assert (result.status, result.tuned.spent) == ("stopped early", paid)
    assert result.validation == Score(0.5, 1.0, 0.2)
    assert result.objectives == {
        "accuracy": 0.5,
        "queries": 400.0,
        "calibration_error": 0.2,
        "predictions_per_image": 1.0,
    }


def test_a_result_on_disk_is_read_as_it_was_written(tmp_path: Path) -> None:
    whole = tuned(Score(0.5, 1.0, 0.2), Score(0.6, 0.9, 0.1))
    write_trial(tmp_path, 1, {})
    write_result(trial_folder(tmp_path, 1), whole.as_dict())
    (result,) = read_results(tmp_path, {1: "finished"}, {})
    assert result.tuned == whole
    assert result.evidence == Evidence(Score(0.5, 1.0, 0.2), Score(0.6, 0.9, 0.1))


def test_the_best_trial_has_the_highest_validation_accuracy() -> None:
    results = [
        trial(1, Score(0.5, 0.9, 0.1)),
        trial(2, Score(0.7, 2.0, 0.1)),
        trial(3, Score(0.6, 0.1, 0.1)),
    ]
    best = best_of(results, *SIZES)
    assert best is not None
    assert best.number == 2


def test_equal_accuracies_are_decided_by_the_lower_loss() -> None:
    results = [trial(1, Score(0.7, 1.0, 0.1)), trial(2, Score(0.7, 0.8, 0.1))]
    best = best_of(results, *SIZES)
    assert best is not None
    assert best.number == 2


def test_held_out_training_images_count_where_all_trials_have_them() -> None:
    few = [(0.75, 0.6), (0.5, 0.8), (0.75, 0.7)]  # of four and of ten images
    results = [
        trial(number, Score(validation, 1.0, 0.1), held_out=Score(held_out, 1.0, 0.1))
        for number, (validation, held_out) in enumerate(few, 1)
    ]
    best = best_of(results, 4, 10)
    assert best is not None
    assert best.number == 2  # with ten right answers of fourteen it is level with the third
    assert best.as_dict()["held_out"]["accuracy"] == 0.8
    best = best_of([*results, trial(4, Score(1.0, 1.0, 0.1))], 4, 10)
    assert best is not None
    assert best.number == 4


def test_trials_without_a_result_and_non_finite_losses_are_never_best() -> None:
    results = [
        trial(1, Score(0.1, 3.0, 0.1)),
        trial(2, None, "failed"),
        trial(3, Score(0.9, float("nan"), 0.1)),
    ]
    best = best_of(results, *SIZES)
    assert best is not None
    assert best.number == 1
    assert best_of([trial(1, None, "failed")], *SIZES) is None


def test_the_table_fits_a_terminal_of_80_columns_and_loses_nothing() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    results = [trial(1, Score(0.712, 0.9, 0.1)), trial(2, None, "failed")]
    print_table(console, Score(0.4, 1.5, 0.1), results, results[0])
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    for part in ("zero-shot", "40.0%", "71.2%", "2,000", "12.3", "failed", "0.00123"):
        assert part in text


def test_the_front_and_the_importances_can_be_read_in_80_columns() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    values = [(0.712, 1200), (0.6, 1300), (0.5, 17)]
    results = [
        trial(number, Score(accuracy, 1.0, 0.1), queries=queries)
        for number, (accuracy, queries) in enumerate(values, 1)
    ]
    front = front_of([*results, trial(4, None, "failed")], ("accuracy", "queries"))
    assert [each.number for each in front] == [1, 3]
    print_front(console, front, ("accuracy", "queries"))
    print_importances(console, {"head.names": 0.75, "head.contexts": 0.25})
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    for part in ("trial 1", "71.2%", "1,200", "trial 3", "head.names 75%", "head.contexts 25%"):
        assert part in text
