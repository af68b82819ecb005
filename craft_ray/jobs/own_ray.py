"""What a Ray of our own on this machine may use: CPUs, and a folder for its sockets."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from craft_ray.errors import ConfigError

MAX_SOCKET_PATH = 107
"""Bytes that the kernel takes of a socket's path (AF_UNIX); macOS takes 103."""
LONGEST_BELOW = len("/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
"""What Ray adds to the folder for temporary files."""
SHORT_PLACES = ("/tmp", "/var/tmp", "/dev/shm")


def available_cpus(system: Path = Path("/")) -> int:
    """CPUs that this process may use at a time: Ray would count those of the machine where a batch
    system, or `taskset`, gives fewer.

    Args:
        system: the root of `proc` and `sys`.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    known = [number for number in (allowed, os.cpu_count()) if number]
    return max(1, int(min([*known, *_quotas(system)], default=1)))


def _quotas(system: Path) -> Iterator[float]:
    """What this process's control group and all above it may use, version 2 and 1."""
    try:
        lines = (system / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in ["0::/", "1:cpu:/", *lines]:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        place = Path("/" + path.strip("/"))
        for group in (place, *place.parents):
            below = str(group).lstrip("/")
            if controllers:
                quota = _numbers(system / "sys/fs/cgroup/cpu" / below / "cpu.cfs_quota_us")
                period = _numbers(system / "sys/fs/cgroup/cpu" / below / "cpu.cfs_period_us")
                values = [*quota, *period]
            else:
                values = _numbers(system / "sys/fs/cgroup" / below / "cpu.max")
            if len(values) == 2 and values[0] > 0 and values[1] > 0:
                yield values[0] / values[1]


def _numbers(path: Path) -> list[int]:
    """None of `max 100000`, which is no limit."""
    try:
        return [int(word) for word in path.read_text().split()]
    except (OSError, ValueError):
        return []


def little_shared_memory(object_store_mb: int, folder: Path = Path("/dev/shm")) -> str | None:
    """What to tell where Ray's objects do not fit into shared memory, as in a container that was
    started without a word about it: Ray goes to a disk, silently. None if they fit."""
    try:
        free_mb = shutil.disk_usage(folder).free // 2**20
    except OSError:  # no such thing here
        return None
    if free_mb >= object_store_mb:
        return None
    return (
        f"{folder} has {free_mb} MB free, less than ray.object_store_mb={object_store_mb}: Ray "
        "keeps images on a disk, which is slower; start a container with --shm-size=2g"
    )


def sockets_fit(environment: Mapping[str, str]) -> bool:
    """Whether the paths of Ray's sockets below its folder for temporary files are short enough."""
    folder = environment.get("RAY_TMPDIR") or environment.get("TMPDIR") or "/tmp"
    return len(os.fsencode(folder)) + LONGEST_BELOW <= MAX_SOCKET_PATH


@contextmanager
def place_for_sockets(environment: Mapping[str, str]) -> Iterator[str | None]:
    """A short folder for Ray, removed at the end, where TMPDIR is too long, as batch systems set
    it, or is no folder that can be written; None where Ray's own will do.

    Raises:
        ConfigError: there is no short folder that can be written.
    """
    if sockets_fit(environment) and (environment.get("RAY_TMPDIR") or _tmpdir_works(environment)):
        yield None
        return
    for place in SHORT_PLACES:
        try:
            folder = tempfile.mkdtemp(prefix="craft-ray-", dir=place)
        except OSError:
            continue
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    most = MAX_SOCKET_PATH - LONGEST_BELOW
    problem = (
        f"RAY_TMPDIR: must be a folder that can be written, of at most {most} bytes, as sockets "
        f"take short paths only: TMPDIR is none, and none of {', '.join(SHORT_PLACES)} can be "
        "written"
    )
    raise ConfigError("ray", [problem])


def _tmpdir_works(environment: Mapping[str, str]) -> bool:
    """Python's own temporary files go elsewhere without a word where it does not; Ray would end."""
    if not (folder := environment.get("TMPDIR")):
        return True
    try:
        with tempfile.TemporaryDirectory(prefix="craft-ray-", dir=folder):
            return True
    except OSError:
        return False
