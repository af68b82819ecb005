"""Threads that do jobs, and do not keep the process from ending."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Workers:
    """At most so many threads, started as they are needed.

    `concurrent.futures` waits at the end of the process for what is under way: here that is an
    endpoint that may be silent for a minute.

    Args:
        most: threads.
        name: of them.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._is_closed = False

    def do(self, job: Callable[[], None]) -> None:
        """As soon as a thread is free. The job must not raise.

        Raises:
            RuntimeError: closed.
        """
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the gate is closed")
            self._jobs.put(job)
            if self._idle:
                self._idle -= 1  # which one of them will take it
                return
            if self._threads < self._most:
                self._threads += 1
                name = f"{self._name}-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()

    def close(self) -> None:
        """No new jobs; those under way are not waited for."""
        with self._lock:
            self._is_closed = True
            for _ in range(self._threads):
                self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            with self._lock:
                if self._jobs.empty():
                    self._idle += 1
