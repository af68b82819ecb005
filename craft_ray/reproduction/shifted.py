"""The shifted sets of ImageNet as a cell of it sees them."""

from __future__ import annotations

from craft_ray.config.data import CoopSource, ShiftedName
from craft_ray.config.run import RunConfig
from craft_ray.data.class_halves import dataset_of_half
from craft_ray.data.dataset import Dataset
from craft_ray.data.sources import load_dataset


def load_shifted(config: RunConfig, name: ShiftedName) -> Dataset:
    """With the classes of the cell.

    Args:
        config: of a cell of ImageNet.
        name: of the set, which lies under the same root.

    Raises:
        DataError: a folder or list is missing or malformed.
    """
    assert isinstance(config.data.source, CoopSource)
    source = CoopSource.model_validate({"root": config.data.source.root, "dataset": name})
    return dataset_of_half(load_dataset(source), config.data.classes)
