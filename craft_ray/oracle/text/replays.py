"""The same forward again and again: on a GPU as a graph, whose kernels are launched together.

A forward of few tokens is shorter on a GPU than the launch of its kernels one by one. A search
repeats a few shapes thousands of times, so a forward that has been seen before is captured once and
replayed. A graph is used only if its first answer is that of the forward itself, to the bit. It
keeps the memory of its forward, which `forget` gives back.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from weakref import WeakSet

import torch

from craft_ray.oracle.text.layers import Arrangement

logger = logging.getLogger(__name__)

Forward = Callable[[torch.Tensor, Arrangement], torch.Tensor]
Replay = Callable[[torch.Tensor], torch.Tensor]
Capture = Callable[[Callable[[torch.Tensor], torch.Tensor], torch.Tensor], Replay]
"""From a function and an input of the right shape to something that computes the same."""
MOST_GRAPHS = 16
MOST_TOKENS = 16_384
"""Of a forward that is captured. A larger one takes longer than its launches, and a graph keeps
the memory of its forward."""
EAGER_RUNS = 2
"""Of a shape, before it is captured: most of those that come once do not come again."""


class Replays:
    """Runs a forward, from the third time on as what `capture` has made of it. For one thread.

    Args:
        forward: to run, of a batch of rows and their arrangement; without side effects.
        capture: None never to capture.
    """

    def __init__(self, forward: Forward, capture: Capture | None) -> None:
        self._forward = forward
        self._capture = capture
        self._seen: OrderedDict[tuple[int, torch.Size], _Seen] = OrderedDict()
        """By the identity of the arrangement, which stays alive as long as the entry does."""

    def run(self, x_KSE: torch.Tensor, rows: Arrangement) -> torch.Tensor:
        """What the forward gives."""
        if self._capture is None or x_KSE.shape[:2].numel() > MOST_TOKENS:
            return self._forward(x_KSE, rows)
        key = id(rows), x_KSE.shape
        seen = self._seen.setdefault(key, _Seen(rows))
        self._seen.move_to_end(key)
        if len(self._seen) > MOST_GRAPHS:
            self._seen.popitem(last=False)
        if seen.replay is not None:
            return seen.replay(x_KSE)
        expected = self._forward(x_KSE, rows)
        seen.runs += 1
        # NaN equals nothing: of such an answer nobody could say whether the graph gives the same.
        if seen.runs > EAGER_RUNS and bool(expected.isfinite().all()):
            seen.replay = self._captured(self._capture, x_KSE, rows, expected)
        return expected

    def forget(self) -> None:
        """Give back the memory of what is captured. What comes again is captured anew."""
        self._seen.clear()

    def _captured(
        self, capture: Capture, x_KSE: torch.Tensor, rows: Arrangement, expected: torch.Tensor
    ) -> Replay | None:
        """None, and never again, where it fails or does not give the same."""
        try:
            replay = capture(lambda x: self._forward(x, rows), x_KSE)
            if torch.equal(replay(x_KSE), expected):
                return replay
            reason = "its answer is another"
        except RuntimeError as error:
            reason = str(error)
        logger.warning("text forwards are launched kernel by kernel: a graph failed: %s", reason)
        self._capture = None
        self.forget()
        return None


class _Seen:
    def __init__(self, rows: Arrangement) -> None:
        self.rows = rows
        self.runs = 0
        self.replay: Replay | None = None


class CudaGraphs:
    """Captures forwards as CUDA graphs, which share their memory: they never run at the same time,
    and each answer is copied before the next."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._replays: WeakSet[Replay] = WeakSet()
        """Those that are kept."""

    def __call__(self, forward: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> Replay:
        static_x = x.clone()
        # Libraries make their workspaces in a first run, which must not be part of a graph.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            forward(static_x)
        torch.cuda.current_stream().wait_stream(stream)
        if not self._replays:  # with its last graph a pool has ended
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            static_result = forward(static_x)

        def replay(x: torch.Tensor) -> torch.Tensor:
            static_x.copy_(x)
            graph.replay()
            return static_result.clone()

        self._replays.add(replay)
        return replay
