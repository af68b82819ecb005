"""Heads that are fitted once can do without views: each one is paid for like the images."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from craft_ray.config.run import RunConfig


@pytest.mark.parametrize("head", ["linear", "probes"])
def test_a_fitted_head_needs_no_views(head: str) -> None:
    run = RunConfig.model_validate({"method": "head", "head": {"kind": head}, "data": {"views": 0}})
    assert run.data.views == 0


@pytest.mark.parametrize("method", ["head", "both"])
def test_a_trained_head_does(method: str) -> None:
    with pytest.raises(ValidationError, match=r"data\.views must be at least 1 when method is"):
        RunConfig.model_validate({"method": method, "data": {"views": 0}})
