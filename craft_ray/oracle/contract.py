"""What a black-box vision-language model lets a client do, and nothing more.

A client never sees weights or gradients, and features only where the owner serves them
(`FeatureOracle`). Example, with any implementation of `Oracle`:

    task = oracle.register_task(ClassificationTask(("cat", "dog")))
    images = oracle.register_images(pixels)                    # uint8 [N, 3, S, S], or files
    contexts = task.initial_context[None]                      # float32 [1, L, E]
    logits = oracle.predict(task, images, contexts)            # float32 [1, N, 2]

An owner may also offer `score`: the same predictions, reduced to one loss a candidate where they
are made, because logits of large data sets are too much to send.

Shape suffixes in this project: K contexts in one query, P population, D intrinsic dimension,
L context length, E embedding width, N images, C classes, S image size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from craft_ray.config.oracle import Interpolation, ResizeMode
from craft_ray.data.transform import ImageTransform
from craft_ray.method.reduction import LabelArray, Reduction
from craft_ray.oracle.endpoints.capabilities import Capabilities, Served
from craft_ray.oracle.image_handle import ImageHandle as ImageHandle

if TYPE_CHECKING:  # it knows Pillow
    from craft_ray.data.recipe import Recipe

FloatArray = npt.NDArray[np.float32]
LossArray = npt.NDArray[np.float64]
PixelArray = npt.NDArray[np.uint8]
Files = tuple[bytes, ...]
"""Encoded images (JPEG, PNG, ...), each as the bytes of its file."""
Images: TypeAlias = "PixelArray | Files | Recipe"

Answer = Literal["logits", "unnormalized_logits"]

DEFAULT_TEMPLATE = "a photo of a {}."

SOFT_AND_TEXT = Capabilities(prompts=frozenset({"soft", "text"}), answers=frozenset({"logits"}))
"""Of a model that is asked by this contract alone."""

FEATURES: frozenset[Served] = frozenset({"image_features", "text_features"})
"""What an owner who gives features declares."""


@dataclass(frozen=True)
class OracleDescription:
    """What the owner of the model declares about it."""

    oracle_id: str
    """Names weights, architecture and precision; equal ids give equal answers but for rounding."""
    embed_dim: int
    """E, the width of a token embedding."""
    context_length: int
    """Tokens of a prompt, [SOS] and [EOS] included."""
    image_size: int
    """S, the side of the square images that are accepted."""
    logit_scale: float
    """logits = logit_scale * cosine(image, prompt) + logit_bias."""
    initial_context: FloatArray
    """[L, E]: token embeddings of "a photo of a", the usual start."""
    logit_bias: float = 0.0
    """Of models that are trained with a sigmoid (SigLIP): `sigmoid(logits)` is then the model's own
    probability that an image and a prompt belong together. It changes no label, and none of the
    probabilities over the classes that craft-ray reports (softmax), as it is the same for all."""
    answers: tuple[Answer, ...] = ("logits",)
    """Kinds of predictions that are served. `unnormalized_logits` leaves the image features
    unnormalised, as the authors' training code does."""
    scores: bool = False
    """Whether `score` is served (`ScoringOracle`)."""
    expects: bool = False
    """Whether it can be told what will be asked about next (`ExpectingOracle`)."""
    weights_id: str = ""
    """Names weights and architecture, whatever the precision; empty if it is not known."""
    computed_by: str = ""
    """Class of the device and versions of the libraries that answers come from, as far as it is
    known; with equal ids it makes answers equal to the bit, and kept ones are found by both."""
    white_box: bool = False
    """Whether the owner opens the box (`WhiteBoxOracle`): for baselines only."""
    image_mean: tuple[float, ...] = ()
    """Of the normalisation that the owner does, for the record; empty if unknown."""
    image_std: tuple[float, ...] = ()
    resize_mode: ResizeMode = "shortest"
    """How images become squares before they are sent as pixels (`transform`)."""
    interpolation: Interpolation = "bicubic"
    fill_color: int = 0
    notes: tuple[str, ...] = ()
    """Sentences of what a user should know of how the model was loaded."""
    takes_files: bool = False
    """Whether images are registered as files, which the owner decodes and resizes; else as
    pixels."""
    takes_recipes: bool = False
    """Whether pixels may also be registered before they exist, as a `Recipe`; and whether a
    question may be about several registered sets in a row (`ImageHandle.in_a_row`)."""
    capabilities: Capabilities = SOFT_AND_TEXT
    """Which prompts are taken, and what is answered, bounded and charged."""
    scale_is_known: bool = True
    """False where predictions are cosines: `logit_scale` is then 1, and whoever asks fits the
    factor that makes logits of them on labelled images (`MeteredOracle.logit_scale`)."""

    @property
    def transform(self) -> ImageTransform:
        """How whoever sends pixels makes them of an image."""
        return ImageTransform(
            self.image_size, self.resize_mode, self.interpolation, self.fill_color
        )

    @property
    def serves_features(self) -> bool:
        """Whether it is a `FeatureOracle`."""
        return self.capabilities.answers >= FEATURES


