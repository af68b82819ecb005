"""Which trial is the best, and what the table says."""

from __future__ import annotations

import io
from dataclasses import asdict, fields, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from craft_ray.classifiers.evidence import Evidence
from craft_ray.classifiers.score import Score
from craft_ray.commands.common import print_outcome
from craft_ray.config.loading import load_run_config, load_space_config
from craft_ray.config.method_names import method_name
from craft_ray.config.shipped import SPACES
from craft_ray.config.space import SpaceConfig
from craft_ray.jobs.job import POINTS, REPORTS, STATES_FOLDER, write_result
from craft_ray.metering.journal import open_journal
from craft_ray.metering.journal_sqlite import QueryId
from craft_ray.metering.ledger import Spending
from craft_ray.search.importances import Importances
from craft_ray.search.report import print_front, print_gain, print_importances, print_table
from craft_ray.search.results import TrialResult, best_of, front_of, read_results
from craft_ray.search.trials_on_disk import trial_folder, write_trial
from craft_ray.tuners.state import TrainerState, keep_state
from tests.support.tuned import report, tuned

SPACE = SpaceConfig.model_validate(
    {
        "name": "s",
        "parameters": {"head.hidden": {"kind": "choice", "values": [64, 256]}},
    }
)
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
    whole = replace(tuned(Score(0.5, 1.0, 0.2), Score(0.6, 0.9, 0.1)), right="c0")
    write_trial(tmp_path, 1, {})
    write_result(trial_folder(tmp_path, 1), whole.as_dict())
    (result,) = read_results(tmp_path, {1: "finished"}, {})
    assert result.tuned == whole
    assert result.evidence == Evidence(Score(0.5, 1.0, 0.2), Score(0.6, 0.9, 0.1), "c0")
    earlier = {name: value for name, value in whole.as_dict().items() if name != "right"}
    write_result(trial_folder(tmp_path, 1), earlier)
    (result,) = read_results(tmp_path, {1: "finished"}, {})
    assert result.tuned == replace(whole, right="")


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


def test_the_best_trial_does_not_depend_on_the_trials_numbers() -> None:
    # Each beats the next by all images together; the first is clearly denied by the last alone.
    few = [(0.5, 0.9), (0.6, 0.8), (0.72, 0.74)]
    numbers = set()
    for order in permutations(few):
        results = [
            replace(
                each,
                tuned=replace(each.tuned, right=right_of(round(200 * order[each.number - 1][0]))),
            )
            for each in (
                trial(number, Score(validation, 1.0, 0.1), held_out=Score(held_out, 1.0, 0.1))
                for number, (validation, held_out) in enumerate(order, 1)
            )
        ]
        best = best_of(results, *SIZES)
        assert best is not None
        assert best_of(results[::-1], *SIZES) == best
        numbers.add(order[best.number - 1])
    assert len(numbers) == 1


def right_of(num_right: int) -> str:
    return np.packbits(np.arange(SIZES[0]) < num_right).tobytes().hex()


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
    console = Console(width=80, record=True, force_terminal=True, file=io.StringIO())
    results = [trial(1, Score(0.712, 0.9, 0.1)), trial(2, None, "failed")]
    print_table(console, SPACE, Score(0.4, 1.5, 0.1), results, results[0])
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    for part in ("zero-shot", "40.0%", "71.2%", "2,000", "failed", "0.00123"):
        assert part in text


def shown(width: int = 80) -> Console:
    return Console(width=width, record=True, file=io.StringIO())


VARIED = load_space_config(SPACES / "quickstart.yaml")


def varied_trials() -> list[TrialResult]:
    """The first trials of the default search, and one more."""
    probes, craft = VARIED.first_trials
    classes = {**craft, "variant": "class_contexts"}
    accuracies = (0.7, 0.6, 0.72)
    return [
        replace(
            trial(number, Score(accuracy, 1.0, 0.1), queries=1 if params is probes else 600),
            params=params,
        )
        for number, (params, accuracy) in enumerate(
            zip((probes, craft, classes), accuracies, strict=True), 1
        )
    ]


def test_the_table_names_each_trials_variant_and_shows_the_parameters_that_it_has() -> None:
    console = shown()
    results = varied_trials()
    print_table(console, VARIED, Score(0.4, 1.5, 0.1), results, results[2])
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    outcomes = [line.split()[:2] for line in lines if line.strip()[:1] in ("1", "2", "3")]
    assert outcomes[:3] == [["1", "probes"], ["2", "craft"], ["3", "class_contexts"]]
    assert [number for number, *_ in outcomes[3:]] == ["2", "3"], "probes have no parameters"
    assert "None" not in "".join(lines)


