"""Optuna's search under a budget that all trials share, from the trials that there are already."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search.optuna import OptunaSearch

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import ConfigError
from craft_ray.files.remote import Place
from craft_ray.jobs.job import read_result
from craft_ray.metering.journal import spent_on_record
from craft_ray.metering.ledger import Spending
from craft_ray.metering.planned_spending import DataSize, max_predictions, plan_run
from craft_ray.search.objectives import METRIC
from craft_ray.search.plan import plan_drivers, predictions_of_driver, shared_size
from craft_ray.search.sampling import ask, make_sampler, suggest
from craft_ray.search.trials_on_disk import Params, trial_folder, write_trial


class BudgetedSearch(OptunaSearch):  # type: ignore[misc]
    """Suggests a trial only if what is left pays for all that it may spend.

    A trial holds what it may spend until it has ended, and its result is on disk; what it did not
    spend is free again. One that has failed holds it for ever: a resumed search takes it up again.

    Args:
        settings: of the search.
        size: of its data.
        folder: of the search; every trial has a folder in it.
        begun: what the trials of an earlier part of this search try, which come first and are not
            drawn: nothing but their order says which is which.
        words: of `OptunaSearch`.
    """

    def __init__(
        self,
        *,
        settings: SpaceConfig,
        size: DataSize,
        folder: Place,
        begun: Sequence[Params],
        **words: Any,
    ) -> None:
        # Ray's search asks for a function here that samples the parameters of a trial of Optuna.
        super().__init__(space=partial(suggest, settings), **words)
        self._settings = settings
        self._size = size
        self._shared = shared_size(settings)
        asked = spent_on_record(folder) if begun else Spending()
        most = max_predictions(settings.base)
        self._max_predictions = (
            None if most is None else most - predictions_of_driver(settings, size, asked)
        )
        self._money = None
        if isinstance(settings.base.oracle, EndpointConfig):
            # Here: what sends requests takes its time to load.
            from craft_ray.search.planned_bill import MoneyLeft

            self._money = MoneyLeft(settings, size, folder)
        self._folder = folder
        self._begun = begun
        for params in [*begun, *settings.first_trials[len(begun) :]]:
            self._ot_study.enqueue_trial(dict(params))
        self._numbers: dict[str, int] = {}
        """By trial; Tune counts them from 1 as they are suggested."""
        self._next: optuna.Trial | None = None
        """Drawn, and not paid for yet."""
        self._held: dict[str, Spending] = {}
        """What trials may still spend, those that have failed included."""
        self._settling: set[str] = set()
        """Have ended, and their results may still be on the way."""
        self._spent = Spending()
        """By those whose result is there: each is read once."""
        self._failed: set[str] = set()
        self.has_ended: Callable[[int], bool] = _never
        """Tells whether the job of a trial will not write a result any more."""

    def check_begun(self) -> None:
        """Refuse a budget that has become too small for the trials that were begun, which go on.

        Raises:
            ConfigError: says what they may spend.
        """
        total, goes_on = Spending(), False
        for number, params in enumerate(self._begun, 1):
            result = read_result(trial_folder(self._folder, number))
            if result is not None:
                total += Spending.from_dict(result["ledger"])
                continue
            goes_on = True
            total += plan_run(self._settings.resolve(params), self._size, self._shared)
        base, needed = self._settings.base, total.image_predictions
        if goes_on:
            asked = spent_on_record(self._folder)
            needed += predictions_of_driver(self._settings, self._size, asked)
        else:  # the best of them is the one that may have been tested
            needed += plan_drivers(self._settings, self._size).image_predictions
        most, price = max_predictions(base), base.price_per_thousand_predictions
        problems = []
        begun = f"{self._folder.name} has begun"
        if most is not None and price is not None and needed > most:
            cost = math.ceil(needed / 10 * price - 1e-9) / 100
            problems.append(
                f"max_cost >= {cost:,.2f} must hold, for what {begun} and the "
                f"tests, but got {base.max_cost:,.2f}"
            )
        max_queries = self._settings.max_total_queries
        if max_queries is not None and total.candidate_queries > max_queries:
            problems.append(
                f"max_total_queries >= {total.candidate_queries} must hold, for what {begun}, but "
                f"got {max_queries}"
            )
        if problems:
            raise ConfigError("--resume", problems)

    @property
    def _no_more(self) -> dict[str, Any]:
        word: dict[str, Any] = self.FINISHED  # Ray's word is a text, its signature says parameters
        return word

    def know(self, earlier: Sequence[FrozenTrial]) -> None:
        """Take in trials of other searches; they are nobody's to run."""
        self._ot_study.add_trials(earlier)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Parameters; None: not now; `FINISHED`: no more."""
        if trial_id in self._numbers:
            return dict(self._ot_trials[trial_id].params)
        number = len(self._numbers) + 1
        is_begun = number <= len(self._begun)
        if self._next is None:
            self._next = self._ask(number, is_begun)
        params = dict(self._next.params)
        needed = plan_run(self._settings.resolve(params), self._size, self._shared)
        self._settle()
        if not is_begun and not self._affords(needed, params):
            # What runs, and what has only just ended, may still leave some.
            if self._held.keys() - self._failed:
                return None
            self._ot_study.tell(self._next, state=TrialState.FAIL)
            return self._no_more
        self._ot_trials[trial_id], self._next = self._next, None
        self._numbers[trial_id] = number
        self._held[trial_id] = needed
        write_trial(self._folder, number, params)
        return params

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Optuna learns its values, and the budget what it left."""
        has_failed = error or (result is not None and METRIC not in result)
        super().on_trial_complete(trial_id, None if has_failed else result, has_failed)
        (self._failed if has_failed else self._settling).add(trial_id)

    def _ask(self, number: int, is_begun: bool) -> optuna.Trial:
        if not is_begun:
            # A stream of its own for each trial: what is drawn depends on seed, number and what is
            # known of the trials before, and not on whether the search was resumed.
            seed = np.random.SeedSequence([self._settings.base.seed, number]).generate_state(1)[0]
            self._ot_study.sampler = make_sampler(self._settings, int(seed))
            return ask(self._ot_study, self._settings)
        trial: optuna.Trial = self._ot_study.ask()  # what was enqueued first
        suggest(self._settings, trial)
        return trial

    def _affords(self, needed: Spending, params: Params) -> bool:
        if self._money is not None:
            running = self._held.keys() - self._failed
            points = [dict(self._ot_trials[trial_id].params) for trial_id in running]
            if not self._money.affords([*points, params]):
                return False
        total = sum(self._held.values(), start=self._spent + needed)
        max_queries, max_predictions = self._settings.max_total_queries, self._max_predictions
        return (max_queries is None or total.candidate_queries <= max_queries) and (
            max_predictions is None or total.image_predictions <= max_predictions
        )

    def _settle(self) -> None:
        """Count what those have spent that have ended."""
        for trial_id in list(self._settling):
            number = self._numbers[trial_id]
            folder = trial_folder(self._folder, number)
            result = read_result(folder)
            if result is None and not self.has_ended(number):
                continue
            # Without a result, as its disk was full, or its workers died: what is on record.
            spent = (
                spent_on_record(folder) if result is None else Spending.from_dict(result["ledger"])
            )
            self._settling.remove(trial_id)
            del self._held[trial_id]
            self._spent += spent


def _never(number: int) -> bool:
    """Of whom nothing is known, a result may still come."""
    return False
