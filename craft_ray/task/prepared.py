"""What a fine-tuning may look at. Light: every process of a trial loads it.

A prepared task has no test data: trials cannot leak what they never see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from craft_ray.config.run import RunConfig
from craft_ray.data.dataset import Item
from craft_ray.data.descriptions import Sentences
from craft_ray.data.transform import ImageTransform
from craft_ray.oracle.contract import ClassificationTask, FloatArray, ImageHandle, TaskHandle
from craft_ray.task.class_prompts import ClassPrompts, class_prompts

LabelArray = npt.NDArray[np.int64]


NO_IMAGES = ImageHandle("", 0)
"""In place of a registered set where there is none; nothing can be asked about it."""


@dataclass(frozen=True)
class LabelledImages:
    """A registered image set and its labels [N]."""

    handle: ImageHandle
    labels_N: LabelArray


@dataclass(frozen=True)
class Augmentation:
    """How a random view of an image is cropped; `craft_ray.task.views` does it."""

    seed: int
    """Of the run."""
    transform: ImageTransform
    """Of the model."""
    crop_scale_min: float
    """Smallest area share of RandomResizedCrop."""


@dataclass(frozen=True)
class ViewBank:
    """V augmented views of the training images, sent and encoded once; epochs cycle through it."""

    handles: tuple[ImageHandle, ...]


@dataclass(frozen=True)
class FreshViews:
    """A new augmented view for every generation, as the paper's code does."""

    items: Sequence[Item]
    augmentation: Augmentation


@dataclass(frozen=True)
class SharedProbes:
    """What the trials of a search that probe fixed contexts ask alike, so that an answer serves all
    of them: each of the first contexts by itself, and about the most names that any trial asks
    about. A trial takes those of its own names from the answer.

    An image costs the same predictions however many names it is asked about; there is more text to
    encode, for the first who asks.
    """

    num_contexts: int
    """The first ones of a trial, which other trials have as well."""
    names: tuple[tuple[str, ...], ...]
    """The most names, of each vocabulary."""

    def names_around(self, own: tuple[str, ...]) -> tuple[str, ...]:
        """What a trial with these names asks about: the most that begin so."""
        longer = (names for names in self.names if names[: len(own)] == own)
        return max(longer, key=len, default=own)


@dataclass(frozen=True)
class TaskTemperature:
    """A fitted factor: logits = scale * cosines."""

    scale: float
    num_images: int
    """Training images that it was fitted on."""
    is_determined: bool
    """False where they do not determine it, and `scale` is the nearest one that is allowed, or the
    usual one, 100."""

    def describe(self) -> str:
        """One line for people."""
        images = f"{self.num_images} training image" + ("s" if self.num_images != 1 else "")
        if self.is_determined:
            return f"Temperature fitted on {images}: {self.scale:.1f}."
        return (
            f"Temperature: {self.scale:.1f}, as {images} do not determine it; probabilities may be "
            "far from how often the labels are right."
        )


@dataclass(frozen=True)
class PreparedTask:
    """Everything that a fine-tuning may look at."""

    task: TaskHandle
    class_names: tuple[str, ...]
    template: str
    oracle_id: str
    fitness: LabelledImages
    """What candidates are scored on: the training images. `NO_IMAGES` with `data.shots: 0`."""
    views: ViewBank | FreshViews
    """Of the same training images, for the head."""
    validation: LabelledImages | None
    """None with `data.validation: none`: nothing is chosen on other images than `fitness`."""
    zero_shot_NC: FloatArray | None = None
    """The untouched classifier's logits of the validation images, if they were asked for already:
    all who share the task share the answer."""
    weights_id: str = ""
    """Of the oracle, as `oracle_id`."""
    earlier_prompt_LE: FloatArray | None = None
    """What an earlier run tuned, and this one starts from: [L, E] or [C, L, E]."""
    shared_probes: SharedProbes | None = None
    """None outside of a search."""
    first_copy_N: LabelArray | None = None
    """Of each training image, the first row with the same one; None: all differ. What is held out
    must not be among what is fitted."""

    unlabelled: ImageHandle | None = None
    """Images without labels that a head learns from as well."""
    temperature: TaskTemperature | None = None
    """None: the oracle answers with logits."""
    descriptions: Mapping[str, Sentences] = field(default_factory=dict)
    """What the user's files say of the classes, by `head.offset`."""

    @property
    def logit_scale(self) -> float:
        """What the oracle's predictions are multiplied by (`MeteredOracle.logit_scale`)."""
        return 1.0 if self.temperature is None else self.temperature.scale

    def start_context(self, per_class: bool) -> FloatArray:
        """p0, what is tuned: [L, E]; or [C, L, E], if that is asked or an earlier run's is so."""
        earlier = self.earlier_prompt_LE
        start = self.task.initial_context if earlier is None else earlier
        if per_class and start.ndim == 2:
            return np.repeat(start[None], self.task.num_classes, axis=0)
        return start

    @property
    def has_training(self) -> bool:
        """Whether there are training images."""
        return bool(len(self.fitness.labels_N))

    @property
    def evidence_sizes(self) -> tuple[int, int]:
        """Number of validation images and of training images."""
        num_validation = 0 if self.validation is None else len(self.validation.labels_N)
        return num_validation, len(self.fitness.labels_N)

    def class_prompts(self, config: RunConfig) -> ClassPrompts | None:
        """What the head of a run asks of each class beside its prompt under the template; None:
        nothing."""
        return class_prompts(config, self.class_names, self.template, self.descriptions)

    @property
    def classes(self) -> ClassificationTask:
        """What `task` is the handle of."""
        return ClassificationTask(self.class_names, self.template)
