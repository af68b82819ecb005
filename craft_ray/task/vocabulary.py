"""Class names that a task does not have, for a head that sees more than the task's own logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from craft_ray.config.heads import ProbesHeadConfig
from craft_ray.config.run import RunConfig
from craft_ray.data.dataset import normalized_name
from craft_ray.errors import ConfigError
from craft_ray.light_imports import module_alone
from craft_ray.task.visible_words import visible_words

_NAMES_STREAM = 20
"""Independent of the run's other random streams."""


def extra_names(config: RunConfig, class_names: Sequence[str]) -> tuple[str, ...]:
    """What the run's head is asked about beside the task's own classes.

    Raises:
        ConfigError: see `draw_names`.
    """
    head = config.probing_head
    if not isinstance(head, ProbesHeadConfig):
        return ()
    seed = np.random.SeedSequence([config.seed, _NAMES_STREAM]).generate_state(1)[0]
    return draw_names(head.vocabulary, head.names, class_names, int(seed))


def draw_names(
    vocabulary: Sequence[str], count: int, class_names: Sequence[str], seed: int
) -> tuple[str, ...]:
    """`count` different names of the vocabulary, none of which is one of `class_names`.

    Args:
        vocabulary: to draw from; empty: the names of ImageNet's classes, as open_clip has them, and
            where the task leaves too few of them, `visible_words` after these.
        count: how many.
        class_names: of the task.
        seed: draws.

    Raises:
        ConfigError: the vocabulary has fewer.
    """
    seen = {normalized_name(name) for name in class_names}
    random = np.random.default_rng(seed)
    # The first names are the same for every count: more of them add to what fewer saw.
    drawn: list[str] = []
    for source in (vocabulary,) if vocabulary else (_imagenet_names(), visible_words()):
        candidates = []
        for name in source:
            if (normalized := normalized_name(name)) not in seen:
                seen.add(normalized)
                candidates.append(name)
        drawn += [candidates[index] for index in random.permutation(len(candidates))]
    if len(drawn) < count:
        own = "head.vocabulary" if vocabulary else "the built-in vocabulary"
        raise ConfigError(
            "head.names",
            [
                f"head.names <= {len(drawn)} must hold, which is what {own} has beside the task's "
                f"own classes, but got {count}; head.vocabulary=[NAME, ...] takes any names"
            ],
        )
    return tuple(drawn[:count])


def _imagenet_names() -> Sequence[str]:
    names: Sequence[str] = module_alone("open_clip", "zero_shot_metadata").IMAGENET_CLASSNAMES
    return names
