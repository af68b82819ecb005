"""Optuna's search under a budget that all trials share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from optuna.trial import FrozenTrial
from ray.tune.search.optuna import OptunaSearch

from craft_ray.config.space import SpaceConfig
from craft_ray.files.remote import Place
from craft_ray.metering.journal import spent_on_record
from craft_ray.search.sampling import ask, suggest

SETTLING_S = 15.0
"""After it was stopped, a trial's worker may have a question on its way, and dies in seconds."""


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

    A running trial holds its whole budget; when it has ended, what it did not spend is free again.
    One that ended with an error holds it for ever: a resumed search takes it up again.

    Args:
        settings: of the search.
        budget: None: as many trials as are asked for.
        trials: where each trial has a folder of its number with its record of queries.
        words: of `OptunaSearch`.
    """

    def __init__(
        self, *, settings: SpaceConfig, budget: SearchBudget | None, trials: Place, **words: Any
    ) -> None:
        # Ray's search asks for a function here that samples the parameters of a trial of Optuna.
        super().__init__(space=partial(suggest, settings), **words)
        self._settings = settings
        self._budget = budget
        self._trials = trials
        self._numbers: dict[str, int] = {}
        """By trial; Tune counts them from 1 as they are suggested."""
        self._ended: dict[str, float] = {}
        """From when on what they spent is final."""
        self._failed: set[str] = set()

    def know(self, earlier: Sequence[FrozenTrial]) -> None:
        """Take in trials of other searches; they are nobody's to run."""
        self._ot_study.add_trials(earlier)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Parameters; None: not now; `FINISHED`: no more. See `OptunaSearch`."""
        if self._budget is not None and trial_id not in self._numbers:
            now_s = time.time()
            settled = [each for each, at_s in self._ended.items() if at_s <= now_s]
            num_reserved = len(self._numbers) - len(settled)
            if not self._budget.affords_trial(self._spent(settled), num_reserved):
                # What runs, and what has only just ended, may still leave some.
                return None if num_reserved > len(self._failed) else self.FINISHED
        self._numbers.setdefault(trial_id, len(self._numbers) + 1)
        if trial_id not in self._ot_trials:
            self._ot_trials[trial_id] = ask(self._ot_study, self._settings)
        return dict(self._ot_trials[trial_id].params)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Optuna learns its values, and the budget what it left."""
        super().on_trial_complete(trial_id, result, error)
        if error:
            self._failed.add(trial_id)
            return
        self._failed.discard(trial_id)  # a resumed search has brought it to its end
        was_stopped = result is None or result.get("outcome") == "running"
        self._ended[trial_id] = time.time() + (SETTLING_S if was_stopped else 0.0)

    def _spent(self, trial_ids: Sequence[str]) -> int:
        folders = [self._trials / str(self._numbers[trial_id]) for trial_id in trial_ids]
        return sum(spent_on_record(folder).candidate_queries for folder in folders)
