"""A search over the words of a template: which frame, and which word in each of its places.

It keeps the loss of everything that was asked, and fits a linear model to it: what a frame, a word,
and a word in one place add to the loss. For each candidate the model's numbers are drawn anew from
what is known of them (Thompson sampling), so that words of which little is known are tried, too.
Of the proposals (the best so far with one or two changes, crossings of two of them, and random
ones) the one is asked that the drawn model likes best.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from craft_ray.config.optimizers import TextConfig
from craft_ray.optimizers.base import FloatArray64
from craft_ray.optimizers.stateful import StatefulOptimizer

Genomes = npt.NDArray[np.int64]

PROPOSALS = 400
"""For each generation; those that were asked before are left out."""
NOISE = 0.3
"""Standard deviation of what the linear model cannot say, where losses have 1."""
PRIOR_SHARED, PRIOR_OWN = 0.5, 0.3
"""Standard deviations of what a frame or a word adds, and of what a word adds in one place."""
MODELLED = 800
"""The model is fitted to so many of the best; where more were asked, the rest is far from them."""
LARGEST = 2.0
"""Losses beyond so many standard deviations above the middle are taken for that: how bad a bad one
is teaches nothing about good ones."""


class TextSearch(StatefulOptimizer):
    """Candidates are [1 + S] numbers: of a frame, then of a word for each place; places that the
    frame does not have are 0. Nothing is asked twice while there is anything else.

    Args:
        config: population and elite.
        num_places: of each frame, S at most.
        num_words: to choose from.
        seed: of the random stream.
    """

    _future: ClassVar[tuple[str, ...]] = ("_generator", "_asked_NG", "_losses_N")

    def __init__(
        self, config: TextConfig, num_places: Sequence[int], num_words: int, seed: int
    ) -> None:
        self._seed = seed
        self._elite = config.elite
        self._places_F = np.array(num_places, dtype=np.int64)
        self._num_words = num_words
        super().__init__(config, 1 + max(num_places), config.population, seed)
        self._settings |= {"num_places": list(num_places), "num_words": num_words}

    def _start(self) -> None:
        self._generator = np.random.default_rng(self._seed)
        self._asked_NG: Genomes = np.zeros((0, self._dim), dtype=np.int64)
        self._losses_N: FloatArray64 = np.zeros(0)

    @property
    def mean(self) -> FloatArray64:
        """The best: words have no middle."""
        return self.best

    def resampled_mean(self) -> FloatArray64:
        raise ValueError("resampled_mean: words have no mean")

    def _draw(self) -> FloatArray64:
        chosen = self._first() if len(self._losses_N) == 0 else self._likely()
        return chosen.astype(np.float64)

    def _learn(self, candidates_PD: FloatArray64, losses_P: FloatArray64) -> None:
        self._asked_NG = np.concatenate([self._asked_NG, candidates_PD.astype(np.int64)])
        self._losses_N = np.concatenate([self._losses_N, losses_P])

    def _first(self) -> Genomes:
        """Every frame equally often, as far as there is room, with random words."""
        random = self._random(PROPOSALS)
        random[:, 0] = np.resize(self._generator.permutation(len(self._places_F)), len(random))
        return self._filled(self._fresh(self._whole(random))[: self._population])

    def _filled(self, genomes: Genomes) -> Genomes:
        """A whole population: where nearly all were asked, some are asked again."""
        return np.concatenate([genomes, self._random(self._population - len(genomes))])

    def _likely(self) -> Genomes:
        proposals = self._fresh(self._proposals())
        if len(proposals) < self._population:  # nearly all were asked
            return self._filled(proposals)
        drawn_PM = self._drawn_losses(self._features(proposals))
        chosen: list[int] = []
        for order in np.argsort(drawn_PM, axis=1, kind="stable"):
            chosen.append(next(int(place) for place in order if place not in chosen))
        return proposals[chosen]

    def _random(self, count: int) -> Genomes:
        frames = self._generator.integers(len(self._places_F), size=(count, 1))
        words = self._generator.integers(self._num_words, size=(count, self._dim - 1))
        return self._whole(np.concatenate([frames, words], axis=1))

    def _proposals(self) -> Genomes:
        best = self._asked_NG[np.argsort(self._losses_N, kind="stable")[: self._elite]]
        half = PROPOSALS // 2
        mothers = best[self._generator.integers(len(best), size=half)]
        fathers = best[self._generator.integers(len(best), size=half)]
        from_father = self._generator.random(mothers.shape) < 0.3
        children = np.where(from_father, fathers, mothers)
        fresh = self._random(half)
        changed = self._generator.random(children.shape) < 1.0 / self._dim
        children = self._whole(np.where(changed, fresh, children))
        return np.concatenate([children, self._random(PROPOSALS - half)])

    def _whole(self, genomes: Genomes) -> Genomes:
        """With 0 in the places that the frame does not have."""
        place = np.arange(1, self._dim)
        has = place[None] <= self._places_F[genomes[:, 0]][:, None]
        return np.concatenate([genomes[:, :1], np.where(has, genomes[:, 1:], 0)], axis=1)

    def _fresh(self, genomes: Genomes) -> Genomes:
        """Those that were not asked, each once, in their order."""
        seen = {tuple(genome) for genome in self._asked_NG.tolist()}
        kept = []
        for row, genome in enumerate(map(tuple, genomes.tolist())):
            if genome not in seen:
                seen.add(genome)
                kept.append(row)
        return genomes[kept]

    def _features(self, genomes: Genomes) -> FloatArray64:
        """[N, K]: the constant, frames, words, and words by place."""
        num_frames, num_words = len(self._places_F), self._num_words
        num_slots = self._dim - 1
        features = np.zeros((len(genomes), 1 + num_frames + num_words * (1 + num_slots)))
        rows = np.arange(len(genomes))
        features[:, 0] = 1.0
        features[rows, 1 + genomes[:, 0]] = PRIOR_SHARED
        start = 1 + num_frames
        for slot in range(num_slots):
            has = rows[self._places_F[genomes[:, 0]] > slot]
            word = genomes[has, 1 + slot]
            features[has, start + word] += PRIOR_SHARED
            features[has, start + (1 + slot) * num_words + word] = PRIOR_OWN
        return features

    def _drawn_losses(self, features_MK: FloatArray64) -> FloatArray64:
        """[P, M]: losses of proposals under P draws of the model's numbers from their distribution
        given all that was asked. A draw from the prior is corrected by what it gets wrong there
        (Matheron's rule), for which a matrix of the size of what was asked is solved."""
        known = np.argsort(self._losses_N, kind="stable")[:MODELLED]
        features_NK = self._features(self._asked_NG[known])
        targets_N = _scaled(self._losses_N[known])
        prior_KP = self._generator.standard_normal((features_MK.shape[1], self._population))
        noise_NP = NOISE * self._generator.standard_normal((len(known), self._population))
        covariance_NN = features_NK @ features_NK.T + NOISE**2 * np.eye(len(known))
        wrong_NP = targets_N[:, None] - features_NK @ prior_KP - noise_NP
        drawn_KP = prior_KP + features_NK.T @ np.linalg.solve(covariance_NN, wrong_NP)
        drawn_PM: FloatArray64 = (features_MK @ drawn_KP).T
        return drawn_PM


def _scaled(losses_N: FloatArray64) -> FloatArray64:
    """With middle 0 and spread about 1; failures are as bad as anything can be."""
    finite = losses_N[np.isfinite(losses_N)]
    middle = np.median(finite)
    width = 1.5 * np.median(np.abs(finite - middle)) or 1.0
    scaled_N: FloatArray64 = ((losses_N - middle) / width).clip(-np.inf, LARGEST)
    return scaled_N
