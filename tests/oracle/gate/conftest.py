"""Worlds: a small model behind a proxy that makes faults, and a run's folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.gate.dialogues import World
from tests.support.fault_proxy import Fault, FaultProxy, ModelServer, scripted, serving

Worlds = Callable[..., World]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the machine has no business between two sockets of a test."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Worlds]:
    """Makes a world, by its faults in order and what the model and the proxy take."""
    with ExitStack() as stack:

        def make(
            faults: Sequence[Fault | None] = (),
            *,
            is_idempotent: bool = False,
            delay_s: float = 0.0,
            **given: Any,
        ) -> World:
            model = ModelServer(is_idempotent=is_idempotent, delay_s=delay_s)
            proxy = FaultProxy(model, scripted(faults), **given)
            return World(tmp_path, proxy, stack.enter_context(serving(proxy)))

        yield make