@pytest.mark.parametrize("name", ["[/red]", "[bold]few[/bold] names", "\\[x]"])
def test_what_a_user_wrote_is_no_markup(name: str) -> None:
    console = shown(120)
    params = {"variant": name, "head.[/x]": name}
    results = [replace(trial(1, Score(0.7, 1.0, 0.1)), params=params)]
    print_table(console, VARIED, Score(0.4, 1.5, 0.1), results, results[0])
    print_importances(console, Importances({"head.[/x]": 1.0}, name, 4, 0.1, 0.01), 200)
    score = {"test": {"accuracy": 0.5}}
    ledger = Spending(candidate_queries=1).as_dict()
    summary = {
        "zero_shot": score,
        "cost": None,
        "ledger": ledger,
        "seconds": 3.0,
        "data": {"num_test": 1000},
    }
    print_outcome(console, summary, score, name, Path("runs") / "[/red]", "mlflow ui '[/red]'")
    text = console.export_text()
    assert text.count(name) >= 4
    assert text.count("[/x]") == 2
    assert text.count("[/red]/") == 2


def test_a_share_is_shown_with_its_error() -> None:
    console = Console(width=200, file=(screen := io.StringIO()))
    shares, errors = {"a.b": 0.7, "a.c": 0.3}, {"a.b": 0.124, "a.c": 0.05}
    print_importances(console, Importances(shares, None, 8, 0.1, 0.05, errors), 200)
    assert "a.b 70% ± 12, a.c 30% ± 5." in screen.getvalue()


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (
            2,
            "For 1,201 candidate queries the search gained +32.0 points over zero-shot, +2.0 over "
            "trial 1, which took 1 (validation).",
        ),
        (
            0,
            "For 1,201 candidate queries the search gained +30.0 points over zero-shot, all of "
            "them by trial 1, for 1 (validation).",
        ),
        (None, "For 1,201 candidate queries no trial has a result."),
    ],
)
def test_a_sentence_says_what_was_paid_for_what(number: int | None, sentence: str) -> None:
    console = shown()
    results = varied_trials()
    best = None if number is None else results[number]
    print_gain(console, Score(0.4, 1.5, 0.1), results, best)
    assert " ".join(console.export_text().split()) == sentence


def test_what_is_noise_is_called_so() -> None:
    console = shown()
    print_importances(console, Importances(None, "craft", 5, 0.04, 0.135), 200)
    print_importances(console, None, 200)
    assert " ".join(console.export_text().split()) == (
        "No parameter is shown to matter: 5 trials of craft differ by 4.0 points, and 200 "
        "validation images resolve 13.5."
    )


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([], "CraFT"),
        (["optimizer.kind=spsa"], "CraFT, spsa"),
        (["method=prompt"], "prompt only"),
        (["method=head"], "head only"),
        (["method=head", "head.kind=probes"], "probes"),
        (["method=head", "head.kind=linear"], "linear head"),
        (["head.kind=probes"], "searched probes"),
        (["head.kind=linear", "optimizer.kind=zo_adam"], "searched for a linear head, zo_adam"),
        (["method=white_box", "oracle.white_box=true"], "white box"),
    ],
)
def test_every_method_has_a_name(words: list[str], name: str) -> None:
    assert method_name(load_run_config(None, ["data.views=4", *words])) == name


def test_the_front_and_the_importances_can_be_read_in_80_columns() -> None:
    console = Console(width=80, record=True, force_terminal=True, file=io.StringIO())
    values = [(0.712, 1200), (0.6, 1300), (0.5, 17)]
    results = [
        trial(number, Score(accuracy, 1.0, 0.1), queries=queries)
        for number, (accuracy, queries) in enumerate(values, 1)
    ]
    front = front_of([*results, trial(4, None, "failed")], ("accuracy", "queries"))
    assert [each.number for each in front] == [1, 3]
    print_front(console, front, ("accuracy", "queries"))
    shares = {"head.names": 0.75, "head.contexts": 0.25}
    print_importances(console, Importances(shares, "probes", 8, 0.123, 0.098), 200)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    for part in (
        "trial 1",
        "71.2%",
        "1,200",
        "trial 3",
        "head.names 75%",
        "head.contexts 25%",
        "8 trials of probes",
    ):
        assert part in text


def test_without_validation_the_table_and_the_gain_are_of_held_out_images() -> None:
    before, console = Score(0.4, 1.5, 0.1), shown()
    known = [trial(n, before, held_out=Score(0.6 + n / 10, 1.0, 0.1)) for n in (1, 2)]
    results = [
        replace(each, tuned=replace(each.tuned, reports=[_held_out_only(each, before)]))
        for each in known
    ]
    best = best_of(results, 0, 160)
    assert best is not None
    assert best.number == 2
    print_table(console, SPACE, None, results, best)
    print_gain(console, before, results, best)
    text = " ".join(console.export_text().split())
    assert "zero-shot - 40.0%" in text
    assert "did not see, which decides" in text
    assert "+40.0 points over zero-shot" in text
    assert "(held-out training images)" in text
    unknown = replace(results[0], number=3, tuned=replace(results[0].tuned, reports=[]))
    assert best_of([*results, unknown], 0, 160) is best


def _held_out_only(one: TrialResult, zero_shot: Score) -> dict[str, Any]:
    assert one.tuned.last is not None
    none = {f"val_{f.name}": None for f in fields(Score)}
    return {**one.tuned.last, **none, "zero_shot_held_out": asdict(zero_shot)}
