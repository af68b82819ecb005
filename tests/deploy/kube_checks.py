"""What must hold for clusters/kuberay.yaml: the fields that KubeRay and Kubernetes know, and ours.

The names are those of KubeRay's API reference (ray.io/v1) and of Kubernetes; only those that the
file may use are listed. kubectl ignores none of them, but says so only where there is a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from packaging.specifiers import SpecifierSet

from .cluster_checks import unknown_keys
from .kube_service_checks import service_problems
from .kube_sizes import size_problems

POD_SECURITY = {
    "runAsNonRoot": None,
    "runAsUser": None,
    "runAsGroup": None,
    "fsGroup": None,
    "seccompProfile": {"type": None},
}
PROBE = {
    "exec": {"command": None},
    "httpGet": {"path": None, "port": None, "scheme": None},
    "initialDelaySeconds": None,
    "periodSeconds": None,
    "timeoutSeconds": None,
    "failureThreshold": None,
}
CONTAINER = {
    "name": None,
    "image": None,
    "command": None,
    "args": None,
    "ports": {"name": None, "containerPort": None},
    "env": {"name": None, "value": None, "valueFrom": None},
    "resources": {"requests": None, "limits": None},
    "securityContext": {"allowPrivilegeEscalation": None, "capabilities": {"drop": None}},
    "startupProbe": PROBE,
    "readinessProbe": PROBE,
    "livenessProbe": PROBE,
    "volumeMounts": {"name": None, "mountPath": None, "readOnly": None},
}
TEMPLATE = {
    "metadata": {"labels": None, "annotations": None},
    "spec": {
        "automountServiceAccountToken": None,
        "containers": CONTAINER,
        "nodeSelector": None,
        "securityContext": POD_SECURITY,
        "terminationGracePeriodSeconds": None,
        "tolerations": {"key": None, "operator": None, "value": None, "effect": None},
        "volumes": {
            "name": None,
            "emptyDir": {"medium": None, "sizeLimit": None},
            "persistentVolumeClaim": {"claimName": None},
            "secret": {"secretName": None, "defaultMode": None},
        },
    },
}
RAY_CLUSTER = {
    "rayVersion": None,
    "authOptions": {"mode": None},
    "enableInTreeAutoscaling": None,
    "autoscalerOptions": {"idleTimeoutSeconds": None, "resources": CONTAINER["resources"]},
    "headGroupSpec": {"rayStartParams": None, "template": TEMPLATE},
    "workerGroupSpecs": {
        "groupName": None,
        "replicas": None,
        "minReplicas": None,
        "maxReplicas": None,
        "rayStartParams": None,
        "template": TEMPLATE,
    },
}
RAY_JOB = {
    "entrypoint": None,
    "submissionMode": None,
    "backoffLimit": None,
    "shutdownAfterJobFinishes": None,
    "ttlSecondsAfterFinished": None,
    "activeDeadlineSeconds": None,
    "rayClusterSpec": RAY_CLUSTER,
}


ITEMS = {
    "PersistentVolumeClaim/craft-ray",
    "PersistentVolumeClaim/craft-ray-weights",
    "NetworkPolicy/craft-ray",
    "RayCluster/craft-ray",
    "RayJob/craft-ray-search",
    "RayCluster/craft-ray-service",
    "Service/craft-ray-service",
    "NetworkPolicy/craft-ray-service",
}


def find_problems(
    manifest: Mapping[str, Any], ray_allowed: SpecifierSet, weights: str
) -> list[str]:
    """Every law that the file's content breaks, in words.

    Args:
        manifest: the file's content.
        ray_allowed: the versions of Ray that craft-ray works with.
        weights: the folder in which the image keeps weights.
    """
    items = {f"{item['kind']}/{item['metadata']['name']}": item for item in manifest["items"]}
    if items.keys() != ITEMS or len(manifest["items"]) != len(ITEMS):
        return [f"items: must be one each of {sorted(ITEMS)}, but got {sorted(items)}"]
    cluster = items["RayCluster/craft-ray"]["spec"]
    job = items["RayJob/craft-ray-search"]["spec"]
    service = items["RayCluster/craft-ray-service"]["spec"]
    problems = [
        f"{name}: apiVersion must be ray.io/v1, but got {item['apiVersion']}"
        for name, item in items.items()
        if name.startswith("Ray") and item["apiVersion"] != "ray.io/v1"
    ]
    return [
        *problems,
        *unknown_keys(cluster, RAY_CLUSTER, "RayCluster.spec"),
        *unknown_keys(job, RAY_JOB, "RayJob.spec"),
        *unknown_keys(service, RAY_CLUSTER, "service.spec"),
        *_cluster_problems(cluster, "127.0.0.1", "RayCluster.spec", ray_allowed),
        *_cluster_problems(
            job["rayClusterSpec"], "$POD_IP", "RayJob.spec.rayClusterSpec", ray_allowed
        ),
        *_cluster_problems(service, "127.0.0.1", "service.spec", ray_allowed),
        *size_problems(cluster, "RayCluster.spec", weights),
        *size_problems(job["rayClusterSpec"], "RayJob.spec.rayClusterSpec", weights),
        *size_problems(service, "service.spec", weights),
        *_policy_problems(items["NetworkPolicy/craft-ray"]["spec"]),
        *_job_problems(job),
        *service_problems(
            items["RayCluster/craft-ray-service"],
            items["Service/craft-ray-service"]["spec"],
            items["NetworkPolicy/craft-ray-service"]["spec"],
        ),
    ]


def _cluster_problems(
    spec: Mapping[str, Any], dashboard: str, where: str, ray_allowed: SpecifierSet
) -> Iterator[str]:
    if spec["rayVersion"] not in ray_allowed:
        yield f"{where}.rayVersion: must satisfy {ray_allowed}, but got {spec['rayVersion']}"
    if spec.get("authOptions") != {"mode": "token"}:
        yield f"{where}.authOptions: must be mode token, but got {spec.get('authOptions')}"
    if spec.get("enableInTreeAutoscaling") is not True:
        yield f"{where}.enableInTreeAutoscaling: must be true"
    host = spec["headGroupSpec"]["rayStartParams"].get("dashboard-host")
    if host != dashboard:
        yield f"{where}: dashboard-host must be {dashboard}, but got {host}"
    groups = {"head": spec["headGroupSpec"]}
    groups |= {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    for name, group in groups.items():
        yield from _group_problems(group, f"{where}.{name}", spec["rayVersion"])


def _group_problems(group: Mapping[str, Any], where: str, ray_version: str) -> Iterator[str]:
    pod = group["template"]["spec"]
    if pod.get("securityContext", {}).get("runAsNonRoot") is not True:
        yield f"{where}: runAsNonRoot must be true"
    for container in pod["containers"]:
        name = f"{where}.{container['name']}"
        security = container.get("securityContext", {})
        if security.get("allowPrivilegeEscalation") is not False:
            yield f"{name}: allowPrivilegeEscalation must be false"
        resources = container.get("resources", {})
        if not resources.get("requests") or not resources.get("limits"):
            yield f"{name}: requests and limits must be given, but got {resources}"
        if not container["image"].endswith(f":{ray_version}"):
            yield f"{name}: image must be tagged {ray_version}, but got {container['image']}"
        if (
            "mlflow" in container.get("command", [])
            and "--host=127.0.0.1" not in container["command"]
        ):
            yield f"{name}: mlflow must have --host=127.0.0.1, but got {container['command']}"
        mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        if not mounted <= volumes:
            yield f"{name}: mounts must be volumes of the pod, but got {mounted - volumes}"
    yield from _start_problems(group, where)


def _start_problems(group: Mapping[str, Any], where: str) -> Iterator[str]:
    """What Ray is told to have must be what the pod gets."""
    params, limits = group["rayStartParams"], group["template"]["spec"]["containers"][0]
    limits = limits.get("resources", {}).get("limits", {})
    if any(not isinstance(value, str) for value in params.values()):
        yield f"{where}.rayStartParams: values must be text, but got {params}"
    if int(params["num-cpus"]) > int(limits.get("cpu", 0)):
        yield f"{where}: num-cpus {params['num-cpus']} must be at most the pod's, of {limits}"
    if int(params.get("num-gpus", 0)) != int(limits.get("nvidia.com/gpu", 0)):
        yield f"{where}: num-gpus must be the pod's, of {limits}, but got {params}"
    low, high = group.get("minReplicas", 0), group.get("maxReplicas", 0)
    if not 0 <= low <= group.get("replicas", 0) <= high:
        yield f"{where}: 0 <= minReplicas <= replicas <= maxReplicas must hold, but got {group}"


def _policy_problems(policy: Mapping[str, Any]) -> Iterator[str]:
    own = {"podSelector": {"matchLabels": {"app": "craft-ray"}}}
    for rule in policy["ingress"]:
        ports = [entry["port"] for entry in rule.get("ports", [])]
        if not rule.get("from") or (rule["from"] != [own] and ports != [8265]):
            yield f"NetworkPolicy: others may only reach the dashboard, but got {rule}"


def _job_problems(job: Mapping[str, Any]) -> Iterator[str]:
    if job.get("shutdownAfterJobFinishes") is not True:
        yield "RayJob: shutdownAfterJobFinishes must be true"
    if not job.get("activeDeadlineSeconds"):
        yield "RayJob: activeDeadlineSeconds must bound what a job that hangs costs"
