"""Softmax to the bit as scipy has it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from craft_ray.method.softmax import log_softmax, softmax

LOGITS = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    elements=st.floats(-200, 200) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0]),
)


@settings(max_examples=200, deadline=None)
@given(logits_NC=LOGITS)
def test_both_are_those_of_scipy(logits_NC: npt.NDArray[np.float64]) -> None:
    with np.errstate(all="ignore"):
        for ours, theirs in (
            (softmax, scipy.special.softmax),
            (log_softmax, scipy.special.log_softmax),
        ):
            np.testing.assert_array_equal(ours(logits_NC), theirs(logits_NC, axis=1))
