"""What a fine-tuning and a classification cost, in the unit of a key's quota: an image that is
compared with one prompt. Pure.

A ledger counts image predictions, each of which asks about all texts at once. Not every question
of a fine-tuning asks for as many texts as its largest one (zero-shot asks for the classes alone):
all are charged as the largest, before and after alike, so that what is settled is never more than
what was reserved.
"""

from __future__ import annotations

from craft_ray.classifiers.classifier import TunedClassifier
from craft_ray.config.run import RunConfig
from craft_ray.config.space import SpaceConfig
from craft_ray.metering.ledger import Spending
from craft_ray.metering.planned_spending import DataSize, plan_driver, plan_run
from craft_ray.search.plan import dearest_runs, plan_search


def texts_asked(config: RunConfig | SpaceConfig, size: DataSize) -> int:
    """That an image is compared with in the largest question: the classes, and what a head asks
    about beside them."""
    runs = list(dearest_runs(config)) if isinstance(config, SpaceConfig) else [config]
    most = size.num_classes
    for run in runs:
        if (head := run.probing_head) is not None and head.kind != "features":
            most = max(most, size.num_texts(head))
    return most


def planned_pairs(config: RunConfig | SpaceConfig, size: DataSize) -> int:
    """At most."""
    if isinstance(config, SpaceConfig):
        spending = plan_search(config, size)
    else:
        spending = plan_run(config, size) + plan_driver(config, size)
    return spending.image_predictions * texts_asked(config, size)


def pairs_of(spending: Spending, num_texts: int, reserved: int) -> int:
    """What was asked, never more than was reserved."""
    return min(spending.image_predictions * num_texts, reserved)


def pairs_of_classification(classifier: TunedClassifier, num_classes: int, num_images: int) -> int:
    """What a classifier asks about some images."""
    texts = num_classes + len(classifier.extra_names) + len(classifier.prompts)
    return classifier.predictions_per_image * texts * num_images
