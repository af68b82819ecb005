"""Which data sets are on the user's disk, and what of the others is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from craft_ray.config.data import CoopName, PaperDataset
from craft_ray.config.reproduction import DatasetName, ReproductionConfig
from craft_ray.data.dataset import SPLITS
from craft_ray.data.sources.coop_table import COOP_TABLE
from craft_ray.data.sources.imagenet import CLASS_NAMES_FILE, SKETCH_FOLDERS


def find_missing(config: ReproductionConfig) -> dict[str, str]:
    """Data set -> the first path of it that is not there. Only looks: what is there is read, and
    its faults are found, when its turn comes."""
    names: list[CoopName] = [*_on_disk(config.datasets)]
    if "imagenet" in names:
        names += config.shifted
    missing: dict[str, str] = {}
    for name in names:
        assert config.root is not None  # the settings demand it
        absent = [path for path in _needed(Path(config.root), name) if not path.exists()]
        if absent:
            missing[name] = str(absent[0])
    return missing


def _on_disk(datasets: Sequence[DatasetName]) -> Iterator[PaperDataset]:
    for name in datasets:
        if name != "embedded":
            yield name


def _needed(root: Path, name: CoopName) -> Iterator[Path]:
    entry = COOP_TABLE[name]
    folder = root / entry.folder
    yield folder
    if entry.split_file is not None:
        yield folder / entry.split_file
    if name == "fgvc_aircraft":
        yield folder / "variants.txt"
        yield from (folder / f"images_variant_{split}.txt" for split in SPLITS)
    images = folder / entry.images
    if name == "imagenet":
        yield folder / CLASS_NAMES_FILE
        yield from (images / split for split in ("train", "val"))
    elif name == "imagenet_sketch":
        options = [folder / option for option in SKETCH_FOLDERS]
        yield next((path for path in options if path.exists()), options[0])
    else:
        yield images
