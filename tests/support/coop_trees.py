"""CoOp's 15 data sets, small: the real folders, file names and schemas, a few tiny images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from craft_ray.config.data import CoopName
from craft_ray.data.dataset import Split
from tests.support.images import encoded, noise

SPLIT_SETS: dict[CoopName, tuple[str, str, str]] = {
    "caltech101": ("caltech-101", "101_ObjectCategories", "split_zhou_Caltech101.json"),
    "oxford_pets": ("oxford_pets", "images", "split_zhou_OxfordPets.json"),
    "stanford_cars": ("stanford_cars", "", "split_zhou_StanfordCars.json"),
    "oxford_flowers": ("oxford_flowers", "jpg", "split_zhou_OxfordFlowers.json"),
    "food101": ("food-101", "images", "split_zhou_Food101.json"),
    "sun397": ("sun397", "SUN397", "split_zhou_SUN397.json"),
    "dtd": ("dtd", "images", "split_zhou_DescribableTextures.json"),
    "eurosat": ("eurosat", "2750", "split_zhou_EuroSAT.json"),
    "ucf101": ("ucf101", "UCF-101-midframes", "split_zhou_UCF101.json"),
}
"""Folder, image folder and split file, written out again so that a slip in the table is found."""

SHIFTED_SETS: dict[CoopName, tuple[str, str]] = {
    "imagenetv2": ("imagenetv2", "imagenetv2-matched-frequency-format-val"),
    "imagenet_sketch": ("imagenet-sketch", "images"),
    "imagenet_a": ("imagenet-adversarial", "imagenet-a"),
    "imagenet_r": ("imagenet-rendition", "imagenet-r"),
}

PATHS: dict[CoopName, str] = {
    "caltech101": "{folder}/image_{number:04d}.jpg",
    "oxford_pets": "{folder}_{number}.jpg",
    "stanford_cars": "cars_train/{number:05d}.jpg",
    "oxford_flowers": "image_{number:05d}.jpg",
    "food101": "{folder}/{number}.jpg",
    "sun397": "a/{folder}/outdoor/sun_{number}.jpg",
    "dtd": "{folder}/{folder}_{number:04d}.jpg",
    "eurosat": "{folder}/{folder}_{number}.jpg",
    "ucf101": "{folder}/v_{folder}_g{number:02d}_c01.jpg",
}
CLASS_FOLDERS = ("Abyssinian", "great pyrenees", "Siberian husky")
EUROSAT_FOLDERS = ("AnnualCrop", "Forest", "SeaLake")
IMAGES: dict[Split, int] = {"train": 5, "val": 3, "test": 2}

AIRCRAFT = ("707-320", "Boeing 717", "F/A-18")

WORDNET_IDS = tuple(f"n{1440764 + 1000 * index:08d}" for index in range(12))
IMAGENET_NAMES = (
    "tench",
    "great white shark",
    "missile",
    "hen",
    "ostrich",
    "missile",
    "sunglasses",
    "sunglasses",
    "kite",
    "vulture",
    "newt",
    "axolotl",
)
OWN_CLASSES = (1, 5, 10)
"""Of ImageNet-A and -R, whose README.txt lists them."""

Rows = list[tuple[Path, int]]


@dataclass
class Expected:
    """What a loader must find."""

    folder: Path
    class_names: tuple[str, ...]
    splits: dict[Split, Rows] = field(default_factory=dict)


def pictures() -> Iterator[bytes]:
    """Small images of all kinds that data sets have, none twice."""
    for seed in count():
        picture = noise(9, 11, seed)
        kind = seed % 6
        if kind == 0:
            yield encoded(picture, "JPEG")
        elif kind == 1:
            yield encoded(picture.convert("L"), "JPEG")
        elif kind == 2:
            yield encoded(picture.convert("CMYK"), "JPEG")
        elif kind == 3:
            yield encoded(picture.convert("RGBA"), "PNG")
        elif kind == 4:
            deep = np.asarray(picture.convert("L")).astype(np.uint16) * 257
            yield encoded(Image.fromarray(deep), "PNG")
        else:
            yield encoded(picture.convert("P"), "PNG", transparency=0)


def write_coop(root: Path, name: CoopName) -> Expected:
    """The tree of a data set under `root`."""
    if name in SPLIT_SETS:
        return _write_split_set(root, name)
    if name == "fgvc_aircraft":
        return _write_aircraft(root)
    if name == "imagenet":
        return _write_imagenet(root)
    return _write_shifted(root, name)


def _write_split_set(root: Path, name: CoopName) -> Expected:
    top, images, split_file = SPLIT_SETS[name]
    folders = EUROSAT_FOLDERS if name == "eurosat" else CLASS_FOLDERS
    class_names = tuple(folder.replace(" ", "_") for folder in folders)
    expected = Expected(root / top, class_names)
    content, numbers = pictures(), count(1)
    document = {}
    for split, size in IMAGES.items():
        rows = []
        # The files of CoOp are not sorted by label.
        for label in (2, 0, 1):
            for _ in range(size):
                relative = PATHS[name].format(folder=folders[label], number=next(numbers))
                path = root / top / images / relative
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(next(content))
                rows.append((relative, label, class_names[label]))
        document[split] = rows
        expected.splits[split] = [
            (root / top / images / relative, label) for relative, label, _ in rows
        ]
    (root / top / split_file).write_text(json.dumps(document))
    return expected


def _write_aircraft(root: Path) -> Expected:
    top = root / "fgvc_aircraft"
    (top / "images").mkdir(parents=True)
    (top / "variants.txt").write_text("\n".join(AIRCRAFT) + "\n")
    expected = Expected(top, AIRCRAFT)
    content, numbers = pictures(), count(34309)
    for split, size in IMAGES.items():
        lines, rows = [], []
        for label in (1, 2, 0):
            for _ in range(size):
                path = top / "images" / f"{next(numbers):07d}.jpg"
                path.write_bytes(next(content))
                lines.append(f"{path.stem} {AIRCRAFT[label]}")
                rows.append((path, label))
        (top / f"images_variant_{split}.txt").write_text("\n".join(lines) + "\n")
        expected.splits[split] = rows
    return expected


def write_class_names(path: Path) -> None:
    """ImageNet's `classnames.txt`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pairs = zip(WORDNET_IDS, IMAGENET_NAMES, strict=True)
    path.write_text("".join(f"{identity} {name}\n" for identity, name in pairs))


