"""Inputs go through a model in forwards of a bounded size, and of a smaller one where memory is
not enough."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.oracle.forwards import Forwards


class Device:
    """Doubles numbers, and has memory for so much at a time."""

    def __init__(self, room: int, each: int) -> None:
        self.room, self.each = room, each
        self.sizes: list[int] = []
        self.refused = 0

    def forward(self, part: slice) -> torch.Tensor:
        size = (part.stop - part.start) * self.each
        if size > self.room:
            self.refused += 1
            raise torch.OutOfMemoryError(f"{size} of {self.room}")
        self.sizes.append(size)
        return 2 * torch.arange(part.start, part.stop)


@given(
    size=st.integers(1, 100),
    each=st.integers(1, 20),
    room=st.integers(20, 100),
    counts=st.lists(st.integers(0, 60), min_size=1, max_size=3),
)
def test_everything_is_computed_once_whatever_memory_there_is(
    size: int, each: int, room: int, counts: list[int]
) -> None:
    device = Device(room, each)
    forwards = Forwards(size, "tokens")
    for count in counts:
        results = list(forwards.run(count, device.forward, each=each))
        assert [int(x) for part in results for x in part] == [2 * n for n in range(count)]
    assert max(device.sizes, default=0) <= max(size, each)
    assert device.refused <= 7, "what was learned is not forgotten"


def test_where_memory_is_not_enough_for_one_input_its_error_is_the_answer() -> None:
    device = Device(room=3, each=4)
    with pytest.raises(torch.OutOfMemoryError, match="4 of 3"):
        list(Forwards(16, "tokens").run(9, device.forward, each=4))


def test_what_can_be_made_again_is_given_back_before_it_is_tried_again() -> None:
    device = Device(room=8, each=1)
    kept = [20]

    def forward(part: slice) -> torch.Tensor:
        device.room = 8 - sum(kept)
        return device.forward(part)

    results = Forwards(8, "tokens", kept.clear).run(8, forward)
    assert torch.cat(list(results)).tolist() == [2 * n for n in range(8)]
    assert (device.refused, device.sizes) == (1, [4, 4])
