"""What must not be loaded; each of the processes of a trial pays for its imports."""

from __future__ import annotations

import pytest

from tests.support.imports import imported_by


@pytest.mark.parametrize("module", ["craft_ray.search.trial", "craft_ray.pool.client"])
def test_a_trial_loads_torch_only_in_its_worker(module: str) -> None:
    assert not imported_by(module) & {"torch", "torchvision", "open_clip", "mlflow", "cma"}


def test_the_scheduler_knows_no_ray() -> None:
    assert "ray" not in imported_by("craft_ray.pool.scheduler")
