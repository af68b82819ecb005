"""What decided which state is returned, and what that says of it: for people."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from craft_ray.classifiers.evidence import CLEAR, Evidence
from craft_ray.config.fidelity import Selection
from craft_ray.config.validation_laws import LEAST_SHOTS

JudgedBy = Literal["validation", "held_out", "nothing"]
"""`held_out`: training images, each under a head that did not see it."""

KNOWS = 0.5
"""Share of the training images that zero-shot has right, from which on it is said to know the task;
below, but better than chance, something of it."""


@dataclass(frozen=True)
class ZeroShot:
    """What the training images say of the untouched model, which learned from none of them.

    Attributes:
        num_right: of them that it predicts rightly.
        trust: the factor t <= 1 by which its logits count in the head.
        num_classes: of the task.
    """

    num_right: int
    trust: float
    num_classes: int

    def in_words(self, num_images: int) -> str:
        """A sentence: what it has right of so many images, and whether that is more than chance."""
        chance = tail_of(self.num_right, num_images, 1 / self.num_classes)
        if chance > CLEAR:
            knows = "nothing shows that it knows the task"
        elif self.num_right >= KNOWS * num_images:
            knows = "it seems to know the task"
        else:
            knows = "it seems to know something of the task"
        return (
            f"Zero-shot, which learned from none of them, has {self.num_right:,} of the "
            f"{num_images:,} training images right: {knows}. The head takes its logits with weight "
            f"{self.trust:.2f} (1: fully)."
        )


def tail_of(num_right: int, num_images: int, rate: float) -> float:
    """Probability of at least so many right answers by chance, each with probability `rate`."""
    total = math.lgamma(num_images + 1)
    return math.fsum(
        math.exp(
            total
            - math.lgamma(count + 1)
            - math.lgamma(num_images - count + 1)
            + count * math.log(rate)
            + (num_images - count) * math.log1p(-rate)
        )
        for count in range(num_right, num_images + 1)
    )


def judged_by(evidence: Evidence) -> JudgedBy:
    """By which images the state was compared with zero-shot."""
    if evidence.validation is not None:
        return "validation"
    return "nothing" if evidence.held_out is None else "held_out"


def verdict(
    evidence: Evidence,
    generation: int,
    num_training: int,
    images_a_class: int,
    rule: Selection,
    zero_shot: ZeroShot | None,
    *,
    is_uneven: bool = False,
) -> str | None:
    """What was compared, and what is returned; None where validation images tell it.

    Args:
        evidence: of the state that is returned.
        generation: after which it was there; 0: it is zero-shot.
        num_training: training images.
        images_a_class: of the class with the fewest.
        rule: by which a state is chosen.
        zero_shot: what the images say of it, if a head was fitted.
        is_uneven: whether some class has more images than another that has any.
    """
    if evidence.validation is not None:
        return None
    if not num_training:
        return (
            "There are no training images and no validation images: what is returned is what the "
            "prompts alone give."
        )
    if evidence.held_out is not None:
        return _of_held_out(evidence, generation, num_training)
    if zero_shot is None or rule == "last":
        return "There are no validation images: the last state is returned, unjudged."
    if images_a_class < LEAST_SHOTS:
        images = "One image" if images_a_class == 1 else f"{images_a_class} images"
        a_class = "of some classes" if is_uneven else "a class"
        cannot = f"{images} {a_class} cannot tell whether the head is better than zero-shot"
    else:
        cannot = (
            "There are no validation images, and the training images cannot tell whether the head "
            "is better than zero-shot (too many of them, head.folds below 3, or a prompt that was "
            "tuned before)"
        )
    return f"{cannot}: the head is returned unjudged. {zero_shot.in_words(num_training)}"


def _of_held_out(evidence: Evidence, generation: int, num_training: int) -> str:
    assert evidence.held_out is not None
    images = f"There are no validation images. Of the {num_training:,} training images"
    if not generation:
        return (
            f"{images} zero-shot has {evidence.held_out.accuracy:.1%} right, and the head, asked "
            "about images that it was not fitted to, no more: zero-shot is returned."
        )
    before = evidence.zero_shot_held_out
    than = "" if before is None else f", zero-shot {before.accuracy:.1%}"
    return (
        f"{images} the head has {evidence.held_out.accuracy:.1%} right, each judged by a head that "
        f"was not fitted to it{than}: the head is returned."
    )
