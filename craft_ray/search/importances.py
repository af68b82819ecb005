"""How much of the trials' spread each parameter explains."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

from craft_ray.config.space import SpaceConfig
from craft_ray.search.optuna_search import optuna_space
from craft_ray.search.results import TrialResult

MIN_TRIALS = 4
"""With fewer, a number would say nothing."""
SEED = 0


def parameter_importances(
    space: SpaceConfig, trials: Sequence[TrialResult]
) -> dict[str, float] | None:
    """Of the validation accuracy; shares that add up to 1, the most important first.

    By fANOVA (Hutter et al., ICML 2014) on the finished trials. None with fewer than four of them,
    or if all are equally good.
    """
    finished = [
        (trial.params, trial.validation.accuracy)
        for trial in trials
        if trial.status == "finished" and trial.validation is not None
    ]
    if len(finished) < MIN_TRIALS or len({accuracy for _, accuracy in finished}) == 1:
        return None
    ranges = optuna_space(space)
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            optuna.trial.create_trial(params=dict(params), distributions=ranges, value=accuracy)
            for params, accuracy in finished
        ]
    )
    return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=SEED))