def _write_imagenet(root: Path) -> Expected:
    top = root / "imagenet"
    write_class_names(top / "classnames.txt")
    expected = Expected(top, IMAGENET_NAMES)
    content = pictures()
    sizes: tuple[tuple[Split, str, int], ...] = (("train", "train", 3), ("test", "val", 2))
    for split, name, size in sizes:
        expected.splits[split] = []
        for label, identity in enumerate(WORDNET_IDS):
            for number in range(size):
                path = top / "images" / name / identity / f"{identity}_{number}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(next(content))
                expected.splits[split].append((path, label))
    return expected


def _write_shifted(root: Path, name: CoopName) -> Expected:
    folder, images = SHIFTED_SETS[name]
    top = root / folder
    has_own_classes = name in ("imagenet_a", "imagenet_r")
    labels = OWN_CLASSES if has_own_classes else range(len(WORDNET_IDS))
    expected = Expected(top, IMAGENET_NAMES, {"test": []})
    content = pictures()
    for label in labels:
        class_folder = str(label) if name == "imagenetv2" else WORDNET_IDS[label]
        for number in range(2):
            path = top / images / class_folder / f"{number}.jpeg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(next(content))
            expected.splits["test"].append((path, label))
    if has_own_classes:
        # Not sorted, and with other text.
        lines = [f"{WORDNET_IDS[label]} {IMAGENET_NAMES[label]}" for label in reversed(labels)]
        text = "\n".join(["Images of 3 classes.", "", *lines]) + "\n"
        (top / images / "README.txt").write_text(text)
    return expected
