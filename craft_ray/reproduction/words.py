"""What tables and plots call methods and data sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from craft_ray.config.reproduction import OURS, MethodName
from craft_ray.reproduction.published import Access


@dataclass(frozen=True)
class MethodWords:
    """A method that is run here."""

    title: str
    access: Access
    chosen_by: str
    """Which labels beside the shots chose its hyperparameters."""


_PRESET = "unsaid, per data set"
METHODS: Mapping[MethodName, MethodWords] = {
    "probes": MethodWords("ours", "logits", "nothing"),
    "probes_unlabelled": MethodWords("ours + unlabelled images", "logits", "nothing"),
    "probes_validated": MethodWords(
        "ours + few validation images", "logits", "min(N, 4) validation images a class"
    ),
    "craft": MethodWords("CraFT, run here", "logits", _PRESET),
    "prompt_only": MethodWords("prompt only, run here", "logits", _PRESET),
    "head_only": MethodWords("head only, run here", "logits", _PRESET),
    "random_search": MethodWords("random search, run here", "logits", _PRESET),
    "white_box": MethodWords("gradients, run here", "gradients", _PRESET),
    "linear_probe": MethodWords("linear probe, run here", "features", "validation"),
}
BOLD = frozenset(METHODS[name].title for name in OURS)

DATASETS: Mapping[str, str] = {
    "oxford_pets": "Pets",
    "oxford_flowers": "Flowers",
    "fgvc_aircraft": "Aircraft",
    "dtd": "DTD",
    "eurosat": "EuroSAT",
    "stanford_cars": "Cars",
    "food101": "Food",
    "sun397": "SUN",
    "caltech101": "Caltech",
    "ucf101": "UCF",
    "imagenet": "ImageNet",
}
"""Short, as table heads; another data set keeps its name. Their order is that of the tables."""


def shots_in_words(shots: int) -> str:
    """`1 shot`, `2 shots`."""
    return f"{shots} shots" if shots > 1 else "1 shot"
