"""The contract of a zeroth-order optimizer, which minimises.

optimizer = make_optimizer(config, dim=512, seed=1)
while budget_left:
    candidates_PD = optimizer.ask()
    optimizer.tell(evaluate(candidates_PD))
best = optimizer.mean
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

FloatArray64 = npt.NDArray[np.float64]
State = dict[str, npt.NDArray[np.generic]]


def within(bound: float | None, points_PD: FloatArray64) -> FloatArray64:
    """The points, each coordinate beyond the bound set to it."""
    return points_PD if bound is None else points_PD.clip(-bound, bound)


class ZerothOrderOptimizer(Protocol):
    """Asks for the losses of candidates and sees nothing else."""

    @property
    def population(self) -> int:
        """P, candidates in each `ask`."""
        ...

    @property
    def mean(self) -> FloatArray64:
        """[D]: the centre of the search."""
        ...

    @property
    def best(self) -> FloatArray64:
        """[D]: the candidate with the lowest finite loss so far; the start before any `tell`."""
        ...

    def ask(self) -> FloatArray64:
        """Candidates [P, D]. Asking again before `tell` returns the same ones."""
        ...

    def tell(self, losses_P: FloatArray64) -> None:
        """Losses of the candidates last asked for. NaN and infinity are failures: they rank last,
        and a pair with one teaches nothing.

        Raises:
            ValueError: nothing was asked, the length differs from P, or no loss is finite.
        """
        ...

    def resampled_mean(self) -> FloatArray64:
        """[D]: the mean of a fresh population that is never scored (the authors' deployed prompt).

        It advances the random stream. At most once between `tell` and `ask`.
        """
        ...

    def state_dict(self) -> State:
        """Everything that decides the future, as named arrays."""
        ...

    def load_state_dict(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Continue exactly where `state_dict` was taken.

        Raises:
            ValueError: the state belongs to other settings.
        """
        ...
