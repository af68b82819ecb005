"""Features by `/v2/embed`, as Cohere has it and vLLM speaks too: many images in one request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from craft_ray.oracle.endpoints.adapter import json_request, only_features
from craft_ray.oracle.endpoints.capabilities import NO_LIMITS, Capabilities, Limits, Price
from craft_ray.oracle.endpoints.failures import Verdict, classify_status
from craft_ray.oracle.endpoints.parsing import count, entry, features, json_of
from craft_ray.oracle.endpoints.wire import Answer, Part, Question, Reply, Request, Units

Dialect = Literal["cohere", "vllm"]

_LIMITS: dict[Dialect, Limits] = {
    # 20 MB of images together, 96 texts; how many images is not bounded: as many as texts.
    "cohere": Limits(images=96, texts=96, bytes=20_000_000, units_per_minute=400),
    "vllm": Limits(images=32, texts=256),
}


@dataclass(frozen=True)
class CohereV2:
    """The adapter.

    Attributes:
        model: as the server names it; `embed-v4.0`, say. The v3 models take 1 image a request.
        dialect: whose.
        dimensions: width of the features, where the model can cut them. None: all of it.
        text_type: what Cohere puts before texts: `classification`, `search_document` and others.
        limits: what replaces the dialect's own, each by itself.
        prices: of the endpoint.
    """

    model: str
    dialect: Dialect = "cohere"
    dimensions: int | None = None
    text_type: str = "classification"
    limits: Limits = NO_LIMITS
    prices: tuple[Price, ...] = ()

    def capabilities(self) -> Capabilities:
        return Capabilities(
            prompts=frozenset({"text"}),
            answers=frozenset({"image_features", "text_features"}),
            limits=self.limits.or_else(_LIMITS[self.dialect]),
            prices=self.prices,
        )

    def encode(self, question: Question, part: Part) -> Request:
        only_features(question, "cohere_v2")
        inputs: dict[str, Any] = {"texts": [question.texts[row] for row in part.texts]}
        if part.images:
            inputs = {"images": [question.images[row].data_uri for row in part.images]}
        kind = "image" if part.images else self.text_type
        document = {
            "model": self.model,
            "input_type": kind if self.dialect == "cohere" else None,
            **inputs,
            "embedding_types": ["float"],
            "output_dimension": self.dimensions,
        }
        return json_request("/v2/embed", document, part)

    def decode(self, question: Question, request: Request, reply: Reply) -> Answer:
        """Answers have no positions: they come in the order of the question, or are refused for
        their number."""
        document = json_of(reply)
        rows = entry(entry(document, "embeddings", dict), "float", list)
        num_items = len(request.part.images or request.part.texts)
        values = features(rows, num_items, self.dimensions)
        return Answer(request.part, values, _told(document))

    def classify(self, request: Request, reply: Reply, now: float) -> Verdict | None:
        return classify_status(request, reply, now)


def _told(document: Any) -> Units:
    billed = ("meta", "billed_units")
    tokens = [count(document, *billed, name) for name in ("input_tokens", "image_tokens")]
    known = [number for number in tokens if number is not None]
    return Units(images=count(document, *billed, "images"), tokens=sum(known) if known else None)
