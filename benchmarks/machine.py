"""What this machine can do, measured: the yardstick of every speed in a result."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

PEAK_SIZE = {"cpu": 2048, "cuda": 8192}


def synchronize(device: str) -> None:
    """Wait for the accelerator; nothing to wait for on a CPU."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_of(
    work: Callable[[], object], device: str, repeats: int, *, warm_up: bool = True
) -> float:
    """The fastest of several runs, after one to warm up (which a long run does not need)."""
    if warm_up:
        work()
    times = []
    for _ in range(repeats):
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times)


def matmul_peak(dtype: torch.dtype, device: str) -> float:
    """FLOP/s of a large square matrix product."""
    size = PEAK_SIZE[device]
    a = torch.randn(size, size, device=device).to(dtype)
    b = torch.randn(size, size, device=device).to(dtype)
    return 2 * size**3 / seconds_of(lambda: a @ b, device, repeats=5)
