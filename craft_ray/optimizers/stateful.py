"""What is the same in every optimizer: checks, the best so far, and the state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from craft_ray.config.optimizers import PopulationConfig
from craft_ray.optimizers.base import FloatArray64, State
from craft_ray.optimizers.encoding import Encoder, from_bytes, to_bytes

_HEAD = "optimizer"
_INNER = "inner."


def ranks_of(losses_P: FloatArray64) -> FloatArray64:
    """[P], from 0 for the lowest. Equal ones are ties; a failure shares its rank with no finite
    loss, not even the worst: in a tie it could become a parent."""
    _, ranks_P = np.unique(losses_P, return_inverse=True)
    return ranks_P.astype(np.float64)


class StatefulOptimizer(ABC):
    """An optimizer whose state is the values of some of its attributes.

    They are kept bit for bit, so that on the same machine a loaded optimizer continues exactly.
    Another machine, on which the same arithmetic ends in other last bits, continues from there.

    Args:
        config: all that decides the future beside dimension and seed.
        dim: D, dimension of the search space.
        population: P, candidates a generation.
        seed: of the random stream.
    """

    _future: ClassVar[tuple[str, ...]] = ()
    """Names of the attributes that `_draw` and `_learn` change. A class adds its own."""
    _encoder: ClassVar[Encoder] = Encoder()

    def __init__(self, config: PopulationConfig, dim: int, population: int, seed: int) -> None:
        self._settings = {**config.model_dump(mode="json"), "dim": dim, "seed": seed}
        self._dim = dim
        self._population = population
        self._may_resample = False
        self._asked_PD: FloatArray64 | None = None
        self._before_ask: State | None = None
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
            self._before_ask = self.inner_state()
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
        self._may_resample = True
        self._asked_PD = self._before_ask = None

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
        if not self._may_resample or self._asked_PD is not None:
            raise ValueError("resampled_mean: allowed once after each tell, before ask")
        self._may_resample = False
        mean: FloatArray64 = self._draw().mean(axis=0)
        return mean

    def inner_state(self) -> State:
        """What `_draw` and `_learn` change, as named arrays, which are copies."""
        return self._encoder.encode({name: getattr(self, name) for name in self._future})

    def load_inner_state(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Inverse of `inner_state`.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        present = {name: getattr(self, name) for name in self._future}
        values = self._encoder.decode(state, present)
        for name in self._future:
            setattr(self, name, values[name])

    def state_dict(self) -> State:
        # What was asked and not told is asked again, from what was there before.
        inner = self.inner_state() if self._before_ask is None else self._before_ask
        head = {
            "settings": self._settings,
            "best_loss": self._best_loss,
            "may_resample": self._may_resample,
        }
        return {
            _HEAD: to_bytes(head).copy(),
            "best": self.best,
            **{_INNER + name: np.array(array) for name, array in inner.items()},
        }

    def load_state_dict(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        head = from_bytes(state[_HEAD])
        self._check(head["settings"])
        best_D = np.array(state["best"], dtype=np.float64)
        if best_D.shape != (self._dim,):
            raise ValueError(f"state: best must be [{self._dim}], got {list(best_D.shape)}")
        self._start()
        self.load_inner_state(
            {name.removeprefix(_INNER): a for name, a in state.items() if name.startswith(_INNER)}
        )
        self._best_D, self._best_loss = best_D, float(head["best_loss"])
        self._may_resample = bool(head["may_resample"])
        self._asked_PD = self._before_ask = None

    def _check(self, settings: Mapping[str, Any]) -> None:
        """Of what both versions know, all must be the same."""
        for name in self._settings.keys() & settings.keys():
            if self._settings[name] != settings[name]:
                raise ValueError(
                    f"state: {name} must be {self._settings[name]!r} as it is here, but it is of "
                    f"a run with {settings[name]!r}"
                )
