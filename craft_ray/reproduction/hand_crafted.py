"""The template that a published zero-shot accuracy belongs to: CLIP's hand-crafted one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from craft_ray.config.data import CoopName
from craft_ray.config.reproduction import EMBEDDED, ReproductionConfig
from craft_ray.config.run import RunConfig
from craft_ray.data.sources.coop_table import COOP_TABLE
from craft_ray.reproduction.grid import Cell


def hand_crafted_template(dataset: str) -> str | None:
    """Of a data set or a shifted set of the paper; None for the embedded one, for which nobody has
    published one."""
    return None if dataset == EMBEDDED else COOP_TABLE[cast(CoopName, dataset)].template


def templates_beside(
    settings: Mapping[Cell, RunConfig], config: ReproductionConfig
) -> dict[Cell, str]:
    """The cells that test zero-shot with the data set's hand-crafted template as well: the first of
    each backbone and data set, as the answer is the same for all. None where nothing is published,
    where that template is asked with anyway, and if the settings leave it out."""
    found: dict[tuple[str, str], tuple[Cell, str]] = {}
    for cell, run in settings.items():
        template = hand_crafted_template(cell.dataset)
        if config.hand_crafted_zero_shot and template and template != run.data.template:
            found.setdefault((cell.backbone, cell.dataset), (cell, template))
    return dict(found.values())
