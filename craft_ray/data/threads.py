"""Work on many images at once. Pillow and the file system release Python's lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Input = TypeVar("Input")
Output = TypeVar("Output")

MAX_THREADS = 16
AHEAD_PER_THREAD = 4
"""Results that may wait for the one before them: enough to keep threads busy, few to hold."""


def map_in_threads(
    function: Callable[[Input], Output],
    inputs: Iterable[Input],
    num_threads: int | None = None,
    ahead_per_thread: int = AHEAD_PER_THREAD,
    give_up: Callable[[], None] = lambda: None,
) -> Generator[Output]:
    """`map(function, inputs)` in several threads, in order and with bounded memory.

    Args:
        function: of one input.
        inputs: are taken as they are needed.
        num_threads: as many as there are CPUs, up to `MAX_THREADS`, if it is not given.
        ahead_per_thread: results that are under way or wait for the one before them.
        give_up: is called before what is under way is waited for, where nobody needs it any more:
            the caller takes no more results, or was interrupted.

    Raises:
        Exception: what `function` raised for the first input that it failed on, whichever thread
            was faster; later inputs are given up.
    """
    num_threads = num_threads or min(MAX_THREADS, os.cpu_count() or 1)
    waiting: deque[Future[Output]] = deque()
    with ThreadPoolExecutor(num_threads) as executor:
        try:
            for value in inputs:
                waiting.append(executor.submit(function, value))
                if len(waiting) >= ahead_per_thread * num_threads:
                    result = waiting[0].result()
                    waiting.popleft()
                    yield result
            while waiting:
                result = waiting[0].result()
                waiting.popleft()
                yield result
        except BaseException as error:
            for future in waiting:
                future.cancel()
            if not isinstance(error, Exception):
                give_up()
            raise
