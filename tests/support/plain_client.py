"""An adapter's requests sent as they are: no retries, no pacing, no bill. What is seen is the
adapter's and the server's alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx2

from craft_ray.oracle.endpoints.adapter import Adapter, requests_of
from craft_ray.oracle.endpoints.capabilities import Served
from craft_ray.oracle.endpoints.failures import Verdict
from craft_ray.oracle.endpoints.joining import join
from craft_ray.oracle.endpoints.wire import Answer, FloatArray, Question, Reply, Request, address


class PlainClient:
    """Threads may share it.

    Attributes:
        answers: of the last question.
    """

    def __init__(self, url: str, client: httpx2.Client) -> None:
        self._url, self._client = url, client
        self.answers: Sequence[Answer] = ()

    def send(self, request: Request, **headers: str) -> Reply:
        response = self._client.request(
            request.method,
            address(self._url, request.path),
            headers={**request.headers, **headers},
            content=request.body,
        )
        return Reply(response.status_code, dict(response.headers), response.content)

    def verdict(self, adapter: Adapter, request: Request, **headers: str) -> Verdict:
        """What the adapter makes of a refusal."""
        reply = self.send(request, **headers)
        verdict = adapter.classify(request, reply, time.time())
        assert verdict is not None, reply
        return verdict

    def ask(self, adapter: Adapter, question: Question, served: Served) -> FloatArray:
        """The answer to a question that is not refused."""
        answers = []
        for request in requests_of(adapter, question):
            reply = self.send(request)
            assert adapter.classify(request, reply, time.time()) is None, reply
            answers.append(adapter.decode(question, request, reply))
        self.answers = answers
        return join(question, answers, served, adapter.capabilities().decimals)


@contextmanager
def plain_client(url: str, key: str = "") -> Iterator[PlainClient]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx2.Client(headers=headers, timeout=60, trust_env=False) as client:
        yield PlainClient(url, client)
