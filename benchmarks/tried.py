"""Ideas for more accuracy per query, each beside the search that it would change.

    python -m benchmarks.tried --seeds 1 2 3 4 5

All are the same CMA-ES on a prompt for the embedded task. Every generation is asked in full and
charged with what the idea would ask. Tested is the centre of the search at each mark, whatever
validation says: nothing is chosen here. What helped is part of craft-ray and measured by
`benchmarks.sample_efficiency`; what is here did not.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import cma
import numpy as np
import numpy.typing as npt
import torch
from cma.fitness_models import LQModel
from rich.console import Console
from rich.table import Table
from scipy.special import log_softmax, softmax
from threadpoolctl import threadpool_limits

from benchmarks.accuracy_rows import interval
from benchmarks.record import commit, write_result
from benchmarks.world import World
from craft_ray.config.heads import ProbesHeadConfig
from craft_ray.config.loading import load_run_config
from craft_ray.method.heads import fit_head
from craft_ray.method.projection import PromptProjection
from craft_ray.oracle.contract import FloatArray, ImageHandle
from craft_ray.oracle.white_box import load_oracle
from craft_ray.task.prepared import LabelArray

FIT = ProbesHeadConfig().fit
Array = npt.NDArray[np.float64]

MARKS = (500, 1000, 2000)
LAST = 5
"""Centres, one every five generations, that are put together."""
CANDIDATES = 8
"""Of the last generation, whose answers are in hand."""


class Search:
    """Nothing added."""

    name = "nothing added"

    def __init__(self, world: World) -> None:
        self.world = world
        config = world.config
        self.population = config.optimizer.population
        self.rng = np.random.default_rng([config.seed, 1])
        self._projection = PromptProjection(self.start(), config.prompt, config.seed)
        options: dict[str, Any] = {
            "popsize": self.population,
            "AdaptSigma": cma.sigma_adaptation.CMAAdaptSigmaCSA,
            "randn": lambda *shape: self.rng.standard_normal(shape),
            "seed": np.nan,
            "verbose": -9,
            "verb_log": 0,
            "verb_disp": 0,
        }
        dim = config.prompt.intrinsic_dim
        self.strategy = cma.CMAEvolutionStrategy(np.zeros(dim), 0.1, options)
        self.centres: deque[Array] = deque(maxlen=LAST)
        self.answers_KNC: FloatArray = np.zeros((0, 0, 0), dtype=np.float32)
        self._num_generations = 0

    def generation(self) -> float:
        """Returns the candidate queries that it costs."""
        candidates = self.candidates()
        self.answers_KNC = self.predict(self.world.train.handle, np.array(candidates))
        losses_P, cost = self.judge(self.answers_KNC)
        self.strategy.tell(candidates, losses_P.tolist())
        self.learn(candidates, losses_P)
        if self._num_generations % 5 == 0:
            self.centres.append(np.array(self.strategy.mean))
        self._num_generations += 1
        return cost

    def start(self) -> FloatArray:
        """p0."""
        return self.world.task.initial_context

    def candidates(self) -> list[Array]:
        """What is asked about."""
        asked: list[Array] = self.strategy.ask()
        return asked

    def predict(self, images: ImageHandle, points_KD: Array) -> FloatArray:
        """Logits [K, N, C] under points of the search."""
        return self.world.predict(images, self._projection.contexts(points_KD))

    def judge(self, logits_PNC: FloatArray) -> tuple[Array, float]:
        """Losses, and candidate queries that they cost."""
        losses_P: Array = errors_of(logits_PNC, self.world.train.labels_N).mean(axis=1)
        return losses_P, float(self.population)

    def learn(self, candidates: Sequence[Array], losses_P: Array) -> None:
        """Beside the strategy."""

    def deployed(self) -> Mapping[str, FloatArray]:
        """Logits [N, C] of the test images, by what is deployed."""
        return {self.name: self.predict(self.world.test.handle, self.strategy.mean[None])[0]}


class Plain(Search):
    """What else could be made of the same search."""

    def deployed(self) -> Mapping[str, FloatArray]:
        """With ensembles, and with heads."""
        world, centre = self.world, self.strategy.mean[None]
        last: Array = np.array(self.centres)
        together_KNC = self.predict(world.test.handle, last)
        own_NC = self.predict(world.test.handle, centre)[0]
        views_VNC = np.stack([self.predict(h, centre)[0] for h in world.training_handles])
        best = np.argsort(self.judge(self.answers_KNC)[0])[:CANDIDATES]
        more_VNC = np.concatenate([views_VNC, self.answers_KNC[best]])
        return {
            self.name: own_NC,
            f"mean probability of the last {LAST} prompts": softmax(together_KNC, 2).mean(axis=0),
            f"mean of the last {LAST} prompts": self.predict(world.test.handle, last.mean(0)[None])[
                0
            ],
            "a linear head": self._head(views_VNC, own_NC),
            f"a linear head, fitted to the answers of {CANDIDATES} candidates too": self._head(
                more_VNC, own_NC
            ),
        }

    def _head(self, answers_VNC: FloatArray, logits_NC: FloatArray) -> FloatArray:
        labels_N = self.world.train.labels_N
        classes, seed = self.world.task.num_classes, self.world.config.seed
        return fit_head(FIT, answers_VNC, labels_N, classes, 5, seed).head(logits_NC)


class Racing(Search):
    """Only the better half is asked about the second half of the images."""

    name = "racing"

    def judge(self, logits_PNC: FloatArray) -> tuple[Array, float]:
        """Who is out ranks behind all others."""
        errors_PN = errors_of(logits_PNC, self.world.train.labels_N)
        shuffled = self.rng.permutation(errors_PN.shape[1])
        losses_P = errors_PN[:, shuffled[: len(shuffled) // 2]].mean(axis=1) + 1e3
        stays = np.argsort(losses_P)[: self.population // 2]
        losses_P[stays] = errors_PN[stays].mean(axis=1)
        return losses_P, self.population / 2 + len(stays) / 2


class PreScreening(Search):
    """Three times as many are drawn, and those asked about that a model of the losses so far
    prefers: the linear-quadratic one of lq-CMA-ES (Hansen, GECCO 2019)."""

    name = "surrogate pre-screening"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._model = LQModel()

    def candidates(self) -> list[Array]:
        """The model's choice."""
        if self._model.size == 0:
            return super().candidates()
        drawn: list[Array] = self.strategy.ask(3 * self.population)
        order = np.argsort([float(self._model.eval(point)) for point in drawn])
        return [drawn[index] for index in order[: self.population]]

    def learn(self, candidates: Sequence[Array], losses_P: Array) -> None:
        """The model's data."""
        for point, loss in zip(candidates, losses_P, strict=True):
            self._model.add_data_row(point, loss)


