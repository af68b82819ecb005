"""An endpoint that takes text and images, as an oracle.

A task is asked about by its prompts as texts: the template with each class name put in. There is
nothing soft to tune, so contexts are empty, [K, 0, 0]; another prompt is another template.

Every answer is kept under what it is an answer to, and asked for once: an image's feature, a text's
feature, or the scores of an image with texts that were sent together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.errors import OracleError
from craft_ray.oracle.contract import (
    Answer,
    ClassificationTask,
    FloatArray,
    ImageHandle,
    OracleDescription,
    TaskHandle,
)
from craft_ray.oracle.contract_laws import (
    check_contexts,
    check_features,
    prompts_of,
)
from craft_ray.oracle.endpoints.adapter import request_of
from craft_ray.oracle.endpoints.capabilities import Served
from craft_ray.oracle.endpoints.failures import Verdict
from craft_ray.oracle.endpoints.joining import join
from craft_ray.oracle.endpoints.parts import check_texts, halves, parts_of
from craft_ray.oracle.endpoints.scores import cosine
from craft_ray.oracle.endpoints.wire import (
    Answer as EndpointAnswer,
)
from craft_ray.oracle.endpoints.wire import (
    ImageFile,
    Part,
    Question,
    Reply,
    Request,
    Units,
)
from craft_ray.oracle.gate.answer_store import AnswerStore
from craft_ray.oracle.gate.bill_ledger import BillLedger
from craft_ray.oracle.gate.gate import Gate
from craft_ray.oracle.remote.adapters import (
    Declared,
    adapter_of,
    endpoint_id,
    is_unscaled,
    model_id,
    oracle_id,
    served_scores,
)
from craft_ray.oracle.remote.gated import GatedOracle

Array = npt.NDArray[Any]
NO_CONTEXT = np.zeros((0, 0), dtype=np.float32)


@dataclass(frozen=True)
class _Dialogue:
    """A question with its adapter, as the gate needs them; implements `Dialogue`."""

    adapter: Declared
    question: Question
    namespace: str

    def classify(self, request: Request, reply: Reply, now: float) -> Verdict | None:
        return self.adapter.classify(request, reply, now)

    def decode(self, request: Request, reply: Reply) -> EndpointAnswer:
        return self.adapter.decode(self.question, request, reply)

    def split(self, request: Request) -> Sequence[Request]:
        parts = halves(request.part)
        return [request_of(self.adapter, self.question, part) for part in parts]

    def entries(self, request: Request, answer: EndpointAnswer) -> Sequence[tuple[bytes, Array]]:
        return list(zip(self.keys(answer.part), answer.values, strict=True))

    def told(self, answer: EndpointAnswer) -> Units:
        return answer.told

    def keys(self, part: Part) -> list[bytes]:
        """What each row of a part's answer is kept under."""
        texts = [self.question.texts[row] for row in part.texts]
        if not part.images:
            return [key_of(self.namespace, "text", text) for text in texts]
        images = [self.question.images[row].digest for row in part.images]
        if not texts:
            return [key_of(self.namespace, "image", image) for image in images]
        return [key_of(self.namespace, "scores", image, *texts) for image in images]


