"""The actor that hosts one copy of the model. Which model is decided by the factory it is given."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast

import ray
from ray.exceptions import RayError

from craft_ray.data.recipe import Recipe
from craft_ray.errors import (
    ArtifactError,
    DataError,
    EndpointUnavailableError,
    MoneySpentError,
    OracleError,
    PoolError,
    RunFailedError,
    UserError,
)
from craft_ray.oracle.contract import (
    ImageHandle,
    Images,
    Oracle,
    OracleDescription,
    RecipeOracle,
    TaskHandle,
)
from craft_ray.oracle.contract_laws import check_features, check_white_box
from craft_ray.pool.address import Answered, Failed, Refused, Reply
from craft_ray.pool.metrics import ReplicaMetrics
from craft_ray.pool.sent_images import Sent, SentImages

logger = logging.getLogger(__name__)

CONTROL = "control"
"""Calls that are answered while the model works, in a thread of their own."""
AHEAD = "ahead"
"""What is fetched for the next question, in another one: it may take a while."""
LAST_REPLY_S = 0.5
"""For a reply to leave before the process ends."""
OF_CANDIDATES = ("predict", "score")
FEATURES = ("embed_images", "embed_texts")
WHITE_BOX = ("context_gradient",)
MAY_PASS = (OSError, MemoryError, RayError)
REFUSALS: tuple[type[UserError | RunFailedError], ...] = (
    OracleError,
    MoneySpentError,
    ArtifactError,
    DataError,
    EndpointUnavailableError,
    RunFailedError,
)
"""Whoever is asked, it would be the same: records that cannot be read or written, too."""


class HostedOracle(Oracle, Protocol):
    """What a replica can host: an oracle that tells what it has been given."""

    @property
    def num_images_encoded(self) -> int:
        """Images that have been encoded so far."""
        ...

    @property
    def progress(self) -> int:
        """Grows as long as a question gets on, such as with each image that is encoded for it."""
        ...

    def knows(self, digest: str) -> bool:
        """Whether a task or an image set with this content address is registered."""
        ...

    def device_works(self) -> bool:
        """Asked after an exception: False if nothing can be computed in this process any more."""
        ...


OracleFactory = Callable[[], HostedOracle]
_while_working = ray.method(concurrency_group=CONTROL)
_beside_work = ray.method(concurrency_group=AHEAD)


@dataclass(frozen=True)
class ReplicaStats:
    """Totals since the replica has loaded the model."""

    chunks: int
    candidates: int
    images_encoded: int
    busy_s: float
    alive_s: float

    @property
    def utilisation(self) -> float:
        """Share of its time in which it worked."""
        return self.busy_s / self.alive_s


class OracleReplica:
    """A plain class around an oracle; the pool wraps it with `ray.remote`.

    Args:
        make_oracle: loads the model; runs in the actor.
        name: of this actor.
        registry: name of the pool's `Registry`, in this actor's namespace.
    """

    def __init__(self, make_oracle: OracleFactory, name: str, registry: str) -> None:
        self._registry: Any = ray.get_actor(registry)
        self._make_oracle = make_oracle
        self._metrics = ReplicaMetrics(name)
        self._chunks = self._candidates = 0
        self._busy_s = 0.0
        self._is_working = False
        self._got_on_s = 0.0
        self._progress_at_last_look = 0

    def load(self) -> Reply:
        """Load the model; nothing else is asked before. Answers with its description."""
        started_s = time.monotonic()
        try:
            self._oracle = self._make_oracle()
            mine = self._oracle.describe()
            pools: OracleDescription = ray.get(self._registry.introduce.remote(mine))
            if (mine.oracle_id, mine.computed_by) != (pools.oracle_id, pools.computed_by):
                raise PoolError(
                    "all replicas must serve the same model, computed alike, but the first one's "
                    f"is {pools.oracle_id[:12]} by {pools.computed_by or '?'}, and this one's is "
                    f"{mine.oracle_id[:12]} by {mine.computed_by or '?'}"
                )
        except REFUSALS as error:
            return Refused(str(error), _refusal(error))
        except Exception as error:
            logger.exception("the model could not be loaded")
            return failed(error)
        self._oracle_id, self._started_s = mine.oracle_id, time.monotonic()
        return Answered(mine, self._started_s - started_s, mine.oracle_id)

    @_while_working  # type: ignore[untyped-decorator]
    def stats(self) -> ReplicaStats:
        """What this replica has done."""
        return ReplicaStats(
            chunks=self._chunks,
            candidates=self._candidates,
            images_encoded=self._oracle.num_images_encoded,
            busy_s=self._busy_s,
            alive_s=time.monotonic() - self._started_s,
        )

    @_while_working  # type: ignore[untyped-decorator]
    def stuck_s(self) -> float:
        """Seconds since the question at work was begun, or, as far as the last call of this method
        knows, since it got on; 0 if nothing is at work."""
        progress, now_s = self._oracle.progress, time.monotonic()
        if progress != self._progress_at_last_look:
            self._progress_at_last_look, self._got_on_s = progress, now_s
        return now_s - self._got_on_s if self._is_working else 0.0

    @_while_working  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Before the process is ended: what the oracle has under way is kept, if it can be."""
        close = getattr(getattr(self, "_oracle", None), "close", None)
        if close is not None:
            close()

    @_beside_work  # type: ignore[untyped-decorator]
    def prepare(self, images: ImageHandle, sent: Sent) -> None:
        """A question about a set stands behind the one at work: make its pixels meanwhile."""
        with suppress(Exception):  # the question itself will tell
            for digest in images.registered:
                if self._oracle.knows(digest):
                    continue
                recipe = self._find(digest, sent)
                if isinstance(recipe, Recipe):
                    cast(RecipeOracle, self._oracle).prepare(recipe)

    def expect(self, images: ImageHandle, sent: Sent) -> None:
        """Encode them, if the oracle can; nobody waits for it."""
        if self._oracle.describe().expects:
            self.answer("expect", None, images, sent)

    def answer(
        self,
        method: str,
        task: TaskHandle | None,
        images: ImageHandle | None,
        sent: Sent,
        *arguments: Any,
    ) -> Reply:
        """Answer a question.

        Args:
            method: of the oracle.
            task: that it is about, or None; fetched from the registry if it is new here, as are
                the images.
            images: that it is about, or None.
            sent: the sets that their asker holds; the registry holds the others.
            arguments: what else the method takes. Of `predict` and `score` the first are the
                candidates.
        """
        started_s = self._got_on_s = time.monotonic()
        encoded_before = self._oracle.num_images_encoded

        def work() -> Any:
            self._fetch_what_is_missing(task, images, sent)
            if method in WHITE_BOX:
                check_white_box(self._oracle.describe())
            if method in FEATURES:
                check_features(self._oracle.describe())
            handles = [handle for handle in (task, images) if handle is not None]
            return getattr(self._oracle, method)(*handles, *arguments)

        self._is_working = True
        reply = self._reply(work, started_s)
        self._is_working = False
        service_s = time.monotonic() - started_s
        num_candidates = len(arguments[0]) if method in OF_CANDIDATES else 0
        self._chunks += 1
        self._candidates += num_candidates
        self._busy_s += service_s
        encoded = self._oracle.num_images_encoded - encoded_before
        self._metrics.record(num_candidates, encoded, service_s)
        return reply

    def _reply(self, work: Callable[[], Any], started_s: float) -> Reply:
        try:
            value = work()
            return Answered(value, time.monotonic() - started_s, self._oracle_id)
        except REFUSALS as error:
            return Refused(str(error), _refusal(error))
        except Exception as error:
            logger.exception("a question could not be answered")
            if self._oracle.device_works():
                return failed(error)
            # A CUDA context does not recover from a fault: all that follows would fail as well. The
            # keeper starts another process.
            threading.Timer(LAST_REPLY_S, os._exit, [1]).start()
            return Failed(failed(error).message, may_pass=True)

    def _fetch_what_is_missing(
        self, task: TaskHandle | None, images: ImageHandle | None, sent: Sent
    ) -> None:
        if task is not None and not self._oracle.knows(task.digest):
            known = ray.get(self._registry.task.remote(task.digest))
            if known is not None:
                self._oracle.register_task(known[0])
        for digest in () if images is None else images.registered:
            if not self._oracle.knows(digest):
                found = self._find(digest, sent)
                if found is not None:
                    self._oracle.register_images(found)

    def _find(self, digest: str, sent: Sent) -> Images | None:
        found: SentImages | None = sent.get(digest)
        found = found or ray.get(self._registry.images.remote(digest))
        return None if found is None else found.fetch()


def _refusal(error: Exception) -> type[UserError | RunFailedError]:
    """Its kind; one of an oracle's own is told as the kind that everybody knows."""
    return next(kind for kind in REFUSALS if isinstance(error, kind))


def failed(error: Exception) -> Failed:
    """What is said of an exception that is no refusal."""
    kind = type(error).__name__
    # torch's error of a full GPU is no `MemoryError`, and this module knows no torch.
    may_pass = isinstance(error, MAY_PASS) or kind == "OutOfMemoryError"
    return Failed(f"{kind}: {error}", may_pass)
