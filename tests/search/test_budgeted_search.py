"""A budget that all trials of a search share is never exceeded, and as far as possible used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_ray.classifiers.score import Score
from craft_ray.config.loading import load_space_config
from craft_ray.config.shipped import SPACES
from craft_ray.files.remote import Place
from craft_ray.jobs.job import read_result, write_result
from craft_ray.search import budgeted_search
from craft_ray.search.budgeted_search import BudgetedSearch, SearchBudget
from craft_ray.search.optuna_search import make_search
from craft_ray.search.trials_on_disk import read_trials, trial_folder
from tests.support.tuned import report, tuned

PROBES = SPACES / "probes.yaml"
PER_TRIAL = 100
SCORE = Score(0.5, 1.0, 0.1)


def new_search(total: int, folder: Path) -> BudgetedSearch:
    words = [f"max_total_queries={total}", f"max_queries={PER_TRIAL}"]
    search = make_search(load_space_config(PROBES, words), folder, read_trials(folder))
    assert isinstance(search, BudgetedSearch)
    return search


def end(search: BudgetedSearch, folder: Path, number: int, queries: int) -> None:
    """Trial `number` has ended, and its result is on disk."""
    told(search, number)
    write(folder, number, queries)


def told(search: BudgetedSearch, number: int) -> None:
    search.on_trial_complete(f"t{number}", report(SCORE))


def write(folder: Path, number: int, queries: int) -> None:
    write_result(trial_folder(folder, number), tuned(SCORE, queries=queries).as_dict())


def test_a_trial_that_may_not_be_paid_for_waits_for_what_others_leave(tmp_path: Path) -> None:
    search = new_search(250, tmp_path)
    assert isinstance(search.suggest("t1"), dict)
    assert isinstance(search.suggest("t2"), dict)
    assert search.suggest("t3") is None  # both may spend 100
    end(search, tmp_path, 1, 40)
    assert isinstance(search.suggest("t3"), dict)
    end(search, tmp_path, 2, 100)
    assert search.suggest("t4") is None
    end(search, tmp_path, 3, 20)
    assert search.suggest("t4") == search.FINISHED  # 90 are left


def test_what_a_stopped_trial_leaves_is_known_when_its_job_has_ended(tmp_path: Path) -> None:
    search = new_search(150, tmp_path)
    search.suggest("t1")
    told(search, 1)
    assert search.suggest("t2") is None
    write(tmp_path, 1, 40)
    assert isinstance(search.suggest("t2"), dict)


def test_a_failed_trial_keeps_its_share_for_a_resumed_search(tmp_path: Path) -> None:
    search = new_search(150, tmp_path)
    search.suggest("t1")
    search.on_trial_complete("t1", {"outcome": "failed", "error": "no such file"})
    assert search.suggest("t2") == search.FINISHED
    resumed = new_search(150, tmp_path)
    assert resumed.suggest("t1") == read_trials(tmp_path)[0]
    end(resumed, tmp_path, 1, 50)
    assert isinstance(resumed.suggest("t2"), dict)


def test_without_a_budget_trials_are_suggested_for_ever(tmp_path: Path) -> None:
    search = make_search(load_space_config(PROBES), tmp_path)
    for number in range(20):
        assert isinstance(search.suggest(f"t{number}"), dict)


@settings(max_examples=40, deadline=None)
@given(
    total=st.integers(PER_TRIAL, 10 * PER_TRIAL),
    spendings=st.lists(st.integers(1, PER_TRIAL), min_size=30, max_size=30),
    order=st.randoms(use_true_random=False),
)
def test_whatever_trials_spend_the_total_holds_and_no_trial_would_still_fit(
    total: int, spendings: list[int], order: object
) -> None:
    budget = SearchBudget(total, PER_TRIAL)
    running: list[int] = []
    spent = 0
    for spending in spendings:
        while budget.affords_trial(spent, len(running)) and len(running) < 3:
            running.append(spending)
        assert spent + sum(running) <= total
        if not running:
            assert total - spent < PER_TRIAL
            break
        spent += running.pop(order.randrange(len(running)))  # type: ignore[attr-defined]


def test_a_resumed_search_begins_with_the_trials_there_are_and_draws_others(
    tmp_path: Path,
) -> None:
    words = ["sampler={kind: random}", "first_trials=[]"]
    search = make_search(load_space_config(PROBES, words), tmp_path)
    drawn = [search.suggest(f"t{number}") for number in range(3)]
    resumed = make_search(load_space_config(PROBES, words), tmp_path, read_trials(tmp_path))
    again = [resumed.suggest(f"t{number}") for number in range(6)]
    assert again[:3] == drawn
    assert all(params not in drawn for params in again[3:])


def test_each_result_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = new_search(10_000, tmp_path)
    read: list[Place] = []

    def count(folder: Place) -> Any:
        read.append(folder)
        return read_result(folder)

    monkeypatch.setattr(budgeted_search, "read_result", count)
    for number in range(1, 21):
        assert isinstance(search.suggest(f"t{number}"), dict)
        end(search, tmp_path, number, 1)
    assert len(read) == len({*read}) == 19
