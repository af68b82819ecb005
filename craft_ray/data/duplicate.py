"""An image that is there twice."""

from __future__ import annotations

from dataclasses import dataclass

from craft_ray.data.dataset import Split


@dataclass(frozen=True)
class Duplicate:
    """Two images that are one: of the same bytes, or, of a `NearDuplicate`, that look the same."""

    image: str
    split: Split
    class_name: str
    other_image: str
    """The first of them."""
    other_split: Split
    other_class_name: str
