"""What a Ray of our own may use of a machine that others share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from craft_ray.errors import ConfigError
from craft_ray.jobs import own_ray
from craft_ray.jobs.own_ray import (
    LONGEST_BELOW,
    MAX_SOCKET_PATH,
    available_cpus,
    little_shared_memory,
    place_for_sockets,
    sockets_fit,
)


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "number"),
    [
        ({}, 64),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, 64),
        ({"sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2),  # a container
        ({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        (
            {  # a batch system: the limit is of a group above ours
                "proc/self/cgroup": "0::/slurm/job_1/step_0\n",
                "sys/fs/cgroup/slurm/job_1/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/slurm/job_1/step_0/cpu.max": "max 100000\n",
            },
            4,
        ),
        (
            {  # version 1
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/x\n2:memory:/docker/x\n",
                "sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
    ],
)
def test_the_share_of_a_control_group(
    files: dict[str, str], number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert available_cpus(machine(tmp_path, files)) == number


def test_the_cpus_that_taskset_gives() -> None:
    one = min(os.sched_getaffinity(0))
    program = (
        f"import os; os.sched_setaffinity(0, {{{one}}}); "
        "from craft_ray.jobs.own_ray import available_cpus; print(available_cpus())"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert told.stdout == b"1\n"


def test_a_long_folder_for_temporary_files_gets_a_short_one_that_goes_again() -> None:
    most = MAX_SOCKET_PATH - LONGEST_BELOW
    assert sockets_fit({"TMPDIR": "/" + "x" * (most - 1)})
    assert not sockets_fit({"TMPDIR": "/" + "x" * most})
    assert sockets_fit({"TMPDIR": "/" + "x" * 92, "RAY_TMPDIR": "/tmp"})
    with place_for_sockets({}) as folder:
        assert folder is None
    with place_for_sockets({"TMPDIR": "/" + "x" * 91}) as folder:
        assert folder is not None
        assert sockets_fit({"TMPDIR": str(Path(folder).parent)})
        assert Path(folder).stat().st_mode & 0o777 == 0o700
    assert not Path(folder).exists()


def test_no_short_folder_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_ray, "SHORT_PLACES", ("/proc/none",))
    with (
        pytest.raises(ConfigError, match="RAY_TMPDIR: must be a folder that can be written"),
        place_for_sockets({"TMPDIR": "/" + "x" * 91}),
    ):
        pass


def test_little_shared_memory_is_said(tmp_path: Path) -> None:
    free_mb = shutil.disk_usage(tmp_path).free // 2**20
    words = little_shared_memory(2 * free_mb + 1, tmp_path)
    assert words is not None
    assert "--shm-size=2g" in words
    assert little_shared_memory(1, tmp_path) is None
    assert little_shared_memory(1, tmp_path / "none") is None


@pytest.mark.parametrize("place", ["/dev/null", "/no/such/folder"])
def test_a_tmpdir_that_cannot_be_written_is_not_used(place: str) -> None:
    with place_for_sockets({"TMPDIR": place}) as folder:
        assert folder is not None
    with place_for_sockets({"TMPDIR": place, "RAY_TMPDIR": "/tmp"}) as folder:
        assert folder is None
    with place_for_sockets({"TMPDIR": "/tmp"}) as folder:
        assert folder is None
