"""Parts of the training images on which candidates are scored in turn.

For the same queries there are then several times as many generations. All candidates of a
generation are asked about the same images: common random numbers, without which their differences
would be those of the images. What is left is the noise of a small sample, as in stochastic gradient
descent, and like there every pass over the images has parts of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from craft_ray.config.run import RunConfig
from craft_ray.method.stratified_folds import stratified_folds
from craft_ray.oracle.contract import ImageHandle
from craft_ray.task.prepared import LabelArray, LabelledImages

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Batch:
    """One of B parts of the training images.

    A candidate that is asked about it is one B-th of a query. What is counted are whole ones, so of
    the places in a population each counts in one of B generations.
    """

    handle: ImageHandle
    rows: LabelArray | slice
    """Which of the training images; M of them."""
    labels_M: LabelArray
    counts_P: BoolArray
    """Which places in the population count as a query."""


class Batches:
    """Draws them, equally many images of each class, from a seed alone: nothing is to be stored.

    Args:
        images: the training images.
        config: settings of the run: B and P.
        seed: of the random stream.
    """

    def __init__(self, images: LabelledImages, config: RunConfig, seed: int) -> None:
        self._images = images
        self._num_batches = config.num_batches
        self._population = config.optimizer.population
        self._seed = seed
        self._of_pass: tuple[int, list[LabelArray]] = (-1, [])

    def of_generation(self, generation: int) -> Batch:
        """What a generation asks about."""
        number_of_pass, number = divmod(generation, self._num_batches)
        labels_N = self._images.labels_N
        places_P = np.arange(self._population)
        if self._num_batches == 1:
            return Batch(self._images.handle, slice(None), labels_N, places_P >= 0)
        rows_M = self._parts(number_of_pass)[number]
        return Batch(
            self._images.handle.part(rows_M.tolist()),
            rows_M,
            labels_N[rows_M],
            places_P % self._num_batches == number,
        )

    def _parts(self, number_of_pass: int) -> list[LabelArray]:
        if self._of_pass[0] != number_of_pass:
            seed = np.random.SeedSequence([self._seed, number_of_pass]).generate_state(1)[0]
            folds = stratified_folds(self._images.labels_N, self._num_batches, int(seed))
            self._of_pass = (number_of_pass, folds)
        return self._of_pass[1]