class TextEndpointOracle(GatedOracle):
    """The contract on an endpoint; implements `FeatureOracle` where it answers with features.

    Args:
        config: of the endpoint.
        gate: sends what must be asked.
        answers: has what was answered before.
        ledger: of the gate.

    Raises:
        OracleError: no adapter can be made from the settings.
    """

    def __init__(
        self, config: EndpointConfig, gate: Gate, answers: AnswerStore, ledger: BillLedger
    ) -> None:
        self._adapter = adapter_of(config)
        super().__init__(gate, answers, ledger)
        self._namespace = endpoint_id(config)
        self._tasks: dict[str, tuple[str, ...]] = {}
        self._capabilities = self._adapter.capabilities()
        self._served = served_scores(self._capabilities)
        has_cosines = is_unscaled(self._capabilities)
        scale = self._capabilities.logit_scale
        self._scale = scale if has_cosines and scale is not None else 1.0
        self._description = OracleDescription(
            oracle_id=oracle_id(config),
            weights_id=model_id(config),
            embed_dim=0,
            context_length=0,
            image_size=config.image_size,
            logit_scale=self._scale,
            initial_context=NO_CONTEXT,
            takes_files=True,
            capabilities=self._capabilities,
            scale_is_known=not has_cosines or scale is not None,
        )

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        """Free; nothing is sent. Classes must have different prompts; of whole prompts that are the
        same as others each is asked about once."""
        prompts = self._prompts_of(task)
        check_texts(prompts, self._capabilities.limits)
        of_classes = prompts[: len(task.class_names)]
        if len(set(of_classes)) < len(of_classes):
            twice = next(text for text in of_classes if of_classes.count(text) > 1)
            raise OracleError(f"prompts: must be different, but {twice!r} is there twice")
        self._tasks[task.digest] = prompts
        return TaskHandle(task.digest, len(prompts), NO_CONTEXT)

    def _prompts_of(self, task: ClassificationTask) -> tuple[str, ...]:
        if "text" in self._capabilities.prompts:
            return prompts_of(task)
        if task.prompts:
            raise OracleError(
                f"prompts: must be none for an endpoint with classes of its own, but got "
                f"{len(task.prompts)}; head.offset=template asks about the classes alone"
            )
        return task.class_names  # the owner's own classes, by their names

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        """Scores of images with prompts, [K, N, C]: logits, log-probabilities, or `logit_scale`
        times cosines. All K are alike, as there are no contexts.

        Raises:
            OracleError: the endpoint refuses the question, or this oracle does.
            BudgetError: the money does not cover it.
            EndpointUnavailableError: it does not answer.
        """
        prompts = self._tasks.get(task.digest)
        if prompts is None:
            raise OracleError(f"task: {task.digest[:12]} must be registered first")
        check_contexts(contexts_KLE, 0, len(prompts))
        if answer != "logits":
            raise OracleError(f"answer: must be logits, but got {answer!r}")
        scores_NC = self._scores(self._files.of(images), prompts)
        if self._scale != 1.0:
            scores_NC = scores_NC * np.float32(self._scale)
        return np.repeat(scores_NC[None], len(contexts_KLE), axis=0)

    def embed_images(self, images: ImageHandle) -> FloatArray:
        """Of `FeatureOracle`."""
        check_features(self._description)
        return _unit(self._image_features(self._files.of(images)))

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """Of `FeatureOracle`."""
        check_features(self._description)
        check_texts(texts, self._capabilities.limits)
        return _unit(self._text_features(texts))

    def _scores(self, images: Sequence[ImageFile], prompts: Sequence[str]) -> FloatArray:
        if self._served is None:
            return cosine(self._image_features(images), self._text_features(prompts))
        unique = {image.digest: image for image in images}
        rows = {digest: row for row, digest in enumerate(unique)}
        columns = {text: column for column, text in enumerate(dict.fromkeys(prompts))}
        question = Question(tuple(unique.values()), tuple(columns))
        scores = self._unique_scores(question, self._served)
        chosen = np.ix_(
            [rows[image.digest] for image in images], [columns[text] for text in prompts]
        )
        return np.ascontiguousarray(scores[chosen])

    def _unique_scores(self, question: Question, served: Served) -> FloatArray:
        """Of different images. Which texts go together is decided by the whole question, also where
        some answers are there already: joint scores depend on it."""
        dialogue = _Dialogue(self._adapter, question, self._namespace)
        parts = parts_of(question, self._capabilities)
        keys = {part: dialogue.keys(part) for part in parts}
        known = self._answers.find([key for each in keys.values() for key in each])
        missing = []
        for part in parts:
            images = zip(part.images, keys[part], strict=True)
            rows = tuple(row for row, key in images if key not in known)
            if rows:
                missing.append(replace(part, images=rows))
        self._ask(dialogue, missing, known)
        answers = [
            EndpointAnswer(part, np.stack([known[key] for key in keys[part]])) for part in parts
        ]
        return join(question, answers, served, self._capabilities.decimals)

    def _image_features(self, images: Sequence[ImageFile]) -> FloatArray:
        keys = [key_of(self._namespace, "image", image.digest) for image in images]
        by_key = dict(zip(keys, images, strict=True))
        known = self._answers.find(list(by_key))
        if missing := [image for key, image in by_key.items() if key not in known]:
            self._ask_all(Question(images=tuple(missing)), known)
        return _stack([known[key] for key in keys])

    def _text_features(self, texts: Sequence[str]) -> FloatArray:
        keys = [key_of(self._namespace, "text", text) for text in texts]
        by_key = dict(zip(keys, texts, strict=True))
        known = self._answers.find(list(by_key))
        if missing := [text for key, text in by_key.items() if key not in known]:
            self._ask_all(Question(texts=tuple(missing)), known)
        return _stack([known[key] for key in keys])

    def _ask_all(self, question: Question, known: dict[bytes, Array]) -> None:
        dialogue = _Dialogue(self._adapter, question, self._namespace)
        self._ask(dialogue, parts_of(question, self._capabilities), known)

    def _ask(self, dialogue: _Dialogue, parts: Iterable[Part], known: dict[bytes, Array]) -> None:
        """Have parts of a question answered; what comes is added to `known`."""
        requests = [request_of(self._adapter, dialogue.question, part) for part in parts]
        if not requests:
            return
        # An equal request of another question may have brought the answer, at other positions.
        for request, answer in self._gate.ask(requests, dialogue):
            known.update(zip(dialogue.keys(request.part), answer.values, strict=True))
            self.num_images_encoded += len(request.part.images)


def key_of(namespace: str, kind: str, *words: str) -> bytes:
    """What an answer of an endpoint is kept under."""
    document = json.dumps([namespace, kind, *words], ensure_ascii=True)
    return hashlib.sha256(document.encode()).digest()


def _stack(rows: Sequence[Array]) -> FloatArray:
    widths = sorted({row.shape for row in rows})
    if len(widths) > 1:
        raise OracleError(
            f"features: must all be of one width, but are of {widths}: the endpoint's model has "
            "changed; another oracle.revision asks anew"
        )
    return np.stack(rows).astype(np.float32)


def _unit(features_NF: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(features_NF.astype(np.float64), axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise OracleError("features: must not be all zeros, but one is")
    unit_NF: FloatArray = (features_NF / lengths).astype(np.float32)
    return unit_NF
