"""Features by `/embeddings`, as OpenAI has it for texts, with images in four dialects.

- infinity: a list of data URIs with `modality: image`. It answers any model's name with the model
  that it has, so the name in the answer is compared. Seen in 0.0.78: it cuts texts for a CLIP after
  20 tokens, about 15 words, and does not say so; and after half of an image (a file that is cut) it
  answered no further request.
- vLLM (`--runner pooling`): one image a request, as a chat message.
- NIM (NV-CLIP): images and texts in one list, images as data URIs.
- Jina: a list of `{"image": ...}` and `{"text": ...}`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from craft_ray.oracle.endpoints.adapter import json_request, only_features
from craft_ray.oracle.endpoints.capabilities import NO_LIMITS, Capabilities, Limits, Price
from craft_ray.oracle.endpoints.failures import Verdict, classify_status
from craft_ray.oracle.endpoints.parsing import (
    check_model,
    entry,
    features,
    floats_of_base64,
    in_order,
    json_of,
    tokens_told,
)
from craft_ray.oracle.endpoints.wire import (
    Answer,
    AnswerError,
    Part,
    Question,
    Reply,
    Request,
    Units,
)

Dialect = Literal["infinity", "vllm", "nim", "jina"]


@dataclass(frozen=True)
class _Habits:
    """What a dialect is used to."""

    path: str
    limits: Limits
    counts_tokens_of_images: bool = True


_HABITS: dict[Dialect, _Habits] = {
    # `prompt_tokens` of images counts the characters of their data URIs.
    "infinity": _Habits("/embeddings", Limits(images=32, texts=2048), False),
    "vllm": _Habits("/v1/embeddings", Limits(images=1, texts=256)),
    # Neither publishes how many images a request may have: few enough to be taken anywhere.
    "nim": _Habits("/v1/embeddings", Limits(images=16, texts=64)),
    "jina": _Habits("/v1/embeddings", Limits(images=16, texts=256)),
}


@dataclass(frozen=True)
class OpenAIEmbeddings:
    """The adapter.

    Attributes:
        model: as the server names it.
        dialect: whose.
        dimensions: width of the features, where the model can cut them. None: all of it.
        path: below the URL, which has no `/v1`. None: the dialect's.
        limits: what replaces the dialect's own, each by itself. vLLM takes one image a request,
            whatever is said here.
        prices: of the endpoint.
    """

    model: str
    dialect: Dialect = "infinity"
    dimensions: int | None = None
    path: str | None = None
    limits: Limits = NO_LIMITS
    prices: tuple[Price, ...] = ()

    def capabilities(self) -> Capabilities:
        limits = self.limits.or_else(_HABITS[self.dialect].limits)
        if self.dialect == "vllm":
            limits = replace(limits, images=1)
        return Capabilities(
            prompts=frozenset({"text"}),
            answers=frozenset({"image_features", "text_features"}),
            limits=limits,
            prices=self.prices,
        )

    def encode(self, question: Question, part: Part) -> Request:
        only_features(question, "openai_embeddings")
        document: dict[str, Any] = {
            "model": self.model,
            **self._inputs(question, part),
            "dimensions": self.dimensions,
        }
        path = _HABITS[self.dialect].path if self.path is None else self.path
        return json_request(path, document, part)

    def decode(self, question: Question, request: Request, reply: Reply) -> Answer:
        document = json_of(reply)
        check_model(self.model, document)
        num_items = len(request.part.images or request.part.texts)
        items = entry(document, "data", list)
        items = in_order(items, num_items, lambda item: entry(item, "index", int), "embeddings")
        rows = [_vector(entry(item, "embedding", (list, str))) for item in items]
        told = tokens_told(document)
        if request.part.images and not _HABITS[self.dialect].counts_tokens_of_images:
            told = Units()
        return Answer(request.part, features(rows, num_items, self.dimensions), told)

    def classify(self, request: Request, reply: Reply, now: float) -> Verdict | None:
        return classify_status(request, reply, now)

    def _inputs(self, question: Question, part: Part) -> dict[str, Any]:
        images = [question.images[row] for row in part.images]
        texts = [question.texts[row] for row in part.texts]
        if self.dialect == "infinity":
            inputs = [image.data_uri for image in images] or texts
            modality = "image" if images else "text"
            return {"input": inputs, "modality": modality, "encoding_format": "base64"}
        if self.dialect == "vllm":
            if not images:
                return {"input": texts, "encoding_format": "base64"}
            content = [
                {"type": "image_url", "image_url": {"url": image.data_uri}} for image in images
            ]
            messages = [{"role": "user", "content": content}]
            return {"messages": messages, "encoding_format": "base64"}
        if self.dialect == "nim":
            inputs = [image.data_uri for image in images] or texts
            return {"input": inputs, "encoding_format": "float"}
        items = [{"image": image.base64} for image in images] or [{"text": text} for text in texts]
        return {"input": items, "normalized": True, "embedding_type": "base64"}


def _vector(embedding: Any) -> Any:
    """Some servers answer with a list where base64 was asked for."""
    if isinstance(embedding, str):
        return floats_of_base64(embedding)
    if not embedding:
        raise AnswerError("embeddings: must not be empty, but one is")
    return embedding