class Tempered(Search):
    """Each candidate's logits are divided by what suits the training images best."""

    name = "temperature chosen on the training images"

    def judge(self, logits_PNC: FloatArray) -> tuple[Array, float]:
        """The lowest over the temperatures."""
        labels_N = self.world.train.labels_N
        tempered = [
            errors_of(logits_PNC / t, labels_N).mean(axis=1) for t in (0.5, 0.7, 1, 1.4, 2, 3, 4)
        ]
        return np.min(tempered, axis=0), float(self.population)


class Longer(Search):
    """Random tokens (CoOp's start, N(0, 0.02)) before the template's words."""

    def __init__(self, world: World, num_tokens: int) -> None:
        self._num_tokens = num_tokens
        self.name = f"{num_tokens} context tokens"
        super().__init__(world)

    def start(self) -> FloatArray:
        """[L, E]."""
        words = super().start()
        added = self.rng.normal(0, 0.02, (self._num_tokens - len(words), words.shape[1]))
        return np.concatenate([added.astype(np.float32), words])


def errors_of(logits_PNC: FloatArray, labels_N: LabelArray) -> Array:
    """Cross-entropies [P, N]."""
    errors: Array = -log_softmax(logits_PNC.astype(np.float64), axis=2)[
        :, np.arange(len(labels_N)), labels_N
    ]
    return errors


def run(search: Search) -> list[dict[str, Any]]:
    """Accuracy at the marks, of each thing that is deployed."""
    spent, rows, marks = 0.0, [], list(MARKS)
    while marks:
        spent += search.generation()
        if spent < marks[0]:
            continue
        mark, test = marks.pop(0), search.world.test
        for name, logits_NC in search.deployed().items():
            accuracy = float((logits_NC.argmax(axis=1) == test.labels_N).mean())
            rows.append({"idea": name, "queries": mark, "accuracy": accuracy})
    return rows


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tried", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    oracle = load_oracle(load_run_config(None).local_model)
    runs = []
    for seed in options.seeds:
        world = World(oracle, load_run_config(None, [f"seed={seed}", "data.views=4"]))
        kinds = (Plain, Racing, PreScreening, Tempered)
        searches = [*(kind(world) for kind in kinds), Longer(world, 8), Longer(world, 16)]
        for search in searches:
            rows = [{"seed": seed, **row} for row in run(search)]
            runs += rows
            print(*((r["seed"], r["idea"], r["queries"], r["accuracy"]) for r in rows), flush=True)
    result = {"rows": summarise(runs), "runs": runs}
    path = write_result("tried", commit_id, result)
    show(result["rows"])
    print(path)


def summarise(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means with 95 % intervals, and against nothing added, paired by seed."""
    by_key: dict[tuple[str, int], dict[int, float]] = {}
    for r in runs:
        by_key.setdefault((r["idea"], r["queries"]), {})[r["seed"]] = r["accuracy"]
    rows = []
    for (idea, queries), own in by_key.items():
        plain = by_key[Search.name, queries]
        gains = [accuracy - plain[seed] for seed, accuracy in own.items()]
        row: dict[str, Any] = {"idea": idea, "queries": queries}
        rows.append({**row, "accuracy": interval(list(own.values())), "gain": interval(gains)})
    return rows


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """A row for each idea."""
    table = Table("idea", *(f"{mark:,}" for mark in MARKS), "gain at the end")
    for idea in dict.fromkeys(row["idea"] for row in rows):
        own = [row for row in rows if row["idea"] == idea]
        cells = [f"{row['accuracy'][0]:.1f}" for row in own]
        mean, half = own[-1]["gain"]
        table.add_row(idea, *cells, f"{mean:+.1f} ± {half:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
