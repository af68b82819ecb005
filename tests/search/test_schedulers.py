"""Schedulers on trials that are told again from disk, and on trials that have failed. No Ray."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from craft_ray.config.loading import load_space_config
from craft_ray.config.shipped import SPACES
from craft_ray.jobs.job import REPLAYED
from craft_ray.search.schedulers import make_scheduler

KINDS = {
    "asha": "scheduler={kind: asha, grace_queries: 40, reduction_factor: 2}",
    "median": "scheduler={kind: median, grace_queries: 40, min_trials: 1}",
}


class Tuned:
    """Trials that report to a scheduler."""

    def __init__(self, kind: str) -> None:
        space = load_space_config(SPACES / "collaborative.yaml", [KINDS[kind]])
        self.scheduler = make_scheduler(space)
        self.trials: list[Trial] = []
        self.controller: Any = SimpleNamespace(get_trials=lambda: self.trials)

    def add(self) -> Trial:
        trial = Trial("tests", stub=True)
        self.trials.append(trial)
        self.scheduler.on_trial_add(self.controller, trial)
        return trial

    def tell(self, trial: Trial, queries: int, accuracy: float, **more: Any) -> str:
        result = report(queries, accuracy) | more
        decision: str = self.scheduler.on_trial_result(self.controller, trial, result)
        return decision


def report(queries: int, accuracy: float) -> dict[str, Any]:
    return {
        "candidate_queries": queries,
        "val_accuracy": accuracy,
        "training_iteration": queries // 40,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_trial_is_stopped_and_a_replayed_one_is_not(kind: str) -> None:
    tuned = Tuned(kind)
    for _ in range(3):
        good = tuned.add()
        for queries in (40, 80, 120):
            assert tuned.tell(good, queries, 0.9) == TrialScheduler.CONTINUE
        tuned.scheduler.on_trial_complete(tuned.controller, good, report(120, 0.9))
    told_again, bad = tuned.add(), tuned.add()
    for queries in (40, 80, 120):
        decision = tuned.tell(told_again, queries, 0.1, **{REPLAYED: True})
        assert decision == TrialScheduler.CONTINUE
    assert any(tuned.tell(bad, n, 0.05) == TrialScheduler.STOP for n in (40, 80, 120))


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_that_has_failed_is_nothing_to_compare_with(kind: str) -> None:
    tuned = Tuned(kind)
    failed, other = tuned.add(), tuned.add()
    tuned.tell(failed, 40, 0.5)
    tuned.scheduler.on_trial_complete(tuned.controller, failed, {"outcome": "failed"})
    for queries in (40, 80, 120):
        tuned.tell(other, queries, 0.6)


def test_no_trial_makes_room_for_one_that_waits() -> None:
    """Tune's rule pauses a trial where there is too little to compare with; a job has no pause."""
    tuned = Tuned("median")
    running, waiting = tuned.add(), tuned.add()
    assert waiting.status == Trial.PENDING
    assert tuned.tell(running, 40, 0.5) == TrialScheduler.CONTINUE
