"""How sure an accuracy is."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.classifiers.interval import accuracy_interval


@given(num_images=st.integers(1, 5000), data=st.data())
def test_it_is_where_a_share_would_be_two_standard_errors_away(
    num_images: int, data: st.DataObject
) -> None:
    """Wilson's definition: bounds p with |share - p| = z sqrt(p (1 - p) / n)."""
    share = data.draw(st.integers(0, num_images)) / num_images
    bounds = accuracy_interval(share, num_images)
    assert bounds[0] - 1e-9 <= share <= bounds[1] + 1e-9
    for bound in bounds:
        error = 1.959964 * math.sqrt(bound * (1 - bound) / num_images)
        assert abs(share - bound) == pytest.approx(error, abs=1e-6)
