"""How much of the trials' spread each parameter explains, where there is more than noise."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist, mean, pvariance
from typing import Any

import optuna

from craft_ray.config.space import SpaceConfig
from craft_ray.config.variants import VARIANT
from craft_ray.search.results import TrialResult
from craft_ray.search.sampling import frozen_trial

MIN_TRIALS = 4
"""With fewer, a number would say nothing."""
SEED = 0
MAX_PARTS = 5
"""Of the trials, for the errors of the shares: a fit without each, some tenths of a second."""
NUM_TREES, NUM_TREES_OF_PARTS = 64, 32
ERROR_RATE = 0.05
"""That trials which are all equally good pass for different ones."""


@dataclass(frozen=True)
class Importances:
    """What the finished trials say about the parameters that they have in common."""

    shares: Mapping[str, float] | None
    """Of the spread of validation accuracy; they add up to 1, the most important first. None: the
    validation images do not resolve it."""
    variant: str | None
    """Of these trials."""
    num_trials: int
    spread: float
    """Between the best and the worst of them, as a share of the images."""
    resolved: float
    """The smallest such spread that is no chance."""
    errors: Mapping[str, float] | None = None
    """Standard error of each share: how much hangs on which trials there were. None where there are
    no shares, or too few trials differ."""

    def as_dict(self) -> dict[str, Any]:
        """For the summary."""
        return asdict(self)


def resolved_difference(accuracy: float, num_images: int, num_trials: int) -> float:
    """The smallest difference between the best and the worst of some trials that is no chance.

    The standard error of the difference of two accuracies on so many images, times the quantile of
    the normal distribution for as many comparisons as there are pairs (Bonferroni). As if each
    trial had images of its own: on the same ones differences are less noisy.
    """
    error = math.sqrt(2 * accuracy * (1 - accuracy) / num_images)
    num_pairs = num_trials * (num_trials - 1) / 2
    return NormalDist().inv_cdf(1 - ERROR_RATE / 2 / num_pairs) * error


def parameter_importances(
    space: SpaceConfig, trials: Sequence[TrialResult], num_validation: int
) -> Importances | None:
    """Of the largest group of finished trials with the same variant and the same parameters.

    By fANOVA (Hutter et al., ICML 2014), which needs a space that its trials have in common. None
    with fewer than four of them, or if there is no parameter.

    Args:
        space: of the search.
        trials: as they ended.
        num_validation: images that trials are compared by, which say what is noise.
    """
    groups: dict[Any, list[tuple[Mapping[str, Any], float]]] = defaultdict(list)
    for trial in trials:
        if trial.status == "finished" and trial.deciding is not None:
            key = (trial.params.get(VARIANT), frozenset(trial.params))
            groups[key].append((trial.params, trial.deciding.accuracy))
    (variant, paths), group = max(
        groups.items(), key=lambda item: len(item[1]), default=((None, frozenset()), [])
    )
    if len(group) < MIN_TRIALS or not paths - {VARIANT}:
        return None
    accuracies = [accuracy for _, accuracy in group]
    spread = max(accuracies) - min(accuracies)
    resolved = resolved_difference(mean(accuracies), num_validation, len(group))
    if spread <= resolved:
        return Importances(None, variant, len(group), spread, resolved)
    shares, errors = _shares(space, group), _errors(space, group)
    return Importances(shares, variant, len(group), spread, resolved, errors)


def _errors(
    space: SpaceConfig, group: Sequence[tuple[Mapping[str, Any], float]]
) -> dict[str, float] | None:
    """By the jackknife: the shares are found again without each part of the trials."""
    num_parts = min(len(group), MAX_PARTS)
    parts = [
        [each for place, each in enumerate(group) if place % num_parts != part]
        for part in range(num_parts)
    ]
    if any(len({accuracy for _, accuracy in part}) == 1 for part in parts):
        return None
    found = [_shares(space, part, NUM_TREES_OF_PARTS) for part in parts]
    return {
        path: math.sqrt((num_parts - 1) * pvariance([shares[path] for shares in found]))
        for path in found[0]
    }


def _shares(
    space: SpaceConfig,
    group: Sequence[tuple[Mapping[str, Any], float]],
    num_trees: int = NUM_TREES,
) -> dict[str, float]:
    study = optuna.create_study(direction="maximize")
    study.add_trials([frozen_trial(space, params, [accuracy]) for params, accuracy in group])
    paths = [path for path in group[0][0] if path != VARIANT]
    # Here, for what it loads: scikit-learn takes more than a second.
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    evaluator = FanovaImportanceEvaluator(n_trees=num_trees, seed=SEED)
    return get_param_importances(study, evaluator=evaluator, params=paths)
