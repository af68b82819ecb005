"""`craft-ray env`: what this machine has, and what would fail on it."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from craft_ray import __version__
from craft_ray.commands.common import exit_with

PACKAGES = ("torch", "torchvision", "open_clip_torch", "ray", "optuna", "mlflow", "pyarrow", "cma")
GIB = 2**30
LEAST_DISK_GIB = 2.0
LEAST_MEMORY_GIB = 8.0
"""What the default search takes on a machine without a GPU, rounded up."""
LEAST_SHARED_MEMORY_GIB = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="craft-ray env",
        description="Versions, GPUs, memory and disk of this machine, and what would fail on it "
        "and why. Starts nothing and asks no server.",
        epilog="Example: craft-ray env --json",
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    options = parser.parse_args(arguments)
    return exit_with(lambda: _run(as_json=options.json))


def _run(*, as_json: bool) -> None:
    found = {"craft_ray": __version__, **_machine(), "gpus": _gpus(), "packages": _versions()}
    found["warnings"] = _warnings(found)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        if isinstance(value, dict):
            for key, each in value.items():
                print(f"{key:<18}{each}")
        elif name not in ("warnings", "gpus"):
            print(f"{name:<18}{value}")
    print(f"{'gpus':<18}{', '.join(found['gpus']) or 'none: the model runs on the CPU'}")
    for warning in found["warnings"]:
        print(f"warning: {warning}")


def _machine() -> dict[str, Any]:
    import psutil

    shared = Path("/dev/shm")
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count() if allowed is None else len(allowed),
        "memory_gib": round(psutil.virtual_memory().available / GIB, 1),
        "disk_gib": round(shutil.disk_usage(".").free / GIB, 1),
        "shared_memory_gib": (
            round(shutil.disk_usage(shared).free / GIB, 1) if shared.is_dir() else None
        ),
    }


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _warnings(found: dict[str, Any]) -> list[str]:
    """What would fail, and what helps."""
    warnings = [
        f"{name} is not installed: pip install craft-ray"
        for name, version in found["packages"].items()
        if version is None
    ]
    if found["memory_gib"] < LEAST_MEMORY_GIB:
        warnings.append(
            f"memory: the default search takes about {LEAST_MEMORY_GIB:g} GiB, and "
            f"{found['memory_gib']} are free: max_concurrent_trials=1 takes less"
        )
    if found["disk_gib"] < LEAST_DISK_GIB:
        warnings.append(
            f"disk: {LEAST_DISK_GIB:g} GiB should be free here, and {found['disk_gib']} are: "
            "output_dir=... names another place"
        )
    shared = found["shared_memory_gib"]
    if shared is not None and shared < LEAST_SHARED_MEMORY_GIB:
        warnings.append(
            f"shared memory: {shared} GiB of /dev/shm are free, and Ray then keeps images on disk: "
            "start a container with --shm-size=2g"
        )
    if not os.access(".", os.W_OK):
        warnings.append("this folder cannot be written: output_dir=... names another place")
    return warnings
