"""The product of a fine-tuning: prompts and a head, usable with any client; and its score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch

from craft_ray.files.whole_files import Arrays
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.head import RefinementHead
from craft_ray.method.heads.linear import LinearHead
from craft_ray.oracle.contract import ClassificationTask, FloatArray, ImageHandle, TaskHandle

HeadWeights = Mapping[str, FloatArray]
HEAD_PREFIX = "head."
NUM_CALIBRATION_BINS = 15
Kind = Literal["prompt", "refined_prompt", "probes", "features", "text_prompt"]


class Classifier(Protocol):
    """Anything that can be examined."""

    def predict(
        self, oracle: MeteredOracle, task: ClassificationTask, images: ImageHandle
    ) -> FloatArray:
        """Final logits of registered images, float32 [N, C]; counted as an evaluation."""
        ...


class TunedClassifier(ABC):
    """What a fine-tuning returns and a user deploys: what to ask about an image, and arithmetic on
    the answers. Implements `Classifier`."""

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """Which arrays it has."""

    @property
    def extra_names(self) -> tuple[str, ...]:
        """Class names that are asked about after the task's own."""
        return ()

    @property
    def prompts(self) -> tuple[str, ...]:
        """Whole texts that are asked after these."""
        return ()

    @property
    def template(self) -> str | None:
        """The words around the class names. None: those of the task that it is asked with."""
        return None

    @property
    @abstractmethod
    def predictions_per_image(self) -> int:
        """What an endpoint bills for an image."""

    @abstractmethod
    def ask(
        self, oracle: MeteredOracle, task: ClassificationTask, images: ImageHandle
    ) -> FloatArray:
        """What `refine` takes; counted as an evaluation."""

    @abstractmethod
    def refine(self, answers_KNA: FloatArray) -> FloatArray:
        """Final logits [N, C] from the oracle's answers to `ask`, [K, N, A]."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """What is stored; `restore_classifier` takes it."""

    def variants(self) -> tuple[TunedClassifier, ...]:
        """Itself, and what else the same answers give: nothing more is asked."""
        return (self,)

    def predict(
        self, oracle: MeteredOracle, task: ClassificationTask, images: ImageHandle
    ) -> FloatArray:
        return self.refine(self.ask(oracle, task, images))


class PromptedClassifier(TunedClassifier):
    """One that asks about contexts and class names."""

    @abstractmethod
    def asked_contexts(self) -> FloatArray:
        """What an image is asked about, float32 [K, L, E] or [K, C, L, E]: K predictions each. The
        answers have A = C + extra names + whole prompts logits."""

    @property
    def predictions_per_image(self) -> int:
        return len(self.asked_contexts())

    def contexts_for(self, task: TaskHandle) -> FloatArray:
        """As `asked_contexts`, with the registered `asked_task` at hand."""
        return self.asked_contexts()

    def asked_task(self, task: ClassificationTask) -> ClassificationTask:
        """`task` with the extra names, the whole prompts and the template."""
        names = (*task.class_names, *self.extra_names)
        return ClassificationTask(names, self.template or task.template, self.prompts)

    def ask(
        self, oracle: MeteredOracle, task: ClassificationTask, images: ImageHandle
    ) -> FloatArray:
        handle = oracle.register_task(self.asked_task(task))
        contexts_KLE = self.contexts_for(handle)
        return oracle.predict(handle, images, contexts_KLE, purpose="evaluation")


@dataclass(frozen=True)
class PromptClassifier(PromptedClassifier):
    """CraFT's: predictions are `head(logits of context)`.

    Attributes:
        context_LE: float32 [L, E]; or one for each class, [C, L, E].
        head: the weights of a `RefinementHead`, or None for raw logits.
    """

    context_LE: FloatArray
    head: HeadWeights | None

    @property
    def kind(self) -> Kind:
        return "prompt" if self.head is None else "refined_prompt"

    @classmethod
    def capture(cls, context_LE: FloatArray, head: RefinementHead | None) -> PromptClassifier:
        """Copy the present state of a training."""
        if head is None:
            return cls(context_LE.copy(), None)
        return cls(context_LE.copy(), head.weights())

    def asked_contexts(self) -> FloatArray:
        return self.context_LE[None]

    def variants(self) -> tuple[TunedClassifier, ...]:
        """With its head and without."""
        return (self,) if self.head is None else (self, replace(self, head=None))

    def refine(self, answers_KNA: FloatArray) -> FloatArray:
        logits_NC: FloatArray = answers_KNA[0]
        if self.head is None:
            return logits_NC
        head = RefinementHead.from_weights(self.head)
        with torch.inference_mode():
            refined: FloatArray = head(torch.from_numpy(logits_NC.copy())).numpy()
        return refined

    def arrays(self) -> Arrays:
        """Context and head."""
        head = {f"{HEAD_PREFIX}{name}": weights for name, weights in (self.head or {}).items()}
        return {"context": self.context_LE, **head}


@dataclass(frozen=True)
class ProbesClassifier(PromptedClassifier):
    """A linear head on the logits of several contexts and of more names than the task has.

    Attributes:
        contexts_KLE: float32; or one for each class, [K, C, L, E].
        names: the extra ones.
        head: of F = K (C + extra names + whole prompts) logits.
        prompts: whole texts.
    """

    contexts_KLE: FloatArray
    names: tuple[str, ...]
    head: LinearHead
    prompts: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        return "probes"

    @property
    def extra_names(self) -> tuple[str, ...]:
        return self.names

    def asked_contexts(self) -> FloatArray:
        """All of them."""
        return self.contexts_KLE

    def refine(self, answers_KNA: FloatArray) -> FloatArray:
        return self.head(flatten_probes(answers_KNA))

    def arrays(self) -> Arrays:
        """Contexts and head."""
        return {
            "contexts": self.contexts_KLE,
            "weight": self.head.weight_FC,
            "bias": self.head.bias_C,
        }


@dataclass(frozen=True)
class FeaturesClassifier(TunedClassifier):
    """A linear head on the features of an image, which are asked for once; nothing is asked about
    texts, as what the head needs of them is in its weights.

    Attributes:
        head: of F features of unit length.
    """

    head: LinearHead

    @property
    def kind(self) -> Kind:
        return "features"

    @property
    def predictions_per_image(self) -> int:
        return 1

    def ask(
        self, oracle: MeteredOracle, task: ClassificationTask, images: ImageHandle
    ) -> FloatArray:
        """Features, [1, N, F]."""
        return oracle.embed_images(images, purpose="evaluation")[None]

    def refine(self, answers_KNA: FloatArray) -> FloatArray:
        return self.head(answers_KNA[0])

    def arrays(self) -> Arrays:
        """The head."""
        return {"weight": self.head.weight_FC, "bias": self.head.bias_C}


@dataclass(frozen=True)
class TextClassifier(PromptedClassifier):
    """A template that was searched for: raw logits under it. Nothing of it is numbers, so that it
    can be asked of models that take text only.

    Attributes:
        words: the template.
    """

    words: str

    @property
    def kind(self) -> Kind:
        return "text_prompt"

    @property
    def template(self) -> str:
        return self.words

    @property
    def predictions_per_image(self) -> int:
        return 1

    def asked_contexts(self) -> FloatArray:
        """What the template's words are as numbers, its oracle says.

        Raises:
            TypeError: always; `contexts_for` has them.
        """
        raise TypeError("a text prompt has no contexts of its own")

    def contexts_for(self, task: TaskHandle) -> FloatArray:
        """The template's own words."""
        return task.initial_context[None]

    def refine(self, answers_KNA: FloatArray) -> FloatArray:
        logits_NC: FloatArray = answers_KNA[0]
        return logits_NC

    def arrays(self) -> Arrays:
        """None."""
        return {}


