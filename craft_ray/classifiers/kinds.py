"""The kinds of classifiers that fine-tunings return: prompts and heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from craft_ray.classifiers.classifier import Kind, PromptedClassifier, TunedClassifier
from craft_ray.files.whole_files import Arrays
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.head import RefinementHead
from craft_ray.method.heads.linear import LinearHead
from craft_ray.oracle.contract import ClassificationTask, FloatArray, ImageHandle, TaskHandle

HeadWeights = Mapping[str, FloatArray]
HEAD_PREFIX = "head."


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