@dataclass(frozen=True)
class ClassificationTask:
    """Class names and the words around them, and whole texts beside them.

    The prompt of class c is `[SOS] context [tokens of c] [words after {}] [EOS]`; the words before
    `{}` are only the start of the search.
    """

    class_names: tuple[str, ...]
    template: str = DEFAULT_TEMPLATE
    prompts: tuple[str, ...] = ()
    """Texts that are asked as they are, whatever the context and the template: their logits come
    after those of the classes, in the same predictions."""

    @property
    def num_texts(self) -> int:
        """Logits of an image under one context."""
        return len(self.class_names) + len(self.prompts)

    @property
    def digest(self) -> str:
        """Content address; without prompts that of versions which knew none."""
        words: list[object] = [list(self.class_names), self.template]
        if self.prompts:
            words.append(list(self.prompts))
        return hashlib.sha256(json.dumps(words, ensure_ascii=True).encode()).hexdigest()


@dataclass(frozen=True)
class TaskHandle:
    """A registered task."""

    digest: str
    num_classes: int
    """Logits of an image under one context: one for each class name and each whole prompt."""
    initial_context: FloatArray
    """[L, E]: token embeddings of the template's words before `{}`; L = 0 if there are none, as in
    "{} texture.", and then there is nothing to tune."""
    alike: tuple[tuple[int, int], ...] = ()
    """Pairs of classes, by their places, whose prompts are the same to the model's tokenizer, so
    that no image can tell one from the other; empty where that is not known."""


class Oracle(Protocol):
    """The contract. Registrations are content-addressed: repeating one costs nothing."""

    def describe(self) -> OracleDescription:
        """Read the owner's declaration."""
        ...

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        """Register a classification task.

        Raises:
            OracleError: a prompt does not fit into the context length.
        """
        ...

    def register_images(self, images: Images, *, keep: bool = True) -> ImageHandle:
        """Register images: uint8 [N, 3, S, S], or files, as `OracleDescription.takes_files` says,
        or a recipe, if it `takes_recipes`.

        Args:
            images: what is registered.
            keep: False for a set that is asked about soon and then not again; it may be forgotten
                when others of its kind have followed.

        Raises:
            OracleError: another type or shape, or files where pixels are taken.
        """
        ...

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        """Logits of every context, image and class: float32 [K, N, C]; those of the task's whole
        prompts are behind those of the classes, and the same for every context.

        Args:
            task: registered.
            images: registered.
            contexts_KLE: one for all classes; or one for each class, [K, C, L, E], of a task
                without whole prompts.
            answer: what of them is wanted.

        Raises:
            OracleError: an unknown handle, another shape, a non-finite context, or an answer
                that is not served.
        """
        ...


OnPart = Callable[[int, LossArray], None]


def ignore_part(start: int, losses: LossArray) -> None:
    """For those who wait for the whole answer."""


class ScoringOracle(Oracle, Protocol):
    """An oracle whose description says `scores`."""

    def score(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        reduction: Reduction,
        on_part: OnPart = ignore_part,
    ) -> LossArray:
        """`reduction` of what `predict` would answer with: float64 [K].

        Args:
            task: registered.
            images: registered.
            contexts_KLE: the candidates.
            reduction: what becomes of their logits.
            on_part: told each part of the answer as it arrives, in any order: the first candidate
                and the losses from there on. What it was told is answered, whatever comes after.

        Raises:
            OracleError: as `predict`; or the reduction does not fit the images or the task.
        """
        ...


class RecipeOracle(Oracle, Protocol):
    """An oracle whose description says `takes_recipes`."""

    def questions_at_once(self) -> int:
        """That it works on at once; if there is more than one, several threads may ask."""
        ...

    def give_up(self) -> None:
        """Nobody waits any more for what is asked, now or later; who asks in another thread has a
        PoolError."""
        ...

    def forget(self, images: ImageHandle) -> None:
        """Nothing more is asked about sets that were not to be kept."""
        ...

    def prepare(self, recipe: Recipe) -> None:
        """It will be registered and asked about soon: its pixels may be made meanwhile, beside
        other work. Free, does not block, and changes no answer."""
        ...


class ExpectingOracle(Oracle, Protocol):
    """An oracle whose description says `expects`."""

    def expect(self, images: ImageHandle) -> None:
        """A question about these images comes soon: what can be computed ahead of it may be. Free,
        does not block, and changes no answer."""
        ...


class FeatureOracle(Oracle, Protocol):
    """An oracle whose description says `serves_features`: endpoints that answer with embeddings.

    The features of an image are asked for once; those of texts cost no image. Their products are
    cosines. No gradients.
    """

    def embed_images(self, images: ImageHandle) -> FloatArray:
        """Image features of unit length, float32 [N, F].

        Raises:
            OracleError: an unknown handle, or features are not served.
        """
        ...

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Text features of unit length, float32 [M, F]; of at least one text.

        Raises:
            OracleError: a text is too long, there is none, or features are not served.
        """
        ...


class WhiteBoxOracle(ScoringOracle, FeatureOracle, Protocol):
    """An oracle whose description says `white_box`: what a black box never gives.

    The yardstick that black-box tuning is measured with; no method of craft-ray itself asks for
    gradients.
    """

    def context_gradient(
        self, task: TaskHandle, images: ImageHandle, context_LE: FloatArray, labels_N: LabelArray
    ) -> tuple[float, FloatArray]:
        """Mean cross-entropy of the images under one context, and its gradient, float32 [L, E].

        Raises:
            OracleError: as `predict`; or the labels do not fit the images or the task.
        """
        ...
