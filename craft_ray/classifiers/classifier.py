"""What is examined and deployed: a classifier, usable with any client. Its kinds are in `kinds`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from craft_ray.files.whole_files import Arrays
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import ClassificationTask, FloatArray, ImageHandle, TaskHandle

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
