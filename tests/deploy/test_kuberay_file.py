"""clusters/kuberay.yaml, and that the checks of it bite."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from craft_ray.commands.shorthand import split_words
from craft_ray.config.loading import load_space_config
from craft_ray.service.tunings.runner import GRACE_S

from .dockerfile_checks import environment_of, parse
from .kube_checks import find_problems
from .kube_service_checks import settings_of
from .project import KUBERAY_FILE, ROOT, ray_allowed

WEIGHTS = environment_of(parse((ROOT / "Dockerfile").read_text()))["HF_HOME"]


def load() -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load(KUBERAY_FILE.read_text())
    return manifest


def spec_of(manifest: dict[str, Any], kind: str) -> dict[str, Any]:
    """Of the first of the kind, or of `KIND/NAME`."""
    kind, _, name = kind.partition("/")
    spec: dict[str, Any] = next(
        item["spec"]
        for item in manifest["items"]
        if item["kind"] == kind and name in ("", item["metadata"]["name"])
    )
    return spec


def test_the_file_has_no_problems() -> None:
    assert find_problems(load(), ray_allowed(), WEIGHTS) == []


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


def test_the_service_asks_for_no_more_than_its_cluster_may_have() -> None:
    spec = spec_of(load(), SERVICE)
    config = settings_of(spec)
    (workers,) = spec["workerGroupSpecs"]
    assert config.pool.max_replicas == workers["maxReplicas"]
    assert config.pool.cpus_per_replica == int(workers["rayStartParams"]["num-cpus"])
    grace_s = spec["headGroupSpec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace_s > GRACE_S, "a fine-tuning writes its state when the service ends"


def in_command(old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        container = spec_of(manifest, SERVICE)["headGroupSpec"]["template"]["spec"]["containers"][0]
        (before,) = container["args"]
        container["args"] = [before.replace(old, new)]
        assert container["args"] != [before]

    return change


def without_annotations(manifest: dict[str, Any]) -> None:
    for item in manifest["items"]:
        item["metadata"].pop("annotations", None)


def set_in(kind: str, *path: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        node: Any = spec_of(manifest, kind)
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value

    return change


SERVICE = "RayCluster/craft-ray-service"
HEAD = ("headGroupSpec", "rayStartParams")
POD = ("headGroupSpec", "template", "spec")
WORKERS = ("workerGroupSpecs", 0)
SHARED_MEMORY = (*POD, "volumes", 1, "emptyDir")
SIZES = {"num-cpus": "1", "num-gpus": "1"}
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
    "an object store that does not fit": (
        set_in("RayCluster", *HEAD, "object-store-memory", value="4200000000"),
        "of /dev/shm",
    ),
    "an object store of 30 % of the memory": (
        set_in("RayJob", "rayClusterSpec", *WORKERS, "rayStartParams", value=SIZES),
        "object-store-memory inf must be at most",
    ),
    "shared memory on a disk": (
        set_in("RayCluster", *SHARED_MEMORY, value={"sizeLimit": "4Gi"}),
        "/dev/shm must be a volume in memory",
    ),
    "shared memory for all": (
        set_in("RayCluster", *SHARED_MEMORY, "sizeLimit", value="24Gi"),
        "at most half of the container's memory",
    ),
    "a head as large as its node": (
        set_in("RayCluster", *POD, "containers", 0, "resources", "requests", "cpu", value="8"),
        "requests of cpu must be at most 7.5, got 8.45",
    ),
    "weights within the container": (
        set_in("RayCluster", *POD, "containers", 0, "volumeMounts", 2, "mountPath", value="/tmp"),
        "a volume must be at /craft-ray/weights",
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
    "a service's setting typo": (in_command("pool.max_rep", "pool.most_rep"), "most_rep"),
    "a service without keys": (in_command("keys=/craft", "name="), "service: "),
    "a service without TLS": (
        in_command("tls_cert=/craft-ray/tls/tls.crt tls_key=/craft-ray/tls/tls.key", ""),
        "service: ",
    ),
    "a service behind a proxy that is not there": (
        in_command(
            "tls_cert=/craft-ray/tls/tls.crt tls_key=/craft-ray/tls/tls.key", "behind_proxy=true"
        ),
        "tls_cert must be given",
    ),
    "keys that go with the pod": (
        in_command("/craft-ray/runs/service/keys.db", "/tmp/keys.db"),
        "keys must lie on the volume",
    ),
    "another port": (in_command("port=8443", "port=8444"), "ports [8443]"),
    "no Ray": (in_command("$KUBERAY_GEN_RAY_START_CMD &", ""), "start Ray"),
    "a script with a mistake": (in_command("done;", ""), "syntax error"),
    "the operator's command": (without_annotations, "annotation"),
    "a Service for other pods": (
        set_in("Service/craft-ray-service", "selector", value={"app": "other"}),
        "must be labels of the head",
    ),
    "a probe of nothing": (
        set_in(SERVICE, *POD, "containers", 0, "livenessProbe", "httpGet", "path", value="/"),
        "livenessProbe must ask",
    ),
    "a start that is cut short": (
        set_in(SERVICE, *POD, "containers", 0, "startupProbe", "failureThreshold", value=3),
        "must wait for pool.start_timeout_s",
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
    problems = find_problems(manifest, ray_allowed(), WEIGHTS)
    assert any(message in problem for problem in problems), problems
