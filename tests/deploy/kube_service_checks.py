"""What must hold for the service in clusters/kuberay.yaml: that a key is the only way in, and that
what it must not forget lies on the volume."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from craft_ray.config.loading import load_service_config
from craft_ray.config.service import ServiceConfig
from craft_ray.errors import ConfigError
from tests.support.shell import shell_error

OVERWRITE = "ray.io/overwrite-container-cmd"
RAY_START = "$KUBERAY_GEN_RAY_START_CMD"
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def service_problems(
    cluster: Mapping[str, Any], service: Mapping[str, Any], policy: Mapping[str, Any]
) -> Iterator[str]:
    """Every law that is broken, in words.

    Args:
        cluster: the RayCluster, whose head is the service.
        service: the spec of the Service before it.
        policy: the spec of its NetworkPolicy.
    """
    spec = cluster["spec"]
    if cluster["metadata"].get("annotations", {}).get(OVERWRITE) != "true":
        yield f"service: annotation {OVERWRITE} must be true, or the operator's command is run"
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        container = group["template"]["spec"]["containers"][0]
        yield from _command_problems(container)
    try:
        config = settings_of(spec)
    except (ConfigError, ValueError) as error:
        yield f"service: {error}"
        return
    head = spec["headGroupSpec"]["template"]
    yield from _port_problems(config, head, service, policy)
    yield from _place_problems(config, head["spec"])
    if config.tls_cert is None:
        yield "service: tls_cert must be given: keys would travel as plain text"


def settings_of(spec: Mapping[str, Any]) -> ServiceConfig:
    """Of the head's command.

    Raises:
        ConfigError: they break a law.
        ValueError: no service is started.
    """
    (script,) = spec["headGroupSpec"]["template"]["spec"]["containers"][0]["args"]
    _, found, words = script.partition("exec python -m craft_ray.serve ")
    if not found:
        raise ValueError(f"the head must end with craft_ray.serve, but does {script!r}")
    # Whoever starts it knows the address of the pod.
    return load_service_config(None, shlex.split(words.replace("$POD_IP", "10.0.0.1")))


def _command_problems(container: Mapping[str, Any]) -> Iterator[str]:
    name = container["name"]
    if container.get("command") != ["/bin/bash", "-c"] or len(container.get("args", [])) != 1:
        yield f"{name}: must have a command of bash and one script"
        return
    (script,) = container["args"]
    if (error := shell_error(script)) is not None:
        yield f"{name}: {error}"
    if RAY_START not in script or not re.search(r"ulimit -n \d{5}", script):
        yield f"{name}: must raise the limit of files and start Ray, but does {script!r}"


def _port_problems(
    config: ServiceConfig,
    head: Mapping[str, Any],
    service: Mapping[str, Any],
    policy: Mapping[str, Any],
) -> Iterator[str]:
    container = head["spec"]["containers"][0]
    opened = [port["containerPort"] for port in container.get("ports", [])]
    targets = [port["targetPort"] for port in service["ports"]]
    admitted = [port["port"] for rule in policy["ingress"] for port in rule["ports"]]
    if not opened == targets == admitted == [config.port]:
        yield f"service: ports {opened}, {targets}, {admitted} must all be [{config.port}]"
    labels = head["metadata"]["labels"].items()
    for selector in (service["selector"], policy["podSelector"]["matchLabels"]):
        if not selector or not selector.items() <= labels:
            yield f"service: {selector} must be labels of the head, but are not"
    wanted = {"path": "/healthz", "port": config.port, "scheme": "HTTPS"}
    for probe in PROBES:
        got = container.get(probe, {}).get("httpGet")
        if got != wanted:
            yield f"service: {probe} must ask {wanted}, but asks {got}"
    startup = container.get("startupProbe", {})
    patience_s = startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3)
    if patience_s < config.pool.start_timeout_s:
        yield f"service: startupProbe must wait for pool.start_timeout_s, but waits {patience_s} s"


def _place_problems(config: ServiceConfig, pod: Mapping[str, Any]) -> Iterator[str]:
    kinds = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {
        mount["mountPath"]: kinds.get(mount["name"], {})
        for mount in pod["containers"][0]["volumeMounts"]
    }

    def lies_on(path: str | None, kind: str) -> bool:
        above = [] if path is None else [str(each) for each in PurePosixPath(path).parents]
        return any(kind in mounts.get(each, {}) for each in above)

    for name, path in (("folder", config.folder), ("keys", config.keys)):
        if not lies_on(path, "persistentVolumeClaim"):
            yield f"service: {name} must lie on the volume, but is {path}"
    for name, path in (("tls_cert", config.tls_cert), ("tls_key", config.tls_key)):
        if not lies_on(path, "secret"):
            yield f"service: {name} must lie in a Secret, but is {path}"
