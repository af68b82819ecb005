"""What Tune says of a full disk is kept for who looks; nothing else is kept from the terminal."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from craft_ray.search.full_disk import TUNES_OWN_SUMMARY, FullDiskLog

FULL = OSError(errno.ENOSPC, "No space left on device")


class Shown(logging.Handler):
    """A terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Print."""
        self.lines.append(record.getMessage())


@pytest.fixture
def terminal() -> Iterator[tuple[logging.Logger, Shown]]:
    logger, shown = logging.getLogger("tests.full_disk"), Shown()
    logger.propagate = False
    logger.addHandler(shown)
    yield logger, shown
    logger.removeHandler(shown)


def log_error(logger: logging.Logger, message: str, error: Exception) -> None:
    try:
        raise error
    except Exception:
        logger.exception(message)


def test_the_traceback_of_a_full_disk_is_in_the_file_and_others_are_shown(
    terminal: tuple[logging.Logger, Shown], tmp_path: Path
) -> None:
    logger, shown = terminal
    log = FullDiskLog(tmp_path / "log")
    shown.addFilter(log)
    log_error(logger, "a defect", ZeroDivisionError())
    log_error(logger, "no such file", FileNotFoundError(errno.ENOENT, "absent"))
    logger.error(TUNES_OWN_SUMMARY, [1])
    assert log.error is None
    assert not log.path.exists()
    assert shown.lines == ["a defect", "no such file", "Trials did not complete: [1]"]

    wrapped = RuntimeError("could not be saved")
    wrapped.__cause__ = FULL
    log_error(logger, "state one", FULL)
    log_error(logger, "state two", wrapped)
    logger.error(TUNES_OWN_SUMMARY, [1])
    log_error(logger, "another defect", KeyError())
    assert log.error is FULL
    assert shown.lines[3:] == ["another defect"]
    text = log.path.read_text()
    assert text.index("state one") < text.index("state two")
    assert text.count("Traceback") >= 2


def test_where_nothing_can_be_written_at_all_it_is_shown(
    terminal: tuple[logging.Logger, Shown], tmp_path: Path
) -> None:
    logger, shown = terminal
    log = FullDiskLog(tmp_path / "absent" / "log")
    shown.addFilter(log)
    log_error(logger, "state", FULL)
    assert shown.lines == ["state"]
    assert log.error is FULL
