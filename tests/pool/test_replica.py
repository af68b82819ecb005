"""What a replica makes of the exceptions of the oracle that it hosts."""

from __future__ import annotations

import pytest
import torch

from craft_ray.pool.replica import failed


@pytest.mark.parametrize(
    ("error", "may_pass"),
    [
        (MemoryError("no memory"), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (ConnectionResetError("gone"), True),
        (RuntimeError("no such kernel"), False),
    ],
)
def test_what_lies_outside_of_the_question_may_pass(error: Exception, may_pass: bool) -> None:
    reply = failed(error)
    assert (reply.message, reply.may_pass) == (f"{type(error).__name__}: {error}", may_pass)
