"""What many threads want done at the same time, done in one go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@dataclass(eq=False)
class _Waiting(Generic[Item, Outcome]):
    """What one thread has brought."""

    item: Item
    outcomes: list[Outcome]  # one, when it is done
    error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        return bool(self.outcomes) or self.error is not None


class Together(Generic[Item, Outcome]):
    """One thread at a time does what it and others have brought; what comes meanwhile is for the
    next. A thread that is alone waits for nobody.

    Args:
        do: from items to an outcome of each, in their order. What it raises, all threads raise
            whose items these were.
    """

    def __init__(self, do: Callable[[Sequence[Item]], Sequence[Outcome]]) -> None:
        self._do = do
        self._turn = threading.Condition()
        self._waiting: list[_Waiting[Item, Outcome]] = []
        self._is_busy = False

    def __call__(self, item: Item) -> Outcome:
        """Bring one, and wait for its outcome.

        Raises:
            BaseException: of `do`.
        """
        own: _Waiting[Item, Outcome] = _Waiting(item, [])
        taken: list[_Waiting[Item, Outcome]] = []
        try:
            with self._turn:
                self._waiting.append(own)
                self._turn.wait_for(lambda: own.is_done or not self._is_busy)
                if not own.is_done:
                    taken, self._waiting = self._waiting, []
                    self._is_busy = True
            if taken:
                self._do_all(taken)
        finally:
            if taken:
                with self._turn:
                    # Of an interrupt that came before they were begun: another thread does them.
                    left = [each for each in taken if not (each.is_done or each is own)]
                    self._waiting = [*left, *self._waiting]
                    self._is_busy = False
                    self._turn.notify_all()
        if own.error is not None:
            raise own.error
        return own.outcomes[0]

    def _do_all(self, taken: Sequence[_Waiting[Item, Outcome]]) -> None:
        try:
            for each, outcome in zip(taken, self._do([w.item for w in taken]), strict=True):
                each.outcomes.append(outcome)
        except BaseException as error:
            for each in taken:
                each.error = error
