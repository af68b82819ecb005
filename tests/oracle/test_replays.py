"""A forward that comes again and again is replayed, and only if its answer is the same to the bit.

CUDA graphs need a GPU; what decides when one is made and used does not."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable

import pytest
import torch

from craft_ray.oracle.text.layout import tile_suffixes
from craft_ray.oracle.text.replays import (
    EAGER_RUNS,
    MOST_GRAPHS,
    MOST_TOKENS,
    Replay,
    Replays,
)
from craft_ray.oracle.text.tiles import TileRows


class Device:
    """Doubles numbers, and captures as a GPU does: what a graph reads and writes is fixed."""

    def __init__(self, error: float = 0.0, *, fails: bool = False) -> None:
        self.error, self.fails = error, fails
        self.forwards = self.captures = self.replays = 0

    def forward(self, x: torch.Tensor, rows: object) -> torch.Tensor:
        self.forwards += 1
        return 2 * x

    def capture(self, forward: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> Replay:
        self.captures += 1
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        static = x.clone()

        def replay(x: torch.Tensor) -> torch.Tensor:
            self.replays += 1
            static.copy_(x)
            return 2 * static + self.error

        return replay


def rows() -> TileRows:
    return TileRows(tile_suffixes([3], 1, 4), torch.empty(()))


def inputs(count: int, *shape: int) -> list[torch.Tensor]:
    return [torch.randn(shape, generator=torch.Generator().manual_seed(n)) for n in range(count)]


def test_from_the_third_time_on_it_is_captured_and_then_replayed() -> None:
    device = Device()
    replays, row = Replays(device.forward, device.capture), rows()
    for x in inputs(10, 2, 4, 5):
        assert torch.equal(replays.run(x, row), 2 * x)
    assert (device.forwards, device.captures) == (EAGER_RUNS + 1, 1)
    assert device.replays == 10 - EAGER_RUNS
    # Another number of candidates and another task are other graphs.
    for x in inputs(3, 1, 4, 5):
        replays.run(x, row)
    for x in inputs(3, 2, 4, 5):
        replays.run(x, rows())
    assert device.captures == 2, "rows that are made anew each time are never the same"


@pytest.mark.parametrize("device", [Device(fails=True), Device(error=1e-6)])
def test_where_capture_fails_all_goes_on_without_and_it_is_said_once(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    replays, row = Replays(device.forward, device.capture), rows()
    with caplog.at_level(logging.WARNING):
        for x in inputs(10, 2, 4, 5) + inputs(10, 3, 4, 5):
            assert torch.equal(replays.run(x, row), 2 * x)
    assert device.captures == 1
    assert caplog.text.count("a graph failed") == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_answer_that_is_not_finite_judges_no_graph(
    value: float, caplog: pytest.LogCaptureFixture
) -> None:
    device = Device()
    replays, row = Replays(device.forward, device.capture), rows()
    odd = torch.full((2, 4, 5), value)
    for _ in range(EAGER_RUNS + 2):
        torch.testing.assert_close(replays.run(odd, row), 2 * odd, equal_nan=True)
    assert device.captures == 0
    for x in inputs(3, 2, 4, 5):
        assert torch.equal(replays.run(x, row), 2 * x)
    assert (device.captures, device.replays) == (1, 3), "once to compare, and twice in its place"
    torch.testing.assert_close(replays.run(odd, row), 2 * odd, equal_nan=True)
    assert not caplog.text


def test_what_is_forgotten_keeps_nothing_and_is_captured_anew() -> None:
    device = Device()
    replays, row = Replays(device.forward, device.capture), rows()
    for x in inputs(4, 2, 4, 5):
        replays.run(x, row)
    row_there = weakref.ref(row)
    replays.forget()
    del row
    gc.collect()
    assert row_there() is None
    row = rows()
    for x in inputs(4, 2, 4, 5):
        assert torch.equal(replays.run(x, row), 2 * x)
    assert device.captures == 2


def test_graphs_are_few_and_of_small_forwards() -> None:
    device = Device()
    replays, row = Replays(device.forward, device.capture), rows()
    for size in range(1, MOST_GRAPHS + 3):
        for x in inputs(4, size, 4, 1):
            replays.run(x, row)
    assert device.captures == MOST_GRAPHS + 2
    assert len(replays._seen) == MOST_GRAPHS
    for x in inputs(4, MOST_TOKENS // 4 + 1, 4, 1):
        assert torch.equal(replays.run(x, row), 2 * x)
    assert device.captures == MOST_GRAPHS + 2


def test_without_a_way_to_capture_each_is_computed() -> None:
    device = Device()
    replays, row = Replays(device.forward, None), rows()
    for x in inputs(5, 2, 4, 5):
        assert torch.equal(replays.run(x, row), 2 * x)
    assert device.forwards == 5
