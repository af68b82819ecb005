"""Optuna's search under a budget that all trials share, from the trials that there are already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from optuna.trial import FrozenTrial
from ray.tune.search.optuna import OptunaSearch

from craft_ray.config.space import SpaceConfig
from craft_ray.files.remote import Place
from craft_ray.jobs.job import read_result
from craft_ray.metering.ledger import Spending
from craft_ray.search.objectives import METRIC
from craft_ray.search.sampling import ask, suggest
from craft_ray.search.trials_on_disk import trial_folder, write_trial


@dataclass(frozen=True)
class SearchBudget:
    """Candidate queries.

    Attributes:
        total: of the search.
        per_trial: what one may spend.
    """

    total: int
    per_trial: int

    def affords_trial(self, spent: int, num_reserved: int) -> bool:
        """Whether one more can be started.

        Args:
            spent: by trials that will spend no more.
            num_reserved: trials that may still spend all of theirs.
        """
        return spent + (num_reserved + 1) * self.per_trial <= self.total


class BudgetedSearch(OptunaSearch):  # type: ignore[misc]
    """Suggests a trial only if what is left pays for all that it may spend.

    A running trial holds its whole budget; when it has ended, and its result is on disk, what it
    did not spend is free again. One that has failed holds it for ever: a resumed search takes it up
    again.

    Args:
        settings: of the search.
        budget: None: as many trials as are asked for.
        folder: of the search; every trial has a folder in it.
        words: of `OptunaSearch`.
    """

    def __init__(
        self, *, settings: SpaceConfig, budget: SearchBudget | None, folder: Place, **words: Any
    ) -> None:
        # Ray's search asks for a function here that samples the parameters of a trial of Optuna.
        super().__init__(space=partial(suggest, settings), **words)
        self._settings = settings
        self._budget = budget
        self._folder = folder
        self._numbers: dict[str, int] = {}
        """By trial; Tune counts them from 1 as they are suggested."""
        self._settling: set[str] = set()
        """Have ended, and their results may still be on the way."""
        self._spent = 0
        """By those whose result is there: each is read once."""
        self._num_settled = 0
        self._num_failed = 0

    def know(self, earlier: Sequence[FrozenTrial]) -> None:
        """Take in trials of other searches; they are nobody's to run."""
        self._ot_study.add_trials(earlier)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Parameters; None: not now; `FINISHED`: no more."""
        if self._budget is not None and trial_id not in self._numbers:
            self._settle()
            num_reserved = len(self._numbers) - self._num_settled
            if not self._budget.affords_trial(self._spent, num_reserved):
                # What runs, and what has only just ended, may still leave some.
                return None if num_reserved > self._num_failed else self.FINISHED
        if trial_id not in self._ot_trials:
            self._ot_trials[trial_id] = ask(self._ot_study, self._settings)
        params = dict(self._ot_trials[trial_id].params)
        number = self._numbers.setdefault(trial_id, len(self._numbers) + 1)
        write_trial(self._folder, number, params)
        return params

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Optuna learns its values, and the budget what it left."""
        has_failed = error or (result is not None and METRIC not in result)
        super().on_trial_complete(trial_id, None if has_failed else result, has_failed)
        if has_failed:
            self._num_failed += 1
        else:
            self._settling.add(trial_id)

    def _settle(self) -> None:
        """Count what those have spent that have ended."""
        for trial_id in list(self._settling):
            result = read_result(trial_folder(self._folder, self._numbers[trial_id]))
            if result is not None:
                self._settling.remove(trial_id)
                self._num_settled += 1
                self._spent += Spending.from_dict(result["ledger"]).candidate_queries
