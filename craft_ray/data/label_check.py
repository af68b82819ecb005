"""What was found out about the labels of a data set, in plain values: no model is known here."""

from __future__ import annotations

from dataclasses import dataclass

from craft_ray.data.dataset import Split


@dataclass(frozen=True)
class WrongLabel:
    """A label that looks wrong.

    Attributes:
        image, split, label: of the image.
        looks_like: the class that it looks like.
        confidence: probability of that class, 0 to 1.
        confidence_in_label: probability of the label.
    """

    image: str
    split: Split
    label: str
    looks_like: str
    confidence: float
    confidence_in_label: float


@dataclass(frozen=True)
class LabelCheck:
    """What a model said of labelled images.

    Attributes:
        num_asked: images that it was asked about.
        num_images: images that there are.
        left_out: what it was not asked about, in a few words each.
        wrong: labels that look wrong, the surest first.
    """

    num_asked: int
    num_images: int
    left_out: tuple[str, ...]
    wrong: tuple[WrongLabel, ...]
