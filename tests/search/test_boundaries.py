"""What a module must not load; each process of a trial pays for its imports."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["craft_ray.search.trial", "craft_ray.pool.client"])
def test_a_trial_loads_torch_only_in_its_worker(module: str) -> None:
    heavy = "{'torch', 'torchvision', 'open_clip', 'mlflow', 'cma'}"
    program = (
        f"import sys, {module}; loaded = {heavy} & set(sys.modules); assert not loaded, loaded"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "module",
    ["craft_ray.training.loop", "craft_ray.pool.scheduler", "craft_ray.training.preparation"],
)
def test_the_loop_the_scheduler_and_the_preparation_know_no_ray(module: str) -> None:
    program = f"import sys, {module}; assert 'ray' not in sys.modules"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
