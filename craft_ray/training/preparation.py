"""From a data set to what a trial needs: handles of registered image sets, and labels.

The driver prepares once and every trial shares the result, so an image set is sent once and
encoded once a replica.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from craft_ray.config.run import RunConfig
from craft_ray.data.dataset import Dataset, Item, labels_of
from craft_ray.data.few_shot import sample_few_shot, verify_decodable
from craft_ray.data.pixels import PixelArray, augmented_pixels, plain_pixels
from craft_ray.data.sources import load_dataset
from craft_ray.errors import OracleError
from craft_ray.oracle.contract import ClassificationTask, Oracle
from craft_ray.training.plan import DataSize
from craft_ray.training.task import LabelledImages, PreparedTask

# Independent random streams under one seed.
_VIEW_STREAM = 0
_FITNESS_STREAM = 1


@dataclass(frozen=True)
class FewShotData:
    """A data set with its training images chosen."""

    dataset: Dataset
    train: tuple[Item, ...]

    @property
    def size(self) -> DataSize:
        """What decides the spending."""
        return DataSize(
            num_train=len(self.train),
            num_validation=len(self.dataset.splits["val"]),
            num_test=len(self.dataset.splits["test"]),
            num_classes=len(self.dataset.class_names),
        )

    def describe(self) -> str:
        """One line for people."""
        size = self.size
        return (
            f"{self.dataset.name}: {size.num_classes} classes, {size.num_train} training, "
            f"{size.num_validation} validation and {size.num_test} test images"
        )


def load_data(config: RunConfig) -> FewShotData:
    """Read, sample and verify all images, before anything is started.

    Raises:
        DataError: see `load_dataset`, `sample_few_shot`, `verify_decodable`.
    """
    dataset = load_dataset(config.data.source)
    train = sample_few_shot(
        dataset,
        config.data.shots,
        config.seed,
        repeat_small_classes=config.data.repeat_small_classes,
    )
    verify_decodable([*train, *dataset.splits["val"], *dataset.splits["test"]])
    return FewShotData(dataset, tuple(train))


def classification_task(config: RunConfig, data: FewShotData) -> ClassificationTask:
    """The task that is registered with the oracle."""
    return ClassificationTask(data.dataset.class_names, config.data.template)


def prepare(config: RunConfig, data: FewShotData, oracle: Oracle) -> PreparedTask:
    """Register the task and its image sets.

    Raises:
        OracleError: a class name does not fit, or an answer that `fidelity` needs is not served.
    """
    description = oracle.describe()
    if config.fidelity.head_inputs not in description.answers:
        raise OracleError(
            f"fidelity.head_inputs: the oracle must serve it, but got "
            f"{config.fidelity.head_inputs!r} and it serves {description.answers}"
        )
    task = classification_task(config, data)
    train_labels = labels_of(data.train)
    if config.fidelity.fitness_images == "plain":
        fitness_pixels = plain_pixels(data.train, description.image_size)
    else:
        fitness_pixels = _augmented(config, data, description.image_size, _FITNESS_STREAM, 1)[0]
    # Also for a base run without a head: a trial may have one. What is not asked is not encoded.
    views = _augmented(config, data, description.image_size, _VIEW_STREAM, config.data.views)
    validation_items = data.dataset.splits["val"]
    return PreparedTask(
        task=oracle.register_task(task),
        class_names=task.class_names,
        template=task.template,
        oracle_id=description.oracle_id,
        fitness=LabelledImages(oracle.register_images(fitness_pixels), train_labels),
        views=tuple(oracle.register_images(pixels) for pixels in views),
        validation=LabelledImages(
            oracle.register_images(plain_pixels(validation_items, description.image_size)),
            labels_of(validation_items),
        ),
    )


def _augmented(
    config: RunConfig, data: FewShotData, image_size: int, stream: int, count: int
) -> list[PixelArray]:
    """`count` augmented views of the training images, from a random stream of their own."""
    seeds = np.random.SeedSequence([config.seed, stream]).generate_state(count)
    return [
        augmented_pixels(data.train, image_size, config.data.crop_scale_min, int(seed))
        for seed in seeds
    ]


def register_test_images(data: FewShotData, oracle: Oracle) -> LabelledImages:
    """For the final report only; no trial is ever given this."""
    items = data.dataset.splits["test"]
    pixels = plain_pixels(items, oracle.describe().image_size)
    return LabelledImages(oracle.register_images(pixels), labels_of(items))
