"""Every question to the oracle passes here; what is known of it already, and what it costs, is in
`question_record`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from craft_ray.metering.answer_cache import AnswerCache
from craft_ray.metering.journal import Journal
from craft_ray.metering.journal_sqlite import digest_of_question
from craft_ray.metering.ledger import Purpose, QueryLedger, Spending, cost_of
from craft_ray.metering.losses_in_parts import FLOAT64_BYTES, IntArray, losses_in_parts
from craft_ray.metering.question_record import QuestionRecord, WholeQuestion, content_of
from craft_ray.method.reduction import LabelArray, Reduction
from craft_ray.oracle.contract import (
    Answer,
    ClassificationTask,
    ExpectingOracle,
    FeatureOracle,
    FloatArray,
    ImageHandle,
    Images,
    LossArray,
    OnPart,
    Oracle,
    OracleDescription,
    ScoringOracle,
    TaskHandle,
    WhiteBoxOracle,
)
from craft_ray.oracle.contract_laws import check_features, check_white_box, forget, recipe_oracle

Array = np.ndarray[Any, Any]
BoolArray = npt.NDArray[np.bool_]
FLOAT32_BYTES = 4


class MeteredOracle:
    """The only way in which anybody asks.

    With a journal, what is on record of this generation's questions is not asked again: it has been
    paid for by the process that this one continues.

    Args:
        oracle: answers.
        ledger: the cap and the totals.
        journal: of the run; None for questions that no other process would take up.
        cache: answers of earlier runs or of other trials, which cost nothing; or None.
        by_content: a question is known by what it asks, and not by its place among the others: for
            an asker that starts from its first question after a resume, and may by then ask others.
        logit_scale: see the attribute.
    """

    def __init__(
        self,
        oracle: Oracle,
        ledger: QueryLedger,
        journal: Journal | None = None,
        cache: AnswerCache | None = None,
        *,
        by_content: bool = False,
        logit_scale: float = 1.0,
    ) -> None:
        self._oracle = oracle
        self._questions = QuestionRecord(
            ledger, journal, cache, self.describe, by_content=by_content
        )
        self.ledger = ledger
        self.logit_scale = logit_scale
        """What every prediction is multiplied by, where the oracle answers with cosines. Answers on
        record and in the cache are as the oracle gave them."""

    def take_by_place(self) -> None:
        """From here on an answer on record is that of the question in its place, as this machine
        arrives at the same questions with other last bits."""
        self._questions.take_by_place()

    def begin_generation(self, generation: int) -> None:
        """The questions from here on are those of `generation`, counted from its first."""
        self._questions.begin_generation(generation)

    def recalling(self, generation: int) -> AbstractContextManager[None]:
        """While what `generation` has asked before is asked again, in the same order: its answers
        come from the record, and are in the totals that the training was taken up with. What the
        record has lost is asked again, which the candidate budget does not refuse, and is counted
        once: the totals stay as they are, and the record gets it back."""
        return self._questions.recalling(generation)

    def describe(self) -> OracleDescription:
        """Free."""
        return self._oracle.describe()

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        """Free."""
        return self._oracle.register_task(task)

    def register_images(self, images: Images, *, keep: bool = True) -> ImageHandle:
        """Counted as images sent."""
        handle = self._oracle.register_images(images, keep=keep)
        cost = Spending(images_sent=len(images))
        question = digest_of_question(handle.digest)
        # Sending a set again after a resume is counted once: its answers are paid for once.
        query = self._questions.next_query("images", question)
        if not self._questions.parts(query, question):
            self._questions.record(query, question, 0, cost, np.zeros((1, 0), dtype=np.uint8))
        return handle

    def expect(self, images: ImageHandle) -> None:
        """A question about these images comes soon; free."""
        if self._oracle.describe().expects:
            cast(ExpectingOracle, self._oracle).expect(images)

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        *,
        purpose: Purpose,
        answer: Answer = "logits",
    ) -> FloatArray:
        """Logits [K, N, C]: what the oracle predicts, times `logit_scale`.

        Raises:
            BudgetError: the candidate budget does not cover it; nothing was asked.
            RunFailedError: the journal has no room for an answer; nothing was asked.
        """
        return self.predict_each(task, [(images, purpose)], contexts_KLE, answer=answer)[0]

    def predict_each(
        self,
        task: TaskHandle,
        asked: Sequence[tuple[ImageHandle, Purpose]],
        contexts_KLE: FloatArray,
        *,
        answer: Answer = "logits",
    ) -> list[FloatArray]:
        """The same of several image sets under the same contexts: each is a question of its own,
        and replicas answer those about different sets at the same time.

        Raises:
            BudgetError: the candidate budget does not cover all of them; nothing was asked.
            RunFailedError: the journal has no room for the answers; nothing was asked.
        """
        contexts = content_of(contexts_KLE)
        questions = []
        for images, purpose in asked:
            num_logits = len(contexts_KLE) * images.num_images * task.num_classes
            questions.append(
                WholeQuestion(
                    purpose,
                    digest_of_question(task.digest, images.content, answer, contexts),
                    cost_of(purpose, len(contexts_KLE), images.num_images, task.num_classes),
                    num_logits * FLOAT32_BYTES,
                )
            )

        def ask(place: int) -> FloatArray:
            return self._oracle.predict(task, asked[place][0], contexts_KLE, answer)

        answers = self._questions.answered(questions, ask, self.questions_at_once, self.give_up)
        return [self._scaled(logits) for logits in answers]

    def questions_at_once(self) -> int:
        """That the oracle works on at once; as many threads may ask."""
        recipes = recipe_oracle(self._oracle)
        return 1 if recipes is None else recipes.questions_at_once()

    def give_up(self) -> None:
        """Nobody waits any more for what is asked now."""
        if (recipes := recipe_oracle(self._oracle)) is not None:
            recipes.give_up()

    def forget(self, images: ImageHandle) -> None:
        """Nothing more is asked about sets that were not to be kept; free."""
        forget(self._oracle, images)

    def _scaled(self, answers: FloatArray) -> FloatArray:
        if self.logit_scale == 1.0:
            return answers
        logits: FloatArray = answers * np.float32(self.logit_scale)
        return logits

    def score(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        reduction: Reduction,
        counts_K: BoolArray | None = None,
    ) -> LossArray:
        """Losses of candidates, float64 [K], reduced beside the oracle if it offers that.

        Either way every image is predicted, and costs the same. Each part is on record as soon as
        it arrives; only what is not on record yet is asked.

        Args:
            task: registered.
            images: registered.
            contexts_KLE: the candidates.
            reduction: what becomes of their logits.
            counts_K: which of them are counted as a query (`Batch.counts_P`). None: all.

        Raises:
            BudgetError: the candidate budget does not cover it; nothing was asked.
            RunFailedError: the journal has no room for an answer; nothing was asked.
        """
        # Losses cannot be scaled afterwards: with another scale they are others.
        scale = [] if self.logit_scale == 1.0 else [repr(self.logit_scale)]
        question = digest_of_question(
            task.digest, images.content, reduction.digest, content_of(contexts_KLE), *scale
        )
        counts_K = np.ones(len(contexts_KLE), dtype=bool) if counts_K is None else counts_K

        def cost_at(places: IntArray) -> Spending:
            queries = int(counts_K[places].sum())
            return cost_of("search", len(places), images.num_images, task.num_classes, queries)

        def ask(places: IntArray, on_part: OnPart) -> LossArray:
            return self._score(task, images, contexts_KLE[places], reduction, on_part)

        return losses_in_parts(self._questions, question, len(contexts_KLE), cost_at, ask)

    def _score(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        reduction: Reduction,
        on_part: OnPart,
    ) -> LossArray:
        if self._oracle.describe().scores and self.logit_scale == 1.0:
            scoring = cast(ScoringOracle, self._oracle)
            return scoring.score(task, images, contexts_KLE, reduction, on_part)
        # Here, as it needs torch: the processes around a run have oracles that score.
        from craft_ray.method.scoring import reduce_logits

        answers = self._oracle.predict(task, images, contexts_KLE)
        return reduce_logits(self._scaled(answers), reduction)

    def embed_images(self, images: ImageHandle, *, purpose: Purpose) -> FloatArray:
        """Features of unit length, float32 [N, F]. Each image counts as a prediction of this
        purpose; all of them together, for a search, as one candidate query.

        Raises:
            OracleError: features are not served.
            BudgetError: the candidate budget does not cover it; nothing was asked.
            RunFailedError: the journal has no room for an answer; nothing was asked.
        """
        giver = self._features()
        cost = cost_of(purpose, 1, images.num_images, num_classes=0)
        question = digest_of_question("features", images.content)
        num_bytes = self._bytes_of_features(images.num_images)
        features: FloatArray = self._ask(
            purpose, question, cost, num_bytes, lambda: giver.embed_images(images)[None]
        )[0]
        return features

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Features of unit length, float32 [M, F]; counted as prompts encoded.

        Raises:
            OracleError: features are not served, there is no text, or one is too long.
            RunFailedError: the journal has no room for an answer; nothing was asked.
        """
        giver = self._features()
        question = digest_of_question("texts", json.dumps(list(texts)))
        num_bytes = self._bytes_of_features(len(texts))
        features: FloatArray = self._ask(
            "texts",
            question,
            Spending(text_encodes=len(texts)),
            num_bytes,
            lambda: giver.embed_texts(texts)[None],
        )[0]
        return features

    def _features(self) -> FeatureOracle:
        check_features(self._oracle.describe())
        return cast(FeatureOracle, self._oracle)

    def _bytes_of_features(self, number: int) -> int:
        """How wide features are, the contract does not say; a text token is as wide, or wider."""
        return number * self.describe().embed_dim * FLOAT32_BYTES

    def context_gradient(
        self, task: TaskHandle, images: ImageHandle, context_LE: FloatArray, labels_N: LabelArray
    ) -> tuple[float, FloatArray]:
        """Of `WhiteBoxOracle`.

        Raises:
            OracleError: the oracle is a black box.
        """
        box = self._open()

        def ask() -> Array:
            loss, gradient_LE = box.context_gradient(task, images, context_LE, labels_N)
            return np.array([[loss, *gradient_LE.ravel()]], dtype=np.float64)  # exact for float32

        cost = cost_of("white_box", 1, images.num_images, task.num_classes)
        question = digest_of_question(
            task.digest, images.content, labels_N.tobytes(), context_LE.tobytes()
        )
        num_bytes = (1 + context_LE.size) * FLOAT64_BYTES
        loss, *gradient = self._ask("white_box", question, cost, num_bytes, ask)[0]
        return float(loss), np.array(gradient, dtype=np.float32).reshape(context_LE.shape)

    def _open(self) -> WhiteBoxOracle:
        check_white_box(self._oracle.describe())
        return cast(WhiteBoxOracle, self._oracle)

    def _ask(
        self,
        purpose: str,
        question: bytes,
        cost: Spending,
        num_bytes: int,
        ask: Callable[[], Array],
    ) -> Array:
        """A question that is answered as a whole, in so many bytes."""
        asked = WholeQuestion(purpose, question, cost, num_bytes)
        return self._questions.answered([asked], lambda _: ask(), lambda: 1, self.give_up)[0]
