"""Who measures zero-shot: of the cells that would be given the same answers about the test images,
one. It is asked with the template that is tuned, and with CLIP's hand-crafted one, to which the
published zero-shot accuracies belong."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from craft_ray.config.data import CoopName, ShiftedName
from craft_ray.config.reproduction import EMBEDDED, ReproductionConfig
from craft_ray.config.run import RunConfig
from craft_ray.data.sources.coop_table import COOP_TABLE
from craft_ray.reproduction.grid import Cell

OF_THE_QUESTION = {"source", "classes", "more_classes", "template"}
"""Settings of the data that decide what is asked about test images without tuning."""


@dataclass(frozen=True)
class ZeroShot:
    """What a cell measures beside its result.

    Attributes:
        hand_crafted: template with which zero-shot is tested as well; None: it is not.
    """

    hand_crafted: str | None


def hand_crafted_template(dataset: str) -> str | None:
    """Of a data set or a shifted set of the paper; None for the embedded one, for which nobody has
    published one."""
    return None if dataset == EMBEDDED else COOP_TABLE[cast(CoopName, dataset)].template


def template_beside(cell: Cell, run: RunConfig, config: ReproductionConfig) -> str | None:
    """The data set's hand-crafted template. None where nothing is published, where that template is
    asked with anyway, and if the settings leave it out."""
    template = hand_crafted_template(cell.dataset)
    is_asked = config.hand_crafted_zero_shot and template != run.data.template
    return template if is_asked else None


class ZeroShotTurns:
    """Which cell measures zero-shot, decided when its turn to start comes: the first one, and if
    that fails, the next one that starts. Cells of an earlier part of the same reproduction count,
    unless a shifted set has been put there since: then the next one measures all of it.

    Args:
        settings: all cells with their runs' settings.
        config: the grid.
        shifted: its shifted sets that are there now; of cells of ImageNet alone.
    """

    def __init__(
        self,
        settings: Mapping[Cell, RunConfig],
        config: ReproductionConfig,
        shifted: Collection[ShiftedName],
    ) -> None:
        self._settings = settings
        self._config = config
        self._shifted = shifted
        self._measured_by: dict[str, Cell] = {}
        self._scores: dict[str, Mapping[str, Any]] = {}

    def take(self, cell: Cell) -> ZeroShot | None:
        """What a cell that starts measures; None: another one has done so or is at it."""
        if self._measured_by.setdefault(self._question(cell), cell) != cell:
            return None
        return ZeroShot(template_beside(cell, self._settings[cell], self._config))

    def end(self, cell: Cell, result: Mapping[str, Any] | None) -> None:
        """A cell has ended, with its result; None: without one."""
        question = self._question(cell)
        found = None if result is None else result["zero_shot"]
        is_whole = False
        if result is not None and found is not None:
            self._scores[question] = found["test"]
            wanted = self._shifted if cell.dataset == "imagenet" else ()
            is_whole = set(wanted) <= set(result["shifted"])
        if is_whole:
            self._measured_by[question] = cell
        elif self._measured_by.get(question) == cell:
            del self._measured_by[question]

    def score(self, cell: Cell) -> Mapping[str, Any] | None:
        """The test score of the model that a cell tunes, before that (`asdict(Score)`); None: it is
        not known yet."""
        return self._scores.get(self._question(cell))

    def _question(self, cell: Cell) -> str:
        """Equal of cells that would be given the same answers."""
        data = self._settings[cell].data.model_dump(mode="json", include=OF_THE_QUESTION)
        return json.dumps([cell.backbone, cell.dataset, data], sort_keys=True)
