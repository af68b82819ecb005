"""Amounts of money in words."""

from __future__ import annotations

import pytest

from craft_ray.config.money import money


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0.0, "0.00"),
        (0.003, "0.0030"),
        (0.00012, "0.00012"),
        (1e-20, "0.00000000"),
        (0.0999, "0.100"),
        (0.207, "0.21"),
        (1234.5, "1,234.50"),
    ],
)
def test_a_small_amount_is_not_shown_as_nothing(amount: float, words: str) -> None:
    assert money(amount) == words
