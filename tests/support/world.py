"""A small learning problem on `FakeOracle`, through the same path that a user's images take."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from craft_ray.classifiers.earlier_prompt import earlier_prompt
from craft_ray.classifiers.examiner import Examiner
from craft_ray.config.run import RunConfig
from craft_ray.data.dataset import Dataset, Item, Split, labels_of
from craft_ray.data.pixels import plain_pixels
from craft_ray.metering.journal import Journal
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import Answer, ImageHandle, Oracle, PixelArray
from craft_ray.task.preparation import FewShotData, classification_task, prepare
from craft_ray.task.prepared import LabelledImages, PreparedTask, ViewBank
from craft_ray.tuners.base import Trainer
from craft_ray.tuners.registry import make_trainer
from tests.support.fake_oracle import FakeOracle, images_of

CLASS_NAMES = ("cat", "dog", "ankle boot", "tin whistle")
BOTH_ANSWERS: tuple[Answer, ...] = ("logits", "unnormalized_logits")

SMALL_RUN = RunConfig.model_validate(
    {
        "seed": 1,
        "max_queries": 40,
        "evaluate_every_generations": 2,
        "data": {"views": 2, "shots": 4, "crop_scale_min": 0.9},
        "prompt": {"intrinsic_dim": 8, "projection_std": 1.0},
        "optimizer": {"population": 8, "sigma": 0.3},
        "head": {"hidden": 8, "learning_rate": 1e-2, "batch_size": 8},
    }
)


def run_config(**changes: object) -> RunConfig:
    """`SMALL_RUN` with other settings; sections are merged, but for a head of another kind."""
    document = SMALL_RUN.model_dump(mode="json")
    for section, value in changes.items():
        if section == "head" and isinstance(value, dict) and "kind" in value:
            document[section] = value
        elif isinstance(value, dict):
            document[section] = {**document[section], **value}
        else:
            document[section] = value
    return RunConfig.model_validate(document)


def encode_png(pixels_SS: PixelArray) -> bytes:
    """One uint8 [3, S, S] image as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels_SS.transpose(1, 2, 0)).save(stream, "PNG")
    return stream.getvalue()


def world_data(shots: int = 4, num_validation: int = 15, num_test: int = 15) -> FewShotData:
    """Images of the fake world: every training image is chosen."""
    rng = np.random.default_rng(5)
    sizes: dict[Split, int] = {"train": shots, "val": num_validation, "test": num_test}
    splits = {
        split: [
            Item(encode_png(pixels), label, f"{split} {class_name} {index}")
            for label, class_name in enumerate(CLASS_NAMES)
            for index, pixels in enumerate(images_of(class_name, size, rng))
        ]
        for split, size in sizes.items()
    }
    dataset = Dataset("fake", CLASS_NAMES, splits)
    return FewShotData(dataset, tuple(dataset.splits["train"]), tuple(dataset.splits["val"]))


def register_test_images(data: FewShotData, oracle: Oracle) -> LabelledImages:
    """The whole test split at once."""
    items = data.dataset.splits["test"]
    pixels = plain_pixels(items, oracle.describe().transform)
    return LabelledImages(oracle.register_images(pixels), labels_of(items))


def metered(oracle: Oracle) -> MeteredOracle:
    """For the driver's questions."""
    return MeteredOracle(oracle, QueryLedger(0))


def handles_of(prepared: PreparedTask) -> tuple[ImageHandle, ...]:
    """The views of a bank."""
    assert isinstance(prepared.views, ViewBank)
    return prepared.views.handles


@dataclass(frozen=True)
class World:
    """An oracle, its data and a prepared task."""

    config: RunConfig
    oracle: Oracle
    data: FewShotData
    prepared: PreparedTask

    @property
    def view_handles(self) -> tuple[ImageHandle, ...]:
        """The head's images, where they are a bank."""
        return handles_of(self.prepared)

    def trainer(self, journal: Journal | None = None) -> tuple[Trainer, QueryLedger]:
        """A new training, with the record that it goes on from, and what it spends."""
        ledger = QueryLedger(self.config.max_queries)
        metered = MeteredOracle(self.oracle, ledger, journal)
        return make_trainer(metered, self.prepared, self.config), ledger


def make_world(
    config: RunConfig = SMALL_RUN, oracle: Oracle | None = None, data: FewShotData | None = None
) -> World:
    """Prepare the task of `config`."""
    oracle = oracle or FakeOracle(answers=BOTH_ANSWERS)
    data = data or world_data()
    task = classification_task(config, data)
    start = earlier_prompt(config, task, oracle.describe())
    driver = metered(oracle)
    examiner = Examiner(driver, prepare(config, data, driver, start), data)
    prepared, _ = examiner.validate_zero_shot()
    return World(config, oracle, data, prepared)


def mislabelled(world: World) -> World:
    """Every training image says the next class: whatever is learnt from it is wrong."""
    fitness = world.prepared.fitness
    wrong = LabelledImages(fitness.handle, (fitness.labels_N + 1) % 4)
    return replace(world, prepared=replace(world.prepared, fitness=wrong))
