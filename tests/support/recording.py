"""An oracle that remembers what it was asked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

from craft_ray.errors import OracleError
from craft_ray.method.reduction import Reduction
from craft_ray.oracle.contract import (
    Answer,
    ClassificationTask,
    FloatArray,
    ImageHandle,
    Images,
    LossArray,
    OnPart,
    Oracle,
    OracleDescription,
    RecipeOracle,
    ScoringOracle,
    TaskHandle,
    ignore_part,
)


@dataclass(frozen=True)
class Question:
    """One `predict` call and its answer."""

    images: str
    rows: tuple[int, ...] | None
    contexts_KLE: FloatArray
    answer: Answer
    logits_KNC: FloatArray


@dataclass
class RecordingOracle:
    """Passes everything on to `oracle`; refuses the next questions while `refuses` is set."""

    oracle: Oracle
    questions: list[Question] = field(default_factory=list)
    registered: list[str] = field(default_factory=list)
    passing: list[str] = field(default_factory=list)
    """Those of them that nobody asked to keep."""
    refuses: bool = False

    def describe(self) -> OracleDescription:
        """It cannot be told what comes."""
        return replace(self.oracle.describe(), expects=False)

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        return self.oracle.register_task(task)

    def register_images(self, images: Images, *, keep: bool = True) -> ImageHandle:
        handle = self.oracle.register_images(images, keep=keep)
        self.registered.append(handle.digest)
        if not keep:
            self.passing.append(handle.digest)
        return handle

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        if self.refuses:
            raise OracleError("the oracle is away")
        logits = self.oracle.predict(task, images, contexts_KLE, answer)
        logits.setflags(write=False)  # as Ray's object store hands them out
        self.questions.append(
            Question(images.digest, images.rows, contexts_KLE.copy(), answer, logits.copy())
        )
        return logits


@dataclass
class RecordingScorer(RecordingOracle):
    """The same for an oracle that scores: it remembers every candidate's loss as well."""

    oracle: ScoringOracle
    """One that takes recipes, if it says so."""
    losses_GK: list[LossArray] = field(default_factory=list)

    def questions_at_once(self) -> int:
        return cast(RecipeOracle, self.oracle).questions_at_once()

    def give_up(self) -> None:
        cast(RecipeOracle, self.oracle).give_up()

    def forget(self, images: ImageHandle) -> None:
        cast(RecipeOracle, self.oracle).forget(images)

    def score(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        reduction: Reduction,
        on_part: OnPart = ignore_part,
    ) -> LossArray:
        losses = self.oracle.score(task, images, contexts_KLE, reduction, on_part)
        self.losses_GK.append(losses.copy())
        return losses
