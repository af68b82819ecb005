"""A cluster whose autoscaler starts and ends nodes, all of them processes of this machine.

To be run in a PID namespace only: what it starts ends with the namespace, and by nothing else.
(`ray.cluster_utils.AutoscalingCluster` would stop every Ray that it sees, and needs a file that
Ray's package does not have.)
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.deploy.cluster_checks import COMMAND_SECTIONS

HEAD_ID = "f" * 51 + "00000"
HEAD_TYPE = "ray.head.default"
"""The fake provider knows no other."""
EMPTY_LISTS = (*COMMAND_SECTIONS, "cluster_synced_files", "rsync_exclude", "rsync_filter")
OWN_PIDS = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def in_own_namespace(command: Sequence[str]) -> list[str]:
    """The command, run where it sees no process but its own."""
    as_root = () if os.geteuid() == 0 else ("--map-root-user",)
    return [*OWN_PIDS, *as_root, *command]


def namespaces_are_allowed() -> bool:
    """Whether this machine lets us make one."""
    try:
        return subprocess.run(in_own_namespace(["true"]), capture_output=True).returncode == 0
    except OSError:
        return False


@contextmanager
def autoscaling_cluster(
    node_type: Mapping[str, Any], max_workers: int, idle_timeout_s: float
) -> Iterator[str]:
    """Start a head node with two CPUs and an autoscaler; yields the address.

    Args:
        node_type: of all other nodes: `resources` and, if wanted, `labels`.
        max_workers: of them.
        idle_timeout_s: after which the autoscaler ends one.
    """
    assert os.getppid() == 0 or os.getpid() == 1, "only as the first process of a PID namespace"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    provider = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
    config = {
        "cluster_name": "fake",
        "max_workers": max_workers,
        "idle_timeout_minutes": idle_timeout_s / 60,
        "provider": {
            "type": "external",
            "module": provider,
            "disable_node_updaters": True,
            "head_node_id": HEAD_ID,
            "gcs_address": address,
            "launch_multiple": True,
        },
        # There is nothing to install, but Ray wants all of these.
        "auth": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        **{key: [] for key in EMPTY_LISTS},
        "head_node_type": HEAD_TYPE,
        "available_node_types": {
            HEAD_TYPE: {"resources": {"CPU": 2}, "node_config": {}, "max_workers": 0},
            "worker": {
                **node_type,
                "node_config": {},
                "min_workers": 0,
                "max_workers": max_workers,
            },
        },
    }
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "cluster.json"
        path.write_text(json.dumps(config))
        subprocess.run(
            [
                *("ray", "start", "--head", "--node-ip-address=127.0.0.1"),
                f"--port={address.rpartition(':')[2]}",
                *("--num-cpus=2", f"--object-store-memory={100 * 2**20}"),
                *("--include-dashboard=false", "--disable-usage-stats"),
                *(f"--autoscaling-config={path}", f"--temp-dir={folder}"),
            ],
            check=True,
            capture_output=True,
            env={
                **os.environ,
                "AUTOSCALER_UPDATE_INTERVAL_S": "1",
                "RAY_FAKE_CLUSTER": "1",
                "RAY_enable_autoscaler_v2": "1",
                "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
                "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
            },
        )
        yield address
