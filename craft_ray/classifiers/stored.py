"""What may stand in the files of a classifier: fields of its description, and arrays of each kind.
A file that somebody sent may hold anything."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from craft_ray.classifiers.about import About
from craft_ray.classifiers.classifier import Kind
from craft_ray.config.base import Settings
from craft_ray.config.data import Template
from craft_ray.config.oracle import AnyOracleConfig
from craft_ray.config.words import unprintable
from craft_ray.data.dataset import class_name_problem
from craft_ray.data.decoding import AS_STORED, Decoding
from craft_ray.errors import ArtifactError
from craft_ray.files.remote import Place
from craft_ray.files.whole_files import Arrays

Shape = tuple[int | None, ...]
"""None: any length but 0."""


def _check_class_name(class_name: str) -> str:
    if (problem := class_name_problem(class_name)) is not None:
        raise ValueError(problem)
    return class_name


def _check_prompt(prompt: str) -> str:
    if not prompt.strip():
        raise ValueError(f"must not be empty, but got {prompt[:40]!r}")
    if (character := unprintable(prompt)) is not None:
        raise ValueError(f"must have printable characters only, but has {character}")
    return prompt


class StoredDescription(Settings):
    """What stands in the file of the description beside the checksums."""

    format_version: Literal[3]
    oracle_id: str = Field(min_length=1)
    weights_id: str = ""  # earlier versions did not store it
    class_names: tuple[Annotated[str, AfterValidator(_check_class_name)], ...] = Field(min_length=2)
    template: Template
    kind: Kind
    extra_names: tuple[Annotated[str, AfterValidator(_check_class_name)], ...]
    prompts: tuple[Annotated[str, AfterValidator(_check_prompt)], ...] = ()  # earlier had none
    oracle: AnyOracleConfig | None = None  # earlier versions did not store it
    about: About | None = None  # earlier versions did not store it
    logit_scale: float = Field(1.0, gt=0, allow_inf_nan=False)  # nor it
    decoding: Decoding = AS_STORED  # nor this one: they decoded in no other way

    @model_validator(mode="after")
    def _prompts_have_no_extra_names(self) -> Self:
        if self.kind != "probes" and self.extra_names:
            raise ValueError(
                f"extra_names must be empty when kind is {self.kind}, but got "
                f"{len(self.extra_names)}"
            )
        if self.kind != "probes" and self.prompts:
            raise ValueError(
                f"prompts must be empty when kind is {self.kind}, but got {len(self.prompts)}"
            )
        return self


def check_arrays(arrays: Arrays, description: StoredDescription, path: Place) -> None:
    """Raise ArtifactError unless these are finite float32 arrays that fit together."""
    shapes = _shapes(arrays, description)
    for name in sorted(shapes.keys() - arrays.keys()):
        raise ArtifactError(f"{path}: must have {name}")
    for name in sorted(arrays.keys() - shapes.keys()):
        raise ArtifactError(f"{path}: {name[:60]!r} is no part of a classifier")
    for name, shape in shapes.items():
        array = arrays[name]
        if array.dtype != np.float32 or not _fits(array.shape, shape):
            law = (
                "[" + ", ".join(">= 1" if length is None else str(length) for length in shape) + "]"
            )
            raise ArtifactError(
                f"{path}: {name} must be float32 {law}, but is {array.dtype} {list(array.shape)}"
            )
        if not np.isfinite(array).all():
            raise ArtifactError(f"{path}: {name} must be finite, but has NaN or infinity")


def _fits(found: tuple[int, ...], shape: Shape) -> bool:
    return len(found) == len(shape) and all(
        length == wanted or (wanted is None and length > 0)
        for length, wanted in zip(found, shape, strict=True)
    )


def _shapes(arrays: Arrays, description: StoredDescription) -> dict[str, Shape]:
    """What each array must be like; the width of a context is the oracle's to check."""
    num_classes = len(description.class_names)
    if description.kind == "text_prompt":
        return {}
    if description.kind == "probes":
        num_names = num_classes + len(description.extra_names) + len(description.prompts)
        num_logits = _length(arrays, "contexts") * num_names
        return {
            "contexts": (None, *_context(arrays, "contexts", num_names, description.template)),
            "weight": (num_logits, num_classes),
            "bias": (num_classes,),
        }
    if description.kind == "features":
        return {"weight": (None, num_classes), "bias": (num_classes,)}
    context = _context(arrays, "context", num_classes, description.template)
    if description.kind == "prompt":
        return {"context": context}
    hidden = _length(arrays, "head.enter.weight")
    return {
        "context": context,
        "head.enter.weight": (hidden, num_classes),
        "head.enter.bias": (hidden,),
        "head.leave.weight": (num_classes, hidden),
        "head.leave.bias": (num_classes,),
    }


def _context(arrays: Arrays, name: str, num_classes: int, template: str) -> Shape:
    """After its first axes: [L, E], or [C, L, E] where each class has its own. A template may have
    no words before the class name, L = 0; and a model that takes text only has no contexts, [0, 0].
    """
    array = arrays.get(name, np.zeros(0))
    first = 1 if name == "contexts" else 0
    each = (num_classes,) if array.ndim == first + 3 else ()
    if array.ndim >= 2 and array.shape[-2:] == (0, 0):
        return (*each, 0, 0)
    if template.startswith("{}") and array.ndim >= 2 and array.shape[-2] == 0:
        return (*each, 0, None)
    return (*each, None, None)


def _length(arrays: Arrays, name: str) -> int:
    """Of the first axis; 1 where there is none to tell."""
    array = arrays.get(name)
    return 1 if array is None or array.ndim == 0 else max(1, len(array))
