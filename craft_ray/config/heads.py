"""Settings of the heads on the oracle's predictions. Imports neither torch nor Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from craft_ray.config.base import Settings
from craft_ray.config.places import absolute_unless_address, check_place
from craft_ray.config.words import unprintable

MAX_EXTRA_NAMES = 900
"""So many are there whatever the task's own classes are: see `craft_ray.task.visible_words`."""


class ResidualMlpConfig(Settings):
    """Prediction refinement: y = l + MLP(l), trained by AdamW (CraFT section 3.2)."""

    kind: Literal["residual_mlp"] = "residual_mlp"
    hidden: int = Field(256, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's decoupled decay; 0 is Adam."""
    batch_size: int = Field(256, ge=1)
    epochs_per_generation: int = Field(1, ge=1)
    """Epochs on the answers already paid for: they cost time, no queries."""


PROMPTS_PER_CLASS = {"template": 0, "ensemble": 7, "waffle": 15}
"""Texts that are asked for each class beside its prompt under the template, by `head.offset`."""
DESCRIPTIONS_SUFFIX = ".json"


def _check_offset(offset: str) -> str:
    if offset in PROMPTS_PER_CLASS:
        return offset
    if not offset.endswith(DESCRIPTIONS_SUFFIX):
        raise ValueError(
            f"must be {', '.join(PROMPTS_PER_CLASS)}, or a file of descriptions whose name ends "
            f"with {DESCRIPTIONS_SUFFIX}, but got {offset[:60]!r}"
        )
    return absolute_unless_address(check_place(offset))


HeadFit = Literal["anchored", "logistic", "gda", "similarity", "cross_validated"]


class FittedHeadConfig(Settings):
    """What heads have that are fitted to answers, and not trained by steps."""

    fit: HeadFit = "anchored"
    """How, with zero-shot to start from. `logistic`: logistic regression with a fixed penalty;
    `gda`: Gaussian discriminant analysis, in closed form; `anchored`: both, added;
    `cross_validated`: logistic regression whose penalty is chosen on images held out, for eight
    images a class and more; `similarity`: ridge regression on the names alone, without the classes'
    own, a published baseline (SiM)."""
    folds: int = Field(5, ge=2)
    """In so many parts training images are held out, to tell whether the head is better than
    zero-shot; fewer where a class has fewer images."""
    offset: Annotated[str, AfterValidator(_check_offset)] = "template"
    """What a head starts from. `template`: the classes' logits under `data.template`. Others ask
    more texts of each class in the same query, whose mean logit is the offset where the training
    images say that it is better: `ensemble`: 7 templates of CLIP's authors beside the task's own;
    `waffle`: 15 sentences with random words and letters (WaffleCLIP) beside it; a file such as
    `cupl.json`: your own descriptions, `{"cat": ["a cat, which has whiskers.", ...], ...}`."""

    @property
    def asks_prompts(self) -> bool:
        """Whether texts are asked beside names under the template."""
        return self.offset != "template"

    @property
    def offset_name(self) -> str:
        """What people call it: of a file its name."""
        return Path(self.offset).name

    @property
    def descriptions_file(self) -> str | None:
        """The file of the user's descriptions."""
        return None if self.offset in PROMPTS_PER_CLASS else self.offset

    @model_validator(mode="after")
    def _similarity_has_no_offset(self) -> Self:
        if self.asks_prompts and self.fit == "similarity":
            raise ValueError(
                "offset must be template when fit is similarity, which starts from nothing, but "
                f"got {self.offset}"
            )
        return self


class AskedOnceConfig(FittedHeadConfig):
    """What heads have that are fitted to one answer an image."""

    @property
    def num_contexts(self) -> int:
        """The template's own, or none where features are asked for: one question either way."""
        return 1

    @property
    def contexts_per_generation(self) -> int:
        """All."""
        return 1

    @property
    def num_names(self) -> int:
        """Class names beside the task's own."""
        return 0


class LinearHeadConfig(AskedOnceConfig):
    """A linear map of the task's logits under one prompt: probes without names and contexts."""

    kind: Literal["linear"] = "linear"

    @model_validator(mode="after")
    def _similarity_has_names(self) -> Self:
        if self.fit == "similarity":
            raise ValueError(
                "fit must not be similarity when kind is linear: it looks at names beside the "
                "classes alone, and only kind=probes asks about such names"
            )
        return self


def _check_name(name: str) -> str:
    if not name.strip():
        raise ValueError(f"must not be empty, but got {name[:40]!r}")
    if (character := unprintable(name)) is not None:
        raise ValueError(f"must have printable characters only, but has {character}")
    return name


class ProbesHeadConfig(FittedHeadConfig):
    """A linear map of many logits: of several contexts, of class names beside the task's own, or of
    both. Each is one more look at the features that the black box hides."""

    kind: Literal["probes"] = "probes"
    names: int = Field(500, ge=0, le=MAX_EXTRA_NAMES)
    """Class names that are asked about beside the task's own, in the same queries: at deployment an
    image still costs one prediction for each context."""
    vocabulary: tuple[Annotated[str, AfterValidator(_check_name)], ...] = ()
    """Names to draw from. Default: those of ImageNet's classes, and where a task has too many of
    these as its own, words for what is visible in images."""
    contexts: int = Field(0, ge=0)
    """Contexts beside the template's own, at deployment one more prediction an image each: for an
    oracle that answers about fixed classes only (`names: 0`). Random ones, one query each, with
    `method: head`; with `method: both` all of them are searched, in equal parts of the budget."""
    context_std: float = Field(1.0, gt=0)
    """Of what is added to each number of the template's own context, with `method: head`."""
    contexts_per_generation: int = Field(10, ge=1)
    """With `method: head`."""

    @property
    def num_contexts(self) -> int:
        """The template's own, or what a search made of it, and the others."""
        return 1 + self.contexts

    @property
    def num_names(self) -> int:
        """Class names beside the task's own."""
        return self.names

    @model_validator(mode="after")
    def _whole_texts_have_no_context(self) -> Self:
        if self.asks_prompts and self.contexts:
            raise ValueError(
                f"contexts must be 0 when offset is {self.offset}, but got {self.contexts}: the "
                "texts of the offset are asked as they are, under every context again"
            )
        return self

    @model_validator(mode="after")
    def _similarity_has_names(self) -> Self:
        if self.fit == "similarity" and not self.names:
            raise ValueError(
                "names must be at least 1 when fit is similarity, which looks at names beside the "
                "classes alone, but got 0"
            )
        return self

    @model_validator(mode="after")
    def _the_vocabulary_suffices(self) -> Self:
        if self.vocabulary and len(set(self.vocabulary)) < self.names:
            raise ValueError(
                "vocabulary must have at least `names` different names, but got "
                f"{len(set(self.vocabulary))} for names={self.names}"
            )
        return self


class FeaturesHeadConfig(AskedOnceConfig):
    """A linear map of the features of an image, with zero-shot to start from: for an oracle that
    gives features of images and texts (`oracle.features`). One query, and at deployment one
    question an image; texts cost nothing."""

    kind: Literal["features"] = "features"


ProbingHeadConfig = LinearHeadConfig | ProbesHeadConfig | FeaturesHeadConfig
"""Heads that are fitted in closed form or to convergence, and not trained by steps."""


def _kind_of(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("kind", "residual_mlp"))
    return str(getattr(value, "kind", ""))


HeadConfig = Annotated[
    Annotated[ResidualMlpConfig, Tag("residual_mlp")]
    | Annotated[LinearHeadConfig, Tag("linear")]
    | Annotated[ProbesHeadConfig, Tag("probes")]
    | Annotated[FeaturesHeadConfig, Tag("features")],
    Discriminator(_kind_of),
]
"""`kind` may be left out: it is then the paper's."""
