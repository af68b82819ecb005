"""Ctrl-C where Python cannot raise."""

from __future__ import annotations

import signal
import sys
import time
import weakref
from collections.abc import Iterator

import pytest

from craft_ray.commands.common import exit_with


@pytest.fixture(autouse=True)
def _hooks() -> Iterator[None]:
    hook, handler = sys.unraisablehook, signal.getsignal(signal.SIGTERM)
    yield
    sys.unraisablehook = hook
    signal.signal(signal.SIGTERM, handler)


class Held:
    """What may be held weakly."""


def test_an_interrupt_that_python_ignores_comes_again(capfd: pytest.CaptureFixture[str]) -> None:
    """As in the middle of an import, of which a run has many."""
    asked: list[float] = []

    def command() -> None:
        held = Held()
        known = weakref.ref(held, lambda _: signal.raise_signal(signal.SIGINT))
        del held
        assert known() is None
        asked.append(time.monotonic())
        for _ in range(1000):
            time.sleep(0.01)

    assert exit_with(command) == 130
    assert time.monotonic() - asked[0] < 5
    assert "ignored" not in capfd.readouterr().err


def test_what_else_is_ignored_is_told_as_ever() -> None:
    told: list[str] = []
    sys.unraisablehook = lambda found: told.append(found.exc_type.__name__)

    def command() -> None:
        held = Held()
        known = weakref.ref(held, lambda _: 1 // 0)
        del held
        assert known() is None

    assert exit_with(command) == 0
    assert told == ["ZeroDivisionError"]
