"""How a model wants an image to become a square, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from craft_ray.config.oracle import Interpolation, ResizeMode

WORDS = {
    "shortest": "short side resized to the image size ({}); centre cropped to a square",
    "longest": "long side resized to the image size ({}); padded to a square",
    "squash": "both sides resized to the image size, which changes the aspect ratio ({})",
}


@dataclass(frozen=True)
class ImageTransform:
    """From an RGB image to size x size pixels, as open_clip's `preprocess_cfg` says it.

    The defaults are what CLIP itself does, and what descriptions of models that say nothing mean.

    Raises:
        ValueError: a word that open_clip does not know, or no size.
    """

    size: int
    resize_mode: ResizeMode = "shortest"
    """Which side becomes `size`: the short one (then the centre is cropped), the long one (then
    what is missing is padded), or both (`squash`)."""
    interpolation: Interpolation = "bicubic"
    fill_color: int = 0
    """Grey value of what `longest` pads."""

    def __post_init__(self) -> None:
        if type(self.size) is not int or self.size < 1:
            raise ValueError(f"image_size must be a whole number >= 1, but is {self.size!r}")
        if self.resize_mode not in get_args(ResizeMode):
            raise ValueError(
                f"resize_mode must be one of {', '.join(get_args(ResizeMode))}, but is "
                f"{self.resize_mode!r}"
            )
        if self.interpolation not in get_args(Interpolation):
            raise ValueError(
                f"interpolation must be one of {', '.join(get_args(Interpolation))}, but is "
                f"{self.interpolation!r}"
            )
        if type(self.fill_color) is not int or not 0 <= self.fill_color <= 255:
            raise ValueError(f"fill_color must be from 0 to 255, but is {self.fill_color!r}")

    @property
    def unusual(self) -> dict[str, str | int]:
        """What differs from CLIP's own; empty for most models. Part of a model's address."""
        usual = ImageTransform(self.size)
        named: dict[str, str | int] = {
            "resize_mode": self.resize_mode,
            "interpolation": self.interpolation,
        }
        if self.resize_mode == "longest":
            named["fill_color"] = self.fill_color
        return {name: value for name, value in named.items() if value != getattr(usual, name)}

    def describe(self) -> str:
        """For people."""
        return WORDS[self.resize_mode].format(self.interpolation)
