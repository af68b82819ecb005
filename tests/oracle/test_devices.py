"""What answers hang on beside the model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from craft_ray.oracle.devices import device_and_versions
from tests.oracle.conftest import clip_of


def test_float32_is_float32(tiny_folder: Path) -> None:
    """cuDNN's convolutions are TensorFloat-32 by default. The flags can be set without a GPU."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    clip_of(tiny_folder)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_an_oracle_says_what_it_computes_with(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = clip_of(tiny_folder).describe()
    assert here.computed_by == device_and_versions(torch.device("cpu"))
    assert torch.__version__ in here.computed_by
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another")
    there = clip_of(tiny_folder).describe()
    assert there.oracle_id == here.oracle_id, "it names the weights wherever they are computed with"
    assert there.computed_by != here.computed_by
