"""An endpoint that speaks craft-ray's own protocol, as an oracle: soft prompts, `score`."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from craft_ray.config.endpoint import EndpointConfig
from craft_ray.errors import OracleError
from craft_ray.method.reduction import Reduction
from craft_ray.oracle.contract import (
    Answer,
    ClassificationTask,
    FloatArray,
    ImageHandle,
    LossArray,
    OnPart,
    OracleDescription,
    TaskHandle,
    ignore_part,
)
from craft_ray.oracle.contract_laws import (
    check_contexts,
    check_reduction,
)
from craft_ray.oracle.endpoints.craft_ray_protocol import (
    LIMITS,
    ContextAnswer,
    ContextQuestion,
    CraftRayProtocol,
)
from craft_ray.oracle.endpoints.failures import Verdict
from craft_ray.oracle.endpoints.parts import halves
from craft_ray.oracle.endpoints.wire import ImageFile, Reply, Request, Units
from craft_ray.oracle.gate.answer_store import AnswerStore
from craft_ray.oracle.gate.bill_ledger import BillLedger
from craft_ray.oracle.gate.gate import Gate
from craft_ray.oracle.remote.adapters import endpoint_id, limits_of, prices_of
from craft_ray.oracle.remote.gated import GatedOracle
from craft_ray.oracle.remote.text_oracle import key_of

Array = npt.NDArray[Any]


def protocol_of(config: EndpointConfig) -> CraftRayProtocol:
    """The codec with what the settings declare."""
    if config.options:
        raise OracleError(
            f"oracle.options: must be empty for dialect craft_ray, but got {sorted(config.options)}"
        )
    if config.logit_scale is not None:
        raise OracleError(
            "oracle.logit_scale: must be null for dialect craft_ray, whose server declares it, but "
            f"got {config.logit_scale:g}"
        )
    prices = prices_of(config)
    if other := [price.unit for price in prices if price.unit != "pair"]:
        raise OracleError(
            f"oracle.prices: must be of pairs for dialect craft_ray, which counts nothing "
            f"else, but got {', '.join(other)}"
        )
    return CraftRayProtocol(limits_of(config).or_else(LIMITS), prices)


@dataclass(frozen=True)
class _Bare:
    """A request without a question: declarations and registrations; implements `Dialogue`."""

    protocol: CraftRayProtocol
    read: Callable[[Reply], Any]

    def classify(self, request: Request, reply: Reply, now: float) -> Verdict | None:
        return self.protocol.classify(request, reply, now)

    def decode(self, request: Request, reply: Reply) -> Any:
        return self.read(reply)

    def split(self, request: Request) -> Sequence[Request]:
        return ()

    def entries(self, request: Request, answer: Any) -> Sequence[tuple[bytes, Array]]:
        return ()

    def told(self, answer: Any) -> Units:
        return Units()


@dataclass(frozen=True)
class _Dialogue:
    """A question; implements `Dialogue`."""

    protocol: CraftRayProtocol
    question: ContextQuestion
    namespace: str
    forgotten: threading.Event = field(default_factory=threading.Event)
    """Set where the endpoint says that it does not know the task or an image."""

    def classify(self, request: Request, reply: Reply, now: float) -> Verdict | None:
        if self.protocol.has_forgotten(reply):
            self.forgotten.set()
        return self.protocol.classify(request, reply, now)

    def decode(self, request: Request, reply: Reply) -> ContextAnswer:
        return self.protocol.decode(self.question, request, reply)

    def split(self, request: Request) -> Sequence[Request]:
        return [self.protocol.encode(self.question, part) for part in halves(request.part)]

    def entries(self, request: Request, answer: ContextAnswer) -> Sequence[tuple[bytes, Array]]:
        return [(self.key(request), answer.values)]

    def told(self, answer: ContextAnswer) -> Units:
        return answer.told

    def key(self, request: Request) -> bytes:
        """What the answer is kept under: all that was sent, of which the body is a function."""
        return key_of(self.namespace, request.path, hashlib.sha256(request.body).hexdigest())


class SoftEndpointOracle(GatedOracle):
    """The whole contract, over HTTP; implements `ScoringOracle`.

    Images are registered as PNG files of what is asked about; the owner resizes them.

    Args:
        config: of the endpoint.
        gate: sends what must be asked.
        answers: has what was answered before.
        ledger: of the gate.

    Raises:
        OracleError: the endpoint refuses, or declares what cannot be.
        EndpointUnavailableError: it does not answer.
    """

    def __init__(
        self, config: EndpointConfig, gate: Gate, answers: AnswerStore, ledger: BillLedger
    ) -> None:
        self._protocol = protocol_of(config)
        super().__init__(gate, answers, ledger)
        self._tasks: dict[str, ClassificationTask] = {}
        self._sent: set[str] = set()
        """Images that the endpoint has, by their digests."""
        declared = cast(
            OracleDescription,
            self._bare(self._protocol.encode_describe(), self._protocol.decode_description),
        )
        self._namespace = f"{endpoint_id(config)} {declared.oracle_id}"
        self._description = replace(
            declared,
            takes_files=True,
            expects=False,
            capabilities=self._protocol.capabilities(),
        )

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        """Free; it is sent at once, because the endpoint says where the search begins.

        Raises:
            OracleError: a prompt does not fit, or the endpoint refuses.
        """
        request = self._protocol.encode_task(task)
        handle = self._bare(request, lambda reply: self._protocol.decode_task(task, reply))
        self._tasks[task.digest] = task
        return cast(TaskHandle, handle)

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        self._check(task, contexts_KLE)
        if answer not in self._description.answers:
            raise OracleError(
                f"answer: must be one of {self._description.answers}, but got {answer!r}"
            )
        files = self._files.of(images)
        digests = tuple(file.digest for file in files)
        question = ContextQuestion(task, digests, contexts_KLE, answer)
        return cast(FloatArray, self._ask(question, files))

    def score(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        reduction: Reduction,
        on_part: OnPart = ignore_part,
    ) -> LossArray:
        self._check(task, contexts_KLE)
        check_reduction(reduction, images, task)
        files = self._files.of(images)
        digests = tuple(file.digest for file in files)
        question = ContextQuestion(task, digests, contexts_KLE, reduction=reduction)
        losses = cast(LossArray, self._ask(question, files))
        on_part(0, losses)
        return losses

    def _check(self, task: TaskHandle, contexts_KLE: FloatArray) -> None:
        if task.digest not in self._tasks:
            raise OracleError(f"task: {task.digest[:12]} must be registered first")
        check_contexts(contexts_KLE, self._description.embed_dim, task.num_classes)

    def _ask(self, question: ContextQuestion, files: Sequence[ImageFile]) -> Array:
        """An endpoint that was started again has forgotten tasks and images: they are registered
        again, and what is missing is asked for once more."""
        dialogue = _Dialogue(self._protocol, question, self._namespace)
        try:
            return self._asked(dialogue, files)
        except OracleError:
            if not dialogue.forgotten.is_set():
                raise
        self._sent.clear()
        self.register_task(self._tasks[question.task.digest])
        return self._asked(_Dialogue(self._protocol, question, self._namespace), files)

    def _asked(self, dialogue: _Dialogue, files: Sequence[ImageFile]) -> Array:
        """Only what was not answered before is sent, and only its images are registered."""
        question = dialogue.question
        requests = [
            self._protocol.encode(question, part) for part in self._protocol.parts_of(question)
        ]
        known = self._answers.find([dialogue.key(request) for request in requests])
        answers, missing = [], []
        for request in requests:
            key = dialogue.key(request)
            if key in known:
                answers.append(ContextAnswer(request.part, known[key], Units()))
            else:
                missing.append(request)
        if missing:
            self._send(files)
            # An equal request of another question may have brought the answer, at other positions.
            for request, answer in self._gate.ask(missing, dialogue):
                answers.append(replace(answer, part=request.part))
        return np.asarray(self._protocol.join(question, answers))

    def _send(self, images: Sequence[ImageFile]) -> None:
        """Register what the endpoint does not have yet."""
        new = {image.digest: image for image in images if image.digest not in self._sent}
        requests = [self._protocol.encode_image(image) for image in new.values()]
        if requests:
            for _ in self._gate.ask(requests, _Bare(self._protocol, _nothing)):
                self.num_images_encoded += 1
            self._sent.update(new)

    def _bare(self, request: Request, read: Callable[[Reply], Any]) -> Any:
        (answer,) = [answer for _, answer in self._gate.ask([request], _Bare(self._protocol, read))]
        return answer


def _nothing(reply: Reply) -> None:
    """A registration says no more than its status."""
