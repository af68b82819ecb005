"""Which processes that answer requests are alive, by what was heard of them. Pure: times are
given."""

from __future__ import annotations

import threading
from collections.abc import Iterable

SILENCE_S = 10.0
"""A holder that was not heard of for longer is dead. Holders say that they live each 2 s."""


class Holders:
    """When each was heard of last; threads may share it.

    Args:
        names: of those that may live: they have as long as if they had been heard of now.
        now: seconds of the epoch.
    """

    def __init__(self, names: Iterable[str], now: float) -> None:
        self._lock = threading.Lock()
        self._heard = dict.fromkeys(names, now)

    def hear(self, name: str, now: float) -> None:
        """It lives. The empty name is that of nobody."""
        if name:
            with self._lock:
                before = self._heard.get(name, now)
                # What comes late does not count; of a clock that was set back, it does.
                self._heard[name] = now if before - now > SILENCE_S else max(now, before)

    def dead(self, now: float) -> dict[str, float]:
        """Those that were silent for too long, and when they were heard of."""
        with self._lock:
            return {name: at for name, at in self._heard.items() if now - at > SILENCE_S}

    def bury(self, dead: dict[str, float]) -> None:
        """Forget those that have not been heard of since they were found dead."""
        with self._lock:
            for name, at in dead.items():
                if self._heard.get(name) == at:
                    del self._heard[name]
