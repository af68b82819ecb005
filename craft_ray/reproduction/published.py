"""What others have published: test accuracies in percent, from `published.yaml` beside this file,
which says where each number was read and what chose its hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from craft_ray.config.documents import read_yaml
from craft_ray.config.reproduction import OURS, PAPER_DATASETS

PUBLISHED_FILE = Path(__file__).with_name("published.yaml")
SHIFTED_QUERIES = 2000
"""Of CraFT's table of shifted sets. ImageNet with 16 shots is in both of its tables, and they were
run with two budgets."""
Access = Literal["logits", "features", "gradients", "weights"]
Reading = Literal["table", "figure", "memory"]
Table = Literal["main", "shifted"]
ZERO_SHOT = "zero-shot"


@dataclass(frozen=True)
class Published:
    """A published method on one backbone. What its fields mean is said at the top of the file."""

    backbone: str
    method: str
    access: Access
    chosen_by: str
    source: str
    reading: Reading
    shots: Sequence[int]
    average: Sequence[float] = ()
    datasets: Mapping[str, Sequence[float]] = field(default_factory=dict)
    note: str = ""
    anchor: bool = False
    table: Table = "main"

    @property
    def averaged(self) -> frozenset[str]:
        """The data sets that `average` is over."""
        return frozenset(self.datasets or PAPER_DATASETS)

    def accuracy(self, dataset: str, shots: int) -> float | None:
        """On one data set; None if that is not published. Zero-shot has no shots and stands
        beside all."""
        return self._at(self.datasets.get(dataset, ()), shots)

    def average_at(self, shots: int) -> float | None:
        """The published average; None if there is none."""
        return self._at(self.average, shots)

    def _at(self, values: Sequence[float], shots: int) -> float | None:
        place = 0 if self.method == ZERO_SHOT else shots
        if not values or place not in self.shots:
            return None
        return values[self.shots.index(place)]


@cache
def all_published() -> tuple[Published, ...]:
    """All of the file, in its order."""
    document: Any = read_yaml(PUBLISHED_FILE)
    return tuple(Published(**entry) for entry in document["published"])


def published_on(backbone: str, table: Table = "main") -> list[Published]:
    """What is published of a backbone, named as open_clip does."""
    name = backbone.removesuffix("-quickgelu")
    return [one for one in all_published() if (one.backbone, one.table) == (name, table)]


def anchor_on(backbone: str) -> Published | None:
    """The published method that ours is compared with, set by set; None: nothing is."""
    return next((one for one in published_on(backbone) if one.anchor), None)


@dataclass(frozen=True)
class Beside:
    """A published number that stands beside one of ours."""

    method: str
    accuracy: float


def published_beside(
    backbone: str, dataset: str, method: str, shots: int, max_queries: int | None = None
) -> Beside | None:
    """The number that a cell of the tables is compared with, if there is one: of the same method,
    or beside ours that of the anchor.

    Args:
        backbone: open_clip's name.
        dataset: of the paper, shifted sets among them.
        method: of a cell, or `zero_shot`.
        shots: 0 for zero-shot.
        max_queries: of the fine-tuning; see `SHIFTED_QUERIES`.
    """
    names = {"zero_shot": ZERO_SHOT, "craft": "CraFT", "prompt_only": "BBT"}
    name = names.get(method)
    if method in OURS and (anchor := anchor_on(backbone)) is not None:
        name = anchor.method
    shifted = [one for one in published_on(backbone, "shifted") if one.method == name]
    main = [one for one in published_on(backbone) if one.method == name]
    if method == "craft":
        of_shifted = shots == 16 and max_queries == SHIFTED_QUERIES
        candidates = shifted + main if of_shifted else main
    elif method == "zero_shot":
        candidates = main + shifted
    else:
        candidates = main
    for one in candidates:
        if (accuracy := one.accuracy(dataset, shots)) is not None:
            return Beside(one.method, accuracy)
    return None
