"""What must hold for a cluster file: Ray's own validation, and what Ray lets through.

Ray accepts any key in `provider` and `node_config`, any text as a command, and fills a missing
section with its defaults. So everything is checked on the file as Ray completes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema import ValidationError  # type: ignore[import-untyped]
from packaging.specifiers import SpecifierSet
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.support.shell import shell_error

Config = dict[str, Any]

COMMAND_SECTIONS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
PROVIDER_KEYS: Mapping[str, frozenset[str]] = {
    "aws": frozenset(
        {
            "type",
            "region",
            "availability_zone",
            "cache_stopped_nodes",
            "key_pair",
            "security_group",
            "use_internal_ips",
        }
    ),
    "gcp": frozenset(
        {
            "type",
            "project_id",
            "region",
            "availability_zone",
            "cache_stopped_nodes",
            "use_internal_ips",
        }
    ),
    "local": frozenset({"type", "head_ip", "external_head_ip", "worker_ips"}),
}
# Nested keys; None stands for any value. The names are those of EC2's RunInstances, but for Ray's
# SubnetIds, and those of Compute Engine's instances.insert.
NODE_CONFIG_KEYS: Mapping[str, Mapping[str, Any]] = {
    "aws": {
        "BlockDeviceMappings": {
            "DeviceName": None,
            "Ebs": {
                "DeleteOnTermination": None,
                "Encrypted": None,
                "Iops": None,
                "Throughput": None,
                "VolumeSize": None,
                "VolumeType": None,
            },
        },
        "IamInstanceProfile": {"Arn": None, "Name": None},
        "ImageId": None,
        "InstanceMarketOptions": {"MarketType": None, "SpotOptions": {"MaxPrice": None}},
        "InstanceType": None,
        "KeyName": None,
        "SecurityGroupIds": None,
        "SubnetIds": None,
    },
    "gcp": {
        "machineType": None,
        "disks": {
            "autoDelete": None,
            "boot": None,
            "initializeParams": {"diskSizeGb": None, "diskType": None, "sourceImage": None},
            "type": None,
        },
        "guestAccelerators": {"acceleratorCount": None, "acceleratorType": None},
        "metadata": {"items": {"key": None, "value": None}},
        "networkInterfaces": {"accessConfigs": None, "network": None, "subnetwork": None},
        "scheduling": {
            "automaticRestart": None,
            "instanceTerminationAction": None,
            "onHostMaintenance": None,
            "provisioningModel": None,
        },
        "serviceAccounts": {"email": None, "scopes": None},
    },
    "local": {},
}
# CPUs and GPUs, from the clouds' own tables; an instance that a file uses must be among them.
INSTANCES = {
    "m5.2xlarge": (8, 0),
    "g5.xlarge": (4, 1),
    "n2-standard-8": (8, 0),
    "g2-standard-4": (4, 1),
}
AMI = re.compile(r"(?!ami-0+$)ami-[0-9a-f]{8,17}|resolve:ssm:/aws/service/[\w./-]+/ami-id")
IMAGE = re.compile(r"projects/[a-z0-9-]+/global/images/(family/)?[a-z0-9-]+")
TOKEN = "~/.ray/auth_token"
CONSTRAINTS = "~/craft-ray/constraints.txt"
INSTALLS = re.compile(r"\bpip install\b")
RAY_PIN = re.compile(r"(?:\bray(?:\[[^]]*\])?==|rayproject/ray:)(\d+\.\d+\.\d+)")
RAY_WITHOUT_PIN = re.compile(r"\bray\[[^]]*\](?!==)|rayproject/ray(?!:\d+\.\d+\.\d+)")


def find_problems(config: Config, root: Path, ray_allowed: SpecifierSet) -> list[str]:
    """Every law that `config` breaks, in words; empty for a good file.

    Args:
        config: the file's content; not changed.
        root: the folder that relative mounts start from.
        ray_allowed: the versions of Ray that craft-ray works with.
    """
    try:
        completed = prepare_config(config)
        validate_config(completed)
    except (ValidationError, ValueError, KeyError, AttributeError) as error:
        return [f"Ray: {str(error).splitlines()[0]}"]
    return [
        *_key_problems(completed),
        *_shell_problems(completed),
        *_address_problems(completed),
        *_start_problems(completed),
        *_size_problems(completed),
        *_resource_problems(completed),
        *_token_problems(completed),
        *_mount_problems(completed, root),
        *_constraint_problems(completed),
        *version_problems("\n".join(_strings(completed)), ray_allowed),
    ]


def version_problems(text: str, ray_allowed: SpecifierSet) -> Iterator[str]:
    """`text` must name exactly one version of Ray, everywhere, and one that is allowed."""
    for match in RAY_WITHOUT_PIN.finditer(text):
        yield f"ray: {match.group()!r} must name an exact version"
    pins = set(RAY_PIN.findall(text))
    if len(pins) != 1:
        yield f"ray: exactly one version must be named, but got {sorted(pins)}"
    for pin in sorted(pins):
        if pin not in ray_allowed:
            yield f"ray: {pin} must satisfy {ray_allowed} of pyproject.toml"


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _commands(config: Config) -> dict[str, None]:
    """All commands, once each, in their order."""
    sources = [config, *config["available_node_types"].values()]
    return dict.fromkeys(
        command
        for source in sources
        for section in COMMAND_SECTIONS
        for command in source.get(section, [])
    )


def _key_problems(config: Config) -> Iterator[str]:
    kind = config["provider"]["type"]
    if kind not in PROVIDER_KEYS:
        yield f"provider.type: {kind!r} must be one of {sorted(PROVIDER_KEYS)}"
        return
    yield from unknown_keys(config["provider"], dict.fromkeys(PROVIDER_KEYS[kind]), "provider")
    for name, node_type in config["available_node_types"].items():
        node_config, where = node_type["node_config"], f"available_node_types.{name}.node_config"
        yield from unknown_keys(node_config, NODE_CONFIG_KEYS[kind], where)
        # Without one, Ray takes an AMI of 2018's Ubuntu, with a Python that is too old.
        if kind == "aws" and not AMI.fullmatch(node_config.get("ImageId", "")):
            yield f"{where}.ImageId: must be an AMI, but got {node_config}"
        if kind == "gcp" and not all(IMAGE.fullmatch(name) for name in _images(node_config)):
            yield f"{where}.disks: must name an image, but got {node_config}"


def _images(node_config: Mapping[str, Any]) -> list[str]:
    disks = node_config.get("disks") or [{}]
    return [disk.get("initializeParams", {}).get("sourceImage", "") for disk in disks]


def unknown_keys(value: object, allowed: Mapping[str, Any], where: str) -> Iterator[str]:
    """Keys of `value`, at any depth and in lists, that `allowed` does not have."""
    if isinstance(value, list):
        for item in value:
            yield from unknown_keys(item, allowed, where)
        return
    if not isinstance(value, Mapping):
        yield f"{where}: must have keys {sorted(allowed)}, but got {value!r}"
        return
    for key, inner in value.items():
        if key not in allowed:
            yield f"{where}: key {key!r} must be one of {sorted(allowed)}"
        elif allowed[key] is not None:
            yield from unknown_keys(inner, allowed[key], f"{where}.{key}")


def _shell_problems(config: Config) -> Iterator[str]:
    for command in _commands(config):
        if (error := shell_error(command)) is not None:
            yield f"shell: {command!r}: {error}"


def _address_problems(config: Config) -> Iterator[str]:
    for text in _strings(config):
        if "0.0.0.0" in text:
            yield f"address: nothing may listen on 0.0.0.0, but got {text!r}"
    for command in _commands(config):
        if "mlflow server" in command and "--host 127.0.0.1" not in command:
            yield f"address: mlflow server must have --host 127.0.0.1, but got {command!r}"


def _start_problems(config: Config) -> Iterator[str]:
    head = [c for c in config["head_start_ray_commands"] if "ray start" in c]
    worker = [c for c in config["worker_start_ray_commands"] if "ray start" in c]
    if len(head) != 1 or len(worker) != 1:
        yield f"start: head and workers must start Ray once, but got {head} and {worker}"
        return
    for option in (
        "--head",
        "--dashboard-host=127.0.0.1",
        "--disable-usage-stats",
        "--autoscaling-config=~/ray_bootstrap_config.yaml",
    ):
        if option not in head[0].split():
            yield f"start: the head's ray start must have {option}, but got {head[0]!r}"
    port = re.search(r"--port=(\d+)", head[0])
    if port is None or f"--address=$RAY_HEAD_IP:{port.group(1)}" not in worker[0].split():
        yield f"start: workers must join the head's port, but got {head[0]!r} and {worker[0]!r}"


def _size_problems(config: Config) -> Iterator[str]:
    most = config["max_workers"]
    for name, node_type in config["available_node_types"].items():
        low, high = node_type["min_workers"], node_type["max_workers"]
        if not 0 <= low <= high <= most:
            yield (
                f"available_node_types.{name}: 0 <= min_workers <= max_workers <= {most} (of the "
                f"cluster) must hold, but got {low} and {high}"
            )


def _resource_problems(config: Config) -> Iterator[str]:
    if config["provider"]["type"] == "local":
        return  # Ray counts what the machines have
    for name, node_type in config["available_node_types"].items():
        node_config, resources = node_type["node_config"], node_type["resources"]
        instance = node_config.get("InstanceType") or node_config.get("machineType")
        if instance not in INSTANCES:
            yield f"{name}: instance must be one of {sorted(INSTANCES)}, but got {instance}"
            continue
        cpus, gpus = INSTANCES[instance]
        if resources.get("CPU", 0) > cpus or resources.get("GPU", 0) != gpus:
            yield (
                f"{name}: resources must be at most {cpus} CPU and exactly {gpus} GPU of a "
                f"{instance}, but got {resources}"
            )
        if name == config["head_node_type"] and gpus:
            yield f"head: must have no GPU, which would be paid for while idle, but got {instance}"


def _token_problems(config: Config) -> Iterator[str]:
    if config["file_mounts"].get(TOKEN) != TOKEN:
        yield f"token: {TOKEN} must be mounted, but got {sorted(config['file_mounts'])}"
    if not any("RAY_AUTH_MODE=token" in command for command in config["setup_commands"]):
        yield "token: setup_commands must set RAY_AUTH_MODE=token"
    for section in ("head_start_ray_commands", "worker_start_ray_commands"):
        if f"chmod 600 {TOKEN}" not in config[section]:
            yield f"token: {section} must have 'chmod 600 {TOKEN}', but got {config[section]}"


def _mount_problems(config: Config, root: Path) -> Iterator[str]:
    for target, source in config["file_mounts"].items():
        if not source.startswith(("~", "/")) and not (root / source).exists():
            yield f"file_mounts: {source!r} (for {target}) must exist in the repository"


def _constraint_problems(config: Config) -> Iterator[str]:
    """A node that comes hours later must have the versions of the others."""
    if config["file_mounts"].get(CONSTRAINTS) != "constraints.txt":
        yield f"constraints: {CONSTRAINTS} must be mounted, but got {config['file_mounts']}"
    for command in _commands(config):
        if INSTALLS.search(command) and f"-c {CONSTRAINTS}" not in command:
            yield f"constraints: an installation must have -c {CONSTRAINTS}, but got {command!r}"
