"""How long a run has taken, in all of its parts."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from craft_ray.errors import ArtifactError, StorageError
from craft_ray.files.remote import Place
from craft_ray.files.whole_files import read_json, write_json

CLOCK_FILE = "seconds.json"


class RunClock:
    """Counts on from what the parts before have stored; one that was killed has stored nothing.

    Args:
        folder: of the run.
        clock: seconds from any start.
    """

    def __init__(self, folder: Place, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = folder / CLOCK_FILE
        self._clock = clock
        self._started_s = clock()
        self._before_s = 0.0
        try:
            if self._path.exists():
                self._before_s = max(float(read_json(self._path)["seconds"]), 0.0)
        except (ArtifactError, KeyError, TypeError, ValueError):
            self._before_s = 0.0  # a time that nobody knows is no reason to end a run

    @property
    def here_s(self) -> float:
        """Seconds of this part."""
        return self._clock() - self._started_s

    @property
    def total_s(self) -> float:
        """Seconds of all parts."""
        return self._before_s + self.here_s

    def store_if_possible(self) -> None:
        """For the next part of the run, which counts on from there; a full disk only loses that."""
        with suppress(OSError, StorageError):
            write_json(self._path, {"seconds": round(self.total_s, 3)})
