"""Cells whose data set has too few images without labels: known before anything is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from craft_ray.config.data import DataConfig
from craft_ray.config.run import RunConfig
from craft_ray.data.sources.unlabelled import TooFewUnlabelledError
from craft_ray.errors import DataError
from craft_ray.reproduction.grid import Cell
from craft_ray.reproduction.words import shots_in_words
from craft_ray.task.preparation import sample_data


@dataclass(frozen=True)
class LeftOut:
    """Cells of a grid that cannot run, of all seeds and backbones.

    Attributes:
        dataset, shots, method: of the cells.
        why: the law and the numbers.
    """

    dataset: str
    shots: int
    method: str
    why: str

    def line(self) -> str:
        """For people."""
        return (
            f"Cannot run: {self.dataset}, {shots_in_words(self.shots)}, {self.method}: {self.why}"
        )

    def as_dict(self) -> dict[str, Any]:
        """For the summary."""
        return asdict(self)


def without_too_few(
    cells: Mapping[Cell, RunConfig],
) -> tuple[dict[Cell, RunConfig], tuple[LeftOut, ...]]:
    """The cells that can run, in their order, and what is said of the others. Of `data.unlabelled:
    rest` only, whose number the index tells; other faults are found when the turn of a cell comes.

    Args:
        cells: of data sets that are there.
    """
    reasons: dict[DataConfig, str | None] = {}  # the seed decides which images, and not how many
    left_out: dict[tuple[str, int, str], LeftOut] = {}
    kept = {}
    for cell, run in cells.items():
        if run.data not in reasons:
            reasons[run.data] = _why_not(run)
        if (why := reasons[run.data]) is None:
            kept[cell] = run
        else:
            place = (cell.dataset, cell.shots, cell.method)
            left_out[place] = LeftOut(*place, why)
    return kept, tuple(left_out.values())


def refusal(left_out: Sequence[LeftOut]) -> DataError:
    """Where no cell is left."""
    lines = "".join(f"\n  {each.line()}" for each in left_out)
    return DataError(f"at least one cell must be able to run, but none is:{lines}")


def _why_not(run: RunConfig) -> str | None:
    if run.data.unlabelled != "rest":
        return None
    try:
        sample_data(run)
    except TooFewUnlabelledError as error:
        return str(error)
    except DataError:
        return None
    return None
