"""The cluster files, and that the checks of them bite."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from .cluster_checks import Config, find_problems, version_problems
from .project import (
    AWS_FILES,
    CLUSTER_FILES,
    CLUSTER_GUIDE,
    DASHBOARD,
    JOB_FILE,
    KUBERAY_FILE,
    MONITORING_FILE,
    PROMETHEUS_FILE,
    ROOT,
    ray_allowed,
)

GPU_FILE = ROOT / "clusters" / "gpu.yaml"


def load(path: Path) -> Config:
    config: Config = yaml.safe_load(path.read_text())
    return config


@pytest.mark.parametrize("path", CLUSTER_FILES, ids=lambda path: path.name)
def test_a_cluster_file_has_no_problems(path: Path) -> None:
    assert find_problems(load(path), ROOT, ray_allowed()) == []


def test_every_file_is_checked() -> None:
    checked = {*CLUSTER_FILES, *AWS_FILES, KUBERAY_FILE, MONITORING_FILE, JOB_FILE}
    checked |= {PROMETHEUS_FILE, DASHBOARD}
    files = {path for path in (ROOT / "clusters").rglob("*") if path.is_file()}
    assert files == checked


def test_one_version_of_ray_in_all_files() -> None:
    files = [*CLUSTER_FILES, ROOT / "Dockerfile", CLUSTER_GUIDE]
    # The guide's and the comments' placeholders name no version and install nothing.
    texts = [path.read_text().replace("rayproject/ray:<version>", "") for path in files]
    assert [list(version_problems(text, ray_allowed())) for text in texts] == [[]] * len(files)
    assert list(version_problems("\n".join(texts), ray_allowed())) == []


@pytest.mark.parametrize("name", ["gcp", "gpu"])
def test_gpu_workers_start_from_zero_and_end_when_idle(name: str) -> None:
    config = load(ROOT / "clusters" / f"{name}.yaml")
    worker = config["available_node_types"]["gpu_worker"]
    assert worker["min_workers"] == 0 < worker["max_workers"]
    assert worker["resources"]["GPU"] >= 1
    assert config["idle_timeout_minutes"] > 0
    assert config["provider"]["cache_stopped_nodes"] is False


def replace_in_commands(section: str, old: str, new: str) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        before = config[section]
        config[section] = [command.replace(old, new) for command in before]
        assert config[section] != before

    return change


def set_at(*path: str, value: object) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        for key in path[:-1]:
            config = config[key]
        config[path[-1]] = value

    return change


def rename(old: str, new: str, *path: str) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        for key in path:
            config = config[key]
        config[new] = config.pop(old)

    return change


def misspell_disk(config: Config) -> None:
    mapping = config["available_node_types"]["gpu_worker"]["node_config"]["BlockDeviceMappings"][0]
    mapping["Ebs"]["VolumeSise"] = 150


def remove(*path: str) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        for key in path[:-1]:
            config = config[key]
        del config[path[-1]]

    return change


WORKER = ("available_node_types", "gpu_worker")
HEAD = ("available_node_types", "head")
HEAD_START = "head_start_ray_commands"
WORKER_START = "worker_start_ray_commands"
MISTAKES: dict[str, tuple[Callable[[Config], None], str]] = {
    "unknown section": (rename("file_mounts", "file_mount"), "Ray: "),
    "workers as text": (set_at("max_workers", value="four"), "Ray: "),
    "head of no type": (set_at("head_node_type", value="haed"), "Ray: "),
    "more at least than in all": (set_at(*WORKER, "min_workers", value=5), "Ray: "),
    "no provider": (remove("provider"), "Ray: "),
    "provider typo": (rename("region", "regoin", "provider"), "provider: key 'regoin'"),
    "stopped nodes typo": (
        rename("cache_stopped_nodes", "cache_stoped_nodes", "provider"),
        "provider: key 'cache_stoped_nodes'",
    ),
    "node type typo": (rename("max_workers", "max_worker", *WORKER), "Ray: "),
    "instance typo": (
        rename("InstanceType", "InstanceTyp", *WORKER, "node_config"),
        "node_config: key 'InstanceTyp'",
    ),
    "disk typo": (misspell_disk, "BlockDeviceMappings.Ebs: key 'VolumeSise'"),
    "disk as text": (
        set_at(*WORKER, "node_config", "BlockDeviceMappings", value="150"),
        "must have keys",
    ),
    "Ray's own AMI": (remove(*HEAD, "node_config", "ImageId"), "ImageId: must be an AMI"),
    "an AMI of zeros": (
        set_at(*HEAD, "node_config", "ImageId", value="ami-00000000000000000"),
        "ImageId: must be an AMI",
    ),
    "versions of another day": (
        replace_in_commands("setup_commands", "-c ~/craft-ray/constraints.txt", ""),
        "constraints: an installation",
    ),
    "no versions": (
        remove("file_mounts", "~/craft-ray/constraints.txt"),
        "constraints: ~/craft-ray/constraints.txt must be mounted",
    ),
    "unclosed quote": (
        replace_in_commands("setup_commands", "sys.version'", "sys.version"),
        "shell: ",
    ),
    "unclosed loop": (replace_in_commands("setup_commands", "done", ""), "shell: "),
    "shell of one node type": (
        set_at(*WORKER, "worker_setup_commands", value=["if true; then"]),
        "shell: ",
    ),
    "open dashboard": (
        replace_in_commands(HEAD_START, "host=127.0.0.1", "host=0.0.0.0"),
        "address: nothing may listen",
    ),
    "Ray's default start": (remove(HEAD_START), "address: nothing may listen"),
    "default dashboard": (
        replace_in_commands(HEAD_START, "--dashboard-host=127.0.0.1", ""),
        "must have --dashboard-host",
    ),
    "open MLflow": (
        replace_in_commands(HEAD_START, "--host 127.0.0.1 ", ""),
        "address: mlflow server",
    ),
    "telemetry": (
        replace_in_commands(HEAD_START, "--disable-usage-stats", ""),
        "must have --disable-usage-stats",
    ),
    "no autoscaler": (
        replace_in_commands(HEAD_START, "--autoscaling-config", "--autoscaling"),
        "must have --autoscaling-config",
    ),
    "Ray never started": (set_at(HEAD_START, value=["ray stop"]), "must start Ray once"),
    "another port": (
        replace_in_commands(WORKER_START, ":6379", ":6380"),
        "must join the head's port",
    ),
    "more at least than at most": (
        set_at(*HEAD, "min_workers", value=1),
        "head: 0 <= min_workers",
    ),
    "more of a type than in all": (
        set_at(*WORKER, "max_workers", value=5),
        "gpu_worker: 0 <= min_workers",
    ),
    "a GPU to the head": (set_at(*HEAD, "resources", "GPU", value=1), "exactly 0 GPU"),
    "a head with a GPU": (
        set_at(*HEAD, "node_config", "InstanceType", value="g5.xlarge"),
        "head: must have no GPU",
    ),
    "more GPUs than there are": (set_at(*WORKER, "resources", "GPU", value=2), "exactly 1 GPU"),
    "an instance that nobody looked up": (
        set_at(*WORKER, "node_config", "InstanceType", value="g5.xxlarge"),
        "instance must be one of",
    ),
    "no token": (remove("file_mounts", "~/.ray/auth_token"), "token: ~/.ray/auth_token must be"),
    "a token that is not asked for": (
        replace_in_commands("setup_commands", " RAY_AUTH_MODE=token", ""),
        "token: setup_commands",
    ),
    "a token for all": (
        replace_in_commands(WORKER_START, "chmod 600", "chmod 644"),
        "token: worker_start_ray_commands",
    ),
    "nothing to mount": (
        set_at("file_mounts", "~/x", value="no/such/folder"),
        "'no/such/folder' (for ~/x) must exist",
    ),
    "any Ray": (replace_in_commands("setup_commands", "]==2.60.0", "]"), "an exact version"),
    "an old Ray": (replace_in_commands("setup_commands", "==2.60.0", "==2.9.3"), "must satisfy"),
    "two Rays": (
        set_at("docker", value={"image": "rayproject/ray:2.61.0", "container_name": "ray"}),
        "exactly one version",
    ),
    "the latest image": (
        set_at("docker", value={"image": "rayproject/ray:latest", "container_name": "ray"}),
        "an exact version",
    ),
    "another cloud": (set_at("provider", value={"type": "azure"}), "provider.type: 'azure'"),
}


@pytest.mark.nightly("clusters", "tests/deploy", "pyproject.toml")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str) -> None:
    change, message = MISTAKES[mistake]
    config = copy.deepcopy(load(GPU_FILE))
    change(config)
    problems = find_problems(config, ROOT, ray_allowed())
    assert any(message in problem for problem in problems), problems
