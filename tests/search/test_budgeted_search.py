"""A budget that all trials of a search share is never exceeded, and as far as possible used."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_ray.classifiers.score import Score
from craft_ray.config.loading import load_space_config
from craft_ray.config.shipped import SPACES
from craft_ray.errors import ConfigError
from craft_ray.files.remote import Place
from craft_ray.jobs.job import read_result, write_result
from craft_ray.metering.journal import open_journal
from craft_ray.metering.journal_sqlite import QueryId
from craft_ray.metering.ledger import Spending
from craft_ray.metering.planned_spending import DataSize
from craft_ray.search import budgeted_search
from craft_ray.search.budgeted_search import BudgetedSearch
from craft_ray.search.optuna_search import make_search
from craft_ray.search.plan import plan_drivers, plan_trial
from craft_ray.search.trials_on_disk import read_trials, trial_folder
from tests.support.tuned import report, tuned

PROBES = SPACES / "probes.yaml"
PER_TRIAL = 100
SCORE = Score(0.5, 1.0, 0.1)
SIZE = DataSize(num_train=8, num_validation=4, num_test=6, num_classes=2)


SIGMA = json.dumps({"optimizer.sigma": {"kind": "log_uniform", "low": 0.1, "high": 1.0}})
NAMES = {"head.names": {"kind": "int_uniform", "low": 1, "high": 900}}


def searched_prompts(total: int, folder: Path) -> BudgetedSearch:
    """A trial may spend `PER_TRIAL`."""
    words = [f"max_total_queries={total}", f"max_queries={PER_TRIAL}", "optimizer.population=10"]
    space = load_space_config(SPACES / "collaborative.yaml", [*words, f"parameters={SIGMA}"])
    search = make_search(space, SIZE, folder, read_trials(folder))
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
    search = searched_prompts(250, tmp_path)
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
    search = searched_prompts(150, tmp_path)
    search.suggest("t1")
    told(search, 1)
    assert search.suggest("t2") is None
    write(tmp_path, 1, 40)
    assert isinstance(search.suggest("t2"), dict)


def test_a_failed_trial_keeps_its_share_for_a_resumed_search(tmp_path: Path) -> None:
    search = searched_prompts(150, tmp_path)
    search.suggest("t1")
    search.on_trial_complete("t1", {"outcome": "failed", "error": "no such file"})
    assert search.suggest("t2") == search.FINISHED
    resumed = searched_prompts(150, tmp_path)
    assert resumed.suggest("t1") == read_trials(tmp_path)[0]
    end(resumed, tmp_path, 1, 50)
    assert isinstance(resumed.suggest("t2"), dict)


def test_without_a_budget_trials_are_suggested_for_ever(tmp_path: Path) -> None:
    search = make_search(load_space_config(PROBES), SIZE, tmp_path)
    for number in range(20):
        assert isinstance(search.suggest(f"t{number}"), dict)


@settings(max_examples=20, deadline=None)
@given(
    total=st.integers(PER_TRIAL, 10 * PER_TRIAL),
    shares=st.lists(st.floats(0.01, 1.0), min_size=30, max_size=30),
    order=st.randoms(use_true_random=False),
)
def test_whatever_trials_spend_the_total_holds_and_no_trial_would_still_fit(
    total: int, shares: list[float], order: random.Random
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, spent = Path(name), 0
        search = searched_prompts(total, folder)
        running: dict[int, int] = {}
        for share in shares:
            number = len(read_trials(folder)) + 1
            params = search.suggest(f"t{number}") if len(running) < 3 else None
            if isinstance(params, dict):
                running[number] = max(1, int(share * PER_TRIAL))
                assert spent + PER_TRIAL * len(running) <= total
            elif params == search.FINISHED:
                assert not running
                assert total - spent < PER_TRIAL
                break
            else:
                assert running
                ended = order.choice(sorted(running))
                spent += running[ended]
                end(search, folder, ended, running.pop(ended))


def test_what_costs_little_holds_little(tmp_path: Path) -> None:
    """Probes ask as many queries as they have contexts, whatever a search may spend on a trial."""
    words = ["max_total_queries=200", "max_queries=200", "first_trials=[]", "head.contexts=2"]
    space = load_space_config(PROBES, [*words, f"parameters={json.dumps(NAMES)}"])
    search = make_search(space, SIZE, tmp_path)
    for number in range(1, 67):
        assert isinstance(search.suggest(f"t{number}"), dict)
    assert search.suggest("t67") is None  # 66 trials of three


def test_trials_that_were_begun_are_those_on_disk_whatever_they_try(tmp_path: Path) -> None:
    """Also the same again, which no sampler would draw."""
    space = load_space_config(SPACES / "quickstart.yaml", ["parameters={}", "first_trials=[]"])
    begun = [{"variant": name} for name in ("craft", "craft", "probes", "craft")]
    search = make_search(space, SIZE, tmp_path, begun)
    assert [search.suggest(f"t{number}") for number in range(4)] == begun
    assert read_trials(tmp_path) == begun


def test_what_was_begun_is_taken_up_whatever_the_budget_is_now(tmp_path: Path) -> None:
    first = searched_prompts(1000, tmp_path)
    begun = [first.suggest(f"t{number}") for number in range(1, 4)]
    resumed = searched_prompts(PER_TRIAL, tmp_path)
    assert [resumed.suggest(f"t{number}") for number in range(1, 4)] == begun
    assert resumed.suggest("t4") is None


def test_a_resumed_search_begins_with_the_trials_there_are_and_draws_others(
    tmp_path: Path,
) -> None:
    words = ["sampler={kind: random}", "first_trials=[]"]
    search = make_search(load_space_config(PROBES, words), SIZE, tmp_path)
    drawn = [search.suggest(f"t{number}") for number in range(3)]
    resumed = make_search(load_space_config(PROBES, words), SIZE, tmp_path, read_trials(tmp_path))
    again = [resumed.suggest(f"t{number}") for number in range(6)]
    assert again[:3] == drawn
    assert all(params not in drawn for params in again[3:])


@pytest.mark.parametrize("sampler", ["{kind: random}", "{kind: tpe, startup_trials: 2}"])
def test_a_search_draws_the_same_whether_it_was_resumed_or_not(
    tmp_path: Path, sampler: str
) -> None:
    def draw(folder: Path, pauses: tuple[int, ...]) -> list[Any]:
        words = [f"sampler={sampler}", "first_trials=[]"]
        space = load_space_config(PROBES, words)
        drawn: list[Any] = []
        search = make_search(space, SIZE, folder)
        for number in range(1, 7):
            if number in pauses:  # the one before was begun, and is now ended by another driver
                search = make_search(space, SIZE, folder, read_trials(folder))
                for before in range(1, number):
                    assert search.suggest(f"t{before}") == drawn[before - 1]
                    accuracy = (before * 7 % 5) / 5
                    search.on_trial_complete(f"t{before}", report(Score(accuracy, 1.0, 0.1)))
            drawn.append(search.suggest(f"t{number}"))
            if number + 1 not in pauses:
                accuracy = (number * 7 % 5) / 5
                search.on_trial_complete(f"t{number}", report(Score(accuracy, 1.0, 0.1)))
        return drawn

    undisturbed = draw(tmp_path / "a", ())
    assert len({json.dumps(params) for params in undisturbed}) == 6
    assert draw(tmp_path / "b", (2, 5, 6)) == undisturbed


def test_a_trial_whose_job_ends_without_a_result_has_spent_what_is_on_record(
    tmp_path: Path,
) -> None:
    search = searched_prompts(150, tmp_path)
    search.suggest("t1")
    told(search, 1)
    assert search.suggest("t2") is None
    search.has_ended = lambda number: number == 1
    with open_journal(trial_folder(tmp_path, 1)) as journal:
        cost = Spending(candidate_queries=40)
        journal.record(QueryId(0, "search", 0), b"", 0, cost, np.zeros(40))
    assert isinstance(search.suggest("t2"), dict)
    assert search.suggest("t3") is None


def test_each_result_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = searched_prompts(10_000, tmp_path)
    read: list[Place] = []

    def count(folder: Place) -> Any:
        read.append(folder)
        return read_result(folder)

    monkeypatch.setattr(budgeted_search, "read_result", count)
    for number in range(1, 21):
        assert isinstance(search.suggest(f"t{number}"), dict)
        end(search, tmp_path, number, 1)
    assert len(read) == len({*read}) == 19


def test_money_is_held_for_all_that_trials_and_driver_may_ask(tmp_path: Path) -> None:
    words = [f"max_queries={PER_TRIAL}", "optimizer.population=10", "data.views=1"]
    path = SPACES / "collaborative.yaml"
    price = ["price_per_thousand_predictions=10"]
    space = load_space_config(path, [*words, *price, f"parameters={SIGMA}"])
    trial, driver = plan_trial(space, SIZE), plan_drivers(space, SIZE)

    def search_for(money: float, folder: Path) -> BudgetedSearch:
        paid = load_space_config(
            path, [*words, *price, f"parameters={SIGMA}", f"max_cost={money!r}"]
        )
        search = make_search(paid, SIZE, folder, [])
        assert isinstance(search, BudgetedSearch)
        return search

    enough = (driver + trial + trial).cost(10)
    exact = search_for(enough, tmp_path / "a")
    assert isinstance(exact.suggest("t1"), dict)
    assert isinstance(exact.suggest("t2"), dict)
    assert exact.suggest("t3") is None
    little = search_for(enough - 0.01, tmp_path / "b")
    assert isinstance(little.suggest("t1"), dict)
    assert little.suggest("t2") is None
    end(little, tmp_path / "b", 1, 20)  # spends 20 queries, and no image prediction
    assert isinstance(little.suggest("t2"), dict)


def priced(money: float, folder: Path, total: int | None = None) -> BudgetedSearch:
    words = [f"max_queries={PER_TRIAL}", "optimizer.population=10", "data.views=1"]
    words += ["price_per_thousand_predictions=10", f"parameters={SIGMA}", f"max_cost={money!r}"]
    words += [] if total is None else [f"max_total_queries={total}"]
    space = load_space_config(SPACES / "collaborative.yaml", words)
    search = make_search(space, SIZE, folder, read_trials(folder))
    assert isinstance(search, BudgetedSearch)
    return search


def test_less_money_than_what_was_begun_may_cost_is_refused(tmp_path: Path) -> None:
    space = priced(1000.0, tmp_path)._settings
    trial, driver = plan_trial(space, SIZE), plan_drivers(space, SIZE)
    first = priced(1000.0, tmp_path)
    for number in (1, 2):
        first.suggest(f"t{number}")
    enough = (driver + trial + trial).cost(10)
    priced(enough, tmp_path).check_begun()
    with pytest.raises(ConfigError, match=f"max_cost >= {enough:.2f} must hold, for what "):
        priced(enough - 0.01, tmp_path).check_begun()
    write(tmp_path, 1, 20)  # ended, and spent no image prediction
    priced(enough - trial.cost(10), tmp_path).check_begun()
    with pytest.raises(ConfigError, match="max_total_queries >= 120 must hold, for what "):
        priced(enough, tmp_path, total=119).check_begun()


def test_a_second_result_that_is_tested_is_paid_for(tmp_path: Path) -> None:
    """A search that was finished and gets more trials tests another one, if that is better."""
    space = priced(1000.0, tmp_path)._settings
    trial, driver = plan_trial(space, SIZE), plan_drivers(space, SIZE)
    once = (driver + trial).cost(10)
    second = Spending(evaluation_predictions=SIZE.num_test).cost(10)

    def extended(money: float, folder: Path) -> BudgetedSearch:
        priced(1000.0, folder).suggest("t1")
        write(folder, 1, 20)
        with open_journal(folder) as journal:
            cost = Spending(evaluation_predictions=driver.evaluation_predictions)
            journal.record(QueryId(0, "evaluation", 0), b"", 0, cost, np.zeros(40))
        search = priced(money, folder)
        search.check_begun()
        search.suggest("t1")
        told(search, 1)
        return search

    enough = extended(once + second, tmp_path / "a")
    assert isinstance(enough.suggest("t2"), dict)
    # It pays for what was tested, and for a trial, but not for a second test.
    little = extended(once, tmp_path / "b")
    assert little.suggest("t2") == little.FINISHED
