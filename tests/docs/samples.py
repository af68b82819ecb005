"""The images that the documents speak of, made from those that ship with craft-ray."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from craft_ray.config.data import EmbeddedSource
from craft_ray.data.dataset import Item
from craft_ray.data.rows import ParquetRow
from craft_ray.data.sources import load_dataset

CLASSES = 3
IMAGES_A_CLASS = 40


def write_samples(folder: Path) -> Path:
    """`images/<class>/`, `labelled/<class>/` and `photos/` in `folder`, which is returned."""
    dataset = load_dataset(EmbeddedSource())
    names = dataset.class_names[:CLASSES]
    written: Counter[Path] = Counter()

    def write(place: Path, item: Item) -> None:
        assert isinstance(item.encoded, ParquetRow)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{written[place]}.png").write_bytes(item.encoded.read())
        written[place] += 1

    for item in dataset.splits["train"]:
        place = folder / "images" / dataset.class_names[item.label]
        if item.label < CLASSES and written[place] < IMAGES_A_CLASS:
            write(place, item)
    tests = [item for item in dataset.splits["test"] if item.label < CLASSES]
    for item in tests[:10]:
        write(folder / "photos", item)
    for item in tests[10:100]:
        write(folder / "labelled" / names[item.label], item)
    return folder
