"""What answers hang on beside the model."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from craft_ray.config.oracle import OracleConfig
from craft_ray.oracle.devices import (
    MOST_TOKENS_ON_GPU,
    TOKENS_ON_CPU,
    device_and_versions,
    precision_notes,
    precision_on,
    tokens_per_forward,
)
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


CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a GPU says of itself, where there is none."""
    about = {"bf16": True, "total": 80 * 2**30, "free": 80 * 2**30}
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: about["bf16"]
    )
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda device: SimpleNamespace(total_memory=about["total"]),
    )
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (about["free"], about["total"]))
    return about


def test_precision_is_what_the_device_is_good_at_unless_it_is_said(gpu: dict[str, Any]) -> None:
    assert precision_on(CPU, "auto") == "fp32"
    assert precision_on(GPU, "auto") == "bf16"
    gpu["bf16"] = False
    assert precision_on(GPU, "auto") == "fp32"
    assert precision_on(GPU, "fp16") == precision_on(CPU, "fp16") == "fp16"
    assert precision_notes("auto", "fp32") == precision_notes("bf16", "bf16") == ()
    assert "oracle.precision=fp32" in precision_notes("auto", "bf16")[0]


def test_a_model_is_named_by_the_precision_that_auto_means(tiny_folder: Path) -> None:
    as_before = clip_of(tiny_folder, precision="fp32").describe()
    assert clip_of(tiny_folder).describe().oracle_id == as_before.oracle_id
    assert clip_of(tiny_folder).describe().notes == as_before.notes
    assert clip_of(tiny_folder, precision="bf16").describe().oracle_id != as_before.oracle_id


def test_a_forward_holds_what_a_share_of_the_memory_does(gpu: dict[str, Any]) -> None:
    auto = OracleConfig()
    assert tokens_per_forward(CPU, auto, width=512) == TOKENS_ON_CPU
    assert tokens_per_forward(GPU, auto, width=512) == MOST_TOKENS_ON_GPU
    gpu["total"] = 20 * 2**30
    half = tokens_per_forward(GPU, auto, width=512)
    assert half == 65_536
    gpu["total"] += 2**30
    assert tokens_per_forward(GPU, auto, width=512) == half, "a little more memory does not show"
    assert tokens_per_forward(GPU, auto, width=1024) == half // 2
    assert tokens_per_forward(GPU, OracleConfig(precision="fp32"), width=512) == half // 2
    gpu["free"] = 0
    assert tokens_per_forward(GPU, auto, width=512) == half, "nor what another replica takes"
    gpu["total"] = 0
    assert tokens_per_forward(GPU, auto, width=512) == 1
    for device in (CPU, GPU):
        assert tokens_per_forward(device, OracleConfig(max_tokens_per_forward=7), width=512) == 7
