"""What a replica says that was given a GPU which torch cannot use."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from craft_ray.config.oracle import OracleConfig
from craft_ray.errors import OracleError
from craft_ray.oracle.gpu import LEAST_DRIVER, installed_driver, no_gpu
from craft_ray.pool.lifecycle import ClipFactory

TOO_OLD = (
    "The NVIDIA driver on your system is too old (found version 12040). Please update your GPU "
    "driver by downloading and installing a new version from the URL: ...\nmore"
)


@pytest.mark.parametrize(
    ("line", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.07  Sat Feb 17 22:55:48 UTC",
            "535.161.07",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  595.91.07  Release Build  "
            "(dvs-builder@U22-I3-B07-05-2)",
            "595.91.07",
        ),
        ("NVRM version: of another form", None),
    ],
)
def test_the_driver_is_what_the_kernel_says(tmp_path: Path, line: str, version: str | None) -> None:
    file = tmp_path / "version"
    file.write_text(f"{line}\nGCC version:  gcc version 12.3.0\n")
    assert installed_driver(file) == version


def test_without_the_file_there_is_no_driver(tmp_path: Path) -> None:
    assert installed_driver(tmp_path / "version") is None


def test_a_driver_that_is_too_old_is_named_beside_the_one_that_is_needed() -> None:
    words = no_gpu("2.14.1", "13.0", "550.90.07", TOO_OLD)
    assert "torch 2.14.1 is built for CUDA 13.0 and needs NVIDIA driver 580 or newer" in words
    assert "this node has driver 550.90.07. Remedy: install that driver" in words
    assert words.endswith("from the URL: ..."), "of torch's words the first line"


def test_a_driver_that_is_new_enough_is_not_blamed() -> None:
    words = no_gpu("2.14.1", "13.0", "580.65.06", "No CUDA GPUs are available")
    assert "the driver is new enough: look at nvidia-smi" in words
    assert "install that driver" not in words


def test_a_cuda_that_is_not_in_the_table_is_not_judged() -> None:
    words = no_gpu("3.0.0", "14.1", "590.1", "")
    assert "is built for CUDA 14.1, and this node has driver 590.1" in words
    assert words.endswith("torch says: nothing")


def test_a_build_without_cuda_says_how_to_go_on() -> None:
    words = no_gpu("2.14.1+cpu", None, "595.91.07", "Torch not compiled with CUDA enabled")
    assert "built without CUDA" in words
    assert "pool.gpus_per_replica=0" in words


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_replica_with_a_gpu_that_is_not_there_does_not_fall_back_to_the_cpu() -> None:
    factory = ClipFactory(OracleConfig(), "cuda", num_threads=1)
    with pytest.raises(OracleError, match="was given a GPU, and torch must see it"):
        factory()


def test_the_table_knows_the_cuda_of_the_torch_that_is_installed() -> None:
    if (built_for := torch.version.cuda) is None:
        pytest.skip("this torch is built without CUDA")
    assert int(built_for.split(".")[0]) in LEAST_DRIVER
