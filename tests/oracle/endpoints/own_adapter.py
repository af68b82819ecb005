"""An adapter for an API of one's own: `POST /compare` with one image, cosines in return.

oracle.dialect: tests.oracle.endpoints.own_adapter:OwnAdapter
"""

from __future__ import annotations

from craft_ray.oracle.endpoints.adapter import json_request
from craft_ray.oracle.endpoints.capabilities import Capabilities, Limits
from craft_ray.oracle.endpoints.failures import Verdict, classify_status
from craft_ray.oracle.endpoints.parsing import entry, json_of, matrix
from craft_ray.oracle.endpoints.wire import Answer, Part, Question, Reply, Request


class OwnAdapter:
    """Speaks the dialect; made with what stands in `oracle.options`."""

    def __init__(self, *, labels: int = 8) -> None:
        self._labels = labels

    def capabilities(self) -> Capabilities:
        return Capabilities(
            prompts=frozenset({"text"}),
            answers=frozenset({"cosine"}),
            limits=Limits(images=1, labels=self._labels),
        )

    def encode(self, question: Question, part: Part) -> Request:
        (row,) = part.images
        texts = [question.texts[text] for text in part.texts]
        return json_request(
            "/compare", {"subject": question.images[row].base64, "prompt": texts}, part
        )

    def decode(self, question: Question, request: Request, reply: Reply) -> Answer:
        row = entry(json_of(reply), "similarity", list)
        return Answer(request.part, matrix([row], 1, len(request.part.texts), "similarity"))

    def classify(self, request: Request, reply: Reply, now: float) -> Verdict | None:
        return classify_status(request, reply, now)
