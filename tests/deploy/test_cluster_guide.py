"""docs/cluster.md: its commands are valid, and its search is what gpu.yaml can carry."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil

from craft_ray.commands.shorthand import split_words
from craft_ray.config.loading import load_space_config
from craft_ray.config.space import SpaceConfig
from craft_ray.jobs.resources import concurrent_jobs
from craft_ray.pool.membership import NodeView, decide_size, num_replicas
from craft_ray.pool.placement import TrialPlace
from tests.support.shell import shell_error

from .cluster_checks import Config
from .project import CLUSTER_FILES, CLUSTER_GUIDE, JOB_FILE, ROOT

BLOCKS = re.findall(r"^ *```sh\n(.*?)^ *```", CLUSTER_GUIDE.read_text(), re.DOTALL | re.MULTILINE)
LAUNCHER = {"up", "down", "attach", "dashboard", "exec", "rsync-down"}
COMMANDS = [line.strip() for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]


@pytest.fixture
def cluster() -> Config:
    config: Config = prepare_config(yaml.safe_load((ROOT / "clusters" / "gpu.yaml").read_text()))
    return config


@pytest.fixture
def search() -> SpaceConfig:
    (command,) = [line for line in COMMANDS if line.startswith("ray job submit ")]
    _, entrypoint = command.split(" -- ")
    words = shlex.split(entrypoint)
    assert words[:3] == ["python", "-m", "craft_ray.tune"]
    path, _, overrides = split_words(words[3:])
    assert path is not None
    return load_space_config(ROOT / path, overrides)


def head_of(cluster: Config) -> NodeView:
    resources = cluster["available_node_types"]["head"]["resources"]
    return NodeView("head", resources["CPU"], resources.get("GPU", 0))


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[0])
def test_a_command_is_valid_shell(block: str) -> None:
    assert shell_error(block) is None


def test_the_guide_goes_from_up_to_down() -> None:
    words = [shlex.split(line, comments=True) for line in COMMANDS if line.startswith("ray ")]
    steps = [line for line in words if line[1] in LAUNCHER]
    files = {str(path.relative_to(ROOT)) for path in CLUSTER_FILES}
    assert {line[2] for line in steps} <= files
    main = [line[1] for line in steps if line[2] == "clusters/gpu.yaml"]
    assert main[0] == "up"
    assert "down" in main[main.index("rsync-down") :]
    assert "--disable-usage-stats" in steps[0]


def test_what_the_guide_runs_a_job_with_exists() -> None:
    environment = yaml.safe_load(JOB_FILE.read_text())
    assert environment["working_dir"] == "."
    assert all((ROOT / name).exists() for name in ("craft_ray", "tune_spaces"))
    assert not {"craft_ray", "tune_spaces"} & set(environment["excludes"])
    assert f"--runtime-env {JOB_FILE.relative_to(ROOT)}" in " ".join(COMMANDS)


def test_the_names_in_the_guide_are_those_of_the_files(cluster: Config) -> None:
    guide = CLUSTER_GUIDE.read_text()
    assert f"Values={cluster['cluster_name']}" in guide
    assert set(re.findall(r"--region (\S+)", guide)) == {cluster["provider"]["region"]}
    google = yaml.safe_load((ROOT / "clusters" / "gcp.yaml").read_text())
    assert f"labels.ray-cluster-name={google['cluster_name']} " in guide
    for node_type in (
        *google["available_node_types"].values(),
        *cluster["available_node_types"].values(),
    ):
        node = node_type["node_config"]
        assert f"`{node.get('InstanceType') or node['machineType']}`" in guide


def test_the_costs_add_up(cluster: Config) -> None:
    rows = re.findall(
        r"^\|.* \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$",
        CLUSTER_GUIDE.read_text(),
        re.MULTILINE,
    )
    assert len(rows) == 3
    for row in rows:
        head, worker, workers, everything = map(float, row)
        assert workers == pytest.approx(cluster["max_workers"] * worker)
        assert everything == pytest.approx(head + workers)


def test_the_search_makes_rays_autoscaler_add_all_gpu_workers(
    cluster: Config, search: SpaceConfig
) -> None:
    size = decide_size(search.base.pool, [head_of(cluster)])
    assert size.replicas is not None
    replica = {"CPU": search.base.pool.cpus_per_replica, "GPU": size.gpus_per_replica}
    autoscaling = AutoscalingConfig(cluster, skip_content_hash=True)
    reply = ResourceDemandScheduler().schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs=autoscaling.get_node_type_configs(),
            max_num_nodes=autoscaling.get_max_num_nodes(),
            resource_requests=ResourceRequestUtil.group_by_count(
                [ResourceRequestUtil.make(replica)] * size.replicas
            ),
        )
    )
    launched = {request.instance_type: request.count for request in reply.to_launch}
    assert launched["gpu_worker"] == cluster["max_workers"] == size.replicas
    assert not reply.infeasible_resource_requests


def test_no_trial_fits_beside_a_replica_on_a_gpu_worker(
    cluster: Config, search: SpaceConfig
) -> None:
    free = (
        cluster["available_node_types"]["gpu_worker"]["resources"]["CPU"]
        - search.base.pool.cpus_per_replica
    )
    assert free < min(search.base.ray.cpus_per_trial, search.base.ray.cpus_per_worker)


def test_the_head_alone_carries_the_trials(cluster: Config, search: SpaceConfig) -> None:
    resources = cluster["available_node_types"]["head"]["resources"]
    replicas = num_replicas(decide_size(search.base.pool, [head_of(cluster)]), [head_of(cluster)])
    wanted = search.max_concurrent_trials
    ray = search.base.ray
    place = TrialPlace({}, resources["CPU"], replicas)
    assert concurrent_jobs(search.base, wanted, place, ray.cpus_per_trial) == wanted
    assert wanted * (ray.cpus_per_trial + ray.cpus_per_worker) <= resources["CPU"]
