"""A budget that all trials of a search share is never exceeded, and as far as possible used."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_ray.config.loading import load_space_config
from craft_ray.config.shipped import SPACES
from craft_ray.metering.journal import open_journal
from craft_ray.metering.journal_sqlite import QueryId
from craft_ray.metering.ledger import Spending
from craft_ray.search import budgeted_search
from craft_ray.search.budgeted_search import SETTLING_S, BudgetedSearch, SearchBudget
from craft_ray.search.optuna_search import make_search

PROBES = SPACES / "probes.yaml"
PER_TRIAL = 100


class Clock:
    """Stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(budgeted_search, "time", clock)
    return clock


def new_search(total: int, folder: Path) -> BudgetedSearch:
    words = [f"max_total_queries={total}", f"max_queries={PER_TRIAL}"]
    search = make_search(load_space_config(PROBES, words), folder)
    assert isinstance(search, BudgetedSearch)
    return search


def spend(folder: Path, number: int, queries: int) -> None:
    place = folder / str(number)
    place.mkdir()
    with open_journal(place) as journal:
        cost = Spending(candidate_queries=queries)
        journal.record(QueryId(0, "search", 0), b"", 0, cost, np.zeros(queries))


def end(search: BudgetedSearch, trial_id: str, outcome: str = "finished") -> None:
    search.on_trial_complete(trial_id, {"val_accuracy": 0.5, "outcome": outcome})


def test_a_trial_that_may_not_be_paid_for_waits_for_what_others_leave(
    tmp_path: Path, clock: Clock
) -> None:
    search = new_search(250, tmp_path)
    assert isinstance(search.suggest("a"), dict)
    assert isinstance(search.suggest("b"), dict)
    assert search.suggest("c") is None  # both may spend 100
    spend(tmp_path, 1, 40)
    end(search, "a")
    assert isinstance(search.suggest("c"), dict)
    spend(tmp_path, 2, 100)
    end(search, "b")
    assert search.suggest("d") is None
    spend(tmp_path, 3, 20)
    end(search, "c")
    assert search.suggest("d") == search.FINISHED  # 90 are left


def test_what_a_stopped_trial_leaves_is_known_when_its_worker_is_dead(
    tmp_path: Path, clock: Clock
) -> None:
    search = new_search(150, tmp_path)
    search.suggest("a")
    spend(tmp_path, 1, 40)
    end(search, "a", outcome="running")
    assert search.suggest("b") is None
    clock.now_s = SETTLING_S
    assert isinstance(search.suggest("b"), dict)


def test_a_failed_trial_keeps_its_share_for_a_resumed_search(tmp_path: Path, clock: Clock) -> None:
    search = new_search(150, tmp_path)
    search.suggest("a")
    search.on_trial_complete("a", None, error=True)
    assert search.suggest("b") == search.FINISHED
    spend(tmp_path, 1, 50)
    end(search, "a")  # taken up again
    assert isinstance(search.suggest("b"), dict)


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


def test_a_search_keeps_its_accounts_over_a_resume(clock: Clock) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        search = new_search(250, folder)
        search.suggest("a")
        spend(folder, 1, 90)
        end(search, "a")
        search.suggest("b")
        search.save(str(folder / "searcher"))
        resumed = new_search(250, folder)
        resumed.restore(str(folder / "searcher"))
        assert resumed.suggest("c") is None
        spend(folder, 2, 10)
        end(resumed, "b")
        assert isinstance(resumed.suggest("c"), dict)
