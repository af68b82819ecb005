"""Nodes that do not share the run's folder are found, on a node with a disk of its own.

The second node's Ray lives in a mount namespace in which an empty file system lies over the folder.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from craft_ray.config.run import RunConfig
from craft_ray.environment import set_environment
from craft_ray.errors import ConfigError
from craft_ray.files.remote import locate
from craft_ray.jobs.run_folder import SETTINGS_FILE
from craft_ray.jobs.shared_storage import check_nodes_share
from tests.support.run_folders import create_run_folder
from tests.support.s3_server import CREDENTIALS, S3Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

AS_ROOT = () if os.geteuid() == 0 else ("--user", "--map-root-user")
OWN_DISK = ("unshare", "--mount", *AS_ROOT)
CONFIG = RunConfig.model_validate({"ray": {"cpus_per_worker": 1, "cpus_per_trial": 1}})


def can_have_own_disk(folder: Path) -> bool:
    try:
        command = [*OWN_DISK, "mount", "-t", "tmpfs", "tmpfs", str(folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def output_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def two_nodes(output_dir: Path) -> Iterator[None]:
    if not can_have_own_disk(output_dir):
        pytest.skip("needs unshare and mount, and the right to use them")
    set_environment()
    memory = 100 * 2**20
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1,
            "object_store_memory": memory,
            "include_dashboard": False,
        },
    )
    start = (
        f"mount -t tmpfs tmpfs {output_dir} && exec {sys.executable} -m ray.scripts.scripts start "
        f"--address={cluster.address} --num-cpus=1 --object-store-memory={memory} --block"
    )
    node = subprocess.Popen(
        [*OWN_DISK, "sh", "-c", start],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={
            # Credentials of the object store are the first node's only.
            **{key: value for key, value in os.environ.items() if key not in CREDENTIALS},
            "RAY_raylet_start_wait_time_s": "120",  # a busy machine
        },
        start_new_session=True,
    )
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        deadline = time.monotonic() + 150
        while len([each for each in ray.nodes() if each["Alive"]]) < 2:
            assert node.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.3)
        yield
    finally:
        ray.shutdown()
        os.killpg(node.pid, signal.SIGTERM)
        try:
            node.wait(timeout=30)
        finally:
            cluster.shutdown()


def other_node() -> str:
    here = ray.get_runtime_context().get_node_id()
    (address,) = {n["NodeManagerAddress"] for n in ray.nodes() if n["NodeID"] != here}
    return str(address)


def test_a_node_that_does_not_see_the_folder_is_named(two_nodes: None, output_dir: Path) -> None:
    folder = create_run_folder(output_dir, "mine", {})
    with pytest.raises(ConfigError) as caught:
        check_nodes_share(folder, CONFIG)
    text = str(caught.value)
    assert text.startswith(f"output_dir: {output_dir} must be seen by every node that can run a")
    assert f"but node {other_node()} does not see it: give a folder that all nodes share" in text
    assert [path.name for path in folder.iterdir()] == [SETTINGS_FILE]


def test_a_folder_that_both_see_is_fine(two_nodes: None, tmp_path: Path) -> None:
    check_nodes_share(create_run_folder(tmp_path, "mine", {}), CONFIG)


def test_a_node_without_credentials_is_named(two_nodes: None, s3: S3Server) -> None:
    folder = create_run_folder(locate(s3.address("shared")), "mine", {})
    law = rf"but node {other_node()} cannot read it: s3://.* ACCESS_DENIED .*: give its environment"
    with pytest.raises(ConfigError, match=law):
        check_nodes_share(folder, CONFIG)
    assert [path.name for path in folder.iterdir()] == [SETTINGS_FILE]


@ray.remote(num_cpus=1)
class Replica:
    """Takes what a node has."""

    def node(self) -> str:
        return str(ray.get_runtime_context().get_node_id())


def test_a_node_without_room_for_a_trial_is_not_asked(two_nodes: None, output_dir: Path) -> None:
    """As the docs say: a replica that takes a node's CPUs keeps trials off it."""
    folder = create_run_folder(output_dir, "other", {})
    check_nodes_share(folder, CONFIG, kept_free=1.0)
    replicas = [Replica.remote() for _ in range(2)]  # type: ignore[attr-defined]
    try:
        assert len(set(ray.get([replica.node.remote() for replica in replicas]))) == 2
        check_nodes_share(folder, CONFIG)
    finally:
        for replica in replicas:
            ray.kill(replica)
