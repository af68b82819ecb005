"""A disk that fills up under a search. Ray Tune goes on without its state, and every attempt to
write it is a traceback on the terminal; the user is told once, at the end, and finds them here."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from craft_ray.errors import FULL_DISK

LOG_FILE = "craft-ray-full-disk.log"
TUNES_OWN_SUMMARY = "Trials did not complete: %s"
"""An error of Tune's own after each of them was told (`SearchMonitor`)."""


class FullDiskLog(logging.Filter):
    """Moves records of a full disk from a handler to a file; all others stay where they are.

    Attributes:
        path: where they are, with their tracebacks.
        error: the last of them; None if there was none.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.error: OSError | None = None
        self._format = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the handler is to print it."""
        error = _full_disk_behind(record.exc_info[1] if record.exc_info else None)
        if error is None:
            return record.msg != TUNES_OWN_SUMMARY or self.error is None
        self.error = error
        try:
            with self.path.open("a") as file:
                print(self._format.format(record), file=file)
        except OSError:  # that disk is full as well: better on the terminal than nowhere
            return True
        return False


@contextmanager
def full_disk_log() -> Iterator[FullDiskLog]:
    """Around a search: watch what Ray prints in this process.

    The file is among Ray's own logs of the session, which are seldom on the disk of the results.
    """
    # Ray has no public call that tells where its logs are.
    log = FullDiskLog(Path(ray._private.worker.global_worker.node.get_logs_dir_path()) / LOG_FILE)
    handlers = logging.getLogger("ray").handlers
    for handler in handlers:
        handler.addFilter(log)
    try:
        yield log
    finally:
        for handler in handlers:
            handler.removeFilter(log)


def _full_disk_behind(error: BaseException | None) -> OSError | None:
    """The error, or what it was raised from, if that is a full disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            return error
        error = error.__cause__ or error.__context__
    return None
