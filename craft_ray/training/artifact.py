"""The deployable result of a run: arrays in safetensors and a description in JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field, StrictBool, ValidationError

from craft_ray.config.base import Settings
from craft_ray.config.data import Template
from craft_ray.config.documents import describe_problems
from craft_ray.data.dataset import class_name_problem
from craft_ray.errors import ArtifactError
from craft_ray.files import Arrays, read_signed_pair, write_signed_pair
from craft_ray.oracle.contract import (
    ClassificationTask,
    FloatArray,
    ImageHandle,
    Oracle,
)
from craft_ray.remote import Place
from craft_ray.training.classifier import TunedClassifier

ARRAYS_FILE = "classifier.safetensors"
DESCRIPTION_FILE = "classifier.json"
FORMAT_VERSION = 2


def _check_class_name(class_name: str) -> str:
    if (problem := class_name_problem(class_name)) is not None:
        raise ValueError(problem)
    return class_name


class _Description(Settings):
    """What stands in `DESCRIPTION_FILE` beside the checksums."""

    format_version: Literal[2]
    oracle_id: str = Field(min_length=1)
    class_names: tuple[Annotated[str, AfterValidator(_check_class_name)], ...] = Field(min_length=2)
    template: Template
    has_head: StrictBool


@dataclass(frozen=True)
class Artifact:
    """A tuned classifier with what it must be used with."""

    classifier: TunedClassifier
    task: ClassificationTask
    oracle_id: str

    def save(self, folder: Place) -> None:
        """Write both files with their checksums; a folder with the description is complete."""
        head = self.classifier.head or {}
        arrays = {
            "context": self.classifier.context_LE,
            **{f"head.{name}": weights for name, weights in head.items()},
        }
        description = {
            "format_version": FORMAT_VERSION,
            "oracle_id": self.oracle_id,
            "class_names": list(self.task.class_names),
            "template": self.task.template,
            "has_head": self.classifier.head is not None,
        }
        write_signed_pair(folder / ARRAYS_FILE, arrays, folder / DESCRIPTION_FILE, description)

    @classmethod
    def load(cls, folder: Place) -> Artifact:
        """Read what `save` wrote.

        Raises:
            ArtifactError: a file is missing, broken, changed, of another format version, or its
                content cannot be that of a classifier.
        """
        arrays_path, path = folder / ARRAYS_FILE, folder / DESCRIPTION_FILE
        arrays, document = read_signed_pair(arrays_path, path, FORMAT_VERSION)
        try:
            description = _Description.model_validate(document)
        except ValidationError as error:
            raise ArtifactError(f"{path}: {'; '.join(describe_problems(error))}") from error
        if description.has_head != any(name.startswith("head.") for name in arrays):
            raise ArtifactError(f"{folder}: has_head must tell whether head arrays are stored")
        _check_arrays(arrays, description, arrays_path)
        context = arrays.pop("context")
        head = {name.removeprefix("head."): array for name, array in arrays.items()}
        task = ClassificationTask(description.class_names, description.template)
        return cls(TunedClassifier(context, head or None), task, description.oracle_id)

    def predict(self, oracle: Oracle, images: ImageHandle) -> FloatArray:
        """Final logits [N, C] of registered images.

        Raises:
            ArtifactError: the oracle is not the one that this classifier was tuned for.
        """
        oracle_id = oracle.describe().oracle_id
        if oracle_id != self.oracle_id:
            raise ArtifactError(
                f"oracle_id: must be {self.oracle_id[:12]} as tuned, but the oracle is "
                f"{oracle_id[:12]}"
            )
        task = oracle.register_task(self.task)
        logits_KNC = oracle.predict(task, images, self.classifier.context_LE[None])
        return self.classifier.refine(logits_KNC[0])


def _check_arrays(arrays: Arrays, description: _Description, path: Place) -> None:
    """Raise ArtifactError unless these are finite float32 arrays that fit together."""
    num_classes = len(description.class_names)
    enter = arrays.get("head.enter.weight")
    hidden = 1 if enter is None or enter.ndim != 2 else max(1, len(enter))
    shapes: dict[str, tuple[int, ...] | None] = {"context": None}
    if description.has_head:
        shapes |= {
            "head.enter.weight": (hidden, num_classes),
            "head.enter.bias": (hidden,),
            "head.leave.weight": (num_classes, hidden),
            "head.leave.bias": (num_classes,),
        }
    for name in sorted(shapes.keys() - arrays.keys()):
        raise ArtifactError(f"{path}: must have {name}")
    for name in sorted(arrays.keys() - shapes.keys()):
        raise ArtifactError(f"{path}: {name[:60]!r} is no part of a classifier")
    for name, shape in shapes.items():
        array = arrays[name]
        # The context's width is the oracle's to check.
        fits = array.ndim == 2 and array.size > 0 if shape is None else array.shape == shape
        if array.dtype != np.float32 or not fits:
            law = "[L >= 1, E >= 1]" if shape is None else list(shape)
            raise ArtifactError(
                f"{path}: {name} must be float32 {law}, but is {array.dtype} {list(array.shape)}"
            )
        if not np.isfinite(array).all():
            raise ArtifactError(f"{path}: {name} must be finite, but has NaN or infinity")
