"""The cells of a reproduction: what they are, in which order they run, and with which settings.

Reads presets and nothing else; knows neither torch nor Ray.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from craft_ray.config.loading import change_run_config
from craft_ray.config.reproduction import (
    EMBEDDED,
    LEFT_OUT,
    METHOD_DEFAULTS,
    METHOD_SETTINGS,
    OURS,
    MethodName,
    ReproductionConfig,
    sets,
)
from craft_ray.config.run import RunConfig
from craft_ray.config.shipped import DEFAULT_RUN, SPACES

PRESETS = SPACES / "paper"


@dataclass(frozen=True)
class Cell:
    """One fine-tuning."""

    backbone: str
    dataset: str
    method: MethodName
    shots: int
    seed: int

    @property
    def id(self) -> str:
        """Names its folder and its run in the tracker; no two cells of a grid have the same."""
        backbone = re.sub(r"[^A-Za-z0-9.-]+", "_", self.backbone)  # it may be a path
        if backbone != self.backbone:  # as another path may be, too
            backbone += "-" + hashlib.sha256(self.backbone.encode()).hexdigest()[:8]
        return f"{backbone}-{self.dataset}-{self.method}-{self.shots}shots-seed{self.seed}"


def make_cells(config: ReproductionConfig) -> tuple[Cell, ...]:
    """All cells, in the order in which they run.

    Backbone by backbone, as each has a pool of its own; within one, method by method, as ours takes
    minutes where a search takes days; within these, every data set's first seed before any second:
    what an interrupted reproduction has is then a table of fewer methods and seeds, not one of
    fewer data sets. What is `LEFT_OUT` is no cell.
    """
    return tuple(_cells(config))


def _cells(config: ReproductionConfig) -> Iterator[Cell]:
    all_seeds = list(dict.fromkeys((*config.seeds, *config.imagenet_seeds)))
    places = itertools.product(
        config.backbones, config.methods, all_seeds, config.shots, config.datasets
    )
    for backbone, method, seed, shots, dataset in places:
        seeds = config.imagenet_seeds if dataset == "imagenet" else config.seeds
        if seed in seeds and (method, dataset) not in LEFT_OUT:
            yield Cell(backbone, dataset, method, shots, seed)


def settings_of(cell: Cell, config: ReproductionConfig) -> RunConfig:
    """The data set's preset, or for ours the default run, with the cell's coordinates and the
    user's settings.

    Raises:
        ConfigError: a setting breaks a law.
    """
    defaults = {
        path: value
        for path, value in METHOD_DEFAULTS.get(cell.method, {}).items()
        if not any(sets(asked, given, path) for asked, given in config.run.items())
    }
    changes: dict[str, Any] = {**defaults, **config.run, **METHOD_SETTINGS[cell.method]}
    changes["data.shots"] = cell.shots
    changes["seed"] = cell.seed
    preset = PRESETS / f"{cell.dataset}.yaml"
    if cell.method in OURS:
        preset = DEFAULT_RUN
        if cell.dataset != EMBEDDED:
            source = {"kind": "coop", "root": config.root, "dataset": cell.dataset}
            changes["data.source"] = source
    elif cell.dataset != EMBEDDED:
        changes["data.source.root"] = config.root
    has_own_weights = cell.backbone == EMBEDDED or cell.backbone.startswith("local-dir:")
    changes["oracle.model"] = cell.backbone
    changes["oracle.pretrained"] = (
        None if has_own_weights else config.checkpoints.get(cell.backbone, "openai")
    )
    changes["oracle.white_box"] = config.opens_the_box
    run = change_run_config(preset, changes.items(), cell.id)
    if cell.method != "random_search":
        return run
    # The same population, spread and bound; CMA-ES's own settings have no place there.
    shared = run.optimizer.model_dump(include={"population", "sigma", "bound"})
    changes["optimizer"] = {"kind": "random_search", **shared}
    return change_run_config(preset, changes.items(), cell.id)
