"""Whose work comes next: keys get equal shares of the pool, however much each of them brings."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from craft_ray.errors import RunFailedError

Work = TypeVar("Work")
Result = TypeVar("Result")


class FairTurns(Generic[Work]):
    """Waiting work by key. Pure: knows no threads.

    The key whose work was served least comes next (start-time fair queueing, Goyal et al. 1996): a
    key that comes anew, or after a pause, begins where the others are, so that nobody saves up
    turns by asking nothing.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[tuple[Work, float]]] = OrderedDict()
        self._served: dict[str, float] = {}
        """Cost of what each key that has work here was served, by a clock that all share."""
        self._now = 0.0

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, key: str, work: Work, cost: float) -> None:
        """Work of a key, behind what it has here already.

        Args:
            key: whose.
            work: what.
            cost: of it, in any unit that is the same for all; above 0.
        """
        if key not in self._waiting:
            self._waiting[key] = deque()
            self._served[key] = max(self._served.get(key, 0.0), self._now)
        self._waiting[key].append((work, cost))

    def take(self) -> Work | None:
        """The next work; None: there is none."""
        if not self._waiting:
            return None
        key = min(self._waiting, key=lambda each: self._served[each])
        self._now = self._served[key]
        work, cost = self._waiting[key].popleft()
        self._served[key] += cost
        if not self._waiting[key]:
            del self._waiting[key]
            self._forget_the_idle()
        return work

    def _forget_the_idle(self) -> None:
        """Whoever has no work here and is not ahead of the others starts where they are; where
        nobody waits, all start anew."""
        if not self._waiting:
            self._now = 0.0
            self._served.clear()
            return
        self._served = {
            key: served
            for key, served in self._served.items()
            if key in self._waiting or served > self._now
        }


class FairWorkers:
    """Threads that do work of many keys in fair turns.

    Args:
        number: of threads: so much is done at a time.
    """

    def __init__(self, number: int) -> None:
        self._turns: FairTurns[tuple[Future[Any], Callable[[], Any]]] = FairTurns()
        self._changed = threading.Condition()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"asker-{index}", daemon=True)
            for index in range(number)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, key: str, work: Callable[[], Result], cost: float) -> Future[Result]:
        """Have work done when its turn comes. One that is cancelled before that is passed over.

        Raises:
            RunFailedError: the workers are closed.
        """
        future: Future[Result] = Future()
        with self._changed:
            if self._is_closed:
                raise RunFailedError("the service ends")
            self._turns.add(key, (future, work), cost)
            self._changed.notify()
        return future

    def waiting(self) -> int:
        """Pieces of work that nobody has begun."""
        with self._changed:
            return len(self._turns)

    def close(self) -> None:
        """What waits is cancelled; what is at work is not waited for."""
        with self._changed:
            self._is_closed = True
            while (taken := self._turns.take()) is not None:
                taken[0].cancel()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while (taken := self._turns.take()) is None:
                    if self._is_closed:
                        return
                    self._changed.wait()
            future, work = taken
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
            del future, work, taken  # an answer is not kept until the next one
