"""The template that a published zero-shot accuracy belongs to: CLIP's hand-crafted one."""

from __future__ import annotations

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


def template_beside(cell: Cell, run: RunConfig, config: ReproductionConfig) -> str | None:
    """What zero-shot is asked with in a cell as well, to be compared with a published number; None
    if nothing is published, if it is of the template that is asked with anyway, or if the settings
    leave it out."""
    template = hand_crafted_template(cell.dataset)
    is_left_out = not config.hand_crafted_zero_shot or template == run.data.template
    return None if is_left_out else template
