"""clusters/kuberay.yaml, and that the checks of it bite."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from craft_ray.commands.shorthand import split_words
from craft_ray.config.loading import load_space_config

from .kube_checks import find_problems
from .project import KUBERAY_FILE, ROOT, ray_allowed


def load() -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load(KUBERAY_FILE.read_text())
    return manifest


def spec_of(manifest: dict[str, Any], kind: str) -> dict[str, Any]:
    spec: dict[str, Any] = next(i["spec"] for i in manifest["items"] if i["kind"] == kind)
    return spec


def test_the_file_has_no_problems() -> None:
    assert find_problems(load(), ray_allowed()) == []


def test_the_search_of_the_job_is_valid_and_stays_within_the_cluster() -> None:
    job = spec_of(load(), "RayJob")
    words = job["entrypoint"].split()
    assert words[:3] == ["python", "-m", "craft_ray.tune"]
    path, _, overrides = split_words(words[3:])
    assert path is not None
    search = load_space_config(ROOT / path, overrides)
    (workers,) = job["rayClusterSpec"]["workerGroupSpecs"]
    head = job["rayClusterSpec"]["headGroupSpec"]
    assert search.base.pool.replicas == workers["maxReplicas"]
    assert search.base.pool.cpus_per_replica == int(workers["rayStartParams"]["num-cpus"])
    ray = search.base.ray
    trials_cpus = search.max_concurrent_trials * (ray.cpus_per_trial + ray.cpus_per_worker)
    assert trials_cpus <= int(head["rayStartParams"]["num-cpus"])
    mounts = head["template"]["spec"]["containers"][0]["volumeMounts"]
    assert search.base.output_dir in [mount["mountPath"] for mount in mounts]


def set_in(kind: str, *path: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        node: Any = spec_of(manifest, kind)
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value

    return change


HEAD = ("headGroupSpec", "rayStartParams")
POD = ("headGroupSpec", "template", "spec")
WORKERS = ("workerGroupSpecs", 0)
MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "cluster typo": (set_in("RayCluster", "enableAutoscaling", value=True), "enableAutoscaling"),
    "job typo": (set_in("RayJob", "shutdownAfterJob", value=True), "shutdownAfterJob"),
    "pod typo": (set_in("RayCluster", *POD, "securtyContext", value={}), "securtyContext"),
    "no token": (set_in("RayCluster", "authOptions", "mode", value="disabled"), "mode token"),
    "open dashboard": (
        set_in("RayCluster", *HEAD, "dashboard-host", value="0.0.0.0"),
        "dashboard-host must be 127.0.0.1",
    ),
    "open dashboard of the job": (
        set_in("RayJob", "rayClusterSpec", *HEAD, "dashboard-host", value="0.0.0.0"),
        "dashboard-host must be $POD_IP",
    ),
    "old Ray": (set_in("RayCluster", "rayVersion", value="2.9.3"), "must satisfy"),
    "another Ray in the image": (
        set_in("RayCluster", *POD, "containers", 0, "image", value="craft-ray:latest"),
        "image must be tagged 2.60.0",
    ),
    "root": (
        set_in("RayCluster", *POD, "securityContext", value={"runAsUser": 0}),
        "runAsNonRoot must be true",
    ),
    "no limits": (
        set_in("RayCluster", *POD, "containers", 1, "resources", value={}),
        "requests and limits",
    ),
    "open MLflow": (
        set_in("RayCluster", *POD, "containers", 1, "command", value=["mlflow", "server"]),
        "mlflow must have --host=127.0.0.1",
    ),
    "more CPUs than the pod": (
        set_in("RayCluster", *HEAD, "num-cpus", value="9"),
        "num-cpus 9 must be at most",
    ),
    "a GPU that Ray does not know": (
        set_in("RayCluster", *WORKERS, "rayStartParams", "num-gpus", value="0"),
        "num-gpus must be the pod's",
    ),
    "numbers in place of text": (
        set_in("RayCluster", *WORKERS, "rayStartParams", "num-gpus", value=1),
        "values must be text",
    ),
    "more at least than at most": (
        set_in("RayCluster", *WORKERS, "minReplicas", value=5),
        "minReplicas <= replicas",
    ),
    "a mount of nothing": (set_in("RayCluster", *POD, "volumes", value=[]), "volumes of the pod"),
    "open to the cluster": (
        set_in("NetworkPolicy", "ingress", value=[{"from": [{"podSelector": {}}]}]),
        "others may only reach the dashboard",
    ),
    "a cluster that stays": (
        set_in("RayJob", "shutdownAfterJobFinishes", value=False),
        "shutdownAfterJobFinishes",
    ),
    "a job without end": (
        set_in("RayJob", "activeDeadlineSeconds", value=None),
        "activeDeadlineSeconds",
    ),
}


@pytest.mark.nightly("clusters/kuberay.yaml", "tests/deploy", "pyproject.toml")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str) -> None:
    change, message = MISTAKES[mistake]
    manifest = copy.deepcopy(load())
    change(manifest)
    problems = find_problems(manifest, ray_allowed())
    assert any(message in problem for problem in problems), problems
