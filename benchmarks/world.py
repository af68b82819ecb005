"""A task and all of its images before an oracle of this process, for looking closer than a run may.

What a run keeps apart is side by side here, test images among it: nothing of it is for a choice.
"""

from __future__ import annotations

import numpy as np

from craft_ray.config.run import RunConfig
from craft_ray.data.dataset import labels_of
from craft_ray.data.pixels import plain_pixels
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import ClassificationTask, FloatArray, ImageHandle
from craft_ray.task.preparation import load_data, prepare
from craft_ray.task.prepared import LabelledImages, ViewBank
from craft_ray.task.vocabulary import extra_names


class World:
    """The task of one seed."""

    def __init__(self, oracle: ClipOracle, config: RunConfig) -> None:
        data = load_data(config)
        self.driver = MeteredOracle(oracle, QueryLedger(0))
        prepared = prepare(config, data, self.driver)
        assert isinstance(prepared.views, ViewBank)
        items = data.dataset.splits["test"]
        pixels = plain_pixels(items, oracle.describe().transform)
        names = (*prepared.class_names, *extra_names(config, prepared.class_names))
        self.oracle = oracle
        self.config = config
        self.class_names = prepared.class_names
        self.task = prepared.task
        self.train = prepared.fitness
        self.views = prepared.views.handles
        assert prepared.validation is not None
        self.validation = prepared.validation
        self.test = LabelledImages(oracle.register_images(pixels), labels_of(items))
        self._named = oracle.register_task(ClassificationTask(names, prepared.template))

    @property
    def training_handles(self) -> tuple[ImageHandle, ...]:
        """The plain training images, then their views."""
        return (self.train.handle, *self.views)

    def predict(self, images: ImageHandle, contexts_KLE: FloatArray) -> FloatArray:
        """Logits [K, N, C]."""
        return self.oracle.predict(self.task, images, contexts_KLE)

    def predict_names(self, *images: ImageHandle) -> FloatArray:
        """Of image sets of one size, under the template: logits of the classes, then of the head's
        extra names, [sets, N, C + names]."""
        context_1LE = self.task.initial_context[None]
        return np.stack([self.oracle.predict(self._named, h, context_1LE)[0] for h in images])
