"""What is the same in every optimizer: checks, the best so far, and the state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from craft_ray.optimizers.base import FloatArray64, State


def ranks_of(losses_P: FloatArray64) -> FloatArray64:
    """[P], from 0 for the lowest. Equal ones are ties; a failure shares its rank with no finite
    loss, not even the worst: in a tie it could become a parent."""
    _, ranks_P = np.unique(losses_P, return_inverse=True)
    return ranks_P.astype(np.float64)


class ReplayedOptimizer(ABC):
    """An optimizer whose state is the losses that it was told.

    A run is a pure function of its settings, its seed and its losses, so these losses are all that
    is kept, and loading replays them. Nothing of an implementation's inside needs to be stored.

    Args:
        dim: D, dimension of the search space.
        population: P, candidates a generation.
    """

    def __init__(self, dim: int, population: int) -> None:
        self._dim = dim
        self._population = population
        self._restart()

    def _restart(self) -> None:
        self._losses: list[FloatArray64] = []
        self._resampled: list[bool] = []
        self._asked_PD: FloatArray64 | None = None
        self._best_D: FloatArray64 = np.zeros(self._dim)
        self._best_loss = np.inf
        self._start()

    @abstractmethod
    def _start(self) -> None:
        """Be as new."""

    @abstractmethod
    def _draw(self) -> FloatArray64:
        """The next candidates, [P, D]."""

    @abstractmethod
    def _learn(self, candidates_PD: FloatArray64, losses_P: FloatArray64) -> None:
        """Take in a generation. The loss of a failure is infinity; at least one is finite."""

    @property
    @abstractmethod
    def mean(self) -> FloatArray64:
        """[D]: the centre of the search."""

    @property
    def population(self) -> int:
        return self._population

    @property
    def best(self) -> FloatArray64:
        return self._best_D.copy()

    def ask(self) -> FloatArray64:
        if self._asked_PD is None:
            self._asked_PD = self._draw()
        return self._asked_PD.copy()

    def tell(self, losses_P: FloatArray64) -> None:
        if self._asked_PD is None:
            raise ValueError("tell: ask must be called first")
        losses = self._as_numbers(losses_P)
        if losses.shape != (self._population,):
            raise ValueError(f"tell: losses must be [{self._population}], got {list(losses.shape)}")
        finite = np.isfinite(losses)
        if not finite.any():
            raise ValueError("tell: at least one loss must be finite, but none is")
        ordered = np.where(finite, losses, np.inf)
        self._learn(self._asked_PD, ordered)
        winner = int(np.argmin(ordered))
        if losses[winner] < self._best_loss:
            self._best_loss = float(losses[winner])
            self._best_D = self._asked_PD[winner].copy()
        self._losses.append(losses)
        self._resampled.append(False)
        self._asked_PD = None

    def _as_numbers(self, losses_P: FloatArray64) -> FloatArray64:
        """A copy in float64. numpy alone would read words, and count dates and nulls as numbers."""
        try:
            given = np.array(losses_P)
        except ValueError:  # rows of different lengths
            given = np.array(None)
        if given.dtype.kind not in "fiub":
            raise ValueError(
                f"tell: losses must be [{self._population}] real numbers, got {given.dtype}"
            )
        return given.astype(np.float64)

    def resampled_mean(self) -> FloatArray64:
        if not self._resampled or self._resampled[-1] or self._asked_PD is not None:
            raise ValueError("resampled_mean: allowed once after each tell, before ask")
        self._resampled[-1] = True
        mean: FloatArray64 = self._draw().mean(axis=0)
        return mean

    def state_dict(self) -> State:
        return {
            "losses": np.array(self._losses, dtype=np.float64).reshape(-1, self._population),
            "resampled": np.array(self._resampled, dtype=np.uint8),
            # Prove on loading that the replay arrived where this run was.
            "mean": self.mean,
            "best": self.best,
        }

    def load_state_dict(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        losses_GP = np.asarray(state["losses"], dtype=np.float64)
        if losses_GP.ndim != 2 or losses_GP.shape[1] != self._population:
            raise ValueError(
                f"state: losses must be [generations, {self._population}], got "
                f"{list(losses_GP.shape)}"
            )
        self._restart()
        for losses, resampled in zip(losses_GP, state["resampled"], strict=True):
            self.ask()
            self.tell(losses)
            if resampled:
                self.resampled_mean()
        for name, reached in (("mean", self.mean), ("best", self.best)):
            if not np.array_equal(reached, state[name]):
                raise ValueError(
                    f"state: replaying the losses must reproduce the saved {name}, but does not: "
                    "the state is of other settings, another seed or another version of a library"
                )