@dataclass(frozen=True)
class TemplateClassifier:
    """Zero-shot with a template of its own, whatever the task's is; implements `Classifier`. One
    prediction an image, counted as an evaluation.

    Attributes:
        template: may begin with the class name, which no template can that is tuned.
    """

    template: str

    def predict(
        self, oracle: MeteredOracle, task: ClassificationTask, images: ImageHandle
    ) -> FloatArray:
        handle = oracle.register_task(replace(task, template=self.template))
        contexts_1LE = handle.initial_context[None]
        logits_NC: FloatArray = oracle.predict(handle, images, contexts_1LE, purpose="evaluation")[
            0
        ]
        return logits_NC


def flatten_probes(logits_KNC: FloatArray) -> FloatArray:
    """All logits of an image in a row, those under the first context first: [N, K C]."""
    return logits_KNC.transpose(1, 0, 2).reshape(logits_KNC.shape[1], -1)


def restore_classifier(
    kind: Kind,
    arrays: Mapping[str, FloatArray],
    extra_names: Sequence[str],
    template: str | None = None,
    prompts: Sequence[str] = (),
) -> TunedClassifier:
    """Inverse of `arrays`, for arrays that fit together.

    Args:
        kind: of the classifier.
        arrays: that it gave.
        extra_names: its own.
        template: its own; needed for a text prompt, and of no use to the others.
        prompts: whole texts that probes ask about.

    Raises:
        KeyError: an array, or the template, is missing.
    """
    if kind == "features":
        return FeaturesClassifier(LinearHead(arrays["weight"], arrays["bias"]))
    if kind == "text_prompt":
        if template is None:
            raise KeyError("template")
        return TextClassifier(template)
    if kind == "probes":
        head = LinearHead(arrays["weight"], arrays["bias"])
        return ProbesClassifier(arrays["contexts"], tuple(extra_names), head, tuple(prompts))
    weights = {
        name.removeprefix(HEAD_PREFIX): array
        for name, array in arrays.items()
        if name.startswith(HEAD_PREFIX)
    }
    return PromptClassifier(arrays["context"], weights if kind == "refined_prompt" else None)
