"""Whether the images at hand can tell which trial of a search is best."""

from __future__ import annotations

from collections import Counter

from craft_ray.config.space import SpaceConfig
from craft_ray.config.validation_laws import LEAST_SHOTS, MOST_HELD_OUT
from craft_ray.errors import ConfigError
from craft_ray.task.preparation import FewShotData


def check_comparable(space: SpaceConfig, data: FewShotData) -> None:
    """Refuse, before anything is asked, a search without validation images whose training images
    are not all held out, so that every trial would be paid for and none could be compared.

    Raises:
        ConfigError: says which images are missing, or too many.
    """
    if space.base.data.validation != "none":
        return
    counts = Counter(item.label for item in data.train)
    label, fewest = min(counts.items(), key=lambda each: each[1])
    if fewest < LEAST_SHOTS:
        name = data.dataset.class_names[label]
        reason = f"class {name!r} has {fewest}, of which {LEAST_SHOTS} are needed"
    elif len(data.train) > MOST_HELD_OUT:
        reason = f"of more than {MOST_HELD_OUT:,} images, here {len(data.train):,}, not all are"
    else:
        return
    problem = (
        "must be full or few_shot, but got none: a search then compares its trials by training "
        f"images that are held out, and {reason}; `craft-ray train` needs no comparison"
    )
    raise ConfigError("data.validation", [problem])
