"""Which settings go with images without labels, and how many images do."""

from __future__ import annotations

from craft_ray.config.heads import ProbingHeadConfig

FEWEST_IMAGES = 10
"""Unlabelled images a class. Fewer say less of a class than they mislead: nothing is learned."""


def are_enough(num_unlabelled: int, num_classes: int) -> bool:
    """Whether anything is learned from so many images without labels."""
    return num_unlabelled >= FEWEST_IMAGES * num_classes


def check_unlabelled(method: str, head: ProbingHeadConfig | None) -> None:
    """Refuse a fine-tuning that would pay for unlabelled images, or send them, and not learn from
    them.

    Args:
        method: of the run.
        head: its section of the head, if it is one that is fitted.

    Raises:
        ValueError: names the setting.
    """
    if head is None or method != "head":
        raise ValueError(
            "data.unlabelled must be null unless method is head and head.kind is linear, probes or "
            f"features, but got method {method}: only heads that are fitted to answers learn from "
            "images without labels"
        )
    if head.fit != "anchored":
        raise ValueError(
            f"data.unlabelled must be null when head.fit is {head.fit}: only anchored learns from "
            "images without labels"
        )
