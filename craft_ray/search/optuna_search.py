"""A search space in the terms of Ray Tune's search with Optuna."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial

from craft_ray.config.space import SpaceConfig
from craft_ray.files.remote import Place
from craft_ray.metering.planned_spending import DataSize
from craft_ray.search.budgeted_search import BudgetedSearch
from craft_ray.search.objectives import MEASURES
from craft_ray.search.sampling import make_sampler
from craft_ray.search.trials_on_disk import Params


def make_search(
    space: SpaceConfig,
    size: DataSize,
    folder: Place,
    begun: Sequence[Params] = (),
    earlier: Sequence[FrozenTrial] = (),
) -> BudgetedSearch:
    """Optuna's study, seeded by the base run's seed.

    Args:
        space: its parameters, sampler, objectives and budget.
        size: of its data.
        folder: of the search.
        begun: what the trials of an earlier part of this search try; they are suggested first.
        earlier: trials of other searches, see `warm_start`.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    measures = [MEASURES[objective] for objective in space.objectives]
    is_single = len(measures) == 1
    search = BudgetedSearch(
        settings=space,
        size=size,
        folder=folder,
        begun=begun,
        # Ray takes a list for several objectives, each with its own mode.
        metric=measures[0].metric if is_single else [measure.metric for measure in measures],
        mode=measures[0].mode if is_single else [measure.mode for measure in measures],
        sampler=make_sampler(space, space.base.seed),
    )
    search.know(earlier)
    return search
