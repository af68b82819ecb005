"""Whether this process can compute on the GPU it was given, and why not, in plain words."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from craft_ray.errors import OracleError

DRIVER_FILE = Path("/proc/driver/nvidia/version")
"""What the kernel's part of NVIDIA's driver says of itself; only there while one is loaded."""
LEAST_DRIVER = {12: 525, 13: 580}
"""First number of a CUDA version -> first number of the oldest driver that runs programs which are
built for a CUDA that begins with it (NVIDIA, "CUDA Compatibility", minor version compatibility)."""


def check_gpu() -> None:
    """Refuse to go on where torch cannot use a GPU: on a node that Ray says has one, the model must
    not be computed on the CPU without a word, nor fail with torch's error alone.

    Raises:
        OracleError: torch sees no GPU. It names the driver, the CUDA that torch was built for, the
            driver which that needs, and what torch says.
    """
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (AssertionError, RuntimeError) as error:  # the former where torch has no CUDA
        problem = no_gpu(torch.__version__, torch.version.cuda, installed_driver(), str(error))
        raise OracleError(problem) from error


def installed_driver(file: Path = DRIVER_FILE) -> str | None:
    """The version of NVIDIA's driver, such as `580.65.06`; None if none is loaded."""
    try:
        text = file.read_text()
    except OSError:
        return None
    found = re.search(r"Kernel Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)\s", text)
    return None if found is None else found.group(1)


def no_gpu(torch_version: str, built_for: str | None, driver: str | None, said: str) -> str:
    """Why torch sees no GPU, and what helps.

    Args:
        torch_version: of the torch that is installed.
        built_for: its CUDA, such as `13.0`; None for a build without.
        driver: version of NVIDIA's driver on this machine; None without one.
        said: torch's own words.
    """
    asked = "the replica was given a GPU, and torch must see it, but "
    if built_for is None:
        return (
            f"{asked}torch {torch_version} is built without CUDA: install torch as it is on PyPI, "
            "or set pool.gpus_per_replica=0"
        )
    least = LEAST_DRIVER.get(int(built_for.split(".")[0]))
    needs = f"torch {torch_version} is built for CUDA {built_for}"
    if least is not None:
        needs += f" and needs NVIDIA driver {least} or newer"
    has = "has no NVIDIA driver loaded" if driver is None else f"has driver {driver}"
    if driver is not None and least is not None and int(driver.split(".")[0]) >= least:
        remedy = "the driver is new enough: look at nvidia-smi on the node, and restart the node"
    elif least is None:
        remedy = "install a driver for this CUDA on the node"
    else:
        remedy = (
            "install that driver on the node (on a cloud: a newer image), or a torch that is "
            "built for an older CUDA"
        )
    first_line = said.strip().splitlines()[0] if said.strip() else "nothing"
    return f"{asked}{needs}, and this node {has}. Remedy: {remedy}. torch says: {first_line}"
