"""What cannot be an answer is asked again; what is said twice is believed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from craft_ray.pool.answers import AnswerSheet, BadAnswerError
from craft_ray.pool.scheduler import Chunk

FIRST, SECOND = Chunk(index=0, start=0, stop=2), Chunk(index=1, start=2, stop=3)


class Parts:
    """What was told of an answer."""

    def __init__(self) -> None:
        self.answers = np.zeros((3, 2), dtype=np.float32)
        self.told: list[tuple[int, list[list[float]]]] = []
        self.sheet = AnswerSheet(self.answers, self._note)

    def _note(self, start: int, rows: Any) -> None:
        self.told.append((start, rows.tolist()))


def rows(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, dtype=np.float32).reshape(-1, 2)


def test_parts_find_their_place_in_any_order() -> None:
    parts = Parts()
    parts.sheet.receive(SECOND, rows(5, 6))
    parts.sheet.receive(FIRST, rows(1, 2, 3, 4))
    assert parts.answers.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert parts.told == [(2, [[5, 6]]), (0, [[1, 2], [3, 4]])]


@pytest.mark.parametrize(
    "wrong",
    [
        rows(1, 2),
        rows(1, 2, 3, 4, 5, 6),
        np.zeros((2, 3), dtype=np.float32),
        np.zeros((2, 2), dtype=np.float64),
        np.zeros(2, dtype=np.float32),
        None,
        "no array",
    ],
)
def test_another_shape_or_type_is_refused_however_often_it_comes(wrong: Any) -> None:
    parts = Parts()
    for _ in range(3):
        with pytest.raises(BadAnswerError, match=r"must be float32 \[2, 2\]"):
            parts.sheet.receive(FIRST, wrong)
    assert parts.told == []


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_doubted_once(bad: float) -> None:
    parts = Parts()
    with pytest.raises(BadAnswerError, match="NaN or infinity"):
        parts.sheet.receive(FIRST, rows(1, bad, 3, 4))
    with pytest.raises(BadAnswerError, match="NaN or infinity"):
        parts.sheet.receive(SECOND, rows(bad, 6))  # doubt belongs to a chunk
    assert parts.told == []
    parts.sheet.receive(FIRST, rows(1, 2, 3, 4))
    parts.sheet.receive(SECOND, rows(bad, 6))
    assert parts.answers[:2].tolist() == [[1, 2], [3, 4]]
    np.testing.assert_array_equal(parts.answers[2], rows(bad, 6)[0])
