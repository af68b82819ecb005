"""Linear heads on fixed questions and on searched ones, trained on the fake world."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from craft_ray.config.run import RunConfig
from craft_ray.metering.ledger import QueryLedger
from craft_ray.tuners.base import GenerationReport, Trainer
from tests.support.world import World, make_world, run_config, world_data

HEADS: dict[str, dict[str, Any]] = {
    "linear": {"kind": "linear", "folds": 3},
    "names": {"kind": "probes", "names": 30, "folds": 3},
    "offset": {"kind": "probes", "names": 5, "offset": "ensemble", "folds": 3},
    "contexts": {
        "kind": "probes",
        "names": 0,
        "contexts": 7,
        "contexts_per_generation": 3,
        "folds": 3,
    },
    "both": {
        "kind": "probes",
        "names": 5,
        "contexts": 4,
        "contexts_per_generation": 2,
        "folds": 3,
    },
    "one searched": {"kind": "linear", "folds": 2},
    "three searched": {"kind": "probes", "names": 0, "contexts": 2, "folds": 2},
    "searched and names": {"kind": "probes", "names": 5, "contexts": 1, "folds": 2},
}
SEARCHED = [head for head in HEADS if "searched" in head]
FIXED = [head for head in HEADS if head not in SEARCHED]
DATA = world_data(shots=6, num_test=50)


def probing(head: str, **settings: Any) -> RunConfig:
    """Settings of a run with one of the heads."""
    method = "both" if head in SEARCHED else "head"
    return run_config(method=method, head=HEADS[head], **settings)


def finish(trainer: Trainer) -> list[GenerationReport]:
    """Train to the end."""
    reports = []
    while not trainer.finished:
        reports.append(trainer.run_generation())
    return reports


@dataclass(frozen=True)
class Training:
    """A training that has ended, for any number of tests to look at."""

    world: World
    trainer: Trainer
    ledger: QueryLedger
    reports: list[GenerationReport]


@cache
def finished(head: str) -> Training:
    """Every fixed context and every second searched generation is validated."""
    every = 2 if head in SEARCHED else 1
    world = make_world(probing(head, evaluate_every_generations=every), data=DATA)
    trainer, ledger = world.trainer()
    return Training(world, trainer, ledger, finish(trainer))
